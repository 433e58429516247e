"""Segments as people keep them: the list, a new version with its note in the audit log, the history of one."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import select, text
from sqlalchemy.orm import Session

from outreach import audit
from outreach.errors import Conflict
from outreach.models import Segment, SegmentVersion
from outreach.permissions import Actor
from outreach.queue import wake
from segments import audiences, rules


@dataclass(frozen=True, slots=True)
class Line:
    """One segment in the list; `problem` is there where it is the scope of one."""

    id: int
    key: str
    name: str
    version: int
    building: bool
    counts: dict[str, int]
    refreshed_at: datetime | None
    problem: str | None
    sentence: str


_LINES = text("""
SELECT s.id, s.key, s.name, s.current_version, s.built_version <> s.current_version, s.totals, s.refreshed_at,
       p.key AS problem, v.sentence
FROM segments s JOIN segment_versions v ON v.segment_id = s.id AND v.version = s.current_version
LEFT JOIN problems p ON p.id = s.problem_id
WHERE s.id < :before AND (:scopes OR s.problem_id IS NULL) ORDER BY s.id DESC LIMIT :most
""")


def lines(
    session: Session, *, scopes: bool, before: int | None = None, limit: int = 50
) -> tuple[list[Line], int | None]:
    """Return segments, newest first, and the id to go on `before`; with `scopes` also those of problems."""
    given = {"before": before or 2**62, "scopes": scopes, "most": limit + 1}
    found = [Line(*row) for row in session.execute(_LINES, given)]
    return found[:limit], found[limit - 1].id if len(found) > limit else None


def save(
    session: Session, *, key: str, name: str, definition: rules.Definition, actor: Actor, now: datetime
) -> SegmentVersion:
    """Put a definition in force as the next version of a segment; its audience is rebuilt soon after.

    Raises `InvalidRule` for what cannot be used.
    """
    version = audiences.save(session, key=key, name=name, definition=definition, author=actor.name)
    audit.record(
        session, actor=actor.name, action="segment.change", subject=f"segment:{key}",
        detail={"version": version.version}, now=now,
    )  # fmt: skip
    wake(session, "segments.sweep")
    return version


def must_be_free(session: Session, key: str) -> None:
    """Raise `Conflict` where a segment has the key already."""
    if session.scalar(select(Segment.id).where(Segment.key == key)) is not None:
        raise Conflict(f"There is a segment {key!r} already; open it to change it.", where="key")


def history(session: Session, *, segment_id: int, most: int = 30) -> Sequence[SegmentVersion]:
    """Return the newest versions of a segment."""
    query = select(SegmentVersion).where(SegmentVersion.segment_id == segment_id)
    return session.scalars(query.order_by(SegmentVersion.version.desc()).limit(most)).all()


@dataclass(frozen=True, slots=True)
class Member:
    """One customer in the audience, and the things that put her there, as people know them."""

    customer_id: int
    number: str
    name: str | None
    grade: str
    entered_at: datetime
    evidence: list[Any]


_MEMBERS = text("""
SELECT m.customer_id, c.external_id, c.name, m.grade, m.entered_at,
       coalesce((SELECT jsonb_agg(p.name || coalesce(', ' || i.lot, '')) FROM order_items i
                 JOIN products p ON p.id = i.product_id WHERE i.id = ANY(m.evidence_items[1:3])), '[]'::jsonb)
       || coalesce((SELECT jsonb_agg(coalesce(t.subject, t.external_id)) FROM tickets t
                    WHERE t.id = ANY(m.evidence_tickets[1:2])), '[]'::jsonb) AS evidence
FROM audience_members m JOIN customers c ON c.id = m.customer_id
WHERE m.segment_id = :segment_id AND m.left_at IS NULL AND m.customer_id > :after
  AND (cast(:grade AS text) IS NULL OR m.grade = :grade)
ORDER BY m.customer_id LIMIT :most
""")


def members(
    session: Session, *, segment_id: int, grade: str | None = None, after: int = 0, limit: int = 25
) -> tuple[list[Member], int | None]:
    """Return live members with their evidence, by customer id, and the id to go on `after`."""
    given = {"segment_id": segment_id, "grade": grade, "after": after, "most": limit + 1}
    found = [Member(*row) for row in session.execute(_MEMBERS, given)]
    return found[:limit], found[limit - 1].customer_id if len(found) > limit else None
