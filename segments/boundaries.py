"""When time alone changes an answer: the moments at which a row crosses a relative condition of a rule.

"More than 20 days past the promised date" turns true for one row at one moment. The next such moment of an
audience is kept on the segment (`due_at`), so that nothing has to look before; when it has come, only the
customers whose rows crossed since the last look are asked again.
"""

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import BigInteger, ColumnElement, DateTime, Interval, Select, func, or_, select
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.orm import Session

from segments import rules
from segments.fields import CUSTOMERS, ENTITIES
from segments.gathering import considered
from segments.meaning import Fact, Meaning, facts_within, rows_within, understand
from segments.source import Source, bound

_TIME = DateTime(timezone=True)


def watches_time(definition: rules.Definition) -> bool:
    """Return whether time alone can change somebody's answer."""
    return any(_offsets(fact) for meaning in understand(definition).values() for fact in facts_within(meaning))


def next_boundary(
    session: Session, *, definition: rules.Definition, now: datetime, only_customers: Sequence[int] | None = None
) -> datetime | None:
    """Return the next moment from `now` on at which time alone may change somebody's answer."""
    found: list[datetime] = []
    for source, where, moments in _watched(definition, now):
        columns = [func.min(moment).filter(moment >= source.moment()) for moment in moments]
        query = select(*columns).select_from(source.tables()).where(*where)
        if only_customers is not None:
            query = query.where(_owner(source) == func.any(bound(list(only_customers), ARRAY(BigInteger))))
        found += [moment for moment in session.execute(query).one() if moment is not None]
    return min(found, default=None)


def crossed(session: Session, *, definition: rules.Definition, since: datetime, now: datetime) -> list[int]:
    """Return the customers of rows that crossed a relative condition from `since` to `now`."""
    found: set[int] = set()
    for source, where, moments in _watched(definition, now):
        lately = or_(*(moment.between(bound(since, _TIME), source.moment()) for moment in moments))
        query: Select[Any] = select(_owner(source)).select_from(source.tables()).where(*where, lately).distinct()
        found |= set(session.scalars(query))
    return sorted(found)


def _owner(source: Source) -> ColumnElement[Any]:
    return source.row.c.customer_id if "customer_id" in source.row.c else source.row.c.id


def _watched(
    definition: rules.Definition, now: datetime
) -> Iterator[tuple[Source, list[ColumnElement[bool]], list[ColumnElement[Any]]]]:
    """Yield, per kind of row that a relative condition looks at: its source, which rows matter, their moments."""
    # What several grades look at in the same rows is looked at once.
    looks: dict[tuple[str, frozenset[Meaning]], list[Fact]] = {}
    about_customer: list[Fact] = []
    for meaning in understand(definition).values():
        about_customer += [fact for fact in _outside_rows(meaning) if _offsets(fact)]
        for node in dict.fromkeys(rows_within(meaning)):
            relative = [fact for fact in facts_within(node) if _offsets(fact)]
            # Rows that fail what time does not change can never matter.
            steady = [part for part in considered(node) if not any(_offsets(fact) for fact in facts_within(part))]
            if relative:
                looks.setdefault((node.entity, frozenset(steady)), []).extend(relative)
    if about_customer:
        source = Source(CUSTOMERS, now=now)
        yield source, [source.row.c.erased_at.is_(None)], _moments(source, about_customer)
    for (entity, steady_parts), facts in looks.items():
        source = Source(ENTITIES[entity].table, now=now, entity=ENTITIES[entity])
        moments = _moments(source, list(dict.fromkeys(facts)))
        yield source, [_owner(source).is_not(None), *(source.holds(part) for part in steady_parts)], moments


def _outside_rows(meaning: Meaning) -> list[Fact]:
    inner = {id(fact) for node in rows_within(meaning) for fact in facts_within(node)}
    return [fact for fact in facts_within(meaning) if id(fact) not in inner]


def _offsets(fact: Fact) -> list[timedelta]:
    """Return how long after (before: negative) the field's own time the answer changes; none when it never does."""
    operator = fact.operator
    if operator.boundary is None:
        return []
    length: Any = fact.operands[0] if fact.operands else timedelta(0)
    at_once = [timedelta(0)] if operator.key in {"in_last", "in_next", "in_past", "in_future"} else []
    return at_once + ([operator.boundary * length] if operator.boundary else [])


def _moments(source: Source, facts: Sequence[Fact]) -> list[ColumnElement[Any]]:
    return [source.value(fact.ref) + bound(offset, Interval()) for fact in facts for offset in _offsets(fact)]
