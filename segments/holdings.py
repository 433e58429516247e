"""What the customers of some tickets hold and who they are, beside a sample of all others: the ground of discovery.

Every case is read, and of the others as many as keep the whole under a bound; the exact numbers of what
is found are counted in PostgreSQL afterwards. Rows are order items with their order, product and customer;
orders without items count too.
"""

import random
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from sqlalchemy import func, select, text
from sqlalchemy.orm import Session

from outreach.models import Customer, OrderItem

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

MOST_ROWS = 300_000
MOST_OTHERS = 20_000
MOST_CASES = 5_000

# Paths as rules name them from an order item; how they are searched: by value, in natural order, by prefix, over time.
_PLAIN = {
    "product.external_id": "p.external_id",
    "product.category": "p.category",
    "lot": "i.lot",
    "serial": "i.serial",
    "version": "i.version",
    "seller": "i.seller",
    "order.carrier": "o.carrier",
    "order.site": "o.site",
    "order.region": "o.region",
    "order.country": "o.country",
    "customer.country": "c.country",
    "customer.region": "c.region",
    "customer.locale": "c.locale",
}
_TIMES = {
    "ordered_at": "coalesce(i.ordered_at, o.ordered_at)",
    "shipped_at": "coalesce(i.shipped_at, o.shipped_at)",
}
_FREE = {
    "attributes": "i.attributes",
    "product.attributes": "p.attributes",
    "order.attributes": "o.attributes",
    "customer.attributes": "c.attributes",
}
NATURAL = frozenset({"lot", "serial", "version"})
PREFIXED = frozenset({"serial"})
_DAY = 86_400

# Item by item of each customer, so that the indexes on the customer are used.
_ROWS = f"""
SELECT c.id AS customer, held.order_id IS NOT NULL AS holds,
    coalesce(i.delivered_at, o.delivered_at) IS NOT NULL AS has_it, {", ".join(_PLAIN.values())},
    {", ".join(f"extract(epoch FROM {sql})::float8" for sql in _TIMES.values())}, {", ".join(_FREE.values())}
FROM customers c
LEFT JOIN LATERAL (
    SELECT i.id AS item, i.order_id FROM order_items i WHERE i.customer_id = c.id
    UNION ALL
    SELECT NULL, o.id FROM orders o
    WHERE o.customer_id = c.id AND NOT EXISTS (SELECT 1 FROM order_items i WHERE i.order_id = o.id)
) held ON true
LEFT JOIN order_items i ON i.id = held.item
LEFT JOIN orders o ON o.id = held.order_id
LEFT JOIN products p ON p.id = i.product_id
WHERE c.id = ANY(:customers)
"""


@dataclass
class Holdings:
    """Rows in columns: whose each row is, which customers are cases, and per path its values as codes (-1: none)."""

    customer: "NDArray[np.int64]"  # index into `is_case`, per row
    is_case: "NDArray[np.bool_]"  # per customer
    codes: dict[str, "NDArray[np.int32]"] = field(default_factory=dict)
    values: dict[str, list[str]] = field(default_factory=dict)
    times: dict[str, "NDArray[np.float64]"] = field(default_factory=dict)  # days since 1970; NaN: none
    exposed: float = 1.0  # share of the others who hold anything; those who do not are left out

    @property
    def cases(self) -> int:
        """Return how many customers are cases."""
        return int(self.is_case.sum())

    @property
    def others(self) -> int:
        """Return how many customers stand for all the rest."""
        return len(self.is_case) - self.cases


