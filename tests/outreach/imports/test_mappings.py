import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import pytest

from outreach.errors import InvalidInput
from outreach.imports import ImportReport, run_import

Bring = Callable[..., ImportReport]
Ask = Callable[..., Any]


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    """A folder of statements and one of data beside a file that is none of its business."""
    mapping, data = tmp_path / "mapping", tmp_path / "data"
    mapping.mkdir()
    data.mkdir()
    (data / "people.csv").write_text("nr,mail,spent\n1,ann@example.com,12.5\n2,bob@example.com,3\n")
    (tmp_path / "secret.csv").write_text("nr,mail\n7,secret@example.com\n")
    return mapping, data


def test_a_statement_reads_the_users_own_shape(folders: tuple[Path, Path], ask: Ask) -> None:
    mapping, data = folders
    (mapping / "prepare.sql").write_text("CREATE VIEW people AS SELECT * FROM 'people.csv';")
    (mapping / "customers.sql").write_text("SELECT nr AS customer_id, mail AS email, spent FROM people;")
    (mapping / "notes.sql").write_text("SELECT count(*) || ' people' FROM people")
    report = run_import(mapping, data=data)
    assert report.notes == ["2 people"]
    assert ask("SELECT external_id, email, attributes FROM customers ORDER BY 1") == [
        ("1", "ann@example.com", {"spent": 12.5}),
        ("2", "bob@example.com", {"spent": 3.0}),
    ]


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT nr AS customer_id FROM '{secret}'",
        "SELECT nr AS customer_id FROM read_csv('../secret.csv')",
        "SELECT content AS customer_id FROM read_text('/etc/passwd')",
        "SELECT 1 AS customer_id FROM 'https://127.0.0.1:9/people.csv'",
        "COPY (SELECT 1) TO 'out.csv'",
        "SELECT 1 AS customer_id; SELECT 2 AS customer_id",
        "INSTALL httpfs",
        "SET enable_external_access = true",
    ],
)
def test_a_statement_reaches_nothing_but_the_data_folder(folders: tuple[Path, Path], ask: Ask, statement: str) -> None:
    mapping, data = folders
    (mapping / "customers.sql").write_text(statement.format(secret=data.parent / "secret.csv"))
    with pytest.raises(InvalidInput, match=r"customers\.sql"):
        run_import(mapping, data=data)
    assert ask("SELECT count(*) FROM customers") == [(0,)]
    assert [p.name for p in data.iterdir()] == ["people.csv"]


def test_what_prepares_may_not_write_or_load(folders: tuple[Path, Path], database: str) -> None:
    mapping, data = folders
    (mapping / "prepare.sql").write_text("COPY (SELECT 1) TO 'out.csv'")
    (mapping / "customers.sql").write_text("SELECT 1 AS customer_id")
    with pytest.raises(InvalidInput, match="CREATE"):
        run_import(mapping, data=data)


def test_a_file_of_the_callers_own_folder_never_stands_in_for_one_of_the_data(
    folders: tuple[Path, Path], ask: Ask, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    mapping, _ = folders
    (tmp_path / "people.csv").write_text("nr,mail\n666,wrong@example.com\n")
    monkeypatch.chdir(tmp_path)
    (mapping / "customers.sql").write_text("SELECT nr AS customer_id FROM 'people.csv'")
    run_import(mapping, data=Path("data"))
    assert ask("SELECT external_id FROM customers ORDER BY 1") == [("1",), ("2",)]
    assert Path.cwd() == tmp_path


def test_lines_that_duckdb_cannot_read_are_refused_once_by_their_line(
    folders: tuple[Path, Path], ask: Ask, rejects: Path
) -> None:
    mapping, data = folders
    (data / "orders.csv").write_text("nr,who,what\n1,a,x\n2,b\n3,c,y,z\n4,d,w\n")
    (mapping / "prepare.sql").write_text(
        "CREATE VIEW o AS SELECT * FROM read_csv('orders.csv', header = true, all_varchar = true, store_rejects = true)"
    )
    (mapping / "customers.sql").write_text("SELECT who AS customer_id FROM o")
    (mapping / "orders.sql").write_text("SELECT nr AS order_id, who AS customer_id FROM o")
    report = run_import(mapping, data=data, rejects=rejects)
    assert ask("SELECT external_id FROM orders ORDER BY 1") == [("1",), ("4",)]
    with rejects.open(newline="") as file:
        refused = [(row["row"], row["value"]) for row in csv.DictReader(file)]
    assert refused == [("line 3 of orders.csv", "2,b"), ("line 4 of orders.csv", "3,c,y,z")]
    assert sum(counts.rejected for counts in report.tables.values()) == 2


def test_a_folder_without_statements_names_those_it_may_hold(database: str, tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=r"customers\.sql"):
        run_import(tmp_path)


def test_a_statement_of_another_name_is_not_passed_over(folders: tuple[Path, Path], database: str) -> None:
    mapping, data = folders
    (mapping / "customers.sql").write_text("SELECT 1 AS customer_id")
    (mapping / "purchases.sql").write_text("SELECT 1 AS order_id")
    with pytest.raises(InvalidInput, match=r"purchases\.sql"):
        run_import(mapping, data=data)


def test_a_dry_run_of_a_folder_lets_items_find_their_orders(folders: tuple[Path, Path], ask: Ask) -> None:
    mapping, data = folders
    (mapping / "orders.sql").write_text("SELECT nr AS order_id FROM 'people.csv'")
    (mapping / "items.sql").write_text("SELECT nr AS item_id, nr AS order_id FROM 'people.csv'")
    report = run_import(mapping, data=data, dry_run=True)
    assert (report.tables["items"].inserted, report.tables["items"].rejected) == (2, 0)
    assert ask("SELECT count(*) FROM orders") == [(0,)]


def test_parquet_with_the_standard_headers_is_read(database: str, ask: Ask, tmp_path: Path) -> None:
    path = tmp_path / "orders.parquet"
    duckdb.sql(
        "SELECT 'o' || i AS order_id, TIMESTAMP '2026-01-01 10:00:00' + INTERVAL (i) DAY AS ordered_at, "
        "i * 1.5 AS weight FROM range(3) t(i)"
    ).write_parquet(str(path))
    report = run_import(path)
    assert report.tables["orders"].inserted == 3
    assert ask("SELECT external_id, ordered_at::text, attributes FROM orders ORDER BY 1")[1] == (
        "o1",
        "2026-01-02 10:00:00+00",
        {"weight": 1.5},
    )
