"""From what a rule says to what it means: fields found, operators fitted, values typed.

Everything here is frozen and hashable, so that equal parts of a rule can be recognised and read once.
Every refusal is an `InvalidRule` with the path to the node and what would be right.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from difflib import get_close_matches
from functools import lru_cache
from types import MappingProxyType
from typing import Any

from outreach.errors import InvalidRule
from outreach.vocabulary import Grade
from segments import fields, rules
from segments.fields import CUSTOMERS, ENTITIES, Entity, FieldRef, Kind
from segments.operators import COUNTS, OPERATORS, Operator, Takes
from segments.values import duration, read_operands

Operand = str | bool | Any  # hashable: text, number (Decimal), time, duration, or a tuple of them


@dataclass(frozen=True)
class OtherField:
    """The value of another field, moved by a duration."""

    ref: FieldRef
    plus: timedelta = timedelta(0)


@dataclass(frozen=True)
class Fact:
    """One field compared with operands."""

    ref: FieldRef
    operator: Operator
    operands: tuple[Operand, ...]
    shown: tuple[str, ...] = field(compare=False, default=())
    path: str = field(compare=False, default="$")


@dataclass(frozen=True)
class Every:
    """All parts hold."""

    parts: "tuple[Meaning, ...]"
    path: str = field(compare=False, default="$")


@dataclass(frozen=True)
class Some:
    """At least one part holds."""

    parts: "tuple[Meaning, ...]"
    path: str = field(compare=False, default="$")


@dataclass(frozen=True)
class Negated:
    """The part does not hold."""

    part: "Meaning"
    path: str = field(compare=False, default="$")


@dataclass(frozen=True)
class Rows:
    """A quantifier over related rows; `comparison` and `number` belong to the quantifier `count`."""

    entity: str
    quantifier: str
    where: "Meaning | None"
    among: "Meaning | None" = None
    comparison: str | None = None
    number: int = 0
    path: str = field(compare=False, default="$")


Meaning = Fact | Every | Some | Negated | Rows


@lru_cache(maxsize=32)
def understand(definition: rules.Definition) -> Mapping[Grade, Meaning]:
    """Return what each grade's rule means; raises `InvalidRule`."""
    return MappingProxyType(
        {grade: understand_rule(rule, where=grade.value) for grade, rule in definition.grades.items()}
    )


def understand_rule(rule: rules.Rule, *, where: str = "$", entity: Entity | None = None) -> Meaning:
    """Return what a rule means: about the customer, or about one row of `entity`."""
    if isinstance(rule, rules.AllOf):
        return Every(_parts(rule.every, f"{where}.all", entity), where)
    if isinstance(rule, rules.AnyOf):
        return Some(_parts(rule.some, f"{where}.any", entity), where)
    if isinstance(rule, rules.NotRule):
        return Negated(understand_rule(rule.negated, where=f"{where}.not", entity=entity), where)
    if isinstance(rule, rules.Condition):
        return _fact(rule, where, entity)
    if entity is not None:
        raise InvalidRule(
            f"Inside `where` only facts of the same {entity.singular} can be asked; put this node beside it.",
            where=where,
        )
    return _rows(rule, where) if isinstance(rule, rules.Related) else _membership(rule, where)


def _parts(parts: list[rules.Rule], where: str, entity: Entity | None) -> tuple[Meaning, ...]:
    return tuple(
        understand_rule(part, where=f"{where}[{position}]", entity=entity) for position, part in enumerate(parts)
    )


