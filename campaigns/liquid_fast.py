"""The quick way to render simple Liquid: parsed once by python-liquid, turned into plain Python functions.

Rendering is most of the work of sending email. What is not listed here (other tags, filters, nested
loops) makes the whole text go the full way; unusual data at run time do the same. Tests hold the two
ways equal, text by text.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any
from urllib.parse import quote_plus

from liquid import BoundTemplate
from liquid.ast import BlockNode, Node
from liquid.builtin.content import ContentNode
from liquid.builtin.expressions import BooleanExpression, FilteredExpression, Nil, Path, StringLiteral
from liquid.builtin.expressions.logical import (
    EqExpression,
    GtExpression,
    LogicalAndExpression,
    LogicalOrExpression,
    NeExpression,
)
from liquid.builtin.expressions.primitive import Blank, FalseLiteral, IntegerLiteral, TrueLiteral
from liquid.builtin.output import OutputNode
from liquid.builtin.tags.for_tag import ForNode
from liquid.builtin.tags.if_tag import IfNode
from liquid.builtin.tags.unless_tag import UnlessNode
from liquid.expression import Expression
from markupsafe import escape

Scope = Mapping[str, Any]
Write = Callable[[str], None]
Step = Callable[[Scope, Write], None]
Value = Callable[[Scope], Any]
FastRender = Callable[[Scope], str]

# Longer loops go the full way, which counts iterations and output.
MAX_ITEMS = 200


class NeedsFullLiquidError(Exception):
    """The quick way does not cover this; not an error of the template."""


def fast_render(template: BoundTemplate, *, html: bool) -> FastRender | None:
    """Return a function equal to `template.render`, or none where the text is not simple."""
    try:
        steps = _block(template.nodes, html=html, looping=False)
    except NeedsFullLiquidError:
        return None

    def render(scope: Scope) -> str:
        parts: list[str] = []
        write = parts.append
        for step in steps:
            step(scope, write)
        text = "".join(parts)
        if "\r" in text:
            raise NeedsFullLiquidError  # python-liquid makes every line end a \n
        return text

    return render


def _block(nodes: Sequence[Node], *, html: bool, looping: bool) -> list[Step]:
    return [_step(node, html=html, looping=looping) for node in nodes]


def _step(node: Node, *, html: bool, looping: bool) -> Step:
    if isinstance(node, ContentNode):
        return _content(node.text)
    if isinstance(node, OutputNode):
        return _output(node.expression, html=html)
    if isinstance(node, IfNode | UnlessNode):
        return _choice(node, html=html, looping=looping)
    if isinstance(node, ForNode) and not looping:
        return _loop(node, html=html)
    raise NeedsFullLiquidError


def _content(text: str) -> Step:
    return lambda _scope, write: write(text)


def _output(expression: Expression, *, html: bool) -> Step:
    if not isinstance(expression, FilteredExpression) or not isinstance(expression.left, Path):
        raise NeedsFullLiquidError
    value = _path(expression.left)
    line_breaks = encoded = False
    for position, use in enumerate(expression.filters or []):
        if encoded or line_breaks:
            raise NeedsFullLiquidError  # it would see escaped text
        if use.name == "default" and len(use.args) == 1 and position == 0:
            value = _with_default(value, use.args[0].value)
        elif use.name == "newline_to_br" and html and not use.args:
            line_breaks = True
        elif use.name == "url_encode" and not use.args:
            encoded = True
        else:
            raise NeedsFullLiquidError

    def step(scope: Scope, write: Write) -> None:
        text = _as_text(value(scope))
        if encoded:
            write(quote_plus(text))
        elif not html:
            write(text)
        elif line_breaks and "\n" in text:
            write(str(escape(text)).replace("\n", "<br />\n"))
        else:
            write(escape(text))

    return step


def _as_text(value: Any) -> str:
    if type(value) is str:
        return value
    if value is None:
        return ""
    if type(value) is int:
        return str(value)
    raise NeedsFullLiquidError


def _with_default(value: Value, fallback: Expression) -> Value:
    if not isinstance(fallback, StringLiteral):
        raise NeedsFullLiquidError
    words = fallback.value
    if escape(words) != words or "\n" in words:
        raise NeedsFullLiquidError  # the author's own markup is not escaped

    def get(scope: Scope) -> Any:
        found = value(scope)  # a missing one goes the full way
        return words if found is None or found == "" else found

    return get


def _path(path: Path) -> Value:
    segments = path.path
    if not all(isinstance(segment, str) for segment in segments):
        raise NeedsFullLiquidError
    names = [str(segment) for segment in segments]
    if not {"size", "first", "last"}.isdisjoint(names[1:]):
        return _special_path(names)
    if len(names) == 1:
        only = names[0]
        return lambda scope: scope[only]
    if len(names) == 2:
        one, two = names
        return lambda scope: scope[one][two]

    def get(scope: Scope) -> Any:
        found: Any = scope
        for name in names:
            found = found[name]
        return found

    return get


def _special_path(names: list[str]) -> Value:
    """`items.size` and `items.first.lot`, of lists only: `forloop.last` is an ordinary key."""

    def get(scope: Scope) -> Any:
        found: Any = scope
        for name in names:
            if type(found) is list:
                if name == "size":
                    found = len(found)
                    continue
                if name in {"first", "last"}:
                    found = found[0 if name == "first" else -1]
                    continue
            found = found[name]
        return found

    return get


def _choice(node: IfNode | UnlessNode, *, html: bool, looping: bool) -> Step:
    first = _condition(node.condition)
    if isinstance(node, UnlessNode):
        unnegated = first
        first = lambda scope: not unnegated(scope)  # noqa: E731 - one of several conditions
    branches = [(first, _block(node.consequence.nodes, html=html, looping=looping))]
    for alternative in node.alternatives:
        block: BlockNode = alternative.block
        branches.append((_condition(alternative.expression), _block(block.nodes, html=html, looping=looping)))
    otherwise = _block(node.default.nodes, html=html, looping=looping) if node.default else []

    def step(scope: Scope, write: Write) -> None:
        for condition, steps in branches:
            if condition(scope):
                for inner in steps:
                    inner(scope, write)
                return
        for inner in otherwise:
            inner(scope, write)

    return step


def _condition(expression: Expression) -> Value:
    if isinstance(expression, BooleanExpression):
        return _condition(expression.expression)
    if isinstance(expression, Path):
        value = _path(expression)
        return lambda scope: _truthy(value(scope))
    if isinstance(expression, LogicalAndExpression):
        left, right = _condition(expression.left), _condition(expression.right)
        return lambda scope: left(scope) and right(scope)
    if isinstance(expression, LogicalOrExpression):
        left, right = _condition(expression.left), _condition(expression.right)
        return lambda scope: left(scope) or right(scope)
    if isinstance(expression, EqExpression):
        return _equals(expression.left, expression.right)
    if isinstance(expression, NeExpression):
        equals = _equals(expression.left, expression.right)
        return lambda scope: not equals(scope)
    if isinstance(expression, GtExpression):
        return _greater(expression.left, expression.right)
    raise NeedsFullLiquidError


def _truthy(value: Any) -> bool:
    """In Liquid only nil and false are false; the empty string is true."""
    return value is not None and value is not False


def _equals(left: Expression, right: Expression) -> Value:
    if not isinstance(left, Path):
        raise NeedsFullLiquidError
    value = _path(left)
    if isinstance(right, StringLiteral):
        words = right.value
        return lambda scope: value(scope) == words
    if isinstance(right, Nil):
        return lambda scope: value(scope) is None
    if isinstance(right, TrueLiteral | FalseLiteral):
        flag = isinstance(right, TrueLiteral)
        return lambda scope: value(scope) is flag
    if isinstance(right, Blank):
        return lambda scope: _blank(value(scope))
    raise NeedsFullLiquidError


def _greater(left: Expression, right: Expression) -> Value:
    """`items.size > 0`: a path and a whole number."""
    if not isinstance(left, Path) or not isinstance(right, IntegerLiteral):
        raise NeedsFullLiquidError
    value, limit = _path(left), right.value

    def greater(scope: Scope) -> bool:
        found = value(scope)
        if type(found) is not int:
            raise NeedsFullLiquidError
        return found > limit

    return greater


def _blank(value: Any) -> bool:
    if isinstance(value, str):
        return not value or value.isspace()
    return isinstance(value, list | dict) and not value


def _loop(node: ForNode, *, html: bool) -> Step:
    loop = node.expression
    plain = loop.limit is None and loop.offset is None and not loop.reversed and loop.cols is None
    if not plain or not isinstance(loop.iterable, Path):
        raise NeedsFullLiquidError
    items_of, name = _path(loop.iterable), loop.identifier
    steps = _block(node.block.nodes, html=html, looping=True)
    otherwise = _block(node.default.nodes, html=html, looping=True) if node.default else []

    def step(scope: Scope, write: Write) -> None:
        items = items_of(scope)
        if type(items) is not list or len(items) > MAX_ITEMS:
            raise NeedsFullLiquidError
        inner = dict(scope)
        last = len(items) - 1
        for position, item in enumerate(items):
            inner[name] = item
            inner["forloop"] = {"first": position == 0, "last": position == last}
            for each in steps:
                each(inner, write)
        if not items:
            for each in otherwise:
                each(scope, write)

    return step
