"""The suppression list as people work with it."""

from datetime import UTC, datetime

import pytest
from sqlalchemy import select, text
from sqlalchemy.orm import Session

from campaigns import suppressions
from outreach.errors import Conflict, InvalidInput
from outreach.models import AuditEntry
from outreach.vocabulary import Channel, SuppressionReason

NOW = datetime(2027, 3, 4, 12, tzinfo=UTC)


def bar(session: Session, channel: Channel, address: str) -> int:
    return suppressions.bar(session, channel=channel, address=address, why="asked", actor="ann", now=NOW).id


def test_an_address_is_found_however_it_is_written_lifted_bans_included(session: Session) -> None:
    email, number = bar(session, Channel.EMAIL, " Ann@Example.com"), bar(session, Channel.SMS, "+1 (202) 555-0100")
    suppressions.lift(session, suppression_id=email, why="a mistake", actor="bob", now=NOW)
    for given, wanted in (("ANN@example.com ", [email]), ("+1 202 555 0100", [number]), ("ann", [])):
        rows, _ = suppressions.listed(session, address=given)
        assert [row.id for row in rows] == wanted


def test_the_list_goes_on_where_the_page_before_ended(session: Session) -> None:
    made = [bar(session, Channel.EMAIL, f"{name}@example.com") for name in "abcde"]
    first, following = suppressions.listed(session, limit=2)
    second, after = suppressions.listed(session, limit=2, before=following)
    third, none = suppressions.listed(session, limit=2, before=after)
    assert [row.id for row in (*first, *second, *third)] == made[::-1]
    assert none is None
    assert suppressions.listed(session, channel=Channel.SMS)[0] == []
    assert suppressions.listed(session, reason=SuppressionReason.COMPLAINT)[0] == []
    assert suppressions.listed(session, lifted=True)[0] == []


def test_a_household_is_barred_by_the_number_of_a_customer(session: Session) -> None:
    session.execute(
        text("""INSERT INTO customers (external_id, address_line1, city, postal_code, country)
                VALUES ('c-1', '1 Example Street', 'Springfield', '62701', 'US')""")
    )
    bar(session, Channel.POSTCARD, "c-1")
    assert suppressions.listed(session)[0][0].address == "1 example street|springfield|62701|us"
    with pytest.raises(InvalidInput, match="number"):
        bar(session, Channel.POSTCARD, "c-2")


def test_the_audit_log_has_the_reason_and_never_the_address(session: Session) -> None:
    row = bar(session, Channel.EMAIL, "ann@example.com")
    suppressions.lift(session, suppression_id=row, why="her sister's", actor="bob", now=NOW)
    assert [(entry.actor, entry.detail["why"]) for entry in suppressions.why(session, row)] == [
        ("bob", "her sister's"), ("ann", "asked"),
    ]  # fmt: skip
    assert all("ann@" not in str((entry.subject, entry.detail)) for entry in session.scalars(select(AuditEntry)))


def test_what_cannot_be_barred_or_lifted_says_why(session: Session) -> None:
    row = bar(session, Channel.EMAIL, "ann@example.com")
    with pytest.raises(Conflict):
        bar(session, Channel.EMAIL, "ANN@example.com")
    with pytest.raises(InvalidInput):
        bar(session, Channel.SMS, "0100")
    with pytest.raises(InvalidInput) as refused:
        suppressions.lift(session, suppression_id=row, why=" ", actor="bob", now=NOW)
    assert refused.value.where == "why"
    session.execute(text("UPDATE suppressions SET reason = 'erased'"))
    session.expire_all()
    with pytest.raises(Conflict, match="forgotten"):
        suppressions.lift(session, suppression_id=row, why="no", actor="bob", now=NOW)
