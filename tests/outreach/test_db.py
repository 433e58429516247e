import pytest
from sqlalchemy import text

from outreach.db import transaction
from outreach.errors import Unavailable


def test_a_transaction_commits_when_its_block_ends_well(database: str) -> None:
    with transaction() as session:
        session.execute(text("CREATE TABLE kept (id int)"))
    with transaction() as session:
        assert session.execute(text("SELECT count(*) FROM kept")).scalar_one() == 0


def test_a_database_that_is_down_is_said_to_be_unavailable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OUTREACH_DATABASE_URL", "postgresql://nobody:x@127.0.0.1:1/none")
    with pytest.raises(Unavailable, match="cannot be reached"), transaction() as session:
        session.execute(text("SELECT 1"))
