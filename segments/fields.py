"""What rules may speak of: the kinds of rows that belong to a customer, and their fields.

Every plain column of a table is a field, read from the models, so that a new column needs no work here
unless its noun is odd. Free attributes are `attributes.NAME` with a declared type.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    ColumnElement,
    DateTime,
    Enum,
    FromClause,
    SmallInteger,
    Table,
    Text,
    type_coerce,
)

from outreach import models
from outreach.models import Base


class Kind(StrEnum):
    """What sort of value a field holds."""

    TEXT = "text"
    NUMBER = "number"
    BOOLEAN = "boolean"
    TIME = "time"
    PLACE = "place"


NOUNS = {
    "external_id": "number",
    "ordered_at": "order date",
    "promised_at": "promised date",
    "shipped_at": "shipping date",
    "delivered_at": "delivery date",
    "cancelled_at": "cancellation date",
    "returned_at": "return date",
    "opened_at": "opening date",
    "solved_at": "solving date",
    "occurred_at": "date",
    "received_at": "date",
    "created_at": "creation date",
    "updated_at": "last change",
    "changed_at": "last change",
    "entered_at": "entry",
    "quantity_returned": "returned quantity",
    "locale": "language",
    "address_line1": "street address",
    "address_line2": "second address line",
    "erased_at": "erasure date",
}
# Not for rules: internal keys, secrets of the ledger, and what has its own syntax.
_HIDDEN = frozenset({"id", "attributes", "order_id", "product_id", "customer_id", "erased_at"})


@dataclass(frozen=True)
class Parent:
    """A row that a related row points to: `order_items.product_id` → `product.…`."""

    table: Table
    column: str
    noun: str
    through: str | None = None


@dataclass(frozen=True)
class Entity:
    """A kind of row that belongs to a customer; `evidence` names the array of the ledger that keeps its ids."""

    key: str
    table: Table
    singular: str
    plural: str
    evidence: str | None = None
    parents: Mapping[str, Parent] = field(default_factory=dict)
    live: Callable[[FromClause], ColumnElement[bool]] | None = None


@dataclass(frozen=True)
class FieldRef:
    """One field as a rule names it, found: the table it is in (`parent`, or the row itself) and its column."""

    path: str
    kind: Kind
    noun: str
    parent: str | None
    column: str
    attribute: str | None = None
    words: tuple[str, ...] = ()
    whole: bool = False


def table_of(model: type[Base]) -> Table:
    """Return the table of a model."""
    found = model.__table__
    if not isinstance(found, Table):
        raise TypeError(model)
    return found


CUSTOMERS = table_of(models.Customer)
_CUSTOMER = Parent(CUSTOMERS, "customer_id", "customer's")
_PROBLEM = Parent(table_of(models.Problem), "problem_id", "problem's")
_CAMPAIGN = Parent(table_of(models.Campaign), "campaign_id", "campaign's")
_CAMPAIGN_PROBLEM = Parent(table_of(models.Problem), "problem_id", "problem's", through="campaign")

ENTITIES: dict[str, Entity] = {
    entity.key: entity
    for entity in (
        Entity("orders", table_of(models.Order), "order", "orders", "evidence_orders", {"customer": _CUSTOMER}),
        Entity(
            "order_items",
            table_of(models.OrderItem),
            "order item",
            "order items",
            "evidence_items",
            {
                "product": Parent(table_of(models.Product), "product_id", "product's"),
                "order": Parent(table_of(models.Order), "order_id", "order's"),
                "customer": _CUSTOMER,
            },
        ),
        Entity(
            "tickets",
            table_of(models.Ticket),
            "ticket",
            "tickets",
            "evidence_tickets",
            {"problem": _PROBLEM, "customer": _CUSTOMER},
        ),
        Entity(
            "usage_events",
            table_of(models.UsageEvent),
            "usage event",
            "usage events",
            "evidence_events",
            {"customer": _CUSTOMER},
        ),
        Entity(
            "messages",
            table_of(models.Message),
            "message from us",
            "messages from us",
            None,
            {"campaign": _CAMPAIGN, "problem": _CAMPAIGN_PROBLEM, "customer": _CUSTOMER},
        ),
        Entity(
            "responses",
            table_of(models.Response),
            "answer",
            "answers",
            None,
            {"problem": _PROBLEM, "campaign": _CAMPAIGN, "customer": _CUSTOMER},
        ),
        Entity(
            "memberships",
            table_of(models.AudienceMember),
            "membership",
            "memberships",
            None,
            {"segment": Parent(table_of(models.Segment), "segment_id", "segment's"), "customer": _CUSTOMER},
            live=lambda row: row.c.left_at.is_(None),
        ),
    )
}

# Customer facts that are worked out rather than stored; `segments.facts` has their SQL.
CUSTOMER_FACTS: dict[str, tuple[Kind, str]] = {
    "reachable_by_email": (Kind.BOOLEAN, "reachability by email"),
    "reachable_by_sms": (Kind.BOOLEAN, "reachability by SMS"),
    "reachable_by_postcard": (Kind.BOOLEAN, "reachability by postcard"),
    "email_consent": (Kind.TEXT, "consent to email"),
    "sms_consent": (Kind.TEXT, "consent to SMS"),
    "postcard_consent": (Kind.TEXT, "consent to postcards"),
    "place": (Kind.PLACE, "place"),
}


def kind_of(table: Table, column: str) -> Kind | None:
    """Return what sort of value a column holds, or nothing when rules cannot speak of it."""
    held = table.c[column].type
    if isinstance(held, DateTime):
        return Kind.TIME
    if isinstance(held, Boolean):
        return Kind.BOOLEAN
    if isinstance(held, BigInteger | SmallInteger):
        return Kind.NUMBER
    return Kind.TEXT if isinstance(held, Text | Enum) else None


def columns_of(table: Table) -> dict[str, Kind]:
    """Return the columns of a table that rules may speak of."""
    found = {}
    for column in table.c.keys():  # noqa: SIM118 - a ColumnCollection iterates over columns, not names
        kind = None if column in _HIDDEN or _is_key(column) else kind_of(table, column)
        if kind is not None:
            found[column] = kind
    return found


def _is_key(column: str) -> bool:
    return column.endswith("_id") and column != "external_id"


def words_of(table: Table, column: str) -> tuple[str, ...]:
    """Return the words a column may hold, where they are fixed."""
    held = table.c[column].type
    return tuple(held.enums) if isinstance(held, Enum) else ()


def noun_of(column: str) -> str:
    """Return how a sentence names a column."""
    return NOUNS.get(column, column.replace("_", " "))


def as_text(column: ColumnElement[Any]) -> ColumnElement[Any]:
    """Return an enum column as the text it is stored as."""
    return type_coerce(column, Text) if isinstance(column.type, Enum) else column
