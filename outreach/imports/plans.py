"""How each kind of input maps onto its table: keys, references, defaults, and what follows a change.

In the SQL below `s` is a staged row, `t` the row of the table that it stands for, `r` the staged row resolved.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

from outreach.imports.headers import TABLES
from outreach.imports.staging import Staged

ORDER_TIMES = ("ordered_at", "promised_at", "shipped_at", "delivered_at", "cancelled_at")
# Where a row names a customer we do not know (yet), her name is kept here and linked when she arrives.
UNKNOWN = "unknown_customer"
DEFAULT_DESK = "import"


@dataclass(frozen=True, slots=True)
class Plan:
    """What is done with the staged rows of one kind."""

    target: str
    key: dict[str, str]  # column of the table → SQL over s
    columns: dict[str, str]  # every other column an insert fills → SQL over s, t and the joins
    given: tuple[str, ...]  # the columns an update may touch: only what the source had
    joins: str = ""
    kept: frozenset[str] = frozenset()  # an empty value never overwrites these
    has_customer: bool = False
    erasable: bool = False
    stamped: bool = True  # the table has updated_at
    parent: tuple[str, str] | None = None  # (staged column, table): a row without it is refused
    loose: tuple[tuple[str, str, str], ...] = ()  # (staged column, resolved column, table): noted when it leads nowhere
    before: tuple[tuple[str, str], ...] = ()  # (statement, note when it changed something)
    before_update: tuple[str, ...] = ()
    after: tuple[str, ...] = field(default=())


def _copied(staged: Staged, *references: str) -> list[str]:
    return [name for name in staged.columns if name != staged.table.key and name not in references]


def _attributes(staged: Staged, *, names_customer: bool = False) -> str:
    own = "jsonb_strip_nulls(s.attributes)" if staged.has_attributes else "'{}'::jsonb"
    if not names_customer:
        return own
    return (
        f"{own} || CASE WHEN c.id IS NULL AND s.customer_id IS NOT NULL "
        f"THEN jsonb_build_object('{UNKNOWN}', s.customer_id) ELSE '{{}}'::jsonb END"
    )


def _given(staged: Staged, *names: str, names_customer: bool = False) -> tuple[str, ...]:
    return (*names, *(["attributes"] if staged.has_attributes or names_customer else []))


def _link(target: str, stamp: str = ", updated_at = now()") -> str:
    return f"""
        UPDATE {target} x SET customer_id = c.id, attributes = x.attributes - '{UNKNOWN}'{stamp}
        FROM customers c
        WHERE x.customer_id IS NULL AND x.attributes ->> '{UNKNOWN}' = c.external_id AND c.erased_at IS NULL
    """


# An item belongs to the customer of its order.
_ITEMS_OF_THEIR_ORDERS = """
    UPDATE order_items i SET customer_id = o.customer_id, updated_at = now()
    FROM orders o WHERE o.id = i.order_id AND i.customer_id IS NULL AND o.customer_id IS NOT NULL
"""
_TICKETS_BY_ADDRESS = """
    UPDATE tickets x SET customer_id = c.id, updated_at = now()
    FROM (SELECT email, min(id) AS id FROM customers WHERE erased_at IS NULL GROUP BY email) c
    WHERE x.customer_id IS NULL AND x.requester_email = c.email
