"""Every raw event is kept once, before anybody answers 2xx; workers apply it later, as often as it takes.

`store` needs PostgreSQL only: no Redis, no parsing. `apply_due` claims open events, each in a savepoint of its own,
so that a bad one never stops the rest: it is tried again with growing waits and in the end kept as dead, with the
reason, until somebody replays it.
"""

import hashlib
from collections import Counter
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from urllib.parse import parse_qs

import structlog
from sqlalchemy import select, text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from outreach import clock
from outreach.errors import Conflict, NotFound, OutreachError
from outreach.models import InboundEvent
from outreach.queue import wake
from outreach.vocabulary import InboundState
from webhooks import replies, triggers
from webhooks.deliveries import apply_events
from webhooks.desks import generic, zendesk
from webhooks.providers import inbound_mail, lob, sendgrid, twilio
from webhooks.providers.base import ParsedBatch

log = structlog.get_logger()

# A callback may arrive before the receipt of the call is written: wait for it this long.
PATIENCE = timedelta(minutes=15)
MOST_TRIES = 8

# What of the headers is kept: what parsing needs, no secrets and no signatures.
KEPT_HEADERS = ("content-type", "webhook-id", "x-zendesk-webhook-id", "x-zendesk-webhook-invocation-id")


class MessageNotKnownYet(Exception):
    """Some events name messages that are not there (yet)."""


def store(
    session: Session, *, source: str, key: str | None, headers: Mapping[str, str], query: str, body: bytes
) -> bool:
    """Keep a verified event, once per source and key; returns false when it was there already.

    Without a natural key the bytes themselves, with their query string, are the key.
    """
    kept = {name: headers[name] for name in KEPT_HEADERS if name in headers}
    digest = hashlib.sha256(query.encode() + b"\n" + body).hexdigest()
    stored = session.execute(
        insert(InboundEvent)
        .values(source=source, key=(key or digest)[:200], headers={**kept, "query": query}, body=body)
        .on_conflict_do_nothing(index_elements=["source", "key"])
        .returning(InboundEvent.id)
    ).scalar_one_or_none()
    wake(session, "webhooks.apply_inbox")
    return stored is not None


def apply_due(session: Session, *, most: int = 200) -> Counter[str]:
    """Apply open events, oldest first; returns how many ended in which state."""
    now = clock.wall()
    due = session.scalars(
        select(InboundEvent)
        .where(InboundEvent.state.in_([InboundState.NEW, InboundState.WAITING]), InboundEvent.next_try_at <= now)
        .order_by(InboundEvent.next_try_at, InboundEvent.id)
        .limit(most)
        .with_for_update(skip_locked=True)
    ).all()
    return Counter(_apply_one(session, event, now).value for event in due)


def replay(session: Session, *, event_id: int) -> None:
    """Put a dead or orphaned event back into the queue."""
    event = session.get(InboundEvent, event_id)
    if event is None:
        raise NotFound(f"There is no inbound event {event_id}.")
    if event.state not in {InboundState.DEAD, InboundState.ORPHAN}:
        raise Conflict(f"Inbound event {event_id} is {event.state}; only dead and orphaned events are replayed.")
    event.state, event.tries, event.next_try_at, event.error = InboundState.NEW, 0, clock.wall(), None
    wake(session, "webhooks.apply_inbox")


def _apply_one(session: Session, event: InboundEvent, now: datetime) -> InboundState:
    try:
        with session.begin_nested():
            event.error = _SOURCES[event.source](session, event)
        event.state, event.applied_at = InboundState.APPLIED, now
    except MessageNotKnownYet as waiting:
        late = now - event.received_at > PATIENCE
        event.state = InboundState.ORPHAN if late else InboundState.WAITING
        event.next_try_at, event.error = now + timedelta(seconds=5), str(waiting)
    except (OutreachError, DBAPIError, ValueError, TypeError, KeyError, LookupError) as error:
        # Whatever one event holds, the others go on.
        event.tries += 1
        event.error = f"{type(error).__name__}: {getattr(error, 'message', error)}"[:1000].replace("\0", "")
        event.state = InboundState.DEAD if event.tries >= MOST_TRIES or _hopeless(error) else InboundState.NEW
        event.next_try_at = now + timedelta(seconds=2**event.tries)
        log.warning("inbound event not applied", source=event.source, event_id=event.id, tries=event.tries)
    session.flush()
    return event.state


def _hopeless(error: Exception) -> bool:
    return isinstance(error, OutreachError) and error.status in {413, 422}


def _apply_batch(session: Session, event: InboundEvent, batch: ParsedBatch, provider: str) -> str | None:
    applied = apply_events(session, provider=provider, events=batch.events, inbound_event_id=event.id)
    if batch.malformed:
        reasons = "; ".join(f"{bad.where}: {bad.reason}" for bad in batch.malformed[:10])
        return f"{len(batch.malformed)} of {len(batch.malformed) + len(batch.events)} not readable: {reasons}"[:1000]
    if applied.unknown and applied.new == 0 and applied.repeated == 0:
        raise MessageNotKnownYet(f"{applied.unknown} events name messages that are not known here")
    return f"{applied.unknown} events name messages that are not known here" if applied.unknown else None


def _sendgrid(session: Session, event: InboundEvent) -> str | None:
    return _apply_batch(session, event, sendgrid.parse_events(event.body, now=clock.now(session)), "sendgrid")


def _lob(session: Session, event: InboundEvent) -> str | None:
    return _apply_batch(session, event, lob.parse_events(event.body, now=clock.now(session)), "lob")


def _twilio_status(session: Session, event: InboundEvent) -> str | None:
    message_id = parse_qs(str(event.headers.get("query", ""))).get("message_id", [None])[0]
    return _apply_batch(session, event, twilio.parse_events(event.body, message_id=message_id), "twilio")


def _twilio_inbound(session: Session, event: InboundEvent) -> str | None:
    replies.record(session, reply=twilio.parse_inbound(event.body), inbound_event_id=event.id)
    return None


def _sendgrid_inbound(session: Session, event: InboundEvent) -> str | None:
    reply = inbound_mail.parse_inbound(str(event.headers.get("content-type", "")), event.body)
    replies.record(session, reply=reply, inbound_event_id=event.id)
    return None


def _generic_desk(session: Session, event: InboundEvent) -> str | None:
    for parsed in generic.parse(event.headers, event.body, generic.Mapping()):
        triggers.apply(session, desk="generic", event=parsed)
    return None


def _zendesk(session: Session, event: InboundEvent) -> str | None:
    for parsed in zendesk.parse(event.headers, event.body, zendesk.Mapping()):
        triggers.apply(session, desk="zendesk", event=parsed)
    return None


_SOURCES: dict[str, Callable[[Session, InboundEvent], str | None]] = {
    "sendgrid": _sendgrid,
    "sendgrid-inbound": _sendgrid_inbound,
    "twilio-status": _twilio_status,
    "twilio-inbound": _twilio_inbound,
    "lob": _lob,
    "desk-generic": _generic_desk,
    "desk-zendesk": _zendesk,
}


def counts(session: Session) -> dict[str, int]:
    """Return how many inbound events are in each state."""
    rows = session.execute(text("SELECT state, count(*) AS total FROM inbound_events GROUP BY state"))
    return {row.state: row.total for row in rows}