def load(session: Session, *, cases: Sequence[int], among: Sequence[int] | None = None, seed: int = 7) -> Holdings:
    """Read the rows of the cases and of others: a sample of all customers, or of `among`."""
    import numpy as np

    chosen = random.Random(seed)  # noqa: S311 - a repeatable sample, not a secret
    kept = list(cases) if len(cases) <= MOST_CASES else chosen.sample(list(cases), MOST_CASES)
    others = _others(session, set(cases), among, chosen)
    wanted = {customer: place for place, customer in enumerate([*kept, *others])}
    rows = session.execute(text(_ROWS), {"customers": list(wanted)}).all()
    rows = _noticeable(rows, set(kept))
    holders = {row[0] for row in rows if row[1]}
    exposed = 1.0
    if 2 * sum(customer in holders for customer in kept) >= len(kept) and holders:
        # The question is which of what they hold; whoever holds nothing was never exposed.
        exposed = sum(customer in holders for customer in others) / max(1, len(others))
        rows = [row for row in rows if row[1]]
        wanted = {customer: place for place, customer in enumerate(each for each in wanted if each in holders)}
    mine = set(kept)
    found = Holdings(
        customer=np.array([wanted[row[0]] for row in rows], dtype=np.int64),
        is_case=np.array([customer in mine for customer in wanted], dtype=bool),
        exposed=exposed,
    )
    columns = list(zip(*rows, strict=True)) if rows else []
    if not columns:
        return found
    for place, path in enumerate(_PLAIN, start=3):
        _encode(found, path, columns[place])
    for place, path in enumerate(_TIMES, start=3 + len(_PLAIN)):
        days = np.array([np.nan if value is None else value / _DAY for value in columns[place]], dtype=np.float64)
        if not np.isnan(days).all():
            found.times[path] = days
    for place, path in enumerate(_FREE, start=3 + len(_PLAIN) + len(_TIMES)):
        for key in sorted({key for value in columns[place] if value for key in value}):
            if key.isprintable() and len(key) <= 100:
                _encode(found, f"{path}.{key}", [_as_text((value or {}).get(key)) for value in columns[place]])
    return found


# The writers wait for something only if they do so this much oftener than others.
_WAITING_OFTENER = 1.5


def _noticeable(rows: Sequence[Any], cases: set[int]) -> Sequence[Any]:
    """Leave out what is still on its way, unless the writers are waiting for something more than others are.

    Nobody can write about what she does not have yet. Kept, those rows would make "was delivered by now" look like a
    part of every cause, and the scope would lose the customers to whom the faulty thing is still on its way.
    """
    people: dict[bool, set[int]] = {True: set(), False: set()}
    having: dict[bool, set[int]] = {True: set(), False: set()}
    waiting: dict[bool, set[int]] = {True: set(), False: set()}
    for customer, holds, has_it, *_ in rows:
        case = customer in cases
        people[case].add(customer)
        if holds:
            (having if has_it else waiting)[case].add(customer)
    if 2 * len(having[True]) < len(people[True]):  # nothing is known of deliveries, or most have none
        return rows
    share = {case: len(waiting[case]) / max(1, len(people[case])) for case in (True, False)}
    if share[True] > _WAITING_OFTENER * share[False]:
        return rows
    return [row if row[2] or not row[1] else _without_item(row) for row in rows]


def _without_item(row: Sequence[Any]) -> tuple[Any, ...]:
    return (row[0], False, False, *(None for _ in row[3:]))


def natural_key(value: str) -> str:
    """Return what PostgreSQL's `natural_key` returns."""
    upper = re.sub("[a-z]", lambda letter: letter[0].upper(), value)
    return re.sub("[0-9]+", lambda digits: digits[0].zfill(40)[-40:], upper)


def _others(session: Session, cases: set[int], among: Sequence[int] | None, chosen: random.Random) -> list[int]:
    if among is not None:
        pool = [customer for customer in among if customer not in cases]
        return pool if len(pool) <= MOST_OTHERS else chosen.sample(pool, MOST_OTHERS)
    people = session.scalar(select(func.count()).select_from(Customer).where(Customer.erased_at.is_(None))) or 0
    items = session.scalar(select(func.count()).select_from(OrderItem)) or 0
    most = max(1_000, min(MOST_OTHERS, int(MOST_ROWS / max(1.0, items / max(people, 1)))))
    if people <= most * 2:
        every = session.scalars(select(Customer.id).where(Customer.erased_at.is_(None)).order_by(Customer.id)).all()
        pool = [customer for customer in every if customer not in cases]
        return pool if len(pool) <= most else sorted(chosen.sample(pool, most))
    low, high = session.execute(select(func.min(Customer.id), func.max(Customer.id))).one()
    # Ids are drawn blindly; gaps (erased, rolled back) only make the sample smaller.
    drawn = [chosen.randint(low, high) for _ in range(most)]
    there = session.scalars(
        select(Customer.id).where(Customer.id == func.any(drawn), Customer.erased_at.is_(None)).order_by(Customer.id)
    )
    return [customer for customer in there if customer not in cases]


def _encode(found: Holdings, path: str, column: Sequence[Any]) -> None:
    import numpy as np

    given = {value for value in column if value is not None and len(value) <= 200}
    if not given:
        return
    order = sorted(given, key=natural_key)
    places = {value: place for place, value in enumerate(order)}
    found.codes[path] = np.array([places.get(value, -1) for value in column], dtype=np.int32)
    found.values[path] = order


def _as_text(value: Any) -> str | None:
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value) if isinstance(value, str | int | float) else None
