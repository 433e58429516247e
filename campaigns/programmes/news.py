"""Customers about whom something changed: newcomers with an anchor at last, and anchors that have moved."""

from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import text
from sqlalchemy.orm import Session

from campaigns.programmes.enrolment import enrol, members_source
from campaigns.programmes.places import AT_PLACE, PLACES, places_of
from campaigns.programmes.steps import Definition
from outreach.models import Programme, ProgrammeVersion

_TAKE = text("""
WITH taken AS (
    DELETE FROM customer_news WHERE id IN (SELECT id FROM customer_news ORDER BY id LIMIT 50000) RETURNING customer_id
)
SELECT DISTINCT customer_id FROM taken
""")
_MOVABLE = frozenset({"purchase", "delivery", "last_contact", "event", "contract", "attribute"})


def take(session: Session) -> list[int]:
    """Take customers off the queue; a rollback gives them back."""
    return list(session.scalars(_TAKE))


def follow(
    session: Session,
    *,
    programme: Programme,
    version: ProgrammeVersion,
    definition: Definition,
    customers: list[int],
    now: datetime,
) -> None:
    """Enrol those who have become able to enter, and count anew from an anchor that has moved."""
    if definition.per == "problem":
        return
    if definition.anchor.of != "entry" and definition.schedule.rrule is not None:
        _anchor_anew(session, programme, version, definition, customers, now)
    enrol(session, programme=programme, version=version, definition=definition, customers=customers, now=now)


def _anchor_anew(
    session: Session,
    programme: Programme,
    version: ProgrammeVersion,
    definition: Definition,
    customers: list[int],
    now: datetime,
) -> None:
    """A check-in ninety days after the last contact starts to count again with each contact."""
    parameters: dict[str, Any] = {
        "programme_id": programme.id,
        "version_id": version.id,
        "segment_id": programme.segment_id,
        "anchor_name": definition.anchor.name or "contract_start",
        "customers": customers,
        "yesterday": now.date() - timedelta(days=1),
        "now": now,
        **places_of(session, customers),
    }
    session.execute(
        text(f"""
WITH newer AS (
    SELECT found.customer_id, found.subject_id, cast(CASE WHEN pg_typeof(found.anchor) = 'date'::regtype
           THEN found.anchor::timestamp ELSE found.anchor::timestamptz AT TIME ZONE place.zone END AS date) AS anchor
    FROM ({members_source(definition)}) AS found
    JOIN customers c ON c.id = found.customer_id JOIN {PLACES} ON {AT_PLACE} WHERE found.anchor IS NOT NULL
), moved AS (
    UPDATE enrolments e SET anchor_date = newer.anchor, scheduled_through = :yesterday
    FROM newer WHERE e.programme_id = :programme_id AND e.version_id = :version_id AND e.left_at IS NULL
      AND e.customer_id = newer.customer_id AND e.subject_id = newer.subject_id AND e.anchor_date <> newer.anchor
    RETURNING e.id
)
DELETE FROM programme_dues d USING moved
WHERE d.enrolment_id = moved.id AND d.state = 'open' AND d.started_at IS NULL AND d.due_at > :now
"""),
        parameters,
    )
