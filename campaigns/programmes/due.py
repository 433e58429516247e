"""One row per occurrence: the schedule is asked once per distinct day and country, the rest is one INSERT … SELECT."""

from collections.abc import Iterable
from datetime import date, datetime, timedelta
from functools import lru_cache
from typing import Any

from sqlalchemy import text
from sqlalchemy.orm import Session

from campaigns.programmes.places import AT_PLACE, PLACES, places_of
from campaigns.programmes.schedules import Schedule, business_days, occurrences
from campaigns.programmes.steps import Definition
from outreach.models import ProgrammeVersion

SLICE = 40_000
# Rows are made this far ahead, again when so little of it is left: a pass over the people costs much the same however
# many rows it writes. A day of margin for zones ahead of UTC.
AHEAD, MARGIN = timedelta(days=92), timedelta(days=2)

_BEHIND = """
SELECT e.id, e.programme_id, e.version_id, e.customer_id, e.subject_id, e.anchor_date, e.scheduled_through
FROM enrolments e
WHERE e.programme_id = :programme_id AND e.version_id = :version_id AND e.left_at IS NULL
  AND e.scheduled_through < :extend_before
ORDER BY e.scheduled_through, e.id LIMIT :slice"""
_STARTS = text(f"SELECT s.anchor_date, s.scheduled_through, count(*) AS people FROM ({_BEHIND}) AS s GROUP BY 1, 2")


def moments_of(people: str) -> str:
    """Return the FROM of a statement about every occurrence `round` of `people` e, with its moment `at.due_at`.

    Of each of `people` it needs customer_id, subject_id, anchor_date, scheduled_through, zone and country. Spread by
    a hash, so that whoever asks again gets the same moment.
    """
    return f"""
FROM {people}
JOIN unnest(cast(:anchors AS date[]), cast(:froms AS date[]), cast(:occurrences AS int[]))
     AS round(anchor, since, occurrence)
  ON round.anchor = e.anchor_date AND round.since = e.scheduled_through
CROSS JOIN LATERAL (SELECT hashint8extended(e.customer_id * 31 + e.subject_id, round.occurrence)
                           & 9223372036854775807 AS drawn) hash
JOIN unnest(cast(:spread_occurrences AS int[]), cast(:spread_countries AS text[]), cast(:spread_places AS int[]),
            cast(:spread_over AS date[])) AS spread(occurrence, country, place, day)
  ON spread.occurrence = round.occurrence AND spread.country = e.country
     AND spread.place = cast(hash.drawn % cast(:spread_days AS int) AS int)
CROSS JOIN LATERAL (
    SELECT (spread.day + cast(:opens AS time)
            + make_interval(mins => cast(hash.drawn / 64 % cast(:minutes AS int) AS int)))
           AT TIME ZONE e.zone AS due_at) at"""


# Whoever has changed between the two statements is no longer among the starts or places asked for: the next slice's.
_WRITE = text(f"""
WITH slice AS MATERIALIZED (
    SELECT s.*, place.zone, coalesce(c.country, '') AS country
    FROM ({_BEHIND}) AS s
    JOIN unnest(cast(:start_anchors AS date[]), cast(:start_sinces AS date[])) AS start(anchor, since)
      ON start.anchor = s.anchor_date AND start.since = s.scheduled_through
    JOIN customers c ON c.id = s.customer_id JOIN {PLACES} ON {AT_PLACE}
), taken AS (
    UPDATE enrolments SET scheduled_through = :through FROM slice WHERE enrolments.id = slice.id
)
INSERT INTO programme_dues (programme_id, version_id, enrolment_id, customer_id, subject_id, occurrence, due_at, zone,
                            wake_at)
SELECT e.programme_id, e.version_id, e.id, e.customer_id, e.subject_id, round.occurrence, at.due_at, e.zone, at.due_at
{moments_of("slice e")}
ON CONFLICT (programme_id, customer_id, subject_id, occurrence) DO NOTHING
""")


def extend(session: Session, *, version: ProgrammeVersion, definition: Definition, now: datetime) -> tuple[int, bool]:
    """Write the due rows of one slice of a version's people; returns how many, and whether more wait."""
    today = now.date()
    through = today + AHEAD
    of = {
        "programme_id": version.programme_id,
        "version_id": version.id,
        "extend_before": today + MARGIN,
        "slice": SLICE,
    }
    starts = session.execute(_STARTS, of).all()
    if not starts:
        return 0, False
    places = places_of(session, f"SELECT s.customer_id FROM ({_BEHIND}) AS s", of)
    known = {(row.anchor_date, row.scheduled_through) for row in starts}
    made = session.execute(
        _WRITE,
        {
            **of,
            **places,
            **rounds_of(definition.schedule, known, through, countries=places["place_countries"]),
            "start_anchors": [anchor for anchor, _ in known],
            "start_sinces": [since for _, since in known],
            "through": through,
        },
    )
    return int(made.rowcount), sum(row.people for row in starts) == SLICE  # type: ignore[attr-defined]


def rounds_of(
    schedule: Schedule, starts: Iterable[tuple[date, date]], through: date, *, countries: Iterable[str]
) -> dict[str, Any]:
    """Return what `moments_of` asks for, as arrays: the occurrences of each start, and the days of each by country."""
    anchors, froms, numbers = [], [], []
    comes: dict[int, date] = {}
    for anchor, since in starts:
        for day in occurrences(schedule, anchor=anchor, after=since, through=through):
            number = day.year * 10_000 + day.month * 100 + day.day
            anchors.append(anchor)
            froms.append(since)
            numbers.append(number)
            comes[number] = day
    spread = [
        (number, country, place, each)
        for number, day in comes.items()
        for country in set(countries)
        for place, each in enumerate(_days(schedule.business_days, schedule.spread_days, day, country))
    ]
    return {
        "anchors": anchors,
        "froms": froms,
        "occurrences": numbers,
        "spread_occurrences": [number for number, _, _, _ in spread],
        "spread_countries": [country for _, country, _, _ in spread],
        "spread_places": [place for _, _, place, _ in spread],
        "spread_over": [day for _, _, _, day in spread],
        "spread_days": schedule.spread_days,
        "opens": schedule.window.opens,
        "minutes": schedule.window_minutes,
    }


@lru_cache(maxsize=100_000)
def _days(working: bool, spread_days: int, start: date, country: str) -> tuple[date, ...]:
    schedule = Schedule(business_days=working, spread_days=spread_days)
    return tuple(business_days(schedule, start=start, country=country))
