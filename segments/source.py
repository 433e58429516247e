"""Where the value of a field comes from: one table under an alias, and the rows it points to, joined when asked for."""

from datetime import datetime, timedelta
from enum import Enum
from typing import Any

from sqlalchemy import (
    ARRAY,
    BigInteger,
    Boolean,
    ColumnElement,
    DateTime,
    FromClause,
    Interval,
    Numeric,
    Table,
    Text,
    and_,
    bindparam,
    case,
    cast,
    func,
    literal_column,
    or_,
    select,
    true,
    tuple_,
)
from sqlalchemy.types import TypeEngine

from outreach import models
from outreach.vocabulary import Channel
from segments.fields import CUSTOMERS, Entity, FieldRef, Kind, as_text
from segments.meaning import Every, Fact, Meaning, Negated, OtherField, Some
from segments.operators import Takes

_TYPES: dict[Kind, TypeEngine[Any]] = {
    Kind.TEXT: Text(),
    Kind.NUMBER: Numeric(),
    Kind.BOOLEAN: Boolean(),
    Kind.TIME: DateTime(timezone=True),
    Kind.PLACE: Numeric(),
}
# Silent paths: an attribute that cannot be read as its declared type counts as missing, it never fails the query.
_AS_NUMBER: ColumnElement[Any] = literal_column("'strict $.double()'::jsonpath")
_AS_TIME: ColumnElement[Any] = literal_column(
    """'strict $.datetime() ? (@.type() == "date" || @.type() starts with "timestamp")'::jsonpath"""
)
_NO_VARIABLES: ColumnElement[Any] = literal_column("'{}'::jsonb")
_SILENT: ColumnElement[Any] = literal_column("true")
# E.164: a plus, no leading zero, at most 15 digits (ITU-T E.164).
E164 = r"^\+[1-9][0-9]{6,14}$"


def bound(value: Any, kind: TypeEngine[Any]) -> ColumnElement[Any]:
    """Return a value as a bound parameter with an explicit type: values never reach the SQL text."""
    return bindparam(None, value, type_=kind, unique=True)


class Later(Enum):
    """A value that a statement is executed with: it is built once and kept for the next time."""

    VALUE = "given by name at the execution"


def given(name: str, kind: TypeEngine[Any], value: Any) -> ColumnElement[Any]:
    """Return a named parameter: with its value, or (`Later`) one without which the statement cannot be executed."""
    later = value is Later.VALUE
    return bindparam(name, None if later else value, type_=kind, required=later)


class Source:
    """One row of a table, seen by a rule."""

    def __init__(self, table: Table, *, now: datetime | Later, entity: Entity | None = None) -> None:
        self.row: FromClause = table.alias()
        self.now = now
        self._entity = entity
        self._joined: dict[str, tuple[FromClause, ColumnElement[bool]]] = {}

    def tables(self) -> FromClause:
        """Return the row's table with every table that was asked for beside it."""
        found: FromClause = self.row
        for table, condition in self._joined.values():
            found = found.outerjoin(table, condition)
        return found

    def parent(self, name: str) -> FromClause:
        """Return the row that this one points to, joining its table once."""
        if name not in self._joined:
            if self._entity is None:
                raise LookupError(name)
            parent = self._entity.parents[name]
            child = self.parent(parent.through) if parent.through else self.row
            alias = parent.table.alias()
            self._joined[name] = (alias, alias.c.id == child.c[parent.column])
        return self._joined[name][0]

    def of_customer(self) -> "Source":
        """Return the source of the facts about the customer whom this row belongs to."""
        found = Source(CUSTOMERS, now=self.now)
        found.row = self.parent("customer")
        return found

    def holds(self, meaning: Meaning) -> ColumnElement[bool]:
        """Return the condition that a tree of facts puts on this row; unknown counts as false."""
        if isinstance(meaning, Fact):
            return self._compare(meaning)
        if isinstance(meaning, Every):
            return and_(*(self.holds(part) for part in meaning.parts))
        if isinstance(meaning, Some):
            return or_(*(self.holds(part) for part in meaning.parts))
        if isinstance(meaning, Negated):
            return self.holds(meaning.part).is_not(true())
        raise TypeError(meaning)

    def value(self, ref: FieldRef) -> ColumnElement[Any]:
        """Return the value of a field."""
        row = self.parent(ref.parent) if ref.parent else self.row
        if ref.attribute is not None:
            return _attribute(row.c.attributes, ref.attribute, ref.kind)
        if ref.whole:
            return customer_fact(row, ref.column)
        return as_text(row.c[ref.column])

    def moment(self) -> ColumnElement[Any]:
        """Return the present moment: the one given, or the parameter `present_moment`."""
        return given("present_moment", _TYPES[Kind.TIME], self.now)

    def _compare(self, fact: Fact) -> ColumnElement[bool]:
        operands = [self._operand(fact, operand) for operand in fact.operands]
        return fact.operator.sql(self.value(fact.ref), operands, self.moment())

    def _operand(self, fact: Fact, operand: Any) -> ColumnElement[Any]:
        if isinstance(operand, OtherField):
            other = self.value(operand.ref)
            return other + bound(operand.plus, Interval()) if operand.ref.kind is Kind.TIME else other
        kind = _TYPES[fact.ref.kind]
        if fact.ref.kind is Kind.NUMBER and fact.ref.attribute is None:
            kind = BigInteger()  # as the column: a cast of it would hide its index and its statistics
        if fact.operator.takes is Takes.VALUES:
            return bound(list(operand), ARRAY(kind))
        return bound(operand, Interval() if isinstance(operand, timedelta) else kind)


