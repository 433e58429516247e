"""Everything about one person: handed out as one document (GDPR article 15), or erased for good (article 17).

Each table that names a customer stands in `ABOUT` once, with how its rows are found; a test holds it against the
schema. What erasing leaves is what nobody can be recognised by: that something was sent, when, and what came of it, so
that the ledger still adds up. The customer's row stays with its reference and the time, so that an import cannot bring
her back; a ban of her addresses keeps a mark of each, by which the next import bars them again.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import text
from sqlalchemy.orm import Session

from outreach import audit
from outreach.barred_addresses import POSTAL_ADDRESS, forget_addresses
from outreach.errors import Conflict, InvalidInput
from outreach.models import Customer
from outreach.queue import wake

_OWN = "customer_id = :id"
_POSTAL = text(f"SELECT {POSTAL_ADDRESS} FROM customers c WHERE c.id = :id")
_NOTICES = "SELECT id FROM notices WHERE customer_id = :id"
_MESSAGES = f"SELECT id FROM messages WHERE notice_id IN ({_NOTICES})"
# What came from her addresses is hers, too, where nobody said so.
_HERS = "customer_id = :id OR (customer_id IS NULL AND sender = ANY(cast(ARRAY[:email, :phone] AS text[])))"
_REPLIES = f"SELECT id FROM responses WHERE {_HERS}"
_BODIES = f"""SELECT inbound_event_id FROM responses WHERE ({_HERS}) AND inbound_event_id IS NOT NULL
    UNION SELECT inbound_event_id FROM delivery_events WHERE message_id IN ({_MESSAGES})
                                                         AND inbound_event_id IS NOT NULL"""


@dataclass(frozen=True, slots=True)
class Held:
    """How one table holds what it knows of a person: which rows, and the SET clause (or DELETE) that empties them."""

    where: str
    erase: str | None = None
    exported: bool = True


# In the order in which they are erased: rows that others are found by come last.
ABOUT: dict[str, Held] = {
    "desk_actions": Held(
        f"""key IN (SELECT 'response:' || id FROM ({_REPLIES}) r UNION
            SELECT 'help:' || :id || ':' || channel || ':' || to_char(received_at AT TIME ZONE 'UTC', 'YYYY-MM-DD')
            FROM responses WHERE ({_HERS}) AND intent = 'help')""",
        "payload = '{}', done_at = coalesce(done_at, now())",
    ),
    # A provider's body holds many people; once applied, its facts are rows.
    "inbound_events": Held(f"id IN ({_BODIES}) AND state = 'applied'", "body = '', headers = '{}'", exported=False),
    "delivery_events": Held(f"message_id IN ({_MESSAGES})", "detail = NULL, raw = '{}'"),
    "messages": Held(f"id IN ({_MESSAGES})", "address = '', delivery_detail = NULL"),
    "notices": Held(_OWN),
    "operator_answers": Held(
        f"customer_id = :id OR response_id IN ({_REPLIES})",
        """address = '', subject = '', text = '', detail = NULL,
           state = CASE WHEN state = 'queued' THEN 'cancelled' ELSE state END""",
    ),
    "responses": Held(
        _HERS, "sender = '', text = '', handled_at = coalesce(handled_at, :now), handled_by = coalesce(handled_by, :by)"
    ),
    "tickets": Held(
        "customer_id = :id OR (customer_id IS NULL AND requester_email = :email)",
        "requester_email = NULL, subject = NULL, body = NULL, attributes = '{}'",
    ),
    "survey_answers": Held(_OWN, "words = NULL"),
    "survey_asks": Held(_OWN),
    "consents": Held(_OWN, "wording = NULL"),
    "order_items": Held(_OWN, "serial = NULL, attributes = '{}'"),
    "orders": Held(_OWN, "city = NULL, region = NULL, postal_code = NULL, attributes = '{}'"),
    "usage_events": Held(_OWN, "attributes = '{}'"),
    "account_tasks": Held(_OWN, "DELETE"),
    "health_trends": Held(_OWN, "DELETE"),
    "health_scores": Held(_OWN, "DELETE"),
    "enrolments": Held(_OWN, "left_at = coalesce(left_at, :now), exit_reason = coalesce(exit_reason, 'erased')"),
    "check_ins": Held("problem_id IN (SELECT id FROM problems) AND customer_id = :id"),
    "programme_dues": Held("enrolment_id IN (SELECT id FROM enrolments WHERE customer_id = :id)"),
    "audience_changes": Held("segment_id IN (SELECT id FROM segments) AND customer_id = :id"),
    "audience_members": Held("segment_id IN (SELECT id FROM segments) AND customer_id = :id"),
    # `barred_addresses.forget_addresses` leaves marks of them.
    "suppressions": Held(
        """(channel = 'email' AND address = :email) OR (channel = 'sms' AND address = :phone)
           OR (channel = 'postcard' AND address = :postal)"""
    ),
    "customers": Held(
        "id = :id",
        """name = NULL, email = NULL, phone = NULL, locale = NULL, time_zone = NULL, address_line1 = NULL,
           address_line2 = NULL, city = NULL, region = NULL, postal_code = NULL, country = NULL, attributes = '{}',
           erased_at = :now, updated_at = :now""",
    ),
}
# Queues that are empty again within seconds.
PASSING = frozenset({"customer_changes", "customer_news"})
MOST_ROWS = 20_000  # of one table in one document


def export(session: Session, *, customer: Customer, by: str, now: datetime) -> dict[str, Any]:
    """Return everything that is kept about a person, by table, and record that it was handed out."""
    found: dict[str, Any] = {"reference": customer.external_id, "made_at": now.isoformat()}
    given = _given(session, customer) | {"most": MOST_ROWS}
    for table, held in reversed(ABOUT.items()):
        if held.exported:
            query = text(f"SELECT to_jsonb(t) FROM {table} t WHERE {held.where} LIMIT :most")
            found[table] = list(session.scalars(query, given))
    subject = f"customer:{customer.external_id}"
    rows = {table: len(rows) for table, rows in found.items() if isinstance(rows, list) and rows}
    audit.record(session, actor=by, action="customer.export", subject=subject, detail=rows, now=now)
    return found


def erase(session: Session, *, customer: Customer, confirmation: str, by: str, now: datetime) -> dict[str, int]:
    """Erase a person for good; returns how many rows of each table were emptied.

    Raises `InvalidInput` unless `confirmation` is the customer's reference, and `Conflict` the second time.
    """
    session.refresh(customer, with_for_update=True)
    if customer.erased_at is not None:
        raise Conflict("Everything about this person was erased already.")
    if confirmation.strip() != customer.external_id:
        raise InvalidInput(
            f"Type the reference {customer.external_id} to erase this person. Nothing was erased.", where="confirmation"
        )
    given = _given(session, customer) | {"now": now, "by": by}
    done = {"suppressions": forget_addresses(session, customer)}
    for table, held in ABOUT.items():
        if held.erase is not None:
            act = f"DELETE FROM {table}" if held.erase == "DELETE" else f"UPDATE {table} SET {held.erase}"
            statement = text(f"{act} WHERE {held.where}")
            done[table] = session.execute(statement, given).rowcount  # type: ignore[attr-defined]
    session.expire_all()
    wake(session, "segments.sweep")
    subject = f"customer:{customer.external_id}"
    detail = {table: number for table, number in done.items() if number}
    audit.record(session, actor=by, action="customer.erase", subject=subject, detail=detail, now=now)
    return detail


def _given(session: Session, customer: Customer) -> dict[str, Any]:
    postal = session.scalar(_POSTAL, {"id": customer.id})
    return {"id": customer.id, "email": customer.email, "phone": customer.phone, "postal": postal}
