"""What providers reported about a few messages, and which campaign each belongs to."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.orm import Session

_MESSAGES = text("""
SELECT m.id, m.channel, m.send_state, m.customer_id, k.key, k.kind FROM messages m
JOIN campaigns k ON k.id = m.campaign_id WHERE m.id = ANY(:ids)
""")
_EVENTS = text("""
SELECT message_id, kind, at, detail FROM delivery_events WHERE message_id = ANY(:ids) ORDER BY at, kind LIMIT 2000
""")


@dataclass(frozen=True, slots=True)
class Event:
    """One report of a provider; `detail` is its text."""

    kind: str
    at: datetime
    detail: str | None


@dataclass(frozen=True, slots=True)
class SentMessage:
    """One message with its campaign and everything that was reported of it, oldest first."""

    channel: str
    state: str
    customer_id: int
    key: str
    kind: str
    events: list[Event] = field(default_factory=list)


def of(session: Session, ids: Sequence[UUID]) -> dict[str, SentMessage]:
    """Return messages with their events, by id as text."""
    if not ids:
        return {}
    found = {
        str(row.id): SentMessage(row.channel, row.send_state, row.customer_id, row.key, row.kind)
        for row in session.execute(_MESSAGES, {"ids": list(ids)})
    }
    for row in session.execute(_EVENTS, {"ids": list(ids)}):
        if str(row.message_id) in found:
            found[str(row.message_id)].events.append(Event(row.kind, row.at, row.detail))
    return found
