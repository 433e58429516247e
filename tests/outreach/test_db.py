from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import text

from outreach.db import transaction
from outreach.errors import Unavailable


def test_a_transaction_commits_when_its_block_ends_well(database: str) -> None:
    with transaction() as session:
        session.execute(text("CREATE TABLE kept (id int)"))
    with transaction() as session:
        assert session.execute(text("SELECT count(*) FROM kept")).scalar_one() == 0


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        ("uuid", [UUID(int=1), UUID(int=2**127)]),
        ("bigint", [1, 40_000, 2**40]),
        ("text", ["", "NULL", 'a "quoted" word', "a,b", "{}", "\\", "é", None]),
        ("timestamptz", [datetime(2026, 3, 1, tzinfo=UTC), None]),
        ("boolean", [True, False]),
        ("double precision", [1.5, -2.0]),
        ("uuid", []),
        ("bigint", [None]),
    ],
)
def test_a_list_arrives_as_it_was_sent(database: str, kind: str, values: list[Any]) -> None:
    with transaction() as session:
        assert session.execute(text(f"SELECT cast(:values AS {kind}[])"), {"values": values}).scalar_one() == values


def test_nothing_is_one_of_an_empty_list(database: str) -> None:
    with transaction() as session:
        for value in ("1", "'a'::text", "gen_random_uuid()", "now()"):
            assert not session.execute(text(f"SELECT {value} = ANY(:values)"), {"values": []}).scalar_one()


def test_a_database_that_is_down_is_said_to_be_unavailable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OUTREACH_DATABASE_URL", "postgresql://nobody:x@127.0.0.1:1/none")
    with pytest.raises(Unavailable, match="cannot be reached"), transaction() as session:
        session.execute(text("SELECT 1"))