def _rows(rule: rules.Related, where: str) -> Rows:
    entity = ENTITIES.get(rule.related)
    if entity is None:
        raise InvalidRule(_unknown("kind of row", rule.related, list(ENTITIES)), where=f"{where}.related")
    inner = None if rule.where is None else understand_rule(rule.where, where=f"{where}.where", entity=entity)
    among = None if rule.among is None else understand_rule(rule.among, where=f"{where}.among", entity=entity)
    if among is not None and rule.quantifier != "all":
        raise InvalidRule("`among` belongs to the quantifier `all` only.", where=f"{where}.among")
    if rule.quantifier == "all" and inner is None:
        raise InvalidRule("`all` needs `where`: what each of the rows has to satisfy.", where=f"{where}.where")
    if rule.quantifier != "count":
        if rule.op is not None or rule.value is not None:
            raise InvalidRule("`op` and `value` belong to the quantifier `count` only.", where=f"{where}.op")
        return Rows(rule.related, rule.quantifier, inner, among, path=where)
    if rule.op not in COUNTS:
        raise InvalidRule(_unknown("comparison of a count", str(rule.op), list(COUNTS)), where=f"{where}.op")
    if not isinstance(rule.value, int) or isinstance(rule.value, bool) or not 0 <= rule.value <= 1_000_000:
        raise InvalidRule("A count is compared with a whole number from 0 to 1000000.", where=f"{where}.value")
    return Rows(rule.related, "count", inner, None, rule.op, rule.value, path=where)


def _membership(rule: rules.MemberOf, where: str) -> Rows:
    grades = rule.grades or [Grade.AFFECTED, Grade.LIKELY, Grade.INCOMING]
    entity = ENTITIES["memberships"]
    key = rules.Condition(field="segment.key", op="equals", value=rule.member_of)
    held = rules.Condition(field="grade", op="one_of", value=[grade.value for grade in grades])
    parts = (_fact(key, f"{where}.member_of", entity), _fact(held, f"{where}.grades", entity))
    return Rows("memberships", "any", Every(parts, where), path=where)


def _fact(rule: rules.Condition, where: str, entity: Entity | None) -> Fact:
    ref = find_field(rule.field, entity, kind=rule.type, where=f"{where}.field")
    operator = OPERATORS.get(rule.op)
    fitting = [key for key, row in OPERATORS.items() if ref.kind in row.kinds]
    if operator is None or ref.kind not in operator.kinds:
        what = f"operator for the {ref.kind} field {ref.path}"
        raise InvalidRule(_unknown(what, rule.op, fitting), where=f"{where}.op")
    if operator.takes is Takes.VALUE and isinstance(rule.value, dict):
        return _compared_with_field(rule, ref, operator, where, entity)
    operands, shown = read_operands(operator, ref, rule.value, where=f"{where}.value")
    return Fact(ref, operator, operands, shown, where)


def _compared_with_field(
    rule: rules.Condition, ref: FieldRef, operator: Operator, where: str, entity: Entity | None
) -> Fact:
    given = rule.value if isinstance(rule.value, dict) else {}
    name = given.get("field")
    if not isinstance(name, str) or not set(given) <= {"field", "plus"}:
        raise InvalidRule(
            'A value is a plain one, or another field: {"field": "promised_at", "plus": {"days": 20}}.',
            where=f"{where}.value",
        )
    other = find_field(name, entity, kind=rule.type, where=f"{where}.value.field")
    if other.kind is not ref.kind:
        raise InvalidRule(
            f"{other.path} is a {other.kind} field and {ref.path} a {ref.kind} field; compare two of one kind.",
            where=f"{where}.value.field",
        )
    shown = f"the {other.noun}"
    plus = timedelta(0)
    if "plus" in given:
        if ref.kind is not Kind.TIME:
            raise InvalidRule("`plus` moves times only.", where=f"{where}.value.plus")
        plus, words = duration(given["plus"], where=f"{where}.value.plus")
        shown = f"{words} past the {other.noun}"
    return Fact(ref, operator, (OtherField(other, plus),), (shown,), where)


