"""Messages of which nobody knows whether they were sent: listed with their age and class, and settled by a person.

What evidence settles needs nobody (`reconcile`); what class policy decides is decided a day later (`classes`). The
rest waits here: a decision is one person's, and it is in the audit log.
"""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.orm import Session

from outreach import audit
from outreach.errors import Conflict, NotFound
from outreach.queue import wake


class Decision(StrEnum):
    """What a person decides about one message."""

    ACCEPTED = "accepted"  # it was sent: count it as handed over
    SEND_AGAIN = "send-again"  # rather twice than not at all
    GIVE_UP = "give-up"  # the notice goes on to its next channel


@dataclass(frozen=True, slots=True)
class Unknown:
    """One message of unknown outcome; `since` is when the call was made."""

    message_id: UUID
    campaign: str
    notice_class: str
    channel: str
    customer: str
    provider: str | None
    since: datetime
    age_seconds: float


_LIST = text("""
SELECT m.id, c.key, c.notice_class, m.channel, k.external_id, m.provider, a.started_at,
       extract(epoch FROM clock_timestamp() - a.started_at)::float8 AS age
FROM attempts a JOIN messages m ON m.attempt_id = a.id AND m.id = ANY(a.message_ids)
JOIN campaigns c ON c.id = m.campaign_id JOIN customers k ON k.id = m.customer_id
WHERE a.state IN ('sending', 'unknown') AND m.send_state = 'unknown'
ORDER BY a.started_at, m.id LIMIT :limit
""")

_LOCK = text("""
SELECT m.send_state, m.customer_id, c.key, c.state FROM messages m JOIN campaigns c ON c.id = m.campaign_id
WHERE m.id = :id FOR UPDATE OF m
""")

_STATEMENTS = {
    Decision.ACCEPTED: text("""
UPDATE messages SET send_state = 'accepted', sent_at = coalesce(sent_at, :now),
       delivery_detail = 'a person decided that it was sent' WHERE id = :id
"""),
    Decision.SEND_AGAIN: text("""
WITH made AS (
    INSERT INTO chunks (campaign_id, channel, template_version, due_at, size, tries, wave, zones, closes_at)
    SELECT k.campaign_id, k.channel, k.template_version, :now, 1, k.tries + 1, k.wave, k.zones, k.closes_at
    FROM chunks k JOIN messages m ON m.chunk_id = k.id WHERE m.id = :id RETURNING id
)
UPDATE messages m SET send_state = 'queued', chunk_id = made.id FROM made WHERE m.id = :id
"""),
    Decision.GIVE_UP: text("""
WITH dead AS (
    UPDATE messages SET send_state = 'dead', reason = 'unknown_outcome', failed_at = :now WHERE id = :id
    RETURNING chunk_id
)
UPDATE chunks SET check_at = :now FROM dead WHERE chunks.id = dead.chunk_id
"""),
}


def list_unknown(session: Session, *, limit: int = 100) -> list[Unknown]:
    """Return the messages of unknown outcome, oldest first."""
    return [Unknown(*row) for row in session.execute(_LIST, {"limit": limit})]


def resolve(session: Session, *, message_id: UUID, decision: Decision, actor: str, now: datetime) -> None:
    """Settle one message as a person decided; raises `NotFound`, or `Conflict` when it is known by now."""
    row = session.execute(_LOCK, {"id": message_id}).one_or_none()
    if row is None:
        raise NotFound(f"There is no message {message_id}.")
    if row.send_state != "unknown":
        raise Conflict(f"Message {message_id} is {row.send_state}; only an unknown one needs a decision.")
    if decision is Decision.SEND_AGAIN and row.state not in ("running", "paused"):
        raise Conflict(f"Campaign {row.key} is {row.state}; nothing of it is sent any more.")
    session.execute(_STATEMENTS[decision], {"id": message_id, "now": now})
    audit.record(
        session, actor=actor, action="message.resolved", subject=str(message_id),
        detail={"decision": decision, "campaign": row.key}, now=now,
    )  # fmt: skip
    wake(session, "campaigns.sweep")
