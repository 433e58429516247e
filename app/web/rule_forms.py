"""A scope as a form: the tree of conditions drawn as fields, and read back from them.

Each node has a path (`likely`, `likely.0`, `likely.0.w.1`) and its fields are named `path:what`. A node's children
are its path with a number behind it; the conditions of a related row are a group of their own under `path.w`
(`where`) and `path.a` (`among`). What is not finished yet is kept in the form and left out of the preview.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from app.web.forms import Sent
from outreach.errors import InvalidRule
from outreach.vocabulary import Grade
from segments import choices
from segments.fields import Kind

GROUPS = {"all": "all of these hold", "any": "at least one of these holds", "none": "none of these holds"}
UNITS = ("minutes", "hours", "days", "weeks")
DEEPEST = 6  # levels that the form draws; the language allows more


@dataclass(slots=True)
class Node:
    """One node of the form: a group, a condition, a quantifier over rows, or a membership."""

    path: str
    shape: str  # group, field, related, member
    related: str | None = None  # the kind of row that fields here belong to
    kind: str = "all"
    children: list["Node"] = field(default_factory=list)
    values: dict[str, Any] = field(default_factory=dict)
    where: "Node | None" = None
    among: "Node | None" = None

    @property
    def depth(self) -> int:
        """How deep the node lies."""
        return self.path.count(".")


def tree_of(document: dict[str, Any]) -> dict[str, Node]:
    """Draw a definition: one group per grade that has a rule."""
    return {grade.value: _group(document[grade.value], grade.value, None) for grade in Grade if grade.value in document}


def _group(rule: Any, path: str, related: str | None) -> Node:
    node = Node(path, "group", related)
    if isinstance(rule, dict) and "not" in rule:
        node.kind, inner = "none", rule["not"]
        rules = inner["any"] if isinstance(inner, dict) and "any" in inner else [inner]
    else:
        node.kind = next((kind for kind in ("all", "any") if isinstance(rule, dict) and kind in rule), "all")
        rules = rule[node.kind] if isinstance(rule, dict) and node.kind in rule else [rule] if rule else []
    node.children = [_node(each, f"{path}.{place}", related) for place, each in enumerate(rules)]
    return node


def _node(rule: dict[str, Any], path: str, related: str | None) -> Node:
    if "related" in rule:
        values = {"quantifier": rule.get("quantifier", "any"), "op": rule.get("op"), "number": rule.get("value")}
        node = Node(path, "related", rule["related"], values=values)
        node.where = _group(rule.get("where"), f"{path}.w", rule["related"])
        if values["quantifier"] == "all":
            node.among = _group(rule.get("among"), f"{path}.a", rule["related"])
        return node
    if "member_of" in rule:
        return Node(path, "member", related, values={"segment": rule["member_of"], "grades": rule.get("grades") or []})
    if "field" in rule:
        return Node(path, "field", related, values={key: rule.get(key) for key in ("field", "op", "value", "type")})
    return _group(rule, path, related)


def read_tree(sent: Sent) -> dict[str, Node]:
    """Read the whole form back."""
    given: dict[str, list[str]] = {}
    for name, value in sent.pairs:
        if ":" in name:
            given.setdefault(name, []).append(value.strip())
    return {grade.value: _read(given, grade.value, None, 0) for grade in Grade if f"{grade.value}:shape" in given}


def _read(given: dict[str, list[str]], path: str, related: str | None, depth: int) -> Node:
    if depth > 2 * DEEPEST:
        raise InvalidRule(f"A rule is at most {DEEPEST} levels deep here.", where=path)
    shape = _one(given, f"{path}:shape") or "group"
    if shape == "related":
        entity = _one(given, f"{path}:related")
        entity = entity if entity in choices.ROWS else "order_items"
        quantifier = _one(given, f"{path}:quantifier") or "any"
        values = {
            "quantifier": quantifier,
            "op": _one(given, f"{path}:op") or "at_least",
            "number": _whole(_one(given, f"{path}:number")),
        }
        node = Node(path, "related", entity, values=values)
        node.where = _read(given, f"{path}.w", entity, depth + 1)
        if quantifier == "all":
            node.among = _read(given, f"{path}.a", entity, depth + 1)
        return node
    if shape == "member":
        grades = [each for each in given.get(f"{path}:grades", []) if each]
        return Node(path, "member", related, values={"segment": _one(given, f"{path}:segment"), "grades": grades})
    if shape == "field":
        return Node(path, "field", related, values=_condition(given, path, related))
    kind = _one(given, f"{path}:kind") or "all"
    children = [_read(given, each, related, depth + 1) for each in _children(given, path)]
    return Node(path, "group", related, kind if kind in GROUPS else "all", children)


def _children(given: dict[str, list[str]], path: str) -> Iterator[str]:
    place = 0
    while f"{path}.{place}:shape" in given:
        yield f"{path}.{place}"
        place += 1


def _condition(given: dict[str, list[str]], path: str, related: str | None) -> dict[str, Any]:
    name = _one(given, f"{path}:field")
    if name == "attribute":
        name = f"{_one(given, f'{path}:owner')}attributes.{_one(given, f'{path}:attribute')}"
    typed = _one(given, f"{path}:type") or None
    operator = _one(given, f"{path}:op")
    kind = Kind.TEXT
    if name:
        try:
            kind = choices.chosen(name, related, typed if "attributes." in name else None).kind
        except InvalidRule:
            name = ""
    fitting = [key for key, _ in choices.operators_for(kind)]
    operator = operator if operator in fitting else fitting[0]
    value = _value(given, path, kind, operator)
    return {"field": name, "op": operator, "value": value, "type": typed if "attributes." in name else None}


def _value(given: dict[str, list[str]], path: str, kind: Kind, operator: str) -> Any:
    wanted = choices.takes(operator)
    if wanted == "range":
        low, high = (_typed(kind, _one(given, f"{path}:{end}")) for end in ("from", "to"))
        return {"from": low, "to": high}
    if wanted == "duration":
        return {_one(given, f"{path}:unit") or "days": _typed(Kind.NUMBER, _one(given, f"{path}:value"))}
    if wanted == "area":
        parts = ("latitude", "longitude", "km")
        return {part: _typed(Kind.NUMBER, _one(given, f"{path}:{part}")) for part in parts}
    if wanted == "values":
        lines = "\n".join(given.get(f"{path}:value", [])).replace(",", "\n").split("\n")
        return [_typed(kind, line.strip()) for line in lines if line.strip()]
    other = _one(given, f"{path}:other")
    if wanted == "value" and other:
        days = _whole(_one(given, f"{path}:plus"))
        return {"field": other} | ({"plus": {"days": days}} if days and kind is Kind.TIME else {})
    return _typed(kind, _one(given, f"{path}:value")) if wanted == "value" else None


def _typed(kind: Kind, text: str) -> Any:
    if kind is Kind.BOOLEAN:
        return text != "false"
    if kind is Kind.NUMBER and text:
        try:
            return int(text)
        except ValueError:
            try:
                return json.loads(text)
            except ValueError:
                return text
    return text


def _one(given: dict[str, list[str]], name: str) -> str:
    return given.get(name, [""])[0]


def _whole(text: str) -> int:
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 8 else 0


def document_of(tree: dict[str, Node], *, finished: bool = True) -> dict[str, Any]:
    """Return the definition that the form says; with `finished` without what is not filled in yet."""
    found = {grade: _rule(node, finished) for grade, node in tree.items()}
    return {grade: rule for grade, rule in found.items() if rule is not None}


def _rule(node: Node, finished: bool) -> dict[str, Any] | None:
    if node.shape == "field":
        return _field_rule(node, finished)
    rule: dict[str, Any]
    if node.shape == "member":
        if finished and not node.values["segment"]:
            return None
        named = {"member_of": node.values["segment"]}
        return named | ({"grades": node.values["grades"]} if node.values["grades"] else {})
    if node.shape == "related":
        rule = {"related": node.related, "quantifier": node.values["quantifier"]}
        if rule["quantifier"] == "count":
            rule |= {"op": node.values["op"], "value": node.values["number"]}
        for key, group in (("where", node.where), ("among", node.among)):
            inner = _rule(group, finished) if group is not None else None
            rule |= {key: inner} if inner is not None else {}
        return None if finished and rule["quantifier"] == "all" and "where" not in rule else rule
    rules = [each for child in node.children if (each := _rule(child, finished)) is not None]
    if not rules and finished:
        return None
    return {"not": {"any": rules}} if node.kind == "none" else {node.kind: rules}


def _field_rule(node: Node, finished: bool) -> dict[str, Any] | None:
    values = node.values
    if finished and (not values["field"] or _is_blank(values["op"], values["value"])):
        return None
    found = {"field": values["field"], "op": values["op"]}
    if values["value"] is not None and choices.takes(values["op"]) != "nothing":
        found["value"] = values["value"]
    return found | ({"type": values["type"]} if values["type"] else {})


def _is_blank(operator: str, value: Any) -> bool:
    if choices.takes(operator) == "nothing":
        return False
    parts = value.values() if isinstance(value, dict) and "field" not in value else [value]
    return any(part in ("", None, []) for part in parts)


def change(tree: dict[str, Node], what: str) -> dict[str, Any]:
    """Do one structural thing, `add-field:likely.0`, and return the definition as it stands then, unfinished parts too.

    Adding goes to the group named; `remove` takes a node away, `grade:incoming` starts a rule for that grade.
    """
    verb, _, path = what.partition(":")
    if verb == "grade" and path in set(Grade) and path not in tree:
        tree[path] = Node(path, "group")
        verb = "add-related"
    if verb == "remove" and path in tree:
        tree.pop(path)
    for node in list(tree.values()):
        _change(node, verb, path)
    return document_of(tree, finished=False)


def _change(node: Node, verb: str, path: str) -> None:
    if verb == "remove":
        node.children = [child for child in node.children if child.path != path]
    if node.path == path and node.shape == "group" and verb.startswith("add-"):
        place = f"{path}.{len(node.children)}"
        condition = Node(
            f"{place}.w.0", "field", "order_items", values={"field": "", "op": "equals", "value": "", "type": None}
        )
        if verb == "add-field":
            values = {"field": "", "op": "equals", "value": "", "type": None}
            node.children.append(Node(place, "field", node.related, values=values))
        elif verb == "add-group":
            node.children.append(Node(place, "group", node.related, "any"))
        elif verb == "add-related" and node.related is None:
            rows = Node(place, "related", "order_items", values={"quantifier": "any", "op": "at_least", "number": 1})
            rows.where = Node(f"{place}.w", "group", "order_items", children=[condition])
            node.children.append(rows)
        elif verb == "add-member" and node.related is None:
            node.children.append(Node(place, "member", values={"segment": "", "grades": []}))
    for child in (*node.children, node.where, node.among):
        if child is not None:
            _change(child, verb, path)
