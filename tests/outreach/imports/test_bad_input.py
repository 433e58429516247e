import csv
import gzip
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from outreach.errors import InvalidInput
from outreach.imports import ImportReport, run_import
from outreach.imports.rejects import safe_cell

Bring = Callable[..., ImportReport]
Ask = Callable[..., Any]
GOOD = "customer_id,name\n1,Ann\n"


def listed(path: Path) -> list[dict[str, str]]:
    """The lines of a rejects file."""
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le-with-mark"])
def test_a_byte_order_mark_is_understood(bring: Bring, ask: Ask, encoding: str) -> None:
    text = "customer_id,name\n1,Zoë\n"
    content = b"\xff\xfe" + text.encode("utf-16-le") if encoding.endswith("mark") else text.encode(encoding)
    bring("customers", content)
    assert ask("SELECT external_id, name FROM customers") == [("1", "Zoë")]


def test_utf_16_without_its_mark_is_said_to_be_that(bring: Bring) -> None:
    with pytest.raises(InvalidInput, match="UTF-16"):
        bring("customers", GOOD.encode("utf-16-le"))


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("2,Nul\0byte", "NUL"),
        ("2,Bob,surplus", "has 3 cells where the header has 2"),
        ("2", "has 1 cells where the header has 2"),
        (",nameless", "is missing"),
        ("x" * 201 + ",long key", "longer than 200"),
        ('2,"a" b', "cannot be read as CSV"),
        ('2,"never closed', "cannot be read as CSV"),
        ("2," + "x" * 1_100_000, "more than 1,000,000 characters"),
    ],
)
def test_a_bad_line_is_named_and_the_others_go_in(
    bring: Bring, ask: Ask, rejects: Path, line: str, reason: str
) -> None:
    report = bring("customers", f"customer_id,name\n1,Ann\n{line}\n3,Cy\n4,Di\n")
    assert ask("SELECT external_id FROM customers ORDER BY 1") == [("1",), ("3",), ("4",)]
    (refused,) = listed(rejects)
    assert (refused["table"], refused["row"], refused["outcome"]) == ("customers", "2", "row refused")
    assert reason in refused["reason"]
    counts = report.tables["customers"]
    assert (counts.read, counts.inserted, counts.rejected) == (4, 3, 1)


def test_bytes_that_are_not_utf_8_cost_only_their_own_row(bring: Bring, ask: Ask, rejects: Path) -> None:
    bring("customers", b"customer_id,name\n1,Ann\n2,Zo\xeb\n3,Cy\n")
    assert ask("SELECT count(*) FROM customers") == [(2,)]
    assert listed(rejects)[0]["reason"].startswith("is not UTF-8")


@pytest.mark.parametrize("end", ["\r", "\r\n", "\n"])
def test_every_line_end_is_understood(bring: Bring, ask: Ask, end: str) -> None:
    bring("customers", end.join(["customer_id,name", "1,Ann", '2,"Bob\nJunior"', "", "3,Cy"]))
    assert ask("SELECT name FROM customers ORDER BY external_id") == [("Ann",), ("Bob Junior",), ("Cy",)]


def test_semicolons_and_tabs_part_cells_too(bring: Bring, ask: Ask) -> None:
    bring("customers", "customer_id;name\n1;Ann, Dr.\n")
    bring("customers", "customer_id\tname\n2\tBob\n", name="input.tsv")
    assert ask("SELECT name FROM customers ORDER BY external_id") == [("Ann, Dr.",), ("Bob",)]


def test_a_bad_value_is_dropped_and_the_customer_stays(bring: Bring, ask: Ask, rejects: Path) -> None:
    report = bring(
        "customers",
        "customer_id,email,phone,country,time_zone\n"
        "1,a@b@c,12345,GB,Mars/Olympus\n"
        "2,ann@example.com,020 7946 0123,United Kingdom,Europe/London\n",
    )
    assert ask("SELECT email, phone, country, time_zone FROM customers ORDER BY external_id") == [
        (None, None, "GB", None),
        ("ann@example.com", "+442079460123", "GB", "Europe/London"),
    ]
    assert report.tables["customers"].values_dropped == 3
    assert {(line["row"], line["column"], line["outcome"]) for line in listed(rejects)} == {
        ("1", "email", "value dropped"),
        ("1", "phone", "value dropped"),
        ("1", "time_zone", "value dropped"),
    }


@pytest.mark.parametrize("value", ["=cmd|' /C calc'!A0", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1"])
def test_the_rejects_file_holds_no_formula(value: str) -> None:
    assert safe_cell(value) == f"'{value}"
    assert safe_cell("plain") == "plain"


def test_the_rejects_file_shows_a_formula_disarmed(bring: Bring, rejects: Path) -> None:
    bring("customers", "customer_id,country\n1,=cmd|x\n")
    assert listed(rejects)[0]["value"] == "'=cmd|x"
    assert rejects.stat().st_mode & 0o077 == 0


@pytest.mark.parametrize(
    ("content", "name", "reason"),
    [
        ("", "empty.csv", "is empty"),
        ("custmer_id,name\n1,Ann\n", "a.csv", "customer_id is missing. Did you mean it by “custmer_id”"),
        ("customer_id,name,Name\n1,Ann,Bob\n", "a.csv", "the header name occurs more than once"),
        (",".join(f"c{n}" for n in range(100_000)) + "\n", "a.csv", "100,000 columns"),
        (GOOD, "customers.exe", "of no kind we read"),
        (b"MZ\x90\x00\x03\x00\x00\x00", "customers.csv", "not a text file"),
        (b"PAR1 is only how it begins", "customers.parquet", "customers.parquet"),
        (gzip.compress(GOOD.encode() * 10_000)[:-40], "customers.csv.gz", "damaged or cut off"),
        ("[1, 2]\n", "customers.jsonl", "no JSON object"),
    ],
)
def test_a_file_that_cannot_be_used_is_refused_with_the_reason(
    bring: Bring, ask: Ask, content: str | bytes, name: str, reason: str
) -> None:
    with pytest.raises(InvalidInput, match=r".*".join(reason.split("…"))):
        bring("customers", content, name=name)
    assert ask("SELECT count(*) FROM customers") == [(0,)]


def test_a_misspelt_column_is_pointed_out(bring: Bring) -> None:
    report = bring("customers", "customer_id,fone,emial\n1,x,y\n")
    assert any("emial" in note and "email" in note for note in report.notes)


def test_an_unknown_kind_names_the_kinds(bring: Bring) -> None:
    with pytest.raises(InvalidInput, match="customers, products, orders, items, tickets, events"):
        bring("clients", GOOD)


def test_a_file_that_is_not_there_is_said_to_be_missing(database: str, tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="There is no file"):
        run_import(tmp_path / "nothing.csv", kind="customers")


def test_json_lines_refuse_only_the_line_that_is_not_json(bring: Bring, ask: Ask, rejects: Path) -> None:
    bring(
        "customers",
        '{"customer_id": 1, "name": "Ann", "visits": 3}\n{broken\n[1]\n{"customer_id": "2", "vip": true}\n',
        name="input.jsonl",
    )
    assert ask("SELECT external_id, name, attributes FROM customers ORDER BY 1") == [
        ("1", "Ann", {"visits": 3}),
        ("2", None, {"vip": True}),
    ]
    assert [line["row"] for line in listed(rejects)] == ["2", "3"]
