"""What came in and is not applied, and what is owed to desks and subscribers: the figures of system health."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import text
from sqlalchemy.orm import Session


@dataclass(frozen=True, slots=True)
class Trouble:
    """Events of one source that a person should look at."""

    source: str
    state: str
    number: int


@dataclass(frozen=True, slots=True)
class Backlog:
    """How much is open; times are those of the oldest, none where nothing is open."""

    events: int
    oldest_event: datetime | None
    trouble: list[Trouble]
    deliveries: int
    oldest_delivery: datetime | None
    desk_actions: int
    desk_error: str | None


_OPEN = text("""
SELECT e.*, d.*, a.* FROM
  (SELECT count(*) AS events, min(received_at) AS oldest_event FROM inbound_events
   WHERE state IN ('new', 'waiting')) e,
  (SELECT count(*) AS deliveries, min(created_at) AS oldest_delivery FROM outgoing_deliveries
   WHERE state = 'waiting') d,
  (SELECT count(*) AS desk_actions, max(error) AS desk_error FROM desk_actions WHERE done_at IS NULL) a
""")
_TROUBLE = text("""
SELECT source, state, count(*) FROM inbound_events WHERE state IN ('dead', 'orphan') GROUP BY 1, 2 ORDER BY 3 DESC
""")


def backlog(session: Session) -> Backlog:
    """Count what is open; every count stands on a partial index of what is open."""
    row = session.execute(_OPEN).one()
    trouble = [Trouble(*found) for found in session.execute(_TROUBLE)]
    return Backlog(
        row.events, row.oldest_event, trouble, row.deliveries, row.oldest_delivery, row.desk_actions, row.desk_error
    )
