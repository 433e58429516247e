"""Everything about one person, handed out or erased: no table is forgotten, nobody else is touched."""

import json
from typing import Any

import pytest
from sqlalchemy import func, select, text
from sqlalchemy.orm import Session

from outreach import clock, timeline
from outreach.errors import Conflict, InvalidInput
from outreach.models import AuditEntry, Base, Customer
from outreach.vocabulary import Channel, Intent
from tests.webhooks.test_answering import answer
from tests.webhooks.test_replies import desk, says, told
from webhooks import consents_by_hand, personal_data, triage

assert desk  # the fixture of a connected desk
CANARY = "Zebedee Quux"


def lived(session: Session) -> Customer:
    """Return a customer who left a trace in as many tables as there are."""
    messages = told(session, channel="email")
    now = clock.now(session)
    customer = timeline.find_customer(session, "c-1")
    session.execute(
        text("""UPDATE customers SET name = :canary, city = :canary, attributes = jsonb_build_object('note',
                cast(:canary AS text)) WHERE id = :id"""),
        {"canary": CANARY, "id": customer.id},
    )
    session.refresh(customer)
    body_id = session.scalar(
        text("""INSERT INTO inbound_events (source, key, body, state) VALUES ('sendgrid-inbound', 'k1',
                convert_to(:canary, 'UTF8'), 'applied') RETURNING id"""),
        {"canary": CANARY},
    )
    found = says(session, f"I am {CANARY}. When?", messages[1], channel=Channel.EMAIL)
    found.inbound_event_id = body_id
    triage.correct(session, response_id=found.id, by="anna", now=now, intent=Intent.HELP)
    answer(session, found, f"Dear {CANARY}")
    says(session, f"{CANARY} again", channel=Channel.EMAIL, sender=str(customer.email)).customer_id = None
    session.flush()
    consents_by_hand.write_down(
        session, customer=customer, channel=Channel.SMS, notice_class=None, allowed=False, by="anna", now=now,
        how=f"{CANARY} said so",
    )  # fmt: skip
    for statement in (
        "INSERT INTO tickets (desk, external_id, customer_id, subject) VALUES ('zendesk', '9', :id, :canary)",
        (
            "INSERT INTO usage_events (external_id, customer_id, name, occurred_at, attributes) "
            "VALUES ('u', :id, 'login', now(), jsonb_build_object('by', cast(:canary AS text)))"
        ),
        "INSERT INTO account_tasks (customer_id, cause, title, opened_at) VALUES (:id, 'drop', :canary, now())",
        (
            "INSERT INTO tickets (desk, external_id, requester_email, subject) "
            "SELECT 'zendesk', '10', email, :canary FROM customers WHERE id = :id"
        ),
        "UPDATE orders SET city = :canary WHERE customer_id = :id",
        (
            "INSERT INTO delivery_events (message_id, key, kind, at, provider, detail) "
            "SELECT id, 'd', 'deferred', now(), 'sendgrid', :canary FROM messages WHERE customer_id = :id"
        ),
    ):
        session.execute(text(statement), {"id": customer.id, "canary": CANARY})
    return customer


def traces(session: Session, words: str) -> list[str]:
    """Return the tables in which the words stand."""
    found = []
    for table in Base.metadata.tables:
        # Bodies are bytes; as text they are hexadecimal.
        query = f"SELECT EXISTS (SELECT 1 FROM {table} t WHERE t::text ILIKE :words OR t::text LIKE :bytes)"
        if session.scalar(text(query), {"words": f"%{words}%", "bytes": f"%{words.encode().hex()}%"}):
            found.append(table)
    return found


def test_every_table_that_names_a_customer_is_exported_or_passes() -> None:
    naming = {name for name, table in Base.metadata.tables.items() if "customer_id" in table.columns}
    assert naming - set(personal_data.ABOUT) - personal_data.PASSING == set()
    assert set(personal_data.ABOUT) <= set(Base.metadata.tables)


def test_an_export_holds_what_is_known_and_nothing_of_others(session: Session) -> None:
    customer = lived(session)
    found = personal_data.export(session, customer=customer, by="anna", now=clock.now(session))
    told_about = json.dumps(found, default=str)
    for table in ("customers", "orders", "tickets", "messages", "responses", "operator_answers", "consents", "notices"):
        assert found[table], table
    assert CANARY in told_about
    assert "c-2" not in told_about
    assert "ann.2@example.com" not in told_about
    assert session.scalars(select(AuditEntry.action).order_by(AuditEntry.id.desc())).first() == "customer.export"


def test_erasing_leaves_no_trace_of_the_person_and_all_of_the_others(session: Session) -> None:
    customer = lived(session)
    email = str(customer.email)
    before = session.scalar(text("SELECT count(*) FROM messages"))
    assert len(traces(session, CANARY)) >= 8
    with pytest.raises(InvalidInput, match="Type the reference c-1"):
        personal_data.erase(session, customer=customer, confirmation="c-2", by="anna", now=clock.now(session))
    assert len(traces(session, CANARY)) >= 8
    done = personal_data.erase(session, customer=customer, confirmation="c-1", by="anna", now=clock.now(session))
    assert done["customers"] == 1
    assert traces(session, CANARY) == []
    assert traces(session, email) == []
    assert session.scalar(text("SELECT count(*) FROM messages")) == before
    assert session.scalar(select(func.count()).where(Customer.name.like("Ann%"))) == 4
    with pytest.raises(Conflict, match="already"):
        personal_data.erase(session, customer=customer, confirmation="c-1", by="anna", now=clock.now(session))


def test_consent_by_hand_is_audited_and_lifts_only_what_the_person_had_asked_for(session: Session) -> None:
    customer = lived(session)
    given: dict[str, Any] = {"customer": customer, "channel": Channel.SMS, "by": "anna", "now": clock.now(session)}
    phone = customer.phone
    session.execute(
        text("""INSERT INTO suppressions (channel, address, reason, source)
                VALUES ('sms', :phone, 'stop', 'reply'), ('email', :email, 'hard_bounce', 'sendgrid')"""),
        {"phone": phone, "email": customer.email},
    )
    consents_by_hand.write_down(session, notice_class=None, allowed=True, how="by telephone", **given)
    consents_by_hand.write_down(
        session, notice_class=None, allowed=True, how="by telephone", **{**given, "channel": Channel.EMAIL}
    )
    standing = session.scalars(text("SELECT address FROM suppressions WHERE lifted_at IS NULL")).all()
    assert standing == [customer.email]
    with pytest.raises(InvalidInput, match="how and when"):
        consents_by_hand.write_down(session, notice_class=None, allowed=True, how=" ", **given)
    entries = session.scalars(select(AuditEntry.subject).where(AuditEntry.action == "customer.consent")).all()
    assert entries == ["customer:c-1"] * 3
