"""What time it is. Everything that is due asks here, so that the demo and tests can move the clock.

Leases and time-outs use the database's own time, which nobody moves.
"""

from datetime import UTC, datetime, timedelta

from sqlalchemy import select, text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from outreach.errors import NotPermitted
from outreach.models import ClockOffset
from outreach.settings import get_settings

# The same moment inside a larger statement, for paths on which each statement counts.
NOW_SQL = "(clock_timestamp() + make_interval(secs => coalesce((SELECT sum(seconds) FROM clock_offset), 0)))"


def now(session: Session) -> datetime:
    """Return the present moment (UTC): the database's clock plus what the demo has added."""
    moment: datetime = session.execute(text(f"SELECT {NOW_SQL}")).scalar_one()
    return moment.astimezone(UTC)


def advance(session: Session, by: timedelta) -> datetime:
    """Move the clock forward and return the new time; refused unless the `demo` setting is on."""
    if not get_settings().demo:
        raise NotPermitted("The clock can be moved only in a demo (OUTREACH_DEMO=true).")
    if by < timedelta(0):
        raise NotPermitted("The clock only moves forward.")
    insertion = insert(ClockOffset).values(id=1, seconds=by.total_seconds())
    session.execute(
        insertion.on_conflict_do_update(
            index_elements=["id"], set_={"seconds": ClockOffset.seconds + insertion.excluded.seconds}
        )
    )
    return now(session)


def offset(session: Session) -> timedelta:
    """Return how far the clock has been moved."""
    seconds = session.scalar(select(ClockOffset.seconds).where(ClockOffset.id == 1))
    return timedelta(seconds=seconds or 0)


def wall() -> datetime:
    """Return the machine's own time (UTC), which nobody moves: for signatures and leases."""
    return datetime.now(UTC)