"""


def _customers(staged: Staged) -> Plan:
    copied = _copied(staged)
    return Plan(
        "customers",
        {"external_id": "s.customer_id"},
        {**{name: f"s.{name}" for name in copied}, "attributes": _attributes(staged)},
        _given(staged, *copied),
        erasable=True,
        after=(
            _link("orders"),
            _link("usage_events", ""),
            _link("tickets"),
            _TICKETS_BY_ADDRESS,
            _ITEMS_OF_THEIR_ORDERS,
        ),
    )


def _products(staged: Staged) -> Plan:
    copied = _copied(staged)
    return Plan(
        "products",
        {"external_id": "s.product_id"},
        {**{name: f"s.{name}" for name in copied}, "attributes": _attributes(staged)},
        _given(staged, *copied),
    )


def _orders(staged: Staged) -> Plan:
    copied = _copied(staged, "customer_id")
    named = "customer_id" in staged.columns
    times = [name for name in ORDER_TIMES if name in staged.columns]
    follow = (
        f"""
        UPDATE order_items i SET updated_at = now(), {
            ", ".join(f"{n} = CASE WHEN i.{n} IS NOT DISTINCT FROM t.{n} THEN r.{n} ELSE i.{n} END" for n in times)
        }
        FROM resolved_orders r JOIN orders t ON t.id = r.existing_id
        WHERE i.order_id = t.id
          AND ROW({", ".join(f"t.{n}" for n in times)}) IS DISTINCT FROM ROW({", ".join(f"r.{n}" for n in times)})
        """
        if times
        else ""
    )
    return Plan(
        "orders",
        {"external_id": "s.order_id"},
        {
            "customer_id": "c.id" if named else "t.customer_id",
            **{name: f"s.{name}" for name in copied},
            "attributes": _attributes(staged, names_customer=named),
        },
        _given(staged, *(["customer_id"] if named else []), *copied, names_customer=named),
        joins="LEFT JOIN customers c ON c.external_id = s.customer_id" if named else "",
        has_customer=True,
        before_update=(follow,) if follow else (),
        after=(
            """
            UPDATE order_items i SET customer_id = r.customer_id, updated_at = now()
            FROM resolved_orders r
            WHERE i.order_id = r.existing_id AND i.customer_id IS DISTINCT FROM r.customer_id
            """,
        ),
    )


def _items(staged: Staged) -> Plan:
    copied = _copied(staged, "order_id", "product_id")
    defaults = {"quantity": "1", "quantity_returned": "0", **{name: f"o.{name}" for name in ORDER_TIMES}}
    cells = {name: f"coalesce(s.{name}, {defaults[name]})" if name in defaults else f"s.{name}" for name in copied}
    named = "product_id" in staged.columns
    stubs = f"""
        INSERT INTO products (external_id)
        SELECT DISTINCT s.product_id FROM {staged.name} s
        WHERE s.product_id IS NOT NULL AND NOT EXISTS (SELECT 1 FROM products p WHERE p.external_id = s.product_id)
    """
    return Plan(
        "order_items",
        {"external_id": "s.item_id"},
        {
            "order_id": "o.id",
            "customer_id": "o.customer_id",
            **({"product_id": "p.id"} if named else {}),
            **defaults,
            **cells,
            "attributes": _attributes(staged),
        },
        _given(staged, "order_id", "customer_id", *(["product_id"] if named else []), *copied),
        joins="JOIN orders o ON o.external_id = s.order_id"
        + (" LEFT JOIN products p ON p.external_id = s.product_id" if named else ""),
        has_customer=True,
        parent=("order_id", "orders"),
        before=((stubs, "items: {} products were not known and were added by their code alone."),) if named else (),
    )


def _tickets(staged: Staged) -> Plan:
    copied = _copied(staged, "desk", "customer_id", "problem")
    named, addressed = "customer_id" in staged.columns, "requester_email" in staged.columns
    joins, found = [], ["t.customer_id"]
    if addressed:
        joins.append(
            "LEFT JOIN LATERAL (SELECT min(id) AS id FROM customers WHERE email = s.requester_email) e ON true"
        )
        found.insert(0, "e.id")
    if named:
        joins.append("LEFT JOIN customers c ON c.external_id = s.customer_id")
        found.insert(0, "c.id")
    linked = "problem" in staged.columns
    if linked:
        joins.append("LEFT JOIN problems p ON p.key = s.problem")
    customer = f"coalesce({', '.join(found)})"
    return Plan(
        "tickets",
        {
            "desk": f"coalesce(s.desk, '{DEFAULT_DESK}')" if "desk" in staged.columns else f"'{DEFAULT_DESK}'::text",
            "external_id": "s.ticket_id",
        },
        {
            "customer_id": customer,
            **({"problem_id": "p.id"} if linked else {}),
            **{name: f"s.{name}" for name in copied},
            "attributes": _attributes(staged, names_customer=named),
        },
        _given(staged, "customer_id", *(["problem_id"] if linked else []), *copied, names_customer=named),
        joins=" ".join(joins),
        # The desk's webhook may have linked the ticket in the meantime.
        kept=frozenset({"customer_id", "problem_id"}),
        has_customer=True,
        loose=(("problem", "problem_id", "problems"),) if linked else (),
    )


def _events(staged: Staged) -> Plan:
    copied = _copied(staged, "customer_id")
    named = "customer_id" in staged.columns
    return Plan(
        "usage_events",
        {"external_id": "s.event_id"},
        {
            "customer_id": "c.id" if named else "t.customer_id",
            **{name: f"s.{name}" for name in copied},
            "attributes": _attributes(staged, names_customer=named),
        },
        _given(staged, *(["customer_id"] if named else []), *copied, names_customer=named),
        joins="LEFT JOIN customers c ON c.external_id = s.customer_id" if named else "",
        has_customer=True,
        stamped=False,
    )


_PLANS: dict[str, Callable[[Staged], Plan]] = {
    "customers": _customers,
    "products": _products,
    "orders": _orders,
    "items": _items,
    "tickets": _tickets,
    "events": _events,
}
assert _PLANS.keys() == TABLES.keys()  # noqa: S101 - a kind without a plan is a mistake of ours


def plan_for(staged: Staged) -> Plan:
    """Return what is to be done with these staged rows."""
    return _PLANS[staged.table.kind](staged)
