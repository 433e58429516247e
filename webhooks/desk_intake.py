"""Events of help desks on their way from the inbox to what they mean: together where possible, else one by one."""

from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime

import structlog
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session
from sqlalchemy.orm.attributes import set_committed_value

from outreach.errors import NotFound, OutreachError
from outreach.models import InboundEvent
from outreach.vocabulary import InboundState
from webhooks import connectors, triggers
from webhooks.connectors import SOURCE, Desk
from webhooks.desks.base import DeskEvent

log = structlog.get_logger()

_APPLIED = text("""
UPDATE inbound_events SET state = 'applied', applied_at = :now, error = NULL WHERE id = ANY(:ids)
""")


def takes(source: str) -> bool:
    """Tell whether events of this source come from a help desk."""
    return source.startswith(SOURCE)


def apply_together(session: Session, due: Sequence[InboundEvent], now: datetime) -> set[int]:
    """Apply the events of each desk with a few statements; returns the ids of those that are done.

    An event that cannot be read, and all events of a desk where something failed, are left to be applied alone.
    """
    done: set[int] = set()
    by_source: dict[str, list[InboundEvent]] = defaultdict(list)
    for event in due:
        if takes(event.source):
            by_source[event.source].append(event)
    for source, events in by_source.items():
        if len(events) < 2:
            continue
        try:
            desk = _desk(session, source)
            read = [(event, parsed) for event in events if (parsed := _read(desk, event)) is not None]
            with session.begin_nested():
                triggers.apply(session, desk=desk, events=[one for _, parsed in read for one in parsed])
                ids = [event.id for event, _ in read]
                session.execute(_APPLIED, {"ids": ids, "now": now})
        except (DBAPIError, OutreachError, ValueError, TypeError, LookupError) as error:
            log.warning("desk events applied one by one", source=source, error=type(error).__name__)
            continue
        for event, _ in read:
            # What the statement above wrote, without reading it back event by event.
            for name, value in (("state", InboundState.APPLIED), ("applied_at", now), ("error", None)):
                set_committed_value(event, name, value)
        done.update(ids)
    return done


def apply_one(session: Session, event: InboundEvent) -> None:
    """Apply one event; raises what is wrong with it."""
    desk = _desk(session, event.source)
    triggers.apply(session, desk=desk, events=desk.parse(event.headers, event.body))


def _desk(session: Session, source: str) -> Desk:
    desk = connectors.find(session, source.removeprefix(SOURCE))
    if not desk.enabled:
        raise NotFound(f"The desk {desk.key} is switched off; replay its events when it is on again.")
    return desk


def _read(desk: Desk, event: InboundEvent) -> list[DeskEvent] | None:
    try:
        return desk.parse(event.headers, event.body)
    except (OutreachError, ValueError, TypeError, LookupError):
        return None