def find_field(path: str, entity: Entity | None, *, kind: str | None = None, where: str = "$") -> FieldRef:
    """Return the field a path names, seen from the customer (no entity) or from a row of `entity`."""
    head, _, rest = path.partition(".")
    if entity is None:
        if head != "customer" or not rest:
            known = [f"customer.{name}" for name in [*fields.columns_of(CUSTOMERS), *fields.CUSTOMER_FACTS]]
            raise InvalidRule(_unknown("field of a customer", path, known), where=where)
        return _field_of(CUSTOMERS, rest, None, path, kind, where, "", customer=True)
    if rest and head in entity.parents:
        parent = entity.parents[head]
        is_customer = head == "customer"
        return _field_of(parent.table, rest, head, path, kind, where, f"{parent.noun} ", customer=is_customer)
    return _field_of(entity.table, path, None, path, kind, where, "", parents=tuple(entity.parents))


def _field_of(
    table: Any,
    name: str,
    parent: str | None,
    path: str,
    kind: str | None,
    where: str,
    owner: str,
    *,
    customer: bool = False,
    parents: tuple[str, ...] = (),
) -> FieldRef:
    known = fields.columns_of(table)
    has_attributes = "attributes" in table.c
    if has_attributes and name.startswith("attributes."):
        key = name.removeprefix("attributes.")
        if not key or len(key) > 200 or "\x00" in key or not key.isprintable():
            raise InvalidRule("An attribute is named `attributes.NAME`, up to 200 printable letters.", where=where)
        return FieldRef(path, Kind(kind or "text"), f"{owner}{key}", parent, "attributes", attribute=key)
    if customer and name in fields.CUSTOMER_FACTS:
        fact_kind, noun = fields.CUSTOMER_FACTS[name]
        words = ("given", "refused") if name.endswith("_consent") else ()
        return FieldRef(path, fact_kind, f"{owner}{noun}", parent, name, words=words, whole=True)
    if name not in known:
        options = [*known, *(["attributes.NAME"] if has_attributes else []), *(f"{each}.…" for each in parents)]
        prefix = path[: len(path) - len(name)]
        raise InvalidRule(_unknown("field", path, [f"{prefix}{option}" for option in options]), where=where)
    if kind is not None and kind != known[name]:
        raise InvalidRule(f"{path} is a {known[name]} field; `type` is for attributes.", where=where)
    noun = f"{owner}{fields.noun_of(name)}"
    return FieldRef(path, known[name], noun, parent, name, words=fields.words_of(table, name))


def _unknown(what: str, given: str, options: list[str]) -> str:
    near = get_close_matches(given, options, n=1)
    hint = f"Did you mean {near[0]!r}? " if near else ""
    return f"There is no {what} {given[:100]!r}. {hint}Known: {', '.join(options)}."


def facts_within(meaning: Meaning | None) -> list[Fact]:
    """Return all comparisons in a tree, in order."""
    if meaning is None:
        return []
    if isinstance(meaning, Fact):
        return [meaning]
    if isinstance(meaning, Every | Some):
        return [fact for part in meaning.parts for fact in facts_within(part)]
    if isinstance(meaning, Negated):
        return facts_within(meaning.part)
    return facts_within(meaning.among) + facts_within(meaning.where)


def rows_within(meaning: Meaning) -> list[Rows]:
    """Return all quantifiers in a tree, in order."""
    if isinstance(meaning, Rows):
        return [meaning]
    if isinstance(meaning, Every | Some):
        return [rows for part in meaning.parts for rows in rows_within(part)]
    return rows_within(meaning.part) if isinstance(meaning, Negated) else []


def conjuncts(meaning: Meaning | None) -> tuple[Meaning, ...]:
    """Return the parts that must all hold."""
    if meaning is None:
        return ()
    if isinstance(meaning, Every):
        return tuple(each for part in meaning.parts for each in conjuncts(part))
    return (meaning,)


__all__ = [
    "Every",
    "Fact",
    "Meaning",
    "Negated",
    "OtherField",
    "Rows",
    "Some",
    "conjuncts",
    "facts_within",
    "find_field",
    "rows_within",
    "understand",
    "understand_rule",
]
