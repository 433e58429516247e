"""What a person can point at while building a rule: kinds of rows, their fields, the operators that fit, and values.

Read from the same tables that rules are checked by, so that whatever can be chosen can be used.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from sqlalchemy import FromClause, Table, Text, cast, column, func, literal_column, select, table, text
from sqlalchemy.orm import Session

from segments import fields
from segments.fields import CUSTOMERS, ENTITIES, Entity, FieldRef, Kind
from segments.meaning import find_field
from segments.operators import COUNTS, OPERATORS, Operator, Takes
from segments.source import bound

LOOKED_AT = 300_000  # rows of one table that are read for the counts beside values; larger ones are sampled
SHOWN = 12

QUANTIFIERS: Mapping[str, str] = {
    "any": "have at least one",
    "none": "have no",
    "count": "have a number of",
    "all": "have, and for all of them,",
}
# Rules of membership have a syntax of their own.
ROWS: Mapping[str, str] = {key: entity.plural for key, entity in ENTITIES.items() if key != "memberships"}
COMPARISONS: Mapping[str, str] = {key: words.format("…") for key, (_, words) in COUNTS.items()}


@dataclass(frozen=True, slots=True)
class Choice:
    """One field: its path in a rule, what sort of value it holds, and its words where they are fixed."""

    path: str
    label: str
    group: str
    kind: Kind
    words: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Value:
    """One value that a field holds, and in how many rows; `about` when the rows were sampled."""

    value: str
    rows: int
    about: bool


def choices(related: str | None = None) -> list[Choice]:
    """Return the fields of a customer, or of one kind of row and of those that it points to."""
    if related is None:
        return _customer("customer.", "Customer")
    entity = ENTITIES[related]
    found = _columns(entity, "", entity.singular.capitalize(), entity.table)
    for name, parent in entity.parents.items():
        if name == "customer":
            found += _customer("customer.", "Customer", "customer's ")
        else:
            found += _columns(entity, f"{name}.", name.capitalize(), parent.table, f"{parent.noun} ")
    return found


def chosen(path: str, related: str | None, kind: str | None = None) -> FieldRef:
    """Return the field of a path; raises `InvalidRule` when there is none."""
    return find_field(path, ENTITIES[related] if related else None, kind=kind)


def operators_for(kind: Kind) -> list[tuple[str, str]]:
    """Return the operators that fit a kind of field, with their words."""
    return [(key, _words(row)) for key, row in OPERATORS.items() if kind in row.kinds]


def takes(operator: str) -> str:
    """Return what an operator wants for a value: nothing, value, values, range, duration or area."""
    row = OPERATORS.get(operator)
    return (row.takes if row else Takes.VALUE).name.lower()


def values(session: Session, *, path: str, related: str | None, beginning: str = "") -> list[Value]:
    """Return the commonest values of a text field that hold what was typed, with the number of rows."""
    ref = chosen(path, related)
    if ref.kind is not Kind.TEXT or ref.whole:
        return [Value(word, 0, False) for word in ref.words]
    source = ENTITIES[related].table if related else CUSTOMERS
    if ref.parent and related:
        source = _parent_table(ENTITIES[related], ref.parent)
    rows = session.execute(
        select(cast(func.greatest(column("reltuples"), 0), Text))
        .select_from(table("pg_class"))
        .where(literal_column("oid") == func.to_regclass(bound(source.name, Text())))
    ).scalar_one_or_none()
    size = float(rows or 0)
    percent = min(100.0, 100 * LOOKED_AT / size) if size > LOOKED_AT else 100.0
    found: FromClause = source if percent == 100 else source.tablesample(func.system(percent))
    held = found.c.attributes.op("->>")(bound(ref.attribute, Text())) if ref.attribute else found.c[ref.column]
    value = cast(held, Text)
    query = select(value.label("value"), func.count().label("number")).where(value.is_not(None)).group_by(value)
    if beginning:
        query = query.where(func.strpos(func.fold_text(value), func.fold_text(bound(beginning, Text()))) > 0)
    query = query.order_by(func.count().desc(), value).limit(SHOWN)
    session.execute(text("SET LOCAL statement_timeout = '3s'"))
    return [Value(row.value, round(row.number * 100 / percent), percent < 100) for row in session.execute(query).all()]


def _parent_table(entity: Entity, name: str) -> Table:
    return entity.parents[name].table


def _customer(prefix: str, group: str, owner: str = "") -> list[Choice]:
    plain = [
        Choice(f"{prefix}{name}", f"{owner}{fields.noun_of(name)}", group, kind, fields.words_of(CUSTOMERS, name))
        for name, kind in fields.columns_of(CUSTOMERS).items()
    ]
    facts = [
        Choice(f"{prefix}{name}", noun, "Customer, worked out", kind, ("given", "refused") if "consent" in name else ())
        for name, (kind, noun) in fields.CUSTOMER_FACTS.items()
    ]
    return plain + facts


def _columns(entity: Entity, prefix: str, group: str, source: Table, owner: str = "") -> list[Choice]:
    return [
        Choice(f"{prefix}{name}", f"{owner}{fields.noun_of(name)}", group, kind, fields.words_of(source, name))
        for name, kind in fields.columns_of(source).items()
        if name not in entity.parents
    ]


def _words(row: Operator) -> str:
    shown = {Takes.RANGE: ("…", "…"), Takes.AREA: ("a place", "", "…")}.get(row.takes, ("…",))
    return row.phrase.format(*shown).removesuffix("…").strip()
