"""What another wording of a scope would change: who would enter, who would leave, whose grade would move."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from outreach.vocabulary import Grade
from segments import compiler, rules
from segments.fields import CUSTOMERS

NAMED = 5


@dataclass(frozen=True, slots=True)
class Move:
    """So many customers of one grade would be of another; none: not in the audience. `names` are some of them."""

    was: Grade | None
    becomes: Grade | None
    number: int
    names: list[str]


def differences(
    session: Session,
    *,
    definition: rules.Definition,
    segment_id: int,
    now: datetime,
    only_customers: Sequence[int] | None = None,
) -> list[Move]:
    """Compare a definition with the audience as it is, largest move first; nothing is changed."""
    found = compiler.compile(
        definition, now=now, evidence=False, members_of=segment_id, only_customers=only_customers
    ).subquery()
    moved = select(found.c.customer_id, found.c.was, found.c.grade).where(found.c.was.is_distinct_from(found.c.grade))
    ranked = moved.add_columns(
        func.row_number().over(partition_by=(found.c.was, found.c.grade), order_by=found.c.customer_id).label("place"),
        func.count().over(partition_by=(found.c.was, found.c.grade)).label("number"),
    ).subquery()
    named = (
        select(ranked.c.was, ranked.c.grade, ranked.c.number, CUSTOMERS.c.name, CUSTOMERS.c.external_id)
        .join(CUSTOMERS, CUSTOMERS.c.id == ranked.c.customer_id)
        .where(ranked.c.place <= NAMED)
        .order_by(ranked.c.number.desc(), ranked.c.was, ranked.c.grade, ranked.c.place)
    )
    moves: dict[tuple[str | None, str | None], Move] = {}
    for row in session.execute(named):
        move = moves.setdefault((row.was, row.grade), Move(_grade(row.was), _grade(row.grade), row.number, []))
        move.names.append(row.name or row.external_id)
    return list(moves.values())


def _grade(word: str | None) -> Grade | None:
    return Grade(word) if word is not None else None
