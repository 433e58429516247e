"""The quick way to render simple Liquid: parsed once by python-liquid, turned into plain Python functions.

Rendering is most of the work of sending email. A text becomes one function, written as Python source: what an author
wrote stands in it only as a literal that `repr` made, and it can reach nothing but the few names in `_NAMES`. What is
not listed here (other tags, filters, nested loops) makes the whole text go the full way; unusual data at run time do
the same. Tests hold the two ways equal, text by text.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
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

# Longer loops go the full way, which counts iterations and output.
MAX_ITEMS = 200


class NeedsFullLiquidError(Exception):
    """The quick way does not cover this; not an error of the template."""


# Unusual data: the full renderer decides, and says what is wrong if it is.
UNUSUAL = (NeedsFullLiquidError, KeyError, TypeError, IndexError)


class Step:
    """What depends on the scope: one tag or output, as lines of Python that `write` the words of it."""

    def __init__(self, lines: Sequence[str]) -> None:
        self.lines = lines
        self.run = _function("step", "scope, write", lines)


Piece = str | Step  # words that are the same for all, or what depends on the scope


class FastText:
    """A simple text: called with a scope it returns what `template.render` would, or raises one of `UNUSUAL`."""

    def __init__(self, pieces: Sequence[Piece]) -> None:
        self._pieces = _merged(pieces)
        lines = ["    parts = []", "    write = parts.append"]
        for piece in self._pieces:
            lines.extend([f"    write({piece!r})"] if isinstance(piece, str) else piece.lines)
        self._text = _function("text", "scope", [*lines, "    return ''.join(parts)"])

    def __call__(self, scope: Scope) -> str:
        """Return the text for one person."""
        text: str = self._text(scope)
        if "\r" in text:
            raise NeedsFullLiquidError  # python-liquid makes every line end a \n
        return text

    def bound(self, shared: Scope) -> "FastText":
        """Return the same text with everything written out that `shared` decides, whoever it is for.

        That takes as long as a thousand renderings: keep it.
        """
        return FastText([_written_out(piece, shared) for piece in self._pieces])


def fast_text(template: BoundTemplate, *, html: bool) -> FastText | None:
    """Return the quick way to a text; none where it is not simple."""
    try:
        return FastText([_piece(node, html=html) for node in template.nodes])
    except (NeedsFullLiquidError, SyntaxError, RecursionError, MemoryError):  # nested deeper than Python allows
        return None


def _function(name: str, arguments: str, lines: Sequence[str]) -> Callable[..., Any]:
    names = dict(_NAMES)
    exec("\n".join([f"def {name}({arguments}):", *lines]), names)  # noqa: S102 - our own source, see above
    made: Callable[..., Any] = names[name]
    return made


def _written_out(piece: Piece, shared: Scope) -> Piece:
    if isinstance(piece, str):
        return piece
    parts: list[str] = []
    try:
        piece.run(shared, parts.append)
    except UNUSUAL:  # it reads what differs per person
        return piece
    return "".join(parts)


def _merged(pieces: Iterable[Piece]) -> list[Piece]:
    made: list[Piece] = []
    for piece in pieces:
        if isinstance(piece, str) and made and isinstance(made[-1], str):
            made[-1] += piece
        elif piece != "":
            made.append(piece)
    return made


def _piece(node: Node, *, html: bool) -> Piece:
    if isinstance(node, ContentNode):
        return str(node.text)
    source = _Source(html=html)
    source.node(node)
    return Step(source.lines)


class _Source:
    """The lines of one function, in the making; `loop` is the variable of the loop that is being written."""

    def __init__(self, *, html: bool) -> None:
        self.lines: list[str] = []
        self._html, self._depth, self._loop = html, 1, ""

    def node(self, node: Node) -> None:
        """Add the lines of one node."""
        if isinstance(node, ContentNode):
            self._line(f"write({str(node.text)!r})")
        elif isinstance(node, OutputNode):
            self._output(node.expression)
        elif isinstance(node, IfNode | UnlessNode):
            self._choice(node)
        elif isinstance(node, ForNode) and not self._loop:
            self._for(node)
        else:
            raise NeedsFullLiquidError

    def _line(self, text: str) -> None:
        self.lines.append("    " * self._depth + text)

    def _block(self, head: str, nodes: Sequence[Node]) -> None:
        self._line(head)
        self._depth += 1
        self._line("pass")
        for node in nodes:
            self.node(node)
        self._depth -= 1

    def _output(self, expression: Expression) -> None:
        if not isinstance(expression, FilteredExpression) or not isinstance(expression.left, Path):
            raise NeedsFullLiquidError
        line_breaks = encoded = False
        self._line(f"text = {self._value(expression.left)}")
        for position, use in enumerate(expression.filters or []):
            if encoded or line_breaks:
                raise NeedsFullLiquidError  # it would see escaped text
            if use.name == "default" and len(use.args) == 1 and position == 0:
                # A missing one goes the full way.
                self._line(f"if text is None or text == '': text = {_fallback(use.args[0].value)!r}")
            elif use.name == "newline_to_br" and self._html and not use.args:
                line_breaks = True
            elif use.name == "url_encode" and not use.args:
                encoded = True
            else:
                raise NeedsFullLiquidError
        self._line("if type(text) is not str: text = as_text(text)")
        if encoded:
            self._line("text = quote_plus(text)")
        elif self._html:
            # Most words have nothing to escape, and looking is a tenth of the work.
            looks = " or ".join(f"{character!r} in text" for character in "&<>\"'")
            self._line(f"if {looks}: text = str(escape(text))")
        if line_breaks:
            self._line("text = text.replace('\\n', '<br />\\n')")
        self._line("write(text)")

    def _choice(self, node: IfNode | UnlessNode) -> None:
        first = self._condition(node.condition)
        self._block(f"if not {first}:" if isinstance(node, UnlessNode) else f"if {first}:", node.consequence.nodes)
        for alternative in node.alternatives:
            block: BlockNode = alternative.block
            self._block(f"elif {self._condition(alternative.expression)}:", block.nodes)
        if node.default:
            self._block("else:", node.default.nodes)

    def _for(self, node: ForNode) -> None:
        loop = node.expression
        plain = loop.limit is None and loop.offset is None and not loop.reversed and loop.cols is None
        if not plain or not isinstance(loop.iterable, Path):
            raise NeedsFullLiquidError
        self._line(f"items = {self._value(loop.iterable)}")
        self._line(f"if type(items) is not list or len(items) > {MAX_ITEMS}: raise NeedsFullLiquidError")
        self._line("last = len(items) - 1")
        self._loop = loop.identifier
        self._block("for position, item in enumerate(items):", node.block.nodes)
        self._loop = ""
        if node.default:
            self._block("if not items:", node.default.nodes)

    def _value(self, path: Path) -> str:
        """Return the Python expression of a path."""
        if not all(isinstance(segment, str) for segment in path.path):
            raise NeedsFullLiquidError
        names = [str(segment) for segment in path.path]
        start = "scope"
        if self._loop and names[0] == "forloop":
            if names[1:] not in (["first"], ["last"]):
                raise NeedsFullLiquidError
            return "(position == 0)" if names[1] == "first" else "(position == last)"
        if self._loop and names[0] == self._loop:
            start, names = "item", names[1:]
        if not {"size", "first", "last"}.isdisjoint(names if start == "item" else names[1:]):
            return f"follow({start}, {names!r})"
        return start + "".join(f"[{name!r}]" for name in names)

    def _condition(self, expression: Expression) -> str:
        """Return the Python expression of a condition."""
        if isinstance(expression, BooleanExpression):
            return self._condition(expression.expression)
        if isinstance(expression, Path):
            # In Liquid only nil and false are false; the empty string is true.
            return f"((found := {self._value(expression)}) is not None and found is not False)"
        if isinstance(expression, LogicalAndExpression):
            return f"({self._condition(expression.left)} and {self._condition(expression.right)})"
        if isinstance(expression, LogicalOrExpression):
            return f"({self._condition(expression.left)} or {self._condition(expression.right)})"
        if isinstance(expression, EqExpression):
            return self._equals(expression.left, expression.right)
        if isinstance(expression, NeExpression):
            return f"(not {self._equals(expression.left, expression.right)})"
        if isinstance(expression, GtExpression):
            left, right = expression.left, expression.right
            if isinstance(left, Path) and isinstance(right, IntegerLiteral):
                return f"greater({self._value(left)}, {int(right.value)})"
        raise NeedsFullLiquidError

    def _equals(self, left: Expression, right: Expression) -> str:
        if not isinstance(left, Path):
            raise NeedsFullLiquidError
        value = self._value(left)
        if isinstance(right, StringLiteral):
            return f"({value} == {str(right.value)!r})"
        if isinstance(right, Nil):
            return f"({value} is None)"
        if isinstance(right, TrueLiteral | FalseLiteral):
            return f"({value} is {isinstance(right, TrueLiteral)})"
        if isinstance(right, Blank):
            return f"blank({value})"
        raise NeedsFullLiquidError


def _fallback(fallback: Expression) -> str:
    if not isinstance(fallback, StringLiteral):
        raise NeedsFullLiquidError
    words = str(fallback.value)
    if escape(words) != words or "\n" in words:
        raise NeedsFullLiquidError  # the author's own markup is not escaped
    return words


def _as_text(value: Any) -> str:
    if value is None:
        return ""
    if type(value) is int:
        return str(value)
    raise NeedsFullLiquidError


def _follow(found: Any, names: Sequence[str]) -> Any:
    """`items.size` and `items.first.lot`, of lists only: anywhere else they are ordinary keys."""
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


def _greater(found: Any, limit: int) -> bool:
    """`items.size > 0`: a path and a whole number."""
    if type(found) is not int:
        raise NeedsFullLiquidError
    return found > limit


def _blank(value: Any) -> bool:
    if isinstance(value, str):
        return not value or value.isspace()
    return isinstance(value, list | dict) and not value


# All that a generated function can reach.
_NAMES: Mapping[str, Any] = {
    "__builtins__": {},
    "NeedsFullLiquidError": NeedsFullLiquidError,
    "as_text": _as_text,
    "blank": _blank,
    "enumerate": enumerate,
    "escape": escape,
    "follow": _follow,
    "greater": _greater,
    "len": len,
    "list": list,
    "quote_plus": quote_plus,
    "str": str,
    "type": type,
}
