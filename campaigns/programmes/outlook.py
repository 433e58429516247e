"""What a programme is about to do: who would enter now and what falls due in the next days; nothing is written.

The statements are those that enrol and schedule, so that the answer is theirs, to the minute.
"""

from collections import Counter
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any

from sqlalchemy import select, text
from sqlalchemy.orm import Session

from campaigns.programmes.due import GIVEN, moments_of, rounds_of
from campaigns.programmes.enrolment import RESOLUTIONS_WITHIN, RESOLVED, entry_parameters, members_source, newcomers
from campaigns.programmes.places import places_of
from campaigns.programmes.steps import Definition
from outreach.models import Programme, Segment
from outreach.vocabulary import Grade

# Of a larger segment so many members, evenly taken, stand for all.
SAMPLE, DAYS, NAMED = 4_000, 14, 5

_MEMBERS = text("""
SELECT count(*) FROM audience_members WHERE segment_id = :segment_id AND left_at IS NULL AND grade <> 'cleared'
""")
_SAMPLE = text("""
SELECT customer_id FROM audience_members
WHERE segment_id = :segment_id AND left_at IS NULL AND grade <> 'cleared' AND customer_id % :every = 0
ORDER BY customer_id LIMIT :most
""")
_TOLD = text(f"SELECT DISTINCT customer_id FROM ({RESOLVED}) AS told")
_CANDIDATES = """unnest(cast(:customers AS bigint[]), cast(:subjects AS bigint[]), cast(:starts AS date[]),
    cast(:sinces AS date[]), cast(:zones AS text[]), cast(:countries AS text[]))
    AS e(customer_id, subject_id, anchor_date, scheduled_through, zone, country)"""
_FIRST = text(f"""
WITH {GIVEN}
SELECT c.external_id AS number, c.name, min(at.due_at) AS due_at
{moments_of(_CANDIDATES)} JOIN customers c ON c.id = e.customer_id
WHERE at.due_at >= :now GROUP BY c.id ORDER BY min(at.due_at), c.id LIMIT :named
""")
_BY_DAY = text(f"""
WITH {GIVEN}
SELECT greatest(cast(at.due_at AT TIME ZONE e.zone AS date), cast(:today AS date)) AS day, count(*) AS total
{moments_of(_CANDIDATES)}
WHERE at.due_at < :until GROUP BY 1
""")
_WRITTEN = text("""
SELECT greatest(cast(d.wake_at AT TIME ZONE d.zone AS date), cast(:today AS date)) AS day, count(*) AS total
FROM programme_versions v JOIN programme_dues d ON d.version_id = v.id AND d.state = 'open' AND d.wake_at < :until
WHERE v.programme_id = :programme_id GROUP BY 1
""")


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody who would enter, and when she would first hear of it; none: not within the time looked at."""

    number: str
    name: str | None
    due_at: datetime | None


@dataclass(frozen=True, slots=True)
class Outlook:
    """Who would enter now, and how many steps fall due on each of the next days, where the customers live.

    `about`: counted on a sample. `nobody_because` says in words why nobody would enter.
    """

    members: int
    enters: int
    about: bool
    days: dict[date, int]
    people: list[Person]
    nobody_because: str = ""


def outlook(
    session: Session,
    *,
    definition: Definition,
    segment: Segment | None,
    now: datetime,
    programme: Programme | None = None,
) -> Outlook:
    """Return what would happen if this definition were in force from now on; `programme` knows who is in it already."""
    members, every, customers = _looked_at(session, definition, segment, programme, now)
    rows = _entering(session, definition, segment, programme, customers, now)
    days = dict.fromkeys((now.date() + timedelta(days=ahead) for ahead in range(DAYS)), 0)
    people: list[Person] = []
    if rows:
        through = now.date() + timedelta(days=DAYS + 1)
        starts = {(row.anchor, row.since) for row in rows}
        parameters: dict[str, Any] = {
            **rounds_of(definition.schedule, starts, through, countries=[row.country for row in rows]),
            "customers": [row.customer_id for row in rows],
            "subjects": [row.subject_id for row in rows],
            "starts": [row.anchor for row in rows],
            "sinces": [row.since for row in rows],
            "zones": [row.zone for row in rows],
            "countries": [row.country for row in rows],
            "now": now, "today": now.date(), "until": now + timedelta(days=DAYS), "named": NAMED,
        }  # fmt: skip
        _add(days, {row.day: row.total * every for row in session.execute(_BY_DAY, parameters)})
        people = [Person(row.number, row.name, row.due_at) for row in session.execute(_FIRST, parameters)]
    if programme is not None:
        _add(days, written(session, programme=programme, now=now))
    enters = len({row.customer_id for row in rows}) * every
    return Outlook(members, enters, every > 1, days, people, "" if rows else _why(definition, segment, members))


def written(session: Session, *, programme: Programme, now: datetime) -> dict[date, int]:
    """Return how many steps of the people in a programme fall due on each of the next days; what is late is today's."""
    until = now + timedelta(days=DAYS)
    rows = session.execute(_WRITTEN, {"programme_id": programme.id, "today": now.date(), "until": until})
    return {row.day: row.total for row in rows}


def _looked_at(
    session: Session, definition: Definition, segment: Segment | None, programme: Programme | None, now: datetime
) -> tuple[int, int, list[int]]:
    if definition.per == "problem":
        customers = list(session.scalars(_TOLD, _resolved_parameters(definition, segment, programme, now)))
        return len(customers), 1, customers
    if segment is None:
        return 0, 1, []
    totals = Counter({grade: number for grade, number in segment.totals.items() if grade != Grade.CLEARED})
    members = totals.total() or session.scalar(_MEMBERS, {"segment_id": segment.id}) or 0
    every = max(1, -(-members // SAMPLE))
    sample = session.scalars(_SAMPLE, {"segment_id": segment.id, "every": every, "most": 2 * SAMPLE})
    return members, every, list(sample)


def _entering(
    session: Session,
    definition: Definition,
    segment: Segment | None,
    programme: Programme | None,
    customers: list[int],
    now: datetime,
) -> list[Any]:
    if not customers:
        return []
    source = RESOLVED if definition.per == "problem" else members_source(definition)
    parameters = _resolved_parameters(definition, segment, programme, now) | {
        "customers": customers,
        **places_of(session, customers),
    }
    return list(session.execute(text(newcomers(source)), parameters).all())


def _resolved_parameters(
    definition: Definition, segment: Segment | None, programme: Programme | None, now: datetime
) -> dict[str, Any]:
    known = entry_parameters(
        programme_id=programme.id if programme else 0,
        segment_id=segment.id if segment else None,
        definition=definition,
        now=now,
    )
    since = max(now - timedelta(days=definition.catch_up_days), now - RESOLUTIONS_WITHIN)
    return known | {"since": since, "slice": 2 * SAMPLE}


def _why(definition: Definition, segment: Segment | None, members: int) -> str:
    if definition.per == "problem":
        return "Nobody was told of a resolution in the days that it looks back; they enter as it happens."
    if segment is None:
        return "Choose a segment: who is in it?"
    if not members:
        return "The segment has no members at the moment."
    if definition.anchor.of == "entry":
        return "Every member is in it already, or may not enter again."
    return "No member has a date to count from that is recent enough; they enter as it comes."


def _add(days: dict[date, int], found: dict[date, int]) -> None:
    for day, total in found.items():
        if day in days:
            days[day] += total


def segment_named(session: Session, key: str | None) -> Segment | None:
    """Return a segment by its key; none when there is none of that name."""
    return session.scalar(select(Segment).where(Segment.key == key)) if key else None
