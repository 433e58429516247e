"""The standard headers: which columns an import understands, one row per field."""

import difflib
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from outreach.errors import InvalidInput
from outreach.imports import values


@dataclass(frozen=True, slots=True)
class Field:
    """One column: how it is read, its type in staging, and whether its row falls without it, or with a bad value."""

    name: str
    read: Callable[[str], str | None]
    sql_type: str = "text"
    required: bool = False
    strict: bool = False  # a bad value refuses the row; else only the value is dropped


@dataclass(frozen=True, slots=True)
class Table:
    """One kind of input; the first field is its key."""

    kind: str
    fields: tuple[Field, ...]

    @property
    def key(self) -> str:
        """The header that names a row."""
        return self.fields[0].name

    def field(self, name: str) -> Field | None:
        """Return the field of that header, if it is a standard one."""
        return next((f for f in self.fields if f.name == name), None)


def _key(name: str) -> Field:
    return Field(name, values.key, required=True, strict=True)


def _lines(*names: str) -> tuple[Field, ...]:
    return tuple(Field(name, values.line) for name in names)


def _times(*names: str) -> tuple[Field, ...]:
    return tuple(Field(name, values.time, "timestamptz") for name in names)


_ADDRESS = _lines("city", "region", "postal_code")
_COUNTRY = Field("country", values.country)
_ORDER_TIMES = _times("ordered_at", "promised_at", "shipped_at", "delivered_at", "cancelled_at")


def _phone_without_region(value: str) -> str | None:
    # Staging reads phones together with the country of their row; this is for rows that have none.
    return values.phone(value, None)


# In the order in which a folder is imported: what is referred to comes first.
TABLES: dict[str, Table] = {
    table.kind: table
    for table in (
        Table(
            "customers",
            (
                _key("customer_id"),
                *_lines("name"),
                Field("email", values.email),
                _COUNTRY,
                Field("phone", _phone_without_region),
                Field("locale", values.locale),
                Field("time_zone", values.time_zone),
                *_lines("address_line1", "address_line2"),
                *_ADDRESS,
            ),
        ),
        Table("products", (_key("product_id"), *_lines("name", "category"))),
        Table(
            "orders",
            (
                _key("order_id"),
                Field("customer_id", values.key),
                *_lines("status"),
                *_ORDER_TIMES,
                *_lines("carrier", "site"),
                *_ADDRESS,
                _COUNTRY,
            ),
        ),
        Table(
            "items",
            (
                _key("item_id"),
                _key("order_id"),
                Field("product_id", values.key),
                *_lines("lot", "serial", "version", "seller"),
                Field("quantity", values.whole_number, "bigint", strict=True),
                Field("quantity_returned", values.whole_number, "bigint", strict=True),
                *_ORDER_TIMES,
                *_times("returned_at"),
            ),
        ),
        Table(
            "tickets",
            (
                _key("ticket_id"),
                Field("desk", values.key),
                Field("customer_id", values.key),
                Field("requester_email", values.email),
                Field("subject", values.line),
                Field("body", values.text),
                *_lines("status", "priority"),
                *_times("opened_at", "solved_at"),
                Field("problem", values.key),
            ),
        ),
        Table(
            "events",
            (
                _key("event_id"),
                Field("customer_id", values.key),
                Field("name", values.key, required=True, strict=True),
                Field("occurred_at", values.time, "timestamptz", required=True, strict=True),
            ),
        ),
    )
}


def table_of(kind: str) -> Table:
    """Return the table of that kind; raises `InvalidInput` that names the kinds."""
    if kind not in TABLES:
        raise InvalidInput(f"There is no kind “{kind}”; it is one of {', '.join(TABLES)}.", where="kind")
    return TABLES[kind]


def normal_header(header: str) -> str:
    """Return a header as we compare it: `Customer ID` and `customer-id` are `customer_id`."""
    return re.sub(r"[^0-9a-z]+", "_", header.strip().casefold()).strip("_") or header.strip()


def guess_kind(name: str) -> str | None:
    """Return the kind that a file's name begins with (`customers-2026.csv.gz`)."""
    return next((kind for kind in TABLES if name.casefold().startswith(kind)), None)


def check_headers(table: Table, headers: Sequence[str], where: str) -> tuple[list[str], list[str]]:
    """Return the normal headers, and hints about columns that look like misspelt ones.

    Raises `InvalidInput` for repeated headers and for a required one that is missing, naming its nearest.
    """
    normal = [normal_header(h) for h in headers]
    if repeated := sorted({h for h in normal if normal.count(h) > 1}):
        raise InvalidInput(f"{where}: the header {', '.join(repeated)} occurs more than once.", where=repeated[0])
    standard = [f.name for f in table.fields]
    for field in table.fields:
        if field.required and field.name not in normal:
            strangers = [h for h in normal if h not in standard]
            near = difflib.get_close_matches(field.name, strangers, n=1, cutoff=0.4)
            hint = f" Did you mean it by “{near[0]}”?" if near else f" It has {', '.join(normal[:20]) or 'none'}."
            raise InvalidInput(f"{where}: the header {field.name} is missing.{hint}", where=field.name)
    absent = [name for name in standard if name not in normal]
    hints = [
        f"{where}: the column {header} was kept as an attribute; if you meant {near[0]}, name it so."
        for header in normal
        if header not in standard and (near := difflib.get_close_matches(header, absent, n=1, cutoff=0.8))
    ]
    return normal, hints
