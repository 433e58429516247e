"""Propose the scope of a problem from the tickets linked to it: which rule do their customers share, and others not?"""

from dataclasses import dataclass
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from outreach.models import OrderItem, Problem, Product, Ticket
from segments import rules
from segments.standard_grades import standard_grades
from segments.statistics import Contrast, benjamini_hochberg, contrasts


@dataclass(frozen=True)
class Proposal:
    """One proposed rule with the numbers behind it; `definition` is ready to be saved as the scope.

    `such` is about one order item, `whom` about a customer: one of them is given. `q_value` is the p-value
    corrected for all rules that were tried.
    """

    sentence: str
    definition: rules.Definition
    such: rules.Rule | None
    whom: rules.Rule | None
    contrast: Contrast
    q_value: float

    @property
    def cases_covered(self) -> int:
        """Return how many customers with a linked ticket the rule covers."""
        return self.contrast.cases_inside


def discover_rules(session: Session, *, problem: Problem, limit: int) -> list[Proposal]:
    """Rank products, and lots of products, by how much oftener their holders wrote about the problem."""
    writers = select(Ticket.customer_id).where(Ticket.problem_id == problem.id, Ticket.customer_id.is_not(None))
    case = OrderItem.customer_id.in_(writers)
    holders = func.count(OrderItem.customer_id.distinct())
    people, cases = session.execute(
        select(holders, holders.filter(case)).where(OrderItem.customer_id.is_not(None))
    ).one()
    if cases < 2:
        return []
    found: list[tuple[dict[str, Any], int, int]] = []
    for keys in ((Product.external_id,), (Product.external_id, OrderItem.lot)):
        rows = session.execute(
            select(*keys, holders.label("people"), holders.filter(case).label("cases"))
            .join(Product, Product.id == OrderItem.product_id)
            .where(OrderItem.customer_id.is_not(None), *(key.is_not(None) for key in keys))
            .group_by(*keys)
            .having(holders.filter(case) >= 2)
        ).all()
        for row in rows:
            such = [{"field": "product.external_id", "op": "equals", "value": row[0]}]
            if len(keys) == 2:
                such.append({"field": "lot", "op": "equals", "value": row[1]})
            found.append(({"all": such}, row.cases, row.people))
    numbers = contrasts([(inside_cases, inside) for _, inside_cases, inside in found], cases=cases, people=people)
    corrected = benjamini_hochberg([each.p_value for each in numbers])
    ranked = sorted(zip(found, numbers, corrected, strict=True), key=lambda each: (each[1].p_value, each[1].inside))
    return [
        Proposal(
            sentence=_sentence(document),
            definition=rules.parse_definition(standard_grades(problem.key, such=document)),
            such=rules.parse_rule(document),
            whom=None,
            contrast=contrast,
            q_value=q_value,
        )
        for (document, _, _), contrast, q_value in ranked[:limit]
        if contrast.low > 1 and q_value < 0.05
    ]


def _sentence(document: dict[str, Any]) -> str:
    words = (f"{each['field']} is {each['value']}" for each in document["all"])
    return f"Order items whose {' and '.join(words)}"