def _attribute(attributes: ColumnElement[Any], name: str, kind: Kind) -> ColumnElement[Any]:
    key = bound(name, Text())
    text = attributes.op("->>", return_type=Text())(key)
    if kind is Kind.TEXT:
        return text
    if kind is Kind.BOOLEAN:
        return case((text == bound("true", Text()), true()), (text == bound("false", Text()), literal_column("false")))
    value = attributes.op("->")(key)
    if kind is Kind.NUMBER:
        return cast(func.jsonb_path_query_first(value, _AS_NUMBER, _NO_VARIABLES, _SILENT), Numeric)
    read = func.jsonb_path_query_first_tz(value, _AS_TIME, _NO_VARIABLES, _SILENT)
    return cast(read.op("#>>")(literal_column("'{}'::text[]")), DateTime(timezone=True))


def reachable(customer: FromClause, channel: Channel) -> ColumnElement[bool]:
    """Return whether a customer has an address of this channel that is not barred."""
    return and_(has_address(customer, channel), ~barred(customer, channel))


def has_address(customer: FromClause, channel: Channel) -> ColumnElement[bool]:
    """Return whether a customer has a usable address of this channel."""
    columns = customer.c
    if channel is Channel.EMAIL:
        return and_(columns.email.is_not(None), func.strpos(columns.email, "@") > 1)
    if channel is Channel.SMS:
        return and_(columns.phone.is_not(None), columns.phone.regexp_match(E164))
    needed = (columns.address_line1, columns.city, columns.postal_code, columns.country)
    return and_(*(column.is_not(None) for column in needed))


def barred(customer: FromClause, channel: Channel) -> ColumnElement[bool]:
    """Return whether the customer's address of this channel is suppressed; addresses are kept in lower case."""
    columns = customer.c
    parts = ("address_line1", "address_line2", "city", "region", "postal_code", "country")
    address = {
        Channel.EMAIL: columns.email,
        Channel.SMS: columns.phone,
        # The one line that a postal address is barred by.
        Channel.POSTCARD: func.lower(func.concat_ws("|", *(columns[part] for part in parts))),
    }[channel]
    ban = models.Suppression.__table__.alias()
    standing = and_(ban.c.channel == channel, ban.c.lifted_at.is_(None), ban.c.address == address)
    return select(ban.c.id).where(standing).exists()


def customer_fact(customer: FromClause, name: str) -> ColumnElement[Any]:
    """Return a fact about a customer that is worked out rather than stored."""
    if name == "place":
        return tuple_(*(_attribute(customer.c.attributes, each, Kind.NUMBER) for each in ("latitude", "longitude")))
    channel = Channel(name.removeprefix("reachable_by_").removesuffix("_consent"))
    if name.startswith("reachable_by_"):
        return func.coalesce(reachable(customer, channel), literal_column("false"))
    act = models.Consent.__table__.alias()
    # The newest act by the person's own time holds; refusal wins ties.
    newest = (
        select(case((act.c.allowed, literal_column("'given'")), else_=literal_column("'refused'")))
        .where(act.c.customer_id == customer.c.id, act.c.channel == channel, act.c.notice_class.is_(None))
        .order_by(act.c.acted_at.desc(), act.c.allowed)
        .limit(1)
    )
    return newest.scalar_subquery()


def everyone(now: datetime) -> Source:
    """Return the source of customer facts."""
    return Source(CUSTOMERS, now=now)
