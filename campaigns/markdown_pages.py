"""Markdown with Liquid in it, turned into HTML and plain text once per template, the Liquid left in place.

The customer's data come in later, through slots that escape them: they are never read as Markdown,
HTML or Liquid.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import nh3
from markdown_it import MarkdownIt
from markdown_it.rules_block import StateBlock
from markdown_it.token import Token
from markupsafe import escape

from outreach.errors import InvalidTemplate

_LIQUID = re.compile(r"\{%.*?%\}|\{\{.*?\}\}", re.DOTALL)
_TAG_WORD = re.compile(r"\{%-?\s*(\w+|#)")
_BLOCK_TAGS = {"if": "endif", "unless": "endunless", "for": "endfor", "case": "endcase", "capture": "endcapture"}
_BLOCK_ENDS = frozenset(_BLOCK_TAGS.values())
_BRANCHES = frozenset({"else", "elsif", "when"})
_HREF = re.compile(r'href="([^"]*)"')
_SAFE_START = re.compile(r"(https://[^/\s?#]+[/?#]|mailto:|tel:)", re.IGNORECASE)
_OUR_LINK = re.compile(r"\{\{-?\s*links\.\w+\s*-?\}\}")

# http too, so that `_link` can refuse it in words instead of losing it in silence.
_SCHEMES = {"https", "http", "mailto", "tel"}
_TAGS = {"p", "br", "strong", "em", "ul", "ol", "li", "h1", "h2", "h3", "blockquote", "hr", "a", "code", "pre"}


@dataclass(frozen=True, slots=True)
class Page:
    """The same words as an HTML fragment and as plain text, both still Liquid."""

    html: str
    text: str
    preheader: str | None


class Slots:
    """Stand-ins for the Liquid of one source: letters and digits only, which Markdown leaves alone."""

    def __init__(self, source: str, name: str) -> None:
        self.name = name
        self.mark = "Lq"
        while self.mark in source:
            self.mark += "q"
        self.liquid: list[str] = []
        self.source = self.hide(source)
        if "{{" in self.source or "{%" in self.source:
            raise InvalidTemplate(f"{name} opens {{{{ or {{% and does not close it.", where=name)
        self.slot = re.compile(rf"{self.mark}(\d+)z")
        tags = [i for i, liquid in enumerate(self.liquid) if liquid.startswith("{%")]
        words = "|".join(map(str, tags)) or "none"
        self.tag_lines = re.compile(rf"(?:[ \t]*{self.mark}(?:{words})z)+[ \t]*")

    def _take(self, match: re.Match[str]) -> str:
        return self.add(match.group())

    def hide(self, text: str) -> str:
        """Replace the Liquid of one more text by stand-ins."""
        return _LIQUID.sub(self._take, text)

    def add(self, liquid: str) -> str:
        """Take one more text out of Markdown's reach and return its stand-in."""
        self.liquid.append(liquid)
        return f"{self.mark}{len(self.liquid) - 1}z"

    def word(self, number: int) -> str | None:
        """The tag's word, none for an output."""
        match = _TAG_WORD.match(self.liquid[number])
        return match.group(1) if match else None

    def restore(self, text: str) -> str:
        """Put the Liquid back as it was."""
        return self.slot.sub(lambda m: self.liquid[int(m.group(1))], text)


def page_of(source: str, name: str) -> Page:
    """Return both forms of a Markdown source; raises InvalidTemplate for what cannot be made safe."""
    slots = Slots(source, name)
    markdown = MarkdownIt("commonmark", {"html": False}).enable("replacements", True)
    markdown.block.ruler.before(
        "code", "liquid_lines", _liquid_lines(slots), {"alt": ["paragraph", "list", "blockquote", "reference"]}
    )
    tokens = _lists_around_loops(markdown.parse(slots.source), slots)
    html = markdown.renderer.render(tokens, markdown.options, {})
    html = nh3.clean(html, tags=_TAGS, attributes={"a": {"href"}, "ol": {"start"}}, link_rel=None, url_schemes=_SCHEMES)
    _check_nesting(html, slots)
    plain = _plain(slots)
    return Page(restored_html(html, slots), slots.restore(plain), _preheader(plain, slots))


def _liquid_lines(slots: Slots) -> Callable[[StateBlock, int, int, bool], bool]:
    """Return a block rule: a line of nothing but Liquid tags stands between blocks, not in a paragraph."""

    def rule(state: StateBlock, start: int, _end: int, silent: bool) -> bool:
        line = state.src[state.bMarks[start] + state.tShift[start] : state.eMarks[start]]
        if not slots.tag_lines.fullmatch(line):
            return False
        if not silent:
            state.line = start + 1
            state.push("html_block", "", 0).content = line.strip() + "\n"
        return True

    return rule


def _lists_around_loops(tokens: Sequence[Token], slots: Slots) -> list[Token]:
    """Write `<ul>{% for %}<li>` where the source loops over a list item: one list, not one per item."""
    result = list(tokens)
    for i, token in enumerate(result):
        if not _is_tag(token, slots, "for") or i + 1 >= len(result):
            continue
        opening = result[i + 1]
        if opening.type not in {"bullet_list_open", "ordered_list_open"}:
            continue
        close = next(
            j
            for j in range(i + 2, len(result))
            if result[j].level == opening.level and result[j].type == opening.type.replace("open", "close")
        )
        if close + 1 < len(result) and _is_tag(result[close + 1], slots, "endfor"):
            result[i], result[i + 1] = result[i + 1], result[i]
            result[close], result[close + 1] = result[close + 1], result[close]
    return result


