"""Who enters a programme and who leaves it, from the membership ledger on; set-based, slice by slice."""

from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import text
from sqlalchemy.orm import Session

from campaigns.programmes.places import AT_PLACE, PLACES, places_of
from campaigns.programmes.steps import Definition, stored_definition
from outreach.models import Programme, ProgrammeVersion

SLICE = 20_000
# Resolutions are looked through for newcomers this often, and this far back.
RESOLUTIONS_EVERY, RESOLUTIONS_WITHIN = timedelta(minutes=10), timedelta(days=60)

# The moment from which a customer's occurrences are counted. Dates of attributes are dates where she lives.
_OF_CUSTOMER = {
    "entry": "cast(:now AS timestamptz)",
    "purchase": "(SELECT max(o.ordered_at) FROM orders o WHERE o.customer_id = c.id AND o.cancelled_at IS NULL)",
    "delivery": "(SELECT max(o.delivered_at) FROM orders o WHERE o.customer_id = c.id)",
    "last_contact": """greatest((SELECT max(t.opened_at) FROM tickets t WHERE t.customer_id = c.id),
                                (SELECT max(r.received_at) FROM responses r WHERE r.customer_id = c.id))""",
    "event": """(SELECT max(u.occurred_at) FROM usage_events u WHERE u.customer_id = c.id AND u.name = :anchor_name)""",
    "contract": "date_or_null(c.attributes ->> :anchor_name)",
    "attribute": "date_or_null(c.attributes ->> :anchor_name)",
}
_OF_ITEM = {
    "purchase": "i.ordered_at",
    "delivery": "i.delivered_at",
    "event": """(SELECT max(u.occurred_at) FROM usage_events u WHERE u.customer_id = c.id AND u.name = :anchor_name
                 AND u.attributes ->> 'item' = i.external_id)""",
    "attribute": "date_or_null(i.attributes ->> :anchor_name)",
}
_HELD = """i.cancelled_at IS NULL AND i.returned_at IS NULL AND i.quantity_returned < i.quantity
    AND (m.evidence_items = '{}' OR i.id = ANY(m.evidence_items))"""

_CHANGED = text("""
SELECT customer_id, max(id) AS newest FROM audience_changes
WHERE segment_id = :segment_id AND id > :after GROUP BY customer_id ORDER BY max(id) LIMIT :slice
""")
_LEAVE = text("""
WITH gone AS (
    UPDATE enrolments e SET left_at = :now, exit_reason = 'left_segment'
    WHERE e.programme_id = :programme_id AND e.left_at IS NULL AND e.customer_id = ANY(cast(:customers AS bigint[]))
      AND NOT EXISTS (SELECT 1 FROM audience_members m WHERE m.segment_id = :segment_id
                      AND m.customer_id = e.customer_id AND m.left_at IS NULL AND m.grade <> 'cleared')
    RETURNING e.id
)
UPDATE programme_dues d SET state = CASE WHEN d.campaign_id IS NULL THEN 'skipped' ELSE 'done' END,
       reason = 'left_programme', finished_at = :now
FROM gone WHERE d.enrolment_id = gone.id AND d.state = 'open'
""")
RESOLVED = """
    SELECT n.customer_id, c.problem_id AS subject_id, p.resolved_at AS anchor
    FROM problems p JOIN campaigns c ON c.problem_id = p.id AND c.kind = 'resolved'
    JOIN notices n ON n.campaign_id = c.id AND n.state = 'delivered'
    WHERE p.state IN ('resolved', 'closed') AND p.resolved_at > cast(:since AS timestamptz)
      AND NOT EXISTS (SELECT 1 FROM enrolments e WHERE e.programme_id = :programme_id
                      AND e.customer_id = n.customer_id AND e.subject_id = c.problem_id)
      AND (cast(:segment_id AS bigint) IS NULL OR EXISTS (
           SELECT 1 FROM audience_members m WHERE m.segment_id = :segment_id AND m.customer_id = n.customer_id
           AND m.left_at IS NULL AND m.grade <> 'cleared'))
    ORDER BY n.customer_id LIMIT :slice"""


def newcomers(source: str) -> str:
    """Return SQL for those of `source` (customer_id, subject_id, anchor as a moment or a date) who may enter now.

    It yields customer_id, subject_id, anchor (a day where she lives), since, zone and country.
    """
    return f"""
SELECT found.customer_id, found.subject_id, day.anchor, place.zone, coalesce(c.country, '') AS country,
       cast(cast(:now AS timestamptz) AT TIME ZONE place.zone AS date) - cast(:back AS int) AS since
FROM ({source}) AS found
JOIN customers c ON c.id = found.customer_id JOIN {PLACES} ON {AT_PLACE}
CROSS JOIN LATERAL (SELECT cast(CASE WHEN pg_typeof(found.anchor) = 'date'::regtype THEN found.anchor::timestamp
    ELSE found.anchor::timestamptz AT TIME ZONE place.zone END AS date) AS anchor) day
WHERE found.anchor IS NOT NULL AND c.erased_at IS NULL
  AND (:recurs OR day.anchor + cast(:offset_days AS int)
       >= cast(cast(:now AS timestamptz) AT TIME ZONE place.zone AS date) - cast(:back AS int) + 1)
  AND NOT EXISTS (SELECT 1 FROM enrolments e WHERE e.programme_id = :programme_id
                  AND e.customer_id = found.customer_id AND e.subject_id = found.subject_id
                  AND (e.left_at IS NULL OR cast(:reentry_days AS int) IS NULL
                       OR e.left_at > cast(:now AS timestamptz) - make_interval(days => cast(:reentry_days AS int))))"""


