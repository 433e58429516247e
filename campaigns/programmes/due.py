"""One row per occurrence: the schedule is asked once per distinct day and country, the rest is one INSERT … SELECT."""

from datetime import date, datetime, timedelta
from typing import Any

from sqlalchemy import text
from sqlalchemy.orm import Session

from campaigns.programmes.places import AT_PLACE, PLACES, places_of
from campaigns.programmes.schedules import Schedule, business_days, occurrences
from campaigns.programmes.steps import Definition
from outreach.models import ProgrammeVersion

SLICE = 20_000
# Rows are made this far ahead, again when so little of it is left. A day of margin for zones ahead of UTC.
AHEAD, MARGIN = timedelta(days=35), timedelta(days=2)

_SLICE = text("""
SELECT e.id, e.customer_id, e.anchor_date, e.scheduled_through, coalesce(c.country, '') AS country
FROM enrolments e JOIN customers c ON c.id = e.customer_id
WHERE e.programme_id = :programme_id AND e.version_id = :version_id AND e.left_at IS NULL
  AND e.scheduled_through < :extend_before
ORDER BY e.scheduled_through, e.id LIMIT :slice
""")


def moments_of(enrolments: str) -> str:
    """Return the FROM of a statement about every occurrence `round` of enrolments `e`, with its moment `at.due_at`.

    Spread by a hash, so that whoever asks again gets the same moment.
    """
    return f"""
FROM {enrolments} JOIN customers c ON c.id = e.customer_id JOIN {PLACES} ON {AT_PLACE}
JOIN unnest(cast(:anchors AS date[]), cast(:countries AS text[]), cast(:froms AS date[]), cast(:occurrences AS int[]),
            cast(:days AS text[]))
     AS round(anchor, country, since, occurrence, days)
  ON round.anchor = e.anchor_date AND round.since = e.scheduled_through AND round.country = coalesce(c.country, '')
CROSS JOIN LATERAL (SELECT hashint8extended(e.customer_id * 31 + e.subject_id, round.occurrence)
                           & 9223372036854775807 AS drawn) hash
CROSS JOIN LATERAL (
    SELECT (split_part(round.days, ',', cast(1 + hash.drawn % cast(:spread_days AS int) AS int))::date
            + cast(:opens AS time) + make_interval(mins => cast(hash.drawn / 64 % cast(:minutes AS int) AS int)))
           AT TIME ZONE place.zone AS due_at) at"""


_WRITE = text(f"""
INSERT INTO programme_dues (programme_id, version_id, enrolment_id, customer_id, subject_id, occurrence, due_at, zone,
                            wake_at)
SELECT e.programme_id, e.version_id, e.id, e.customer_id, e.subject_id, round.occurrence, at.due_at, place.zone,
       at.due_at
{moments_of("enrolments e")}
WHERE e.id = ANY(cast(:enrolments AS bigint[]))
ON CONFLICT (programme_id, customer_id, subject_id, occurrence) DO NOTHING
""")
_SCHEDULED = text("""
UPDATE enrolments SET scheduled_through = :through WHERE id = ANY(cast(:enrolments AS bigint[]))
""")


def extend(session: Session, *, version: ProgrammeVersion, definition: Definition, now: datetime) -> tuple[int, bool]:
    """Write the due rows of one slice of a version's people; returns how many, and whether more wait."""
    today = now.date()
    through = today + AHEAD
    rows = session.execute(
        _SLICE,
        {
            "programme_id": version.programme_id,
            "version_id": version.id,
            "extend_before": today + MARGIN,
            "slice": SLICE,
        },
    ).all()
    if not rows:
        return 0, False
    groups = {(row.anchor_date, row.country, row.scheduled_through) for row in rows}
    schedule, enrolments = definition.schedule, [row.id for row in rows]
    parameters = rounds_of(schedule, groups, through) | places_of(session, [row.customer_id for row in rows])
    made = session.execute(_WRITE, parameters | {"enrolments": enrolments})
    session.execute(_SCHEDULED, {"through": through, "enrolments": enrolments})
    return int(made.rowcount), len(rows) == SLICE  # type: ignore[attr-defined]


def rounds_of(schedule: Schedule, groups: set[tuple[date, str, date]], through: date) -> dict[str, Any]:
    """Return what `moments_of` asks for: the occurrences of each distinct anchor, country and start, as arrays."""
    anchors, countries, froms, numbers, days = [], [], [], [], []
    for anchor, country, since in groups:
        for day in occurrences(schedule, anchor=anchor, after=since, through=through):
            anchors.append(anchor)
            countries.append(country)
            froms.append(since)
            numbers.append(day.year * 10_000 + day.month * 100 + day.day)
            days.append(",".join(each.isoformat() for each in business_days(schedule, start=day, country=country)))
    return {
        "anchors": anchors,
        "countries": countries,
        "froms": froms,
        "occurrences": numbers,
        "days": days,  # those over which an occurrence is spread
        "spread_days": schedule.spread_days,
        "opens": schedule.window.opens,
        "minutes": schedule.window_minutes,
    }
