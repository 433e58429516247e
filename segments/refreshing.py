"""Bring an audience up to date: one statement finds the difference, writes the members and the ledger."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
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
    not_,
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
from segments.source import Later, given

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
    segment = session.execute(_STANDING, {"members_of": segment_id}).one_or_none()
    if segment is None:
        raise NotFound(f"There is no segment {segment_id} with a rule.")
    if segment.current_version != segment.built_version:
        only_customers = None  # never mix two versions: a new one is built whole
    definition = _parsed(segment.wording)
    fill = segment.empty and only_customers is None
    writing = _Writing(segment_id, segment.current_version, now, reason)
    statement = _first_fill(definition) if fill else _difference(definition, only_customers is not None)
    found = session.execute(statement, writing.parameters(only_customers)).all()
    if only_customers is None and not fill:
        totals = counts(session, segment_id=segment_id)
    else:
        totals = _moved({} if fill else segment.totals, found)
    _stamp(session, segment, definition, writing, totals, only_customers)
    return _summary(segment.current_version, found, totals)


@dataclass(frozen=True)
class _Writing:
    """What every row written by one refresh shares."""

    segment_id: int
    version: int
    now: datetime
    reason: str

    def parameters(self, only_customers: Sequence[int] | None) -> dict[str, Any]:
        """Return what the statements below are executed with."""
        only = {} if only_customers is None else {"only_customers": list(only_customers)}
        return {
            "members_of": self.segment_id,
            "version": self.version,
            "present_moment": self.now,
            "reason": self.reason,
            **only,
        }


_SEGMENT = given("members_of", BigInteger(), Later.VALUE)
_VERSION = given("version", BigInteger(), Later.VALUE)
_MOMENT = given("present_moment", DateTime(timezone=True), Later.VALUE)
_REASON = given("reason", Text(), Later.VALUE)


_STANDING = (
    select(
        Segment.current_version,
        Segment.built_version,
        Segment.totals,
        Segment.due_at,
        cast(SegmentVersion.definition, Text).label("wording"),
        not_(select(MEMBERS.c.customer_id).where(MEMBERS.c.segment_id == _SEGMENT).exists()).label("empty"),
    )
    .join(
        SegmentVersion,
        and_(SegmentVersion.segment_id == Segment.id, SegmentVersion.version == Segment.current_version),
    )
    .where(Segment.id == _SEGMENT)
)


@lru_cache(maxsize=32)
def _parsed(wording: str) -> rules.Definition:
    return rules.parse_definition(json.loads(wording))


def _stamp(
    session: Session,
    before: Any,
    definition: rules.Definition,
    writing: _Writing,
    totals: dict[Grade, int],
    only_customers: Sequence[int] | None,
) -> None:
    """Note on the segment what it now stands on; raises `Conflict` when its rule changed meanwhile."""
    due_at = None
    if watches_time(definition):
        # After a whole refresh the next sweep looks for the next boundary: nobody waits for that here.
        due_at = writing.now
        if only_customers is not None:
            due_at = next_boundary(session, definition=definition, now=writing.now, only_customers=only_customers)
            due_at = min(due_at, before.due_at) if due_at and before.due_at else due_at or before.due_at
    stamped = session.execute(
        update(Segment)
        .where(Segment.id == writing.segment_id, Segment.current_version == writing.version)
        .values(
            built_version=writing.version,
            refreshed_at=writing.now if only_customers is None else Segment.refreshed_at,
            due_at=due_at,
            totals={grade.value: number for grade, number in totals.items()},
        )
        .execution_options(synchronize_session=False)
    )
    if not getattr(stamped, "rowcount", 0):
        raise Conflict(
            f"The rule of segment {writing.segment_id} changed during the rebuild; the newer one will be built."
        )


def _moved(before: Mapping[str, int], found: Sequence[Any]) -> dict[Grade, int]:
    """Return the totals of the refresh before, moved by what changed since."""
    totals = {grade: before.get(grade.value, 0) for grade in Grade}
    for row in found:
        if row.grade is not None:
            totals[Grade(row.grade)] += row.number
        if row.was is not None:
            totals[Grade(row.was)] -= row.number
    return totals


# Built once per wording and kept: building takes longer than a narrow question takes to answer.
@lru_cache(maxsize=32)
def _first_fill(definition: rules.Definition) -> Any:
    """Nobody is a member yet: a plain insert, streamed, without looking for what was there."""
    found = compiler.compile(definition, now=Later.VALUE).subquery("found")
    entered = (
        insert(MEMBERS)
        .from_select(
            ["segment_id", "customer_id", "grade", "version", *EVIDENCE, "entered_at", "changed_at"],
            select(
                _SEGMENT,
                found.c.customer_id,
                found.c.grade,
                _VERSION,
                *(found.c[kind] for kind in EVIDENCE),
                _MOMENT,
                _MOMENT,
            ).order_by(found.c.customer_id),
        )
        .returning(MEMBERS.c.customer_id, MEMBERS.c.grade)
        .cte("entered")
    )
    logged = (
        insert(CHANGES)
        .from_select(
            ["segment_id", "customer_id", "to_grade", "reason", "version", "at"],
            select(_SEGMENT, entered.c.customer_id, entered.c.grade, _REASON, _VERSION, _MOMENT),
        )
        .cte("logged")
    )
    return (
        select(null().label("was"), cast(entered.c.grade, Text).label("grade"), func.count().label("number"))
        .add_cte(logged)
        .group_by(entered.c.grade)
    )


@lru_cache(maxsize=32)
def _difference(definition: rules.Definition, only_some: bool) -> Any:
    """Write what differs between the audience as it is and as it should be; count it by grades."""
    found = compiler.compile(
        definition,
        now=Later.VALUE,
        only_customers=Later.VALUE if only_some else None,
        members_of=Later.VALUE,
    ).subquery("found")
    was = cast(found.c.was, Text)
    others = or_(*(found.c[kind].is_distinct_from(found.c[f"had_{kind}"]) for kind in EVIDENCE))
    delta = (
        select(found.c.customer_id, was.label("was"), found.c.grade, *(found.c[kind] for kind in EVIDENCE))
        .where(or_(was.is_distinct_from(found.c.grade), and_(found.c.grade.is_not(None), others)))
        .cte("delta")
        .prefix_with("MATERIALIZED")
    )
    logged = (
        insert(CHANGES)
        .from_select(
            ["segment_id", "customer_id", "from_grade", "to_grade", "reason", "version", "at"],
            select(_SEGMENT, delta.c.customer_id, delta.c.was, delta.c.grade, _REASON, _VERSION, _MOMENT)
            .where(delta.c.was.is_distinct_from(delta.c.grade))
            .order_by(delta.c.customer_id),
        )
        .cte("logged")
    )
    return (
        select(delta.c.was, delta.c.grade, func.count().label("number"))
        .add_cte(_kept(delta), _gone(delta), logged)
        .group_by(delta.c.was, delta.c.grade)
    )


def _kept(delta: Any) -> Any:
    """Write who entered, changed or came back."""
    evidence = [delta.c[kind] for kind in EVIDENCE]
    values = [_SEGMENT, delta.c.customer_id, delta.c.grade, _VERSION, *evidence, _MOMENT, _MOMENT]
    entering = upsert(MEMBERS).from_select(
        ["segment_id", "customer_id", "grade", "version", *EVIDENCE, "entered_at", "changed_at"],
        select(*values).where(delta.c.grade.is_not(None)).order_by(delta.c.customer_id),
    )
    given = entering.excluded
    again = MEMBERS.c.left_at.is_not(None)
    return entering.on_conflict_do_update(
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


def _gone(delta: Any) -> Any:
    """Write who left; the row stays."""
    # As an array, not a join: just filled, the members have no statistics that a join could be planned by.
    leaving = func.array(select(delta.c.customer_id).where(delta.c.grade.is_(None)).scalar_subquery())
    return (
        update(MEMBERS)
        .where(MEMBERS.c.segment_id == _SEGMENT, MEMBERS.c.customer_id == func.any(leaving))
        .values(left_at=_MOMENT, changed_at=_MOMENT, version=_VERSION)
        .cte("gone")
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
