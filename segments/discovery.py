"""Propose scopes: search a sample for what the writers share, then count each finding exactly in PostgreSQL."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import orjson
from sqlalchemy import BigInteger, func, select
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.orm import Session

from outreach.models import Customer, Problem, ScopeRejection
from segments import compiler, holdings, rules
from segments.fields import ENTITIES
from segments.meaning import understand_rule
from segments.search import MIN_CASES, Found, search
from segments.sentences import spoken
from segments.source import bound
from segments.standard_grades import standard_grades
from segments.statistics import Contrast, benjamini_hochberg, contrasts

# A proposal is shown when so many false ones or fewer are to be expected among those shown.
MOST_FALSE = 0.01


@dataclass(frozen=True)
class Step:
    """What one condition buys: the counts with it and those before it (in the searched sample)."""

    sentence: str
    cases: int
    others: int


@dataclass(frozen=True)
class Proposal:
    """One proposed rule with the numbers behind it; `definition` is ready to be saved as the scope.

    `such` is about one order item or order (`of`), `whom` about a customer: one of them is given. `q_value`
    is the p-value corrected for all conditions that were tried.
    """

    sentence: str
    definition: rules.Definition
    such: rules.Rule | None
    whom: rules.Rule | None
    contrast: Contrast
    q_value: float
    of: str = "order_items"
    steps: tuple[Step, ...] = ()

    @property
    def rule(self) -> dict[str, Any]:
        """Return the proposed rule about customers, as JSON."""
        if self.such is not None:
            return {"related": self.of, "where": rules.as_document(self.such)}
        return rules.as_document(self.whom) if self.whom is not None else {}

    @property
    def cases_covered(self) -> int:
        """Return how many customers with a linked ticket the rule covers."""
        return self.contrast.cases_inside


def cases_of(session: Session, *, problem: Problem, now: datetime, words: Sequence[str] = ()) -> list[int]:
    """Return the customers who wrote about a problem: of its linked tickets, and of any whose text has the words.

    Each of `words` is enough, in the subject or the body, whatever its case and accents. A ticket that is linked to
    another problem is about that one. Raises `InvalidRule` for words that cannot be asked for.
    """
    this = {"field": "problem.key", "op": "equals", "value": problem.key}
    wrote: list[dict[str, Any]] = [this]
    if words:
        said = [{"field": field, "op": "contains_any", "value": list(words)} for field in ("subject", "body")]
        wrote.append({"all": [{"field": "problem.key", "op": "is_missing"}, {"any": said}]})
    rule = rules.parse_definition({"related": "tickets", "where": {"any": wrote}})
    return sorted(session.scalars(compiler.compile(rule, now=now, evidence=False)))


def discover_rules(
    session: Session,
    *,
    problem_key: str,
    cases: Sequence[int],
    limit: int,
    among: Sequence[int] | None = None,
    refused: frozenset[str] = frozenset(),
    now: datetime | None = None,
) -> list[Proposal]:
    """Rank rules by how much oftener `cases` meet them than others do (all customers, or those `among`)."""
    if len(cases) < MIN_CASES:
        return []
    held = holdings.load(session, cases=cases, among=among)
    result = search(held, most=limit + 3)  # some fall to the exact count, or were refused
    fresh = [found for found in result.found if fingerprint(found.conditions) not in refused]
    people = _people(session, held, among)
    exact = [_count(session, found, cases, among, now) for found in fresh]
    numbers = contrasts(
        [(min(a, held.cases), max(n, a)) for a, n in exact],
        cases=held.cases,
        people=max(people, *(n for _, n in exact), held.cases + 1) if exact else people,
    )
    corrected = benjamini_hochberg([each.p_value for each in numbers], tried=result.tried)
    judged = [
        _proposal(problem_key, found, contrast, q_value)
        for found, contrast, q_value in zip(fresh, numbers, corrected, strict=True)
        if contrast.low > 1 and q_value <= MOST_FALSE and contrast.cases_inside >= MIN_CASES
    ]
    return judged[:limit]


def fingerprint(conditions: Sequence[dict[str, Any]]) -> str:
    """Return a name for a conjunction that does not depend on the order of its conditions."""
    parts = sorted(orjson.dumps(each, option=orjson.OPT_SORT_KEYS) for each in conditions)
    return hashlib.sha256(b"\n".join(parts)).hexdigest()


def refused_by(session: Session, *, problem: Problem) -> frozenset[str]:
    """Return the fingerprints of what was rejected for a problem."""
    return frozenset(session.scalars(select(ScopeRejection.fingerprint).where(ScopeRejection.problem_id == problem.id)))


def conditions_of(rule: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the conditions of a proposed rule, whether about rows or about customers."""
    inner = rule.get("where") or rule
    found: list[dict[str, Any]] = inner.get("all", [inner])
    return found