def _insert(source: str) -> str:
    """Return the statement that enrols whoever of `source` may enter."""
    return f"""
INSERT INTO enrolments (programme_id, version_id, customer_id, subject_id, anchor_date, scheduled_through, entered_at)
SELECT :programme_id, :version_id, new.customer_id, new.subject_id, new.anchor, new.since, :now
FROM ({newcomers(source)}) AS new
ON CONFLICT DO NOTHING
"""


def members_source(definition: Definition) -> str:
    """Return SQL that yields customer_id, subject_id and anchor of the members among `:customers`."""
    member = """m.segment_id = :segment_id AND m.left_at IS NULL AND m.grade <> 'cleared'
        AND m.customer_id = ANY(cast(:customers AS bigint[]))"""
    if definition.per == "item":
        return f"""SELECT m.customer_id, i.id AS subject_id, {_OF_ITEM[definition.anchor.of]} AS anchor
            FROM audience_members m JOIN customers c ON c.id = m.customer_id
            JOIN order_items i ON i.customer_id = m.customer_id AND {_HELD} WHERE {member}"""
    return f"""SELECT m.customer_id, 0 AS subject_id, {_OF_CUSTOMER[definition.anchor.of]} AS anchor
        FROM audience_members m JOIN customers c ON c.id = m.customer_id WHERE {member}"""


def follow_ledger(
    session: Session, *, programme: Programme, version: ProgrammeVersion, definition: Definition, now: datetime
) -> tuple[int, bool]:
    """Let in and out whom the newest entries of the ledger name; returns how many entered, and whether more wait.

    Entries of one segment become visible in the order of their ids: refreshes of it take turns.
    """
    if definition.per == "problem":
        return _from_resolutions(session, programme, version, definition, now)
    rows = session.execute(
        _CHANGED, {"segment_id": programme.segment_id, "after": programme.enrolled_through, "slice": SLICE}
    ).all()
    if not rows:
        return 0, False
    customers = [row.customer_id for row in rows]
    if definition.exits.leaves_segment:
        session.execute(
            _LEAVE,
            {
                "programme_id": programme.id,
                "segment_id": programme.segment_id,
                "customers": customers,
                "now": now,
            },
        )
    entered = enrol(session, programme=programme, version=version, definition=definition, customers=customers, now=now)
    programme.enrolled_through = max(row.newest for row in rows)
    return entered, len(rows) == SLICE


def enrol(
    session: Session,
    *,
    programme: Programme,
    version: ProgrammeVersion,
    definition: Definition,
    customers: list[int],
    now: datetime,
) -> int:
    """Enrol those of `customers` who are members, have an anchor, and may enter; returns how many are new."""
    if definition.per == "problem" or not customers:
        return 0
    parameters = _parameters(programme, version, definition, now)
    parameters |= {"customers": customers, **places_of(session, customers)}
    made = session.execute(text(_insert(members_source(definition))), parameters)
    return int(made.rowcount)  # type: ignore[attr-defined]


def enrol_whatever_the_segment(
    session: Session, *, programme: Programme, version: ProgrammeVersion, customers: list[int], now: datetime
) -> int:
    """Enrol customers because their health asks for it; counted from today, and the re-entry rule holds."""
    definition = stored_definition(version)
    parameters = _parameters(programme, version, definition, now)
    parameters |= {"customers": customers, **places_of(session, customers)}
    source = """SELECT who.id AS customer_id, 0 AS subject_id, cast(:now AS timestamptz) AS anchor
        FROM unnest(cast(:customers AS bigint[])) AS who(id)"""
    made = session.execute(text(_insert(source)), parameters)
    return int(made.rowcount)  # type: ignore[attr-defined]


def _from_resolutions(
    session: Session, programme: Programme, version: ProgrammeVersion, definition: Definition, now: datetime
) -> tuple[int, bool]:
    # The cursor holds the time of the last look: deliveries have no order of their own.
    if now.timestamp() - programme.enrolled_through < RESOLUTIONS_EVERY.total_seconds():
        return 0, False
    earliest = (programme.activated_at or now) - timedelta(days=definition.catch_up_days)
    parameters = _parameters(programme, version, definition, now) | {
        "since": max(earliest, now - RESOLUTIONS_WITHIN),
        "slice": SLICE,
    }
    found = session.execute(text(RESOLVED), parameters).all()
    customers = sorted({row.customer_id for row in found})
    made = session.execute(text(_insert(RESOLVED)), {**parameters, **places_of(session, customers)})
    more = len(found) == SLICE
    if not more:
        programme.enrolled_through = int(now.timestamp())
    entered = int(made.rowcount)  # type: ignore[attr-defined]
    return entered, more and entered > 0


def _parameters(
    programme: Programme, version: ProgrammeVersion, definition: Definition, now: datetime
) -> dict[str, Any]:
    rules = entry_parameters(programme_id=programme.id, segment_id=programme.segment_id, definition=definition, now=now)
    return rules | {"version_id": version.id}


def entry_parameters(
    *, programme_id: int, segment_id: int | None, definition: Definition, now: datetime
) -> dict[str, Any]:
    """Return what `newcomers` asks for, but for the customers and where they live."""
    recurs = definition.schedule.rrule is not None
    return {
        "programme_id": programme_id,
        "segment_id": segment_id,
        "anchor_name": definition.anchor.name or ("contract_start" if definition.anchor.of == "contract" else None),
        "recurs": recurs,
        "offset_days": definition.schedule.offset_days,
        # Occurrences before the day of entry are not made up for, but for those of a programme without recurrence.
        "back": 1 if recurs else definition.catch_up_days + 1,
        "reentry_days": definition.reentry_days,
        "now": now,
    }
