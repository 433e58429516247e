"""Why one customer is, or is not, in an audience: every condition with its answer and the rows behind it."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import and_, func, select
from sqlalchemy.orm import Session

from outreach.errors import NotFound
from outreach.vocabulary import Grade
from segments import rules
from segments.compiler import IN_SCOPE, Plan
from segments.fields import CUSTOMERS, ENTITIES
from segments.gathering import considered
from segments.meaning import Every, Fact, Meaning, Negated, Rows, Some, conjuncts, understand
from segments.sentences import fact, spoken
from segments.source import Source, bound

ROWS_SHOWN = 10
_SHOWN_COLUMNS = (
    *(
        "external_id",
        "lot",
        "serial",
        "version",
        "seller",
        "quantity",
        "quantity_returned",
        "status",
        "subject",
        "name",
    ),
    *("intent", "channel", "ordered_at", "promised_at", "shipped_at", "delivered_at", "cancelled_at", "opened_at"),
)


@dataclass(frozen=True)
class Part:
    """One condition: whether it held, the rows that met it, and how many rows met each comparison alone."""

    path: str
    sentence: str
    held: bool
    parts: "list[Part]" = field(default_factory=list)
    rows: list[dict[str, Any]] = field(default_factory=list)
    matched: int | None = None
    examined: int | None = None


@dataclass(frozen=True)
class Explanation:
    """One customer against one definition: her grade (none: not in the audience) and every rule's answer."""

    customer_id: int
    grade: Grade | None
    rules: dict[Grade, Part]


def explain(session: Session, *, definition: rules.Definition, customer_id: int, now: datetime) -> Explanation:
    """Say which conditions held for one customer and which did not; raises `NotFound` for an unknown customer."""
    customer = session.execute(select(CUSTOMERS.c.erased_at).where(CUSTOMERS.c.id == customer_id)).one_or_none()
    if customer is None:
        raise NotFound(f"There is no customer {customer_id}.")
    meanings = understand(definition)
    plan = Plan(meanings, now=now, evidence=False, only_customers=[customer_id], start_from_customers=True)
    nodes = list(dict.fromkeys(node for meaning in meanings.values() for node in _nodes(meaning)))
    columns = [func.coalesce(plan.holds(node), False).label(f"held{place}") for place, node in enumerate(nodes)]
    answers = session.execute(select(*columns).select_from(plan.tables())).one()
    held = dict(zip(nodes, answers, strict=True))
    parts = {
        grade: _part(session, meaning, held, customer_id=customer_id, now=now) for grade, meaning in meanings.items()
    }
    grade = next((each for each in IN_SCOPE if each in parts and parts[each].held), None)
    if grade is not None and Grade.CLEARED in parts and parts[Grade.CLEARED].held:
        grade = Grade.CLEARED
    return Explanation(customer_id, None if customer.erased_at else grade, parts)


def _nodes(meaning: Meaning) -> list[Meaning]:
    if isinstance(meaning, Every | Some):
        return [meaning, *(node for part in meaning.parts for node in _nodes(part))]
    if isinstance(meaning, Negated):
        return [meaning, *_nodes(meaning.part)]
    return [meaning]


def _part(session: Session, meaning: Meaning, held: dict[Meaning, bool], *, customer_id: int, now: datetime) -> Part:
    if isinstance(meaning, Rows):
        return _explain_rows(session, meaning, held[meaning], customer_id, now)
    inner = meaning.parts if isinstance(meaning, Every | Some) else ()
    if isinstance(meaning, Negated):
        inner = (meaning.part,)
    return Part(
        path=meaning.path,
        sentence=spoken(meaning),
        held=held[meaning],
        parts=[_part(session, part, held, customer_id=customer_id, now=now) for part in inner],
    )


def _explain_rows(session: Session, node: Rows, held: bool, customer_id: int, now: datetime) -> Part:
    entity = ENTITIES[node.entity]
    source = Source(entity.table, now=now, entity=entity)
    asked = list(dict.fromkeys([*conjuncts(node.among), *conjuncts(node.where)]))
    mine = [source.row.c.customer_id == bound(customer_id, CUSTOMERS.c.id.type)]
    if entity.live is not None:
        mine.append(entity.live(source.row))
    met = and_(*(source.holds(each) for each in considered(node))) if considered(node) else None
    counted = [func.count(), func.count().filter(met) if met is not None else func.count()]
    counted += [func.count().filter(source.holds(each)) for each in asked]
    numbers = session.execute(select(*counted).select_from(source.tables()).where(*mine)).one()
    shown = [source.row.c[name] for name in ("id", *_SHOWN_COLUMNS) if name in source.row.c]
    matching = select(*shown).select_from(source.tables()).where(*mine, *([met] if met is not None else []))
    rows = session.execute(matching.limit(ROWS_SHOWN)).mappings().all()
    return Part(
        path=node.path,
        sentence=spoken(node),
        held=held,
        parts=[
            Part(
                path=each.path,
                sentence=fact(each) if isinstance(each, Fact) else spoken(each),
                held=number > 0,
                matched=number,
                examined=numbers[0],
            )
            for each, number in zip(asked, numbers[2:], strict=True)
        ],
        rows=[{key: value for key, value in row.items() if value is not None} for row in rows],
        matched=numbers[1],
        examined=numbers[0],
    )
