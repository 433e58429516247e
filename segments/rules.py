"""The rule language: a tree of conditions in JSON, one rule per grade (docs/segments.md).

A rule is one of
    {"all": [rule, …]}   {"any": [rule, …]}   {"not": rule}
    {"field": "customer.country", "op": "equals", "value": "BR"}
    {"related": "order_items", "quantifier": "any|none|all|count", "where": rule, …}
    {"member_of": "segment-key", "grades": ["affected"]}
Here only the shape is checked; `segments.meaning` checks fields, operators and values.
"""

import json
from collections.abc import Iterator
from functools import cached_property
from typing import Annotated, Any, Literal, cast

from pydantic import BaseModel, ConfigDict, Discriminator, Field, JsonValue, Tag, TypeAdapter, ValidationError

from outreach.errors import InvalidRule
from outreach.vocabulary import Grade

MAX_DEPTH = 8
MAX_NODES = 100
SHAPES = ("all", "any", "not", "field", "related", "member_of")

AttributeKind = Literal["text", "number", "boolean", "time"]


class _Node(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True, strict=True)


class AllOf(_Node):
    """Every one of the rules holds."""

    every: Annotated[list["Rule"], Field(alias="all", min_length=1)]


class AnyOf(_Node):
    """At least one of the rules holds."""

    some: Annotated[list["Rule"], Field(alias="any", min_length=1)]


class NotRule(_Node):
    """The rule does not hold."""

    negated: Annotated["Rule", Field(alias="not")]


class Condition(_Node):
    """One fact compared with a value, or with another field: `{"field": "promised_at", "plus": {"days": 20}}`.

    `type` says how a free attribute is to be read; without it an attribute is text.
    """

    field: str
    op: str
    value: JsonValue = None
    type: AttributeKind | None = None


class Related(_Node):
    """A quantifier over the rows that belong to a customer; fields in `where` are those of the same row.

    `among` (only with `all`) narrows which rows have to satisfy `where`; at least one such row must exist.
    `op` and `value` compare the number of rows (only with `count`).
    """

    related: str
    quantifier: Literal["any", "none", "all", "count"] = "any"
    where: "Rule | None" = None
    among: "Rule | None" = None
    op: str | None = None
    value: JsonValue = None


class MemberOf(_Node):
    """The customer is in the audience of another segment; without `grades`, in any grade but cleared."""

    member_of: str
    grades: Annotated[list[Annotated[Grade, Field(strict=False)]], Field(min_length=1)] | None = None


def _shape(value: Any) -> str | None:
    if isinstance(value, dict):
        found = [shape for shape in SHAPES if shape in value]
        return found[0] if len(found) == 1 else None
    return _SHAPE_OF.get(type(value))


Rule = Annotated[
    Annotated[AllOf, Tag("all")]
    | Annotated[AnyOf, Tag("any")]
    | Annotated[NotRule, Tag("not")]
    | Annotated[Condition, Tag("field")]
    | Annotated[Related, Tag("related")]
    | Annotated[MemberOf, Tag("member_of")],
    Discriminator(_shape),
]
_SHAPE_OF: dict[type, str] = {
    AllOf: "all",
    AnyOf: "any",
    NotRule: "not",
    Condition: "field",
    Related: "related",
    MemberOf: "member_of",
}
for _model in (AllOf, AnyOf, NotRule, Related):
    _model.model_rebuild()
_RULE: TypeAdapter[Rule] = TypeAdapter(Rule)


