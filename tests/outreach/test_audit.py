from datetime import UTC, datetime, timedelta, timezone

import pytest
from sqlalchemy import text
from sqlalchemy.exc import ProgrammingError
from sqlalchemy.orm import Session

from outreach import audit

NOW = datetime(2026, 3, 1, 12, 0, 0, 123456, tzinfo=UTC)


def write_three(session: Session) -> None:
    audit.record(session, actor="anna", action="problem.report", subject="problem:P-1", now=NOW)
    audit.record(
        session,
        actor="anna",
        action="problem.mark_known",
        subject="problem:P-1",
        # Numbers and keys that JSONB writes in another way than they were given.
        detail={"b": 1.50, "a": 1e20, "ü": [None, True, {"z": 1e-7, "y": "\u2028"}]},
        now=NOW.astimezone(timezone(timedelta(hours=5, minutes=30))),
    )
    audit.record(session, actor="key:desk", action="problem.resolve", subject="problem:P-1", now=NOW)


def test_an_untouched_log_has_no_complaints(session: Session) -> None:
    write_three(session)
    session.expire_all()
    assert audit.verify_chain(session) == []


def test_each_entry_names_the_hash_of_the_one_before_it(session: Session) -> None:
    first = audit.record(session, actor="anna", action="a", subject="s", now=NOW)
    second = audit.record(session, actor="anna", action="a", subject="s", now=NOW)
    assert second.previous_hash == first.hash != second.hash


@pytest.mark.parametrize("table", ["audit_log", "audience_changes"])
@pytest.mark.parametrize("statement", ["DELETE FROM {}", "UPDATE {} SET id = id", "TRUNCATE {}"])
def test_the_log_and_the_membership_ledger_only_grow(session: Session, table: str, statement: str) -> None:
    with pytest.raises(ProgrammingError, match=f"{table} is append-only"):
        session.execute(text(statement.format(table)))


@pytest.mark.parametrize(
    ("tampering", "complaint"),
    [
        ("UPDATE audit_log SET actor = 'bert' WHERE action = 'problem.mark_known'", "was altered"),
        ("UPDATE audit_log SET detail = '{}' WHERE action = 'problem.mark_known'", "was altered"),
        ("UPDATE audit_log SET at = at - interval '1 hour' WHERE action = 'problem.mark_known'", "was altered"),
        ("DELETE FROM audit_log WHERE action = 'problem.mark_known'", "removed or put in between"),
    ],
)
def test_tampering_behind_the_trigger_is_found(session: Session, tampering: str, complaint: str) -> None:
    write_three(session)
    session.execute(text("ALTER TABLE audit_log DISABLE TRIGGER append_only"))
    session.execute(text(tampering))
    session.expire_all()
    (found,) = audit.verify_chain(session)
    assert complaint in found
