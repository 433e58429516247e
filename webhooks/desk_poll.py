"""The poll: what webhooks missed is read from the desks every few minutes, each from where it was last read to."""

from datetime import timedelta

from sqlalchemy import select, text
from sqlalchemy.orm import Session

from outreach import clock
from outreach.db import transaction
from outreach.models import Connector
from webhooks import connectors, desk_work
from webhooks.connectors import Desk

# Clocks differ, and a change is listed a little after it was made: the last minutes are read twice.
OVERLAP = timedelta(minutes=2)
FIRST_LOOK = timedelta(days=1)
MOST_TICKETS = 50_000

_READ = text("UPDATE connectors SET read_until = :until WHERE key = :key")


def poll() -> dict[str, int]:
    """Read every desk that is due; returns how many tickets each gave, -1 where it refused."""
    found: dict[str, int] = {}
    with transaction() as session:
        desks = [desk for desk in connectors.all_desks(session) if desk.enabled and _speaks(session, desk)]
    for desk in desks:
        began = clock.wall()
        with transaction() as session:
            row = connectors.row_of(session, desk, lock=True)
            if row.next_poll_at > began or (row.busy_until is not None and row.busy_until > began):
                continue
            # Moved before the call: two workers never read the same desk at once.
            row.next_poll_at = began + timedelta(minutes=row.poll_minutes)
            since = (row.read_until or began - FIRST_LOOK) - OVERLAP
        found[desk.key] = desk_work.read_list(desk, since, most=MOST_TICKETS)
        if found[desk.key] >= 0:
            with transaction() as session:
                session.execute(_READ, {"until": began, "key": desk.key})
    return found


def _speaks(session: Session, desk: Desk) -> bool:
    """Tell whether a desk is read: it has an API, and is not merely where we answer for the generic one.

    Where the settings name a generic desk too, both are one: its tickets are not read a second time under another
    name, unless Zendesk itself has sent an event.
    """
    if desk.client() is None:
        return False
    others = {one.key for one in connectors.all_desks(session) if one.from_settings}
    if not desk.from_settings or "generic" not in others:
        return True
    query = select(Connector.last_event_at).where(Connector.key == desk.key)
    return session.scalar(query) is not None