def rule_of(conditions: Sequence[dict[str, Any]]) -> tuple[str | None, dict[str, Any]]:
    """Return what a conjunction is about (order items, orders, or nothing: customers), and its rule."""
    paths = [each["field"] for each in conditions]
    if all(path.startswith("customer.") for path in paths):
        return None, {"all": list(conditions)}
    of_orders = ("order.", "customer.", "ordered_at", "shipped_at", "delivered_at")
    if all(path.startswith(of_orders) for path in paths):
        # Said of orders, those without items are reached too.
        return "orders", {"all": [each | {"field": each["field"].removeprefix("order.")} for each in conditions]}
    return "order_items", {"all": list(conditions)}


def _count(
    session: Session, found: Found, cases: Sequence[int], among: Sequence[int] | None, now: datetime | None
) -> tuple[int, int]:
    of, inner = rule_of(found.conditions)
    document = inner if of is None else {"related": of, "where": inner}
    limited = None if among is None else [*among, *cases]
    moment = now or session.execute(select(func.now())).scalar_one()
    audience = compiler.compile(
        rules.parse_definition(document), now=moment, evidence=False, only_customers=limited
    ).subquery()
    mine = audience.c.customer_id == func.any(bound(list(cases), ARRAY(BigInteger)))
    row = session.execute(select(func.count().filter(mine), func.count()).select_from(audience)).one()
    return int(row[0]), int(row[1])


def _people(session: Session, held: holdings.Holdings, among: Sequence[int] | None) -> int:
    """Return how many customers were exposed, cases included."""
    if among is not None:
        return held.cases + round(held.exposed * len(among))
    everybody = session.scalar(select(func.count()).select_from(Customer).where(Customer.erased_at.is_(None))) or 0
    return held.cases + round(held.exposed * max(0, everybody - held.cases))


def _proposal(problem_key: str, found: Found, contrast: Contrast, q_value: float) -> Proposal:
    of, inner = rule_of(found.conditions)
    inner = inner["all"][0] if len(inner["all"]) == 1 else inner
    document = (
        standard_grades(problem_key, whom=inner) if of is None else standard_grades(problem_key, such=inner, of=of)
    )
    whole = inner if of is None else {"related": of, "where": inner}
    return Proposal(
        sentence=f"Customers {spoken(understand_rule(rules.parse_rule(whole)))}",
        definition=rules.parse_definition(document),
        such=None if of is None else rules.parse_rule(inner),
        whom=rules.parse_rule(inner) if of is None else None,
        contrast=contrast,
        q_value=q_value,
        of=of or "customers",
        steps=tuple(
            Step(_step(condition), cases, others)
            for condition, (cases, others) in zip(found.conditions, found.steps, strict=True)
        ),
    )


def _step(condition: dict[str, Any]) -> str:
    meaning = understand_rule(rules.parse_rule(condition), entity=ENTITIES["order_items"])
    return spoken(meaning).removeprefix("whose ")
