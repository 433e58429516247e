"""What a rule would do, before it is saved: who, how sure, how reachable, at what cost, and whom we cannot reach."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Any

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    FromClause,
    Integer,
    Text,
    and_,
    cast,
    func,
    literal_column,
    not_,
    or_,
    select,
    union_all,
)
from sqlalchemy.orm import Session

from outreach.models import AudienceMember, Problem, Segment
from outreach.settings import get_settings
from outreach.vocabulary import Channel, Grade, ProblemState
from segments import compiler, rules
from segments.compiler import EVIDENCE, IN_SCOPE
from segments.fields import CUSTOMERS
from segments.gathering import Gathering
from segments.meaning import Rows, rows_within, understand
from segments.sentences import sentence
from segments.source import Later, barred, given, has_address


@dataclass(frozen=True)
class Reach:
    """How many of the audience one channel reaches, why not the others, and the cost of telling all it reaches."""

    channel: Channel
    reachable: int
    no_address: int
    invalid: int
    suppressed: int
    cost_cents: int


@dataclass(frozen=True)
class WithoutCustomer:
    """Rows that match but belong to nobody we know; `orders` counts distinct orders among order items."""

    related: str
    rows: int
    orders: int


@dataclass(frozen=True)
class Sample:
    """One customer of the audience with the ids that put her there."""

    customer_id: int
    grade: Grade
    name: str | None
    evidence_items: list[int]
    evidence_orders: list[int]
    evidence_tickets: list[int]
    evidence_events: list[int]


@dataclass(frozen=True)
class Preview:
    """All that a manager needs to see before approving a rule."""

    sentence: str
    counts: dict[Grade, int]
    reach: list[Reach]
    unreachable: int
    without_customer: list[WithoutCustomer]
    sample: list[Sample]
    overlap: dict[str, int]

    @property
    def total(self) -> int:
        """How many customers are in scope; the cleared are not."""
        return sum(number for grade, number in self.counts.items() if grade is not Grade.CLEARED)


def preview(
    session: Session,
    *,
    definition: rules.Definition,
    now: datetime,
    sample: int = 5,
    exclude_problem: int | None = None,
    only_customers: Sequence[int] | None = None,
) -> Preview:
    """Answer a definition without saving it; reads only. `exclude_problem` is left out of the overlap.

    With `only_customers` it is asked about these alone, and rows that belong to nobody are not counted.
    """
    asked = {"present_moment": now, "sample": sample, "exclude_problem": exclude_problem}
    only = {} if only_customers is None else {"only_customers": list(only_customers)}
    numbers = session.execute(_numbers(definition, only_customers is not None), asked | only).one()
    counted = numbers.counted or []
    totals = {Grade(row["grade"]): row["number"] for row in counted}
    in_scope = [row for row in counted if row["grade"] != Grade.CLEARED]
    return Preview(
        sentence=sentence(definition),
        counts={grade: totals.get(grade, 0) for grade in Grade},
        reach=[_reach(channel, in_scope) for channel in Channel],
        unreachable=sum(row["unreachable"] for row in in_scope),
        without_customer=[] if only else without_customer(session, definition=definition, now=now),
        sample=_samples(session, definition, now, [row["customer_id"] for row in numbers.chosen or []]),
        overlap={row["key"]: row["number"] for row in numbers.overlap or []},
    )


def count(session: Session, *, definition: rules.Definition, now: datetime) -> dict[Grade, int]:
    """Return how many customers a definition finds, by grade; reads only."""
    found = session.execute(_counts(definition), {"present_moment": now}).all()
    return {Grade(row.grade): row.number for row in found}


def without_customer(session: Session, *, definition: rules.Definition, now: datetime) -> list[WithoutCustomer]:
    """Count the rows that match the related-row conditions of a scope but belong to no known customer."""
    rows = [(entity, session.execute(query, {"present_moment": now}).one()) for entity, query in _unowned(definition)]
    return [
        WithoutCustomer(entity, row.rows, row.orders if entity in {"order_items", "orders"} else 0)
        for entity, row in rows
    ]


# Built once per wording and kept: building takes longer than a narrow question takes to answer.
@lru_cache(maxsize=32)
def _counts(definition: rules.Definition) -> Any:
    found = compiler.compile(definition, now=Later.VALUE, evidence=False).subquery()
    return select(found.c.grade, func.count().label("number")).group_by(found.c.grade)


@lru_cache(maxsize=32)
def _numbers(definition: rules.Definition, only_some: bool) -> Any:
    only = Later.VALUE if only_some else None
    answer = compiler.compile(definition, now=Later.VALUE, evidence=False, only_customers=only)
    found = answer.cte("found").prefix_with("MATERIALIZED")
    grades = [grade for grade in Grade if grade in definition.grades]
    return select(
        _as_json(_counted(found)).label("counted"),
        _as_json(_overlap(found)).label("overlap"),
        _as_json(_chosen(found, grades)).label("chosen"),
    )


@lru_cache(maxsize=32)
def _named(definition: rules.Definition) -> Any:
    found = compiler.compile(definition, now=Later.VALUE, only_customers=Later.VALUE).subquery()
    return select(found, CUSTOMERS.c.name).join(CUSTOMERS, CUSTOMERS.c.id == found.c.customer_id)


@lru_cache(maxsize=32)
def _unowned(definition: rules.Definition) -> list[tuple[str, Any]]:
    by_entity: dict[str, dict[Rows, None]] = {}
    for grade, meaning in understand(definition).items():
        for node in rows_within(meaning) if grade in IN_SCOPE else []:
            if node.quantifier != "none" and node.entity in {"orders", "order_items", "tickets", "usage_events"}:
                by_entity.setdefault(node.entity, {})[node] = None
    return [(entity, Gathering(list(nodes), now=Later.VALUE).unowned()) for entity, nodes in by_entity.items()]


def _counted(found: FromClause) -> Any:
    customer = CUSTOMERS.alias()
    columns: list[ColumnElement[Any]] = [found.c.grade, func.count().label("number")]
    for channel in Channel:
        address = has_address(customer, channel)
        ban = barred(customer, channel)
        given = _given(customer, channel)
        columns += [
            func.count().filter(and_(address, not_(ban))).label(f"{channel}_reachable"),
            func.count().filter(not_(given)).label(f"{channel}_no_address"),
            func.count().filter(and_(given, not_(address))).label(f"{channel}_invalid"),
            func.count().filter(and_(address, ban)).label(f"{channel}_suppressed"),
        ]
    reached = or_(*(and_(has_address(customer, channel), not_(barred(customer, channel))) for channel in Channel))
    columns.append(func.count().filter(reached.is_not(literal_column("true"))).label("unreachable"))
    return (
        select(*columns).select_from(found.join(customer, customer.c.id == found.c.customer_id)).group_by(found.c.grade)
    )


def _given(customer: FromClause, channel: Channel) -> ColumnElement[bool]:
    if channel is Channel.SMS:
        return customer.c.phone.is_not(None)
    if channel is Channel.EMAIL:
        return customer.c.email.is_not(None)
    return has_address(customer, channel)


def _overlap(found: FromClause) -> Any:
    member = AudienceMember.__table__.alias()
    left_out = given("exclude_problem", BigInteger(), Later.VALUE)
    return (
        select(Problem.key, func.count().label("number"))
        .select_from(found)
        .join(member, and_(member.c.customer_id == found.c.customer_id, member.c.left_at.is_(None)))
        .join(Segment, Segment.id == member.c.segment_id)
        .join(Problem, Problem.id == Segment.problem_id)
        .where(
            found.c.grade != literal_column("'cleared'"),
            cast(member.c.grade, Text) != literal_column("'cleared'"),
            Problem.state.not_in([ProblemState.CLOSED, ProblemState.RESOLVED]),
            Problem.id.is_distinct_from(left_out),
        )
        .group_by(Problem.key)
    )


def _chosen(found: FromClause, grades: Sequence[Grade]) -> Any:
    """A few of each grade, so that a rare grade is seen too; a heap of a few per grade, never a sort of all."""
    sample = given("sample", Integer(), Later.VALUE)
    few = [
        select(found.c.customer_id, literal_column(str(place), Integer()).label("place"))
        .where(found.c.grade == literal_column(f"'{grade.value}'", Text()))
        .order_by(found.c.customer_id)
        .limit(sample)
        .subquery()
        for place, grade in enumerate(grades)
    ]
    each = union_all(*(select(one.c.customer_id, one.c.place) for one in few)).subquery()
    turn = func.row_number().over(partition_by=each.c.place, order_by=each.c.customer_id)
    ranked = select(each.c.customer_id, each.c.place, turn.label("turn")).subquery()
    return select(ranked.c.customer_id).order_by(ranked.c.turn, ranked.c.place).limit(sample)


def _as_json(query: Any) -> Any:
    rows = query.subquery()
    return select(func.jsonb_agg(func.to_jsonb(rows.table_valued()))).scalar_subquery()


def _reach(channel: Channel, rows: list[dict[str, Any]]) -> Reach:
    total = {
        what: sum(row[f"{channel}_{what}"] for row in rows)
        for what in ("reachable", "no_address", "invalid", "suppressed")
    }
    return Reach(channel, **total, cost_cents=round(total["reachable"] * get_settings().cents_per_message()[channel]))


def _samples(session: Session, definition: rules.Definition, now: datetime, chosen: list[int]) -> list[Sample]:
    if not chosen:
        return []
    asked = {"present_moment": now, "only_customers": chosen}
    rows = {row.customer_id: row for row in session.execute(_named(definition), asked).all()}
    return [
        Sample(
            customer_id=key,
            grade=Grade(rows[key].grade),
            name=rows[key].name,
            **{kind: list(getattr(rows[key], kind)) for kind in EVIDENCE},
        )
        for key in chosen
        if key in rows
    ]


__all__ = ["Preview", "Reach", "Sample", "WithoutCustomer", "count", "preview", "without_customer"]
