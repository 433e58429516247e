"""One row per occurrence: the schedule is asked once per distinct day and country, the rest is one INSERT … SELECT."""

import json
from collections.abc import Iterable
from datetime import date, datetime, timedelta
from typing import Any

from sqlalchemy import text
from sqlalchemy.orm import Session

from campaigns.programmes.places import places_of
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


# What every row looks its own up in; materialised, so that it is read once whatever the plan.
GIVEN = "given AS MATERIALIZED (SELECT cast(:rounds AS jsonb) AS rounds, cast(:spread AS jsonb) AS spread)"


def moments_of(people: str) -> str:
    """Return the FROM of a statement about every occurrence `round` of `people` e, with its moment `at.due_at`.

    It stands below a WITH that has `GIVEN`. Of each of `people` it needs customer_id, subject_id, anchor_date,
    scheduled_through, zone and country. Spread by a hash, so that whoever asks again gets the same moment.
    """
    return f"""
FROM {people} CROSS JOIN given
CROSS JOIN LATERAL jsonb_array_elements_text(
    given.rounds -> (e.anchor_date || '|' || e.scheduled_through)) AS came(occurrence)
CROSS JOIN LATERAL (SELECT cast(came.occurrence AS int) AS occurrence) AS round
CROSS JOIN LATERAL (SELECT hashint8extended(e.customer_id * 31 + e.subject_id, round.occurrence)
                           & 9223372036854775807 AS drawn) AS hash
CROSS JOIN LATERAL (
    SELECT (cast(given.spread -> (came.occurrence || '|' || e.country)
                 ->> cast(hash.drawn % cast(:spread_days AS int) AS int) AS date) + cast(:opens AS time)
            + make_interval(mins => cast(hash.drawn / 64 % cast(:minutes AS int) AS int)))
           AT TIME ZONE e.zone AS due_at) AS at"""


# Whoever has changed between the two statements is no longer among the starts or places asked for: the next slice's.
_WRITE = text(f"""
WITH {GIVEN}, places AS MATERIALIZED (SELECT cast(:zones AS jsonb) AS zones
), slice AS MATERIALIZED (
    SELECT s.*, lived.zone, coalesce(c.country, '') AS country
    FROM ({_BEHIND}) AS s JOIN customers c ON c.id = s.customer_id CROSS JOIN given CROSS JOIN places
    CROSS JOIN LATERAL (SELECT places.zones ->> (coalesce(c.time_zone, '') || '|' || coalesce(c.country, '')) AS zone)
        AS lived
    WHERE lived.zone IS NOT NULL AND given.rounds ? (s.anchor_date || '|' || s.scheduled_through)
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
    known = zip(places["place_zones"], places["place_countries"], places["places"], strict=True)
    made = session.execute(
        _WRITE,
        {
            **of,
            **rounds_of(
                definition.schedule,
                [(row.anchor_date, row.scheduled_through) for row in starts],
                through,
                countries=places["place_countries"],
            ),
            "zones": json.dumps({f"{given}|{country}": zone for given, country, zone in known}),
            "through": through,
        },
    )
    return int(made.rowcount), sum(row.people for row in starts) == SLICE  # type: ignore[attr-defined]


def rounds_of(
    schedule: Schedule, starts: Iterable[tuple[date, date]], through: date, *, countries: Iterable[str]
) -> dict[str, Any]:
    """Return what `moments_of` asks for: the occurrences of each start, and the days of each occurrence by country.

    As JSON objects that every row looks its own up in: no join whose plan hangs on how many rows are expected.
    """
    rounds: dict[str, list[int]] = {}
    spread: dict[str, list[str]] = {}
    places = set(countries)
    for anchor, since in starts:
        numbers = rounds.setdefault(f"{anchor.isoformat()}|{since.isoformat()}", [])
        for day in occurrences(schedule, anchor=anchor, after=since, through=through):
            number = day.year * 10_000 + day.month * 100 + day.day
            numbers.append(number)
            for country in places:
                if (key := f"{number}|{country}") not in spread:
                    days = business_days(schedule, start=day, country=country)
                    spread[key] = [each.isoformat() for each in days]
    return {
        "rounds": json.dumps(rounds),
        "spread": json.dumps(spread),
        "spread_days": schedule.spread_days,
        "opens": schedule.window.opens,
        "minutes": schedule.window_minutes,
    }