def _is_tag(token: Token, slots: Slots, word: str) -> bool:
    if token.type != "html_block":
        return False
    match = slots.slot.fullmatch(token.content.strip())
    return match is not None and slots.word(int(match.group(1))) == word


def _check_nesting(html: str, slots: Slots) -> None:
    """Refuse formatting that begins inside a Liquid block and ends outside, or the other way round."""
    stack: list[str] = []
    for match in re.finditer(rf"{slots.slot.pattern}|<(/?)(\w+)[^>]*>", html):
        number, closing, element = match.groups()
        if number is not None:
            word = slots.word(int(number))
            if word in _BLOCK_TAGS:
                stack.append(_BLOCK_TAGS[word])
            elif word in _BLOCK_ENDS or word in _BRANCHES:
                if not stack or stack[-1] not in _BLOCK_ENDS or (word in _BLOCK_ENDS and stack[-1] != word):
                    raise _crossing(slots, f"{{% {word} %}}")
                if word in _BLOCK_ENDS:
                    stack.pop()
        elif element in {"br", "hr"}:
            continue
        elif not closing:
            stack.append(element)
        elif not stack or stack.pop() != element:
            raise _crossing(slots, f"</{element}>")
    if stack:
        raise _crossing(slots, stack[-1])


def _crossing(slots: Slots, what: str) -> InvalidTemplate:
    return InvalidTemplate(
        f"{slots.name}: formatting crosses a Liquid block near {what}. Begin and end bold, links, lists and "
        "paragraphs on the same side of {% … %}; put a blank line around blocks.",
        where=slots.name,
    )


def restored_html(html: str, slots: Slots) -> str:
    """Put the Liquid back: in links percent-encoded or ours, elsewhere with line breaks kept."""
    html = _HREF.sub(lambda match: f'href="{link(match.group(1), slots)}"', html)
    return slots.slot.sub(lambda match: _text_slot(slots.liquid[int(match.group(1))]), html)


def link(target: str, slots: Slots) -> str:
    """Return a link with its Liquid, data in it percent-encoded; raises InvalidTemplate where data choose the host."""
    whole = slots.slot.fullmatch(target)
    if whole and _OUR_LINK.fullmatch(slots.liquid[int(whole.group(1))]):
        return slots.liquid[int(whole.group(1))]
    start = _SAFE_START.match(target)
    fixed = slots.slot.split(target, maxsplit=1)[0]
    if not _plain_link(target, slots) and (not start or start.end() > len(fixed)):
        raise InvalidTemplate(
            f"{slots.name}: a link must be {{{{ links.… }}}} or begin with https:// and a fixed host, "
            f"not {slots.restore(target)!r}.",
            where=slots.name,
        )

    def encode(match: re.Match[str]) -> str:
        liquid = slots.liquid[int(match.group(1))]
        if liquid.startswith("{%"):
            raise InvalidTemplate(f"{slots.name}: no {{% … %}} inside a link: {liquid}", where=slots.name)
        return liquid if "url_encode" in liquid else _with_filter(liquid, "url_encode")

    return slots.slot.sub(encode, target)


def _plain_link(target: str, slots: Slots) -> bool:
    """A link without data in it: any https address, mailto: or tel:."""
    return slots.slot.search(target) is None and bool(re.match(r"(https://|mailto:|tel:)\S+", target, re.I))


def _text_slot(liquid: str) -> str:
    return liquid if liquid.startswith("{%") else _with_filter(liquid, "newline_to_br")


def _with_filter(liquid: str, name: str) -> str:
    end = -3 if liquid.endswith("-}}") else -2
    return f"{liquid[:end].rstrip()} | {name} {liquid[end:]}"


def without_blank_tag_lines(source: str, name: str) -> str:
    """Return a text in which a line of nothing but Liquid tags leaves no empty line behind."""
    slots = Slots(source, name)
    return slots.restore(_joined_tag_lines(slots))


def _joined_tag_lines(slots: Slots) -> str:
    return "".join(
        line.strip() if slots.tag_lines.fullmatch(line) else line + "\n" for line in slots.source.splitlines()
    )


def _preheader(plain: str, slots: Slots) -> str | None:
    """The first real paragraph, which mail programs show beside the subject; none if it is conditional."""
    for paragraph in plain.split("\n\n"):
        words = " ".join(paragraph.split())
        if len(words) < 30:
            continue  # a greeting
        if any(slots.liquid[int(m.group(1))].startswith("{%") for m in slots.slot.finditer(words)):
            return None
        return slots.restore(str(escape(words)))
    return None


def _plain(slots: Slots) -> str:
    """Return the Markdown source as plain text: its marks removed, links written out."""
    text = _joined_tag_lines(slots)
    text = re.sub(r"\*\*(\[[^\]]+\]\([^)\s]+\))\*\*", r"\1", text)
    text = re.sub(r"\[([^\]]+)\]\(([^)\s]+)\)", lambda m: f"{m[1]}: {slots.add(link(m[2], slots))}", text)
    text = re.sub(rf"^((?:{slots.mark}\d+z)*)#{{1,6}}[ \t]+", r"\1", text, flags=re.MULTILINE)
    text = re.sub(r"(\*\*|__)(?=\S)(.+?)(?<=\S)\1", r"\2", text)
    text = re.sub(r"(?<![\w*])\*(?=[^\s*])(.+?)(?<=[^\s*])\*(?!\w)", r"\1", text)
    return re.sub(r"\\([!-/:-@\[-`{-~])", r"\1", text).strip() + "\n"