class Definition(BaseModel):
    """One rule per grade; a plain segment uses only `affected`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    grades: dict[Grade, Rule]

    @cached_property
    def wording(self) -> str:
        """The definition as one text: equal for equal definitions."""
        return json.dumps(self.document(), sort_keys=True)

    def __hash__(self) -> int:
        return hash(self.wording)

    def document(self) -> dict[str, Any]:
        """Return the JSON object that `parse_definition` reads."""
        return {grade.value: as_document(rule) for grade, rule in self.grades.items()}


def as_document(rule: Rule) -> dict[str, Any]:
    """Return a rule as the JSON object it is written in."""
    return cast(dict[str, Any], _RULE.dump_python(rule, mode="json", by_alias=True, exclude_defaults=True))


def parse_definition(document: Any) -> Definition:
    """Read a definition: an object with a rule per grade, or one bare rule (which is then `affected`)."""
    if not isinstance(document, dict):
        raise InvalidRule(
            "A definition is an object with a rule per grade (affected, likely, incoming, cleared).", where="$"
        )
    if any(shape in document for shape in SHAPES):
        document = {Grade.AFFECTED.value: document}
    known = [grade.value for grade in Grade]
    unknown = [key for key in document if key not in known]
    if unknown:
        raise InvalidRule(f"{unknown[0]!r} is not a grade; the grades are {', '.join(known)}.", where=unknown[0])
    if not any(key != Grade.CLEARED for key in document):
        raise InvalidRule("A definition needs at least one rule for affected, likely or incoming.", where="$")
    return Definition(grades={Grade(grade): parse_rule(rule, where=grade) for grade, rule in document.items()})


def parse_rule(document: Any, *, where: str = "$") -> Rule:
    """Read one rule; raises `InvalidRule` with the path to the first node that is wrong."""
    _check_size(document, where)
    try:
        return _RULE.validate_python(document)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        raise InvalidRule(_advice(first["msg"], first["type"]), where=_path(where, first["loc"])) from error


def loads(text: str | bytes) -> Any:
    """Read JSON as strictly as rules need: no repeated keys, no NaN or Infinity, no bottomless nesting."""
    try:
        return json.loads(text, object_pairs_hook=_unique, parse_constant=_refuse_constant)
    except RecursionError as error:
        raise InvalidRule(f"A rule is at most {MAX_DEPTH} levels deep.", where="$") from error
    except ValueError as error:
        raise InvalidRule(f"This is not JSON: {error}.", where="$") from error


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise InvalidRule(f"The key {twice!r} is there twice in one object; keep one of them.", where=twice)
    return found


def _refuse_constant(name: str) -> Any:
    raise InvalidRule(f"{name} is not a number that can be compared; write a finite one.", where="$")


def _children(node: Any, where: str) -> Iterator[tuple[Any, str]]:
    if not isinstance(node, dict):
        return
    for key in ("all", "any"):
        if isinstance(node.get(key), list):
            yield from ((child, f"{where}.{key}[{position}]") for position, child in enumerate(node[key]))
    for key in ("not", "where", "among"):
        if node.get(key) is not None:
            yield node[key], f"{where}.{key}"


def _check_size(document: Any, where: str) -> None:
    # Walked without recursion, before anything that recurses sees it.
    waiting = [(document, where, 1)]
    count = 0
    while waiting:
        node, place, depth = waiting.pop()
        count += 1
        if depth > MAX_DEPTH:
            raise InvalidRule(f"A rule is at most {MAX_DEPTH} levels deep; this node is deeper.", where=place[:300])
        if count > MAX_NODES:
            raise InvalidRule(
                f"A rule has at most {MAX_NODES} nodes; put long lists of values into one `one_of`.", where=where
            )
        if not isinstance(node, dict) or _shape(node) is None:
            raise InvalidRule(f"A rule is an object with exactly one of the keys {', '.join(SHAPES)}.", where=place)
        waiting.extend((child, path, depth + 1) for child, path in _children(node, place))


def _path(where: str, loc: tuple[int | str, ...]) -> str:
    """Return the place as the document has it: pydantic also names, at every rule, which kind it took it for."""
    path, at_rule, key = where, True, ""
    for step in loc:
        if at_rule:
            at_rule = False
            continue
        path += f"[{step}]" if isinstance(step, int) else f".{step}"
        at_rule = step in {"not", "where", "among"} or (isinstance(step, int) and key in {"all", "any"})
        key = str(step)
    return path


def _advice(message: str, kind: str) -> str:
    if kind == "extra_forbidden":
        return "This key is not known here; docs/segments.md lists the keys of every kind of node."
    if kind == "missing":
        return "This key is missing."
    return f"{message}."
