"""One pass over one kind of row: per customer, what each quantifier needs to know and the evidence it leaves.

Quantifiers over the same kind of row are read in one scan. What they have in common becomes the WHERE of
the scan (so that an index serves it), what differs becomes a FILTER of its aggregate: the shape an
experienced person would write by hand.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, ColumnElement, FromClause, Select, and_, func, literal_column, or_, select, true
from sqlalchemy.dialects.postgresql import ARRAY, aggregate_order_by

from segments.fields import ENTITIES
from segments.meaning import Meaning, Rows, conjuncts
from segments.operators import COUNTS
from segments.source import Later, Source, bound

NO_IDS = literal_column("'{}'::bigint[]", ARRAY(BigInteger))


def considered(rows: Rows) -> tuple[Meaning, ...]:
    """Return the conditions that a row must meet to matter to a quantifier at all."""
    return conjuncts(rows.among) if rows.quantifier == "all" else conjuncts(rows.where)


def common(nodes: Iterable[Rows]) -> tuple[Meaning, ...]:
    """Return the conditions that all quantifiers share, in the order of the first."""
    first, *others = [considered(node) for node in nodes]
    return tuple(each for each in dict.fromkeys(first) if all(each in other for other in others))


class Gathering:
    """The scan for some quantifiers over one kind of row.

    `sufficient` quantifiers prove a grade alone: their evidence needs no gate and goes into one array.
    `gated` ones leave evidence only where the rest of their rule holds too: an array each.
    """

    def __init__(
        self,
        nodes: Sequence[Rows],
        *,
        now: datetime | Later,
        sufficient: Iterable[Rows] = (),
        gated: Iterable[Rows] = (),
    ) -> None:
        self.nodes = list(nodes)
        self.entity = ENTITIES[nodes[0].entity]
        self._shared = common(nodes)
        self._source = Source(self.entity.table, now=now, entity=self.entity)
        keeps = self.entity.evidence is not None
        self.sufficient = [node for node in nodes if keeps and node in set(sufficient)]
        self.gated = [node for node in nodes if keeps and node in set(gated)]
        self.columns: FromClause | None = None

    def statement(
        self,
        *,
        facts: Sequence[Meaning] = (),
        within: Select[Any] | None = None,
        customers: ColumnElement[Any] | None = None,
    ) -> Select[Any]:
        """Return one row per customer.

        `facts` are conditions on the customer; `within` and `customers` (an array of ids) say who is of interest.
        """
        customer = self._source.row.c.customer_id
        columns: list[ColumnElement[Any]] = [customer]
        for position, node in enumerate(self.nodes):
            columns.append(self._verdict(node).label(f"n{position}"))
            if node in self.gated:
                columns.append(self._ids([node]).label(f"ids{position}"))
        if self.sufficient:
            columns.append(self._ids(self.sufficient).label("ids"))
        conditions = [customer.is_not(None), *self.matching()]
        if customers is not None:
            conditions.append(customer == func.any(customers))
        if within is not None:
            conditions.append(customer.in_(within))
        if facts:
            about = self._source.of_customer()
            conditions += [about.holds(fact) for fact in facts]
        return select(*columns).select_from(self._source.tables()).where(*conditions).group_by(customer)

    def unowned(self) -> Select[Any]:
        """Return how many matching rows, and of how many orders, belong to no known customer."""
        row = self._source.row
        order = row.c.order_id if "order_id" in row.c else row.c.id
        conditions = [row.c.customer_id.is_(None), *self.matching()]
        counted: list[ColumnElement[Any]] = [
            func.count(row.c.id).label("rows"),
            func.count(order.distinct()).label("orders"),
        ]
        return select(*counted).select_from(self._source.tables()).where(*conditions)

    def any_of(self, customer_id: ColumnElement[Any]) -> ColumnElement[bool]:
        """Return whether the customer has any row that matters to the quantifiers."""
        conditions = [self._source.row.c.customer_id == customer_id, *self.matching()]
        return select(literal_column("1")).select_from(self._source.tables()).where(*conditions).exists()

    def matching(self) -> list[ColumnElement[bool]]:
        """Return the conditions that a row must meet to matter to any of the quantifiers."""
        conditions = [self._source.holds(each) for each in self._shared]
        rests = [self._rest(node) for node in self.nodes]
        if all(rest is not None for rest in rests):
            conditions.append(or_(*(rest for rest in rests if rest is not None)))
        if self.entity.live is not None:
            conditions.append(self.entity.live(self._source.row))
        return conditions

    def holds(self, node: Rows, table: FromClause) -> ColumnElement[bool]:
        """Return whether a quantifier holds, read from the built statement; no row means no related rows."""
        verdict: ColumnElement[Any] = table.c[f"n{self.nodes.index(node)}"]
        if node.quantifier == "count":
            compare, _ = COUNTS[node.comparison or "equals"]
            return compare(func.coalesce(verdict, 0), bound(node.number, BigInteger()))
        if node.quantifier == "none":
            return verdict.is_not(true())
        return verdict.is_(true())

    def ids(self, node: Rows | None, table: FromClause) -> ColumnElement[Any]:
        """Return the evidence of one gated quantifier, or of all sufficient ones (no node)."""
        name = "ids" if node is None else f"ids{self.nodes.index(node)}"
        return func.coalesce(table.c[name], NO_IDS)

    def _rest(self, node: Rows) -> ColumnElement[bool] | None:
        parts = [each for each in considered(node) if each not in self._shared]
        return and_(*(self._source.holds(each) for each in parts)) if parts else None

    def _verdict(self, node: Rows) -> ColumnElement[Any]:
        rest = self._rest(node)
        if node.quantifier == "count":
            return func.count().filter(rest) if rest is not None else func.count()
        if node.quantifier == "all":
            # Unknown counts as not satisfied, so that one unknown row spoils `all`.
            satisfied = and_(*(self._source.holds(each) for each in conjuncts(node.where))).is_(true())
            every = func.bool_and(satisfied)
            return every.filter(rest) if rest is not None else every
        return func.bool_or(rest) if rest is not None else func.bool_or(true())

    def _ids(self, nodes: Sequence[Rows]) -> ColumnElement[Any]:
        rests = [self._rest(node) for node in nodes]
        key = self._source.row.c.id
        array = func.array_agg(aggregate_order_by(key, key.asc()), type_=ARRAY(BigInteger))
        # Where the scan keeps nothing but proofs, the filter would say what its WHERE says already.
        if len(self.nodes) == len(nodes) or any(rest is None for rest in rests):
            return array
        return array.filter(or_(*(rest for rest in rests if rest is not None)))
