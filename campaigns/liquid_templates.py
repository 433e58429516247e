"""The words that operators write: Liquid, strict, bounded, without files, objects or code.

Operators may be careless or hostile (listmonk CVE-2025-49136, LiquidJS CVE-2026-44645), so tags and
filters are lists of what is allowed, and loops, output and variables have limits.
"""

import re
from collections.abc import Mapping
from copy import copy
from itertools import takewhile
from typing import Any, ClassVar

from liquid import BoundTemplate, Environment, StrictDefaultUndefined
from liquid.exceptions import LiquidError, UndefinedError

from campaigns.liquid_fast import UNUSUAL, FastText, fast_text
from campaigns.qr_codes import qr_code
from outreach.errors import InvalidTemplate

MAX_SOURCE_CHARACTERS = 50_000
MAX_OUTPUT_CHARACTERS = 512 * 1024

_TAGS = frozenset(
    ["if", "unless", "for", "break", "continue", "case", "assign", "capture", "cycle", "comment", "#"]
) | frozenset(
    ["content", "output", "illegal"]  # python-liquid's own names for text, {{ }} and the rest
)
# `safe` would switch off escaping, `date` reads the clock, the base64 ones hide what they say.
_FILTERS = frozenset(
    [
        "append",
        "at_least",
        "at_most",
        "capitalize",
        "compact",
        "default",
        "divided_by",
        "downcase",
        "escape",
        "first",
        "join",
        "last",
        "lstrip",
        "map",
        "minus",
        "modulo",
        "newline_to_br",
        "plus",
        "prepend",
        "remove",
        "remove_first",
        "replace",
        "replace_first",
        "reverse",
        "round",
        "rstrip",
        "size",
        "slice",
        "sort",
        "split",
        "strip",
        "strip_newlines",
        "times",
        "truncate",
        "truncatewords",
        "uniq",
        "upcase",
        "url_encode",
        "where",
    ]
)
# Mail programs leave an SVG out, text has no pictures: only what is printed can use these.
_PAPER_FILTERS = {"qr_code": qr_code}
_KEY = re.compile(r"[A-Za-z_][\w-]*")


class _Limited(Environment):
    loop_iteration_limit: ClassVar[int | None] = 2_000
    output_stream_limit: ClassVar[int | None] = MAX_OUTPUT_CHARACTERS
    local_namespace_limit: ClassVar[int | None] = 200_000
    suppress_blank_control_flow_blocks = False


def _environment(*, autoescape: bool) -> Environment:
    environment = _Limited(autoescape=autoescape, undefined=StrictDefaultUndefined, strict_filters=True)
    environment.tags = {name: tag for name, tag in environment.tags.items() if name in _TAGS}
    environment.filters = {name: f for name, f in environment.filters.items() if name in _FILTERS}
    return environment


_HTML = _environment(autoescape=True)
_PLAIN = _environment(autoescape=False)
_PAPER = _environment(autoescape=True)
_PAPER.filters |= _PAPER_FILTERS


def _environment_for(*, html: bool, paper: bool) -> Environment:
    if paper:
        return _PAPER
    return _HTML if html else _PLAIN


class LiquidTemplate:
    """One parsed text; `name` is what an operator calls it, for messages; `paper` is HTML that is printed."""

    def __init__(self, source: str, name: str, *, html: bool, paper: bool = False) -> None:
        if len(source) > MAX_SOURCE_CHARACTERS:
            raise InvalidTemplate(
                f"{name} is longer than {MAX_SOURCE_CHARACTERS:,} characters: shorten it.", where=name
            )
        self.name = name
        try:
            self._template: BoundTemplate = _environment_for(html=html, paper=paper).from_string(source)
        except (LiquidError, RecursionError) as error:
            raise InvalidTemplate(f"{name} cannot be read: {_words(error)}", where=name) from error
        # python-liquid notices an unknown filter only when it renders; an author wants to know now.
        used = set(self._template.analyze(include_partials=False).filters)
        if not paper and (for_paper := used & _PAPER_FILTERS.keys()):
            raise InvalidTemplate(
                f"{name} uses the filter {', '.join(sorted(for_paper))}, which is for postcards only: "
                "write the link itself, {{ links.answer }}.",
                where=name,
            )
        allowed = _FILTERS | _PAPER_FILTERS.keys() if paper else _FILTERS
        if unknown := used - allowed:
            raise InvalidTemplate(
                f"{name} uses the filter {', '.join(sorted(unknown))}; there is only {', '.join(sorted(allowed))}.",
                where=name,
            )
        self._fast: FastText | None = fast_text(self._template, html=html)

    @property
    def is_fast(self) -> bool:
        """Whether the text is simple enough for the quick way."""
        return self._fast is not None

    def bound(self, shared: Mapping[str, Any]) -> "LiquidTemplate":
        """Return the same text with what `shared` decides written out, for many contexts that all contain `shared`."""
        if self._fast is None:
            return self
        made = copy(self)
        made._fast = self._fast.bound(shared)
        return made

    def render(self, context: Mapping[str, Any]) -> str:
        """Return the text for one person; raises InvalidTemplate naming a variable that is not there."""
        if self._fast is not None:
            try:
                text = self._fast(context)
            except UNUSUAL:
                return self.render_fully(context)
            if len(text) > MAX_OUTPUT_CHARACTERS:
                raise InvalidTemplate(
                    f"{self.name} makes a text longer than {MAX_OUTPUT_CHARACTERS:,} characters.", where=self.name
                )
            return text
        return self.render_fully(context)

    def render_fully(self, context: Mapping[str, Any]) -> str:
        """As `render`, always by python-liquid: the meaning that the quick way must keep."""
        try:
            return self._template.render(context)
        except UndefinedError as error:
            raise InvalidTemplate(
                f"{self.name}: {_words(error)}. Correct its name, or give it a `default`.", where=self.name
            ) from error
        except LiquidError as error:
            raise InvalidTemplate(f"{self.name} cannot be rendered: {_words(error)}", where=self.name) from error
        except (ArithmeticError, ValueError, TypeError, RecursionError) as error:
            raise InvalidTemplate(
                f"{self.name} cannot be rendered ({type(error).__name__}).", where=self.name
            ) from error

    def variables(self) -> set[str]:
        """Return the paths it reads from outside, such as `customer.name`."""
        spans = self._template.analyze(include_partials=False).globals
        return {_dotted(str(variable)) for variables in spans.values() for variable in variables}

    def paths(self) -> set[tuple[str, ...]]:
        """Return the same as the steps that lead there, as far as they are names: `customer['the plan']` has two."""
        spans = self._template.analyze(include_partials=False).globals
        found = (variable.segments for variables in spans.values() for variable in variables)
        return {tuple(str(step) for step in takewhile(lambda step: isinstance(step, str), path)) for path in found}


def variables_used(source: str) -> set[str]:
    """Return the paths that a text reads, such as `{"customer.name"}`."""
    return LiquidTemplate(source, "the text", html=False).variables()


def _dotted(path: str) -> str:
    """`items[0].lot` → `items.lot`: the shape, not the place."""
    return ".".join(_KEY.findall(re.sub(r"\[[^\]]*\]", "", path)))


def _words(error: BaseException) -> str:
    message = getattr(error, "message", None) or str(error) or type(error).__name__
    return " ".join(str(message).split())[:300]
