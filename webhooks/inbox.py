"""Every raw event is kept once (`webhooks.intake`); here workers apply what was kept, as often as it takes.

The provider events of many bodies go through one statement together. Where that fails, and for replies and desks,
each event has a savepoint of its own, so that a bad one never stops the rest: it is tried again with growing waits
and in the end kept as dead, with the reason, until somebody replays it. What of a body cannot be applied while the
rest can (a message we do not know yet, an element that cannot be read) becomes an event of its own.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta

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
from webhooks import desk_intake, provider_events, replies
from webhooks.deliveries import EventSet, apply_events
from webhooks.intake import LONGEST_KEY
from webhooks.provider_events import FORGEABLE, LISTS, READERS
from webhooks.providers import inbound_mail, postmark, twilio
from webhooks.providers.base import ParsedBatch

log = structlog.get_logger()

# A callback may arrive before the receipt of the call is written: wait for it this long.
PATIENCE = timedelta(minutes=15)
MOST_TRIES = 8
MOST_BYTES = 4 * 1024 * 1024  # of the bodies that one batch holds in memory; about 10,000 events of SendGrid

# Whoever claims takes no more than it will hold, so that the next one finds something too.
_CLAIM = text("""
WITH first AS (
    SELECT coalesce(body_bytes, octet_length(body)) AS size FROM inbound_events
    WHERE state IN ('new', 'waiting') AND next_try_at <= :now ORDER BY next_try_at, id LIMIT 20
), due AS (
    SELECT id, coalesce(body_bytes, octet_length(body)) AS size, next_try_at FROM inbound_events
    WHERE state IN ('new', 'waiting') AND next_try_at <= :now
    ORDER BY next_try_at, id
    LIMIT (SELECT least(:most, 1 + :most_bytes / greatest(avg(size), 1))::bigint FROM first)
    FOR UPDATE SKIP LOCKED
), summed AS (
    SELECT id, sum(size) OVER (ORDER BY next_try_at, id) - size AS before FROM due
)
SELECT id FROM summed WHERE before < :most_bytes ORDER BY id
""")

_APPLIED = text("""
UPDATE inbound_events SET state = 'applied', applied_at = :now, error = NULL WHERE id = ANY(:ids)
""")


class MessageNotKnownYet(Exception):
    """Some events name messages that are not there (yet)."""


def apply_due(session: Session, *, most: int = 1000) -> Counter[str]:
    """Apply open events, oldest first; returns how many ended in which state."""
    now = clock.wall()
    ids = session.scalars(_CLAIM, {"now": now, "most": most, "most_bytes": MOST_BYTES}).all()
    due = session.scalars(select(InboundEvent).where(InboundEvent.id.in_(ids)).order_by(InboundEvent.id)).all()
    together = [event for event in due if event.source in READERS]
    alone = [event for event in due if event.source not in READERS]
    done: Counter[str] = Counter()
    if together:
        try:
            with session.begin_nested():
                done += _apply_together(session, together, now)
        except (DBAPIError, OutreachError, ValueError, TypeError, LookupError) as error:
            log.warning("batch applied one by one", events=len(together), error=type(error).__name__)
            alone = [*together, *alone]
    tickets = desk_intake.apply_together(session, alone, now)
    done[InboundState.APPLIED.value] += len(tickets)
    done += Counter(_apply_one(session, event, now).value for event in alone if event.id not in tickets)
    return done


def replay(session: Session, *, event_id: int) -> InboundEvent:
    """Put a dead or orphaned event back into the queue."""
    event = session.get(InboundEvent, event_id, with_for_update=True)
    if event is None:
        raise NotFound(f"There is no inbound event {event_id}.")
    if event.state not in {InboundState.DEAD, InboundState.ORPHAN}:
        raise Conflict(f"Inbound event {event_id} is {event.state}; only dead and orphaned events are replayed.")
    event.state, event.tries, event.next_try_at, event.error = InboundState.NEW, 0, clock.wall(), None
    session.flush()
    wake(session, "webhooks.apply_inbox")
    return event


def counts(session: Session) -> dict[str, int]:
    """Return how many inbound events are in each state."""
    rows = session.execute(text("SELECT state, count(*) AS total FROM inbound_events GROUP BY state"))
    return {row.state: row.total for row in rows}


def _apply_together(session: Session, due: Sequence[InboundEvent], now: datetime) -> Counter[str]:
    """Apply provider events in one statement; raises when any of it cannot be stored."""
    moment = clock.now(session)
    batches = [_read(session, event, moment) for event in due]
    sets = [
        EventSet(READERS[event.source][0], batch.events, event.id) for event, batch in zip(due, batches, strict=True)
    ]
    applied = apply_events(session, sets)
    finished: list[int] = []
    done: Counter[str] = Counter()
    for event, batch, unknown in zip(due, batches, applied.unknown, strict=True):
        if unknown or batch.malformed:
            done[_settle(session, event, batch, unknown, now).value] += 1
        else:
            finished.append(event.id)
            done[InboundState.APPLIED.value] += 1
    session.flush()
    session.execute(_APPLIED, {"ids": finished, "now": now})
    for event in due:
        session.expire(event)
    return done


def _read(session: Session, event: InboundEvent, moment: datetime) -> ParsedBatch:
    batch = provider_events.read(event.source, event.headers, event.body, moment)
    return provider_events.believable(session, batch) if event.source in FORGEABLE else batch


def _settle(
    session: Session, event: InboundEvent, batch: ParsedBatch, unknown: Sequence[int], now: datetime
) -> InboundState:
    """Part what could not be applied from the rest; a body of which nothing could be waits, or is dead, itself."""
    late = now - event.received_at > PATIENCE
    nothing = len(unknown) == len(batch.events)
    unread = "; ".join(f"{bad.where}: {bad.reason}" for bad in batch.malformed[:10])
    if nothing and batch.malformed and not batch.events:
        return _end(event, InboundState.DEAD, unread, now)
    if event.source not in LISTS and not unknown:
        return _end(event, InboundState.APPLIED, unread, now)
    if event.source not in LISTS or (nothing and not batch.malformed):
        named = any(batch.events[place].message_id is not None for place in unknown)
        said = f"{len(unknown)} events name messages that are not known here"
        if not named:
            said = f"{len(unknown)} events name no message of ours (no message_id)"
        return _end(event, InboundState.WAITING if named and not late else InboundState.ORPHAN, said, now)
    for part in provider_events.parts_of(event.body, batch, unknown, late=late):
        session.execute(
            insert(InboundEvent)
            .values(
                source=event.source,
                key=f"{event.id}#{part.name}"[:LONGEST_KEY],
                headers=event.headers,
                body=part.body,
                body_bytes=len(part.body),
                received_at=event.received_at,
                state=part.state,
                next_try_at=_next_look(event, now),
                error=part.error[:1000],
                parent_id=event.parent_id or event.id,
            )
            .on_conflict_do_nothing(index_elements=["source", "key"])
        )
    return _end(event, InboundState.APPLIED, "what could not be applied is kept as events of its own", now)


def _end(event: InboundEvent, state: InboundState, error: str, now: datetime) -> InboundState:
    event.state, event.error, event.next_try_at = state, error[:1000].replace("\0", ""), _next_look(event, now)
    event.applied_at = now if state is InboundState.APPLIED else None
    return state


def _next_look(event: InboundEvent, now: datetime) -> datetime:
    """Return when to look again for messages that are not known: soon at first, then ever less often."""
    return now + max(timedelta(seconds=5), (now - event.received_at) / 4)


def _apply_one(session: Session, event: InboundEvent, now: datetime) -> InboundState:
    try:
        with session.begin_nested():
            if event.source in READERS:
                state = InboundState(next(iter(_apply_together(session, [event], now))))
                session.refresh(event)
                return state
            apply = _desk if desk_intake.takes(event.source) else _SOURCES[event.source]
            event.error = apply(session, event)
        event.state, event.applied_at = InboundState.APPLIED, now
    except MessageNotKnownYet as waiting:
        late = now - event.received_at > PATIENCE
        _end(event, InboundState.ORPHAN if late else InboundState.WAITING, str(waiting), now)
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


def _twilio_inbound(session: Session, event: InboundEvent) -> str | None:
    replies.record(session, reply=twilio.parse_inbound(event.body), inbound_event_id=event.id)
    return None


def _sendgrid_inbound(session: Session, event: InboundEvent) -> str | None:
    reply = inbound_mail.parse_inbound(str(event.headers.get("content-type", "")), event.body)
    replies.record(session, reply=reply, inbound_event_id=event.id)
    return None


def _postmark_inbound(session: Session, event: InboundEvent) -> str | None:
    replies.record(session, reply=postmark.parse_inbound(event.body), inbound_event_id=event.id)
    return None


def _desk(session: Session, event: InboundEvent) -> str | None:
    desk_intake.apply_one(session, event)
    return None


_SOURCES: dict[str, Callable[[Session, InboundEvent], str | None]] = {
    "sendgrid-inbound": _sendgrid_inbound,
    "twilio-inbound": _twilio_inbound,
    "postmark-inbound": _postmark_inbound,
}
