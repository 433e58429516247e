"""Named segments and their audiences: save a rule, keep the ledger, ask it about any moment."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.dialects.postgresql import distinct_on
from sqlalchemy.orm import Session

from outreach.errors import InvalidRule, NotFound
from outreach.models import AudienceChange, AudienceMember, Problem, Segment, SegmentVersion
from outreach.vocabulary import Grade
from segments import rules
from segments.explanations import Explanation, explain
from segments.meaning import Rows, facts_within, rows_within, understand
from segments.previews import Preview, preview
from segments.refreshing import Refreshed, counts, refresh
from segments.sentences import sentence


def save(
    session: Session,
    *,
    key: str,
    name: str,
    definition: rules.Definition,
    author: str,
    problem_id: int | None = None,
) -> SegmentVersion:
    """Put a definition in force as the next version of a segment, which is created when there is none.

    The ledger stands on the version before until `refresh` has rebuilt it, all at once.
    Raises `InvalidRule` when the rule cannot be used, or leads back to the segment itself.
    """
    words = sentence(definition)
    if (path := _circle(session, key, definition)) is not None:
        raise InvalidRule(f"A segment cannot depend on itself: {' → '.join(path)}.", where="member_of")
    segment = session.scalar(select(Segment).where(Segment.key == key).with_for_update())
    if segment is None:
        segment = Segment(key=key, name=name, problem_id=problem_id, current_version=0, built_version=0)
        session.add(segment)
        session.flush()
    segment.name = name
    segment.problem_id = problem_id if problem_id is not None else segment.problem_id
    newest = session.scalar(
        select(func.coalesce(func.max(SegmentVersion.version), 0)).where(SegmentVersion.segment_id == segment.id)
    )
    version = SegmentVersion(
        segment_id=segment.id,
        version=(newest or 0) + 1,
        definition=definition.document(),
        sentence=words,
        author=author,
    )
    session.add(version)
    segment.current_version = version.version
    session.flush()
    return version


def find(session: Session, key: str) -> Segment:
    """Return the segment with this key; raises `NotFound`."""
    segment = session.scalar(select(Segment).where(Segment.key == key))
    if segment is None:
        raise NotFound(f"There is no segment {key!r}.")
    return segment


def scope_of(session: Session, *, problem_id: int) -> Segment | None:
    """Return the scope of a problem, if it has one."""
    return session.scalar(select(Segment).where(Segment.problem_id == problem_id))


def version_in_force(session: Session, *, segment_id: int) -> SegmentVersion:
    """Return the newest wording of a segment; raises `NotFound`."""
    version = session.scalar(
        select(SegmentVersion)
        .join(Segment, (Segment.id == SegmentVersion.segment_id) & (Segment.current_version == SegmentVersion.version))
        .where(Segment.id == segment_id)
    )
    if version is None:
        raise NotFound(f"Segment {segment_id} has no rule yet.")
    return version


def cancel_edit(session: Session, *, segment_id: int) -> int:
    """Go back to the version that the ledger stands on, so that a rebuild under way comes to nothing; return it."""
    segment = session.scalar(select(Segment).where(Segment.id == segment_id).with_for_update())
    if segment is None:
        raise NotFound(f"There is no segment {segment_id}.")
    if segment.built_version:
        segment.current_version = segment.built_version
    return segment.current_version


@dataclass(frozen=True)
class PastMember:
    """One customer in the audience of a past moment, since when, and by which version of the rule."""

    customer_id: int
    grade: Grade
    since: datetime
    version: int


def as_of(session: Session, *, segment_id: int, at: datetime) -> list[PastMember]:
    """Return the audience as it was at a moment, from the ledger of changes, by customer id."""
    change = AudienceChange.__table__
    newest = (
        select(change)
        .where(change.c.segment_id == segment_id, change.c.at <= at)
        .ext(distinct_on(change.c.customer_id))
        .order_by(change.c.customer_id, change.c.at.desc(), change.c.id.desc())
        .subquery()
    )
    found = select(newest).where(newest.c.to_grade.is_not(None)).order_by(newest.c.customer_id)
    return [
        PastMember(row.customer_id, Grade(row.to_grade), row.at, row.version) for row in session.execute(found).all()
    ]


def page(
    session: Session, *, segment_id: int, after: int = 0, limit: int = 100, grade: Grade | None = None
) -> Sequence[AudienceMember]:
    """Return live members by customer id, after the given one."""
    wanted = select(AudienceMember).where(
        AudienceMember.segment_id == segment_id,
        AudienceMember.left_at.is_(None),
        AudienceMember.customer_id > after,
    )
    if grade is not None:
        wanted = wanted.where(AudienceMember.grade == grade)
    return session.scalars(wanted.order_by(AudienceMember.customer_id).limit(limit)).all()


def segments_named(definition: rules.Definition) -> set[str]:
    """Return the keys of the segments that a definition asks for membership in."""
    found: set[str] = set()
    for meaning in understand(definition).values():
        for node in rows_within(meaning):
            if node.entity == "memberships":
                found |= _keys_in(node)
    return found


def _keys_in(node: Rows) -> set[str]:
    keys: set[str] = set()
    for fact in facts_within(node):
        if fact.ref.path == "segment.key":
            for operand in fact.operands:
                keys |= set(operand) if isinstance(operand, tuple) else {str(operand)}
    return keys


def _circle(session: Session, key: str, definition: rules.Definition) -> list[str] | None:
    """Return the path by which a segment would depend on itself; refuses segments that do not exist."""
    waiting = [(name, [key, name]) for name in sorted(segments_named(definition))]
    seen: set[str] = set()
    while waiting:
        name, path = waiting.pop()
        if name == key:
            return path
        if name in seen:
            continue
        seen.add(name)
        for further in sorted(segments_named(_stored(session, name))):
            waiting.append((further, [*path, further]))  # noqa: PERF401 - the path grows with each step
    return None


def _stored(session: Session, key: str) -> rules.Definition:
    document: dict[str, Any] | None = session.scalar(
        select(SegmentVersion.definition)
        .join(Segment, (Segment.id == SegmentVersion.segment_id) & (Segment.current_version == SegmentVersion.version))
        .where(Segment.key == key)
    )
    if document is None:
        raise InvalidRule(f"There is no segment {key!r} to be a member of.", where="member_of")
    return rules.parse_definition(document)


def overlaps(session: Session, *, segment_id: int) -> dict[str, int]:
    """Return how many live members are also in the scope of another open problem, by its key."""
    mine, other = AudienceMember.__table__.alias(), AudienceMember.__table__.alias()
    query = (
        select(Problem.key, func.count().label("number"))
        .select_from(mine)
        .join(other, (other.c.customer_id == mine.c.customer_id) & (other.c.segment_id != mine.c.segment_id))
        .join(Segment, Segment.id == other.c.segment_id)
        .join(Problem, Problem.id == Segment.problem_id)
        .where(mine.c.segment_id == segment_id, mine.c.left_at.is_(None), other.c.left_at.is_(None))
        .group_by(Problem.key)
    )
    return {row.key: row.number for row in session.execute(query).all()}


__all__ = [
    "Explanation",
    "PastMember",
    "Preview",
    "Refreshed",
    "as_of",
    "cancel_edit",
    "counts",
    "explain",
    "find",
    "overlaps",
    "page",
    "preview",
    "refresh",
    "save",
    "scope_of",
    "segments_named",
    "version_in_force",
]
