"""Bring an audience up to date: one statement finds the difference, writes the members and the ledger."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import (
    BigInteger,
    DateTime,
    Text,
    and_,
    case,
    cast,
    func,
    insert,
    null,
    or_,
    select,
    text,
    update,
)
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.orm import Session

from outreach.errors import Conflict, NotFound
from outreach.models import AudienceChange, AudienceMember, Segment, SegmentVersion
from outreach.vocabulary import Grade
from segments import compiler, rules
from segments.boundaries import next_boundary, watches_time
from segments.compiler import EVIDENCE
from segments.fields import table_of
from segments.source import bound

MEMBERS, CHANGES = table_of(AudienceMember), table_of(AudienceChange)
# Two builders of one audience wait for each other; the second number is the segment.
_LOCK = 7310


@dataclass(frozen=True)
class Refreshed:
    """What one refresh changed: members entered, left, changed grade; kept grade but gained or lost evidence."""

    entered: int
    left: int
    changed: int
    evidence: int
    counts: dict[Grade, int]
    version: int


def counts(session: Session, *, segment_id: int) -> dict[Grade, int]:
    """Return how many customers are in the audience now, by grade."""
    live = select(AudienceMember.grade, func.count()).where(
        AudienceMember.segment_id == segment_id, AudienceMember.left_at.is_(None)
    )
    found = {Grade(grade): number for grade, number in session.execute(live.group_by(AudienceMember.grade)).all()}
    return {grade: found.get(grade, 0) for grade in Grade}


def refresh(
    session: Session,
    *,
    segment_id: int,
    now: datetime,
    reason: str = "sweep",
    only_customers: Sequence[int] | None = None,
) -> Refreshed:
    """Re-evaluate an audience, or only the given customers of it; raises `Conflict` when the rule changed meanwhile.

    All of it happens in the caller's transaction: nobody sees half an audience, and a rollback (an edit
    cancelled, a newer edit, a crash) leaves the old one.
    """
    session.execute(text("SELECT pg_advisory_xact_lock(:lock, :segment)"), {"lock": _LOCK, "segment": segment_id})
    segment = session.execute(
        select(Segment.current_version, Segment.built_version, Segment.totals, Segment.due_at).where(
            Segment.id == segment_id
        )
    ).one_or_none()
    if segment is None or not segment.current_version:
        raise NotFound(f"There is no segment {segment_id} with a rule.")
    version = segment.current_version
    if version != segment.built_version:
        only_customers = None  # never mix two versions: a new one is built whole
    definition = rules.parse_definition(
        session.scalar(
            select(SegmentVersion.definition).where(
                SegmentVersion.segment_id == segment_id, SegmentVersion.version == version
            )
        )
    )
    empty = not session.scalar(select(select(MEMBERS.c.customer_id).where(MEMBERS.c.segment_id == segment_id).exists()))
    statement = (
        _first_fill(definition, segment_id, version, now, reason)
        if empty and only_customers is None
        else _difference(definition, segment_id, version, now, reason, only_customers)
    )
    found = session.execute(statement).all()
    if only_customers is not None:
        totals = _moved(segment.totals, found)
    else:
        totals = _moved({}, found) if empty else counts(session, segment_id=segment_id)
    due_at = None
    if watches_time(definition):
        # After a whole refresh the next sweep looks for the next boundary: nobody waits for that here.
        due_at = now
        if only_customers is not None:
            due_at = next_boundary(session, definition=definition, now=now, only_customers=only_customers)
            due_at = min(due_at, segment.due_at) if due_at and segment.due_at else due_at or segment.due_at
    stamped = session.execute(
        update(Segment)
        .where(Segment.id == segment_id, Segment.current_version == version)
        .values(
            built_version=version,
            refreshed_at=now if only_customers is None else Segment.refreshed_at,
            due_at=due_at,
            totals={grade.value: number for grade, number in totals.items()},
        )
        .execution_options(synchronize_session=False)
    )
    if not getattr(stamped, "rowcount", 0):
        raise Conflict(f"The rule of segment {segment_id} changed during the rebuild; the newer one will be built.")
    return _summary(version, found, totals)


def _moved(before: Mapping[str, int], found: Sequence[Any]) -> dict[Grade, int]:
    """Return the totals of the refresh before, moved by what changed since."""
    totals = {grade: before.get(grade.value, 0) for grade in Grade}
    for row in found:
        if row.grade is not None:
            totals[Grade(row.grade)] += row.number
        if row.was is not None:
            totals[Grade(row.was)] -= row.number
    return totals


def _first_fill(definition: rules.Definition, segment_id: int, version: int, now: datetime, reason: str) -> Any:
    """Nobody is a member yet: a plain insert, streamed, without looking for what was there."""
    found = compiler.compile(definition, now=now).subquery("found")
    moment = bound(now, DateTime(timezone=True))
    number, key = bound(version, BigInteger()), bound(segment_id, BigInteger())
    entered = (
        insert(MEMBERS)
        .from_select(
            ["segment_id", "customer_id", "grade", "version", *EVIDENCE, "entered_at", "changed_at"],
            select(
                key, found.c.customer_id, found.c.grade, number, *(found.c[kind] for kind in EVIDENCE), moment, moment
            ).order_by(found.c.customer_id),
        )
        .returning(MEMBERS.c.customer_id, MEMBERS.c.grade)
        .cte("entered")
    )
    logged = (
        insert(CHANGES)
        .from_select(
            ["segment_id", "customer_id", "to_grade", "reason", "version", "at"],
            select(key, entered.c.customer_id, entered.c.grade, bound(reason, Text()), number, moment),
        )
        .cte("logged")
    )
    return (
        select(null().label("was"), cast(entered.c.grade, Text).label("grade"), func.count().label("number"))
        .add_cte(logged)
        .group_by(entered.c.grade)
    )


def _difference(
    definition: rules.Definition,
    segment_id: int,
    version: int,
    now: datetime,
    reason: str,
    only_customers: Sequence[int] | None,
) -> Any:
    found = compiler.compile(definition, now=now, only_customers=only_customers, members_of=segment_id).subquery(
        "found"
    )
    moment = bound(now, DateTime(timezone=True))
    number, key = bound(version, BigInteger()), bound(segment_id, BigInteger())
    was = cast(found.c.was, Text)
    others = or_(*(found.c[kind].is_distinct_from(found.c[f"had_{kind}"]) for kind in EVIDENCE))
    delta = (
        select(found.c.customer_id, was.label("was"), found.c.grade, *(found.c[kind] for kind in EVIDENCE))
        .where(or_(was.is_distinct_from(found.c.grade), and_(found.c.grade.is_not(None), others)))
        .cte("delta")
        .prefix_with("MATERIALIZED")
    )
    values = [key, delta.c.customer_id, delta.c.grade, number, *(delta.c[kind] for kind in EVIDENCE), moment, moment]
    entering = upsert(MEMBERS).from_select(
        ["segment_id", "customer_id", "grade", "version", *EVIDENCE, "entered_at", "changed_at"],
        select(*values).where(delta.c.grade.is_not(None)).order_by(delta.c.customer_id),
    )
    given = entering.excluded
    again = MEMBERS.c.left_at.is_not(None)
    kept = entering.on_conflict_do_update(
        index_elements=["segment_id", "customer_id"],
        set_={
            "grade": given.grade,
            "version": given.version,
            **{kind: given[kind] for kind in EVIDENCE},
            "entered_at": case((again, given.entered_at), else_=MEMBERS.c.entered_at),
            "changed_at": given.changed_at,
            "left_at": None,
        },
    ).cte("kept")
    # As an array, not a join: just filled, the members have no statistics that a join could be planned by.
    leaving = func.array(select(delta.c.customer_id).where(delta.c.grade.is_(None)).scalar_subquery())
    gone = (
        update(MEMBERS)
        .where(MEMBERS.c.segment_id == key, MEMBERS.c.customer_id == func.any(leaving))
        .values(left_at=moment, changed_at=moment, version=number)
        .cte("gone")
    )
    logged = (
        insert(CHANGES)
        .from_select(
            ["segment_id", "customer_id", "from_grade", "to_grade", "reason", "version", "at"],
            select(key, delta.c.customer_id, delta.c.was, delta.c.grade, bound(reason, Text()), number, moment).where(
                delta.c.was.is_distinct_from(delta.c.grade)
            ),
        )
        .cte("logged")
    )
    return (
        select(delta.c.was, delta.c.grade, func.count().label("number"))
        .add_cte(kept, gone, logged)
        .group_by(delta.c.was, delta.c.grade)
    )


def _summary(version: int, found: Sequence[Any], totals: dict[Grade, int]) -> Refreshed:
    return Refreshed(
        entered=sum(row.number for row in found if row.was is None),
        left=sum(row.number for row in found if row.grade is None),
        changed=sum(row.number for row in found if row.was and row.grade and row.was != row.grade),
        evidence=sum(row.number for row in found if row.was == row.grade),
        counts=totals,
        version=version,
    )
