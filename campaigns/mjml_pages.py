"""MJML with Liquid in it, turned into HTML and plain text once per template, the Liquid left in place.

For authors who want columns, pictures and a design of their own: a body that begins with `<mjml` is read by MJML
(https://documentation.mjml.io, here by its Rust port), which writes tables and styles into the elements as mail
programs need them. The same rules as in Markdown hold for data: they come in later through slots that escape them,
links must begin with a fixed https host or be one of ours, and no slot stands where escaping would not protect it.
Includes are not read, and nothing runs.
"""

import re
from html.parser import HTMLParser

from mjml import mjml2html

from campaigns.email_layout import FOOTER, SMALL
from campaigns.markdown_pages import Page, Slots, link, restored_html
from outreach.errors import InvalidTemplate

_ACTIVE = re.compile(
    r"<\s*(script|iframe|object|embed|form|input|base|link|svg|math|mj-include|mj-html-attributes)\b|\son\w+\s*=|"
    r"javascript:|expression\s*\(|@import",
    re.I,
)
_ATTRIBUTE = re.compile(r"""([\w:-]+)\s*=\s*("[^"]*"|'[^']*'|[^\s"'>]+)""")
_TAG = re.compile(r"<[^!/?][^<>]*>")
_STYLE = re.compile(r"<(mj-style|style)\b[^>]*>(.*?)</\1\s*>", re.I | re.S)
_END = re.compile(r"</mj-body\s*>\s*(?=</mjml\s*>)", re.I)
_LANG = re.compile(r"<mjml\b(?![^>]*\blang=)", re.I)


def is_mjml(source: str) -> bool:
    """Tell whether a body is MJML; anything else is Markdown."""
    return source.lstrip().lower().startswith("<mjml")


def page_of_mjml(source: str, name: str, language: str) -> Page:
    """Return both forms of an MJML source; raises InvalidTemplate for what is no MJML or cannot be made safe."""
    found = _ACTIVE.search(source)
    if found:
        raise InvalidTemplate(f"{name} may not contain {found.group().strip()!r}: mail runs no code.", where=name)
    slots = Slots(source.strip(), name)
    _check_attributes(slots)
    if any(slots.slot.search(rules) for _, rules in _STYLE.findall(slots.source)):
        raise InvalidTemplate(f"{name} has {{{{ … }}}} inside a style: move it into the page.", where=name)
    if not _END.search(slots.source):
        raise InvalidTemplate(f"{name} must end with </mj-body></mjml>.", where=name)
    footer = slots.hide(FOOTER)
    whole = _END.sub(
        lambda _: (
            f'<mj-section padding="8px 0"><mj-column><mj-text css-class="small"><div style="{SMALL}">{footer}'
            "</div></mj-text></mj-column></mj-section></mj-body>"
        ),
        slots.source,
    )
    whole = _LANG.sub(f'<mjml lang="{language}"', whole, count=1)
    try:
        html = mjml2html(whole, fonts={})  # none is fetched: that would tell somebody who reads what
    except ValueError as error:
        raise InvalidTemplate(f"{name} is no MJML: {error}.", where=name) from None
    missing = {match.group() for match in slots.slot.finditer(whole)} - {m.group() for m in slots.slot.finditer(html)}
    if missing:
        lost = slots.restore(sorted(missing)[0])
        raise InvalidTemplate(f"{name}: MJML drops {lost}; put it into an <mj-text> or <mj-raw>.", where=name)
    return Page(restored_html(html, slots), slots.restore(_plain(slots)), None)


def _check_attributes(slots: Slots) -> None:
    """Refuse data in any attribute but a link, and in links where they would choose the host."""
    for tag in _TAG.findall(slots.source):
        for attribute, value in _ATTRIBUTE.findall(tag):
            if slots.slot.search(value) and attribute.lower() != "href":
                raise InvalidTemplate(
                    f"{slots.name}: {slots.restore(value)} may not stand in {attribute}; only in href.",
                    where=slots.name,
                )
            if slots.slot.search(value) and value[0] not in "\"'":
                raise InvalidTemplate(f'{slots.name}: write {attribute}="…" with quotes.', where=slots.name)
        if slots.slot.search(_ATTRIBUTE.sub("", tag)):
            raise InvalidTemplate(f"{slots.name}: no {{% … %}} inside a tag: {slots.restore(tag)}", where=slots.name)


class _Words(HTMLParser):
    """Collects what is to be read, with links written out."""

    _BLOCKS = frozenset({"p", "div", "li", "ul", "ol", "h1", "h2", "h3", "tr", "mj-text", "mj-button", "mj-section"})
    _SILENT = frozenset({"mj-head", "style", "mj-preview", "title"})

    def __init__(self, slots: Slots) -> None:
        self._slots = slots
        super().__init__(convert_charrefs=True)
        self.parts: list[str] = []
        self._links: list[str | None] = []
        self._silent = 0

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        """Begin a block, remember a link, read a picture's description."""
        values = dict(attributes)
        if tag in self._SILENT:
            self._silent += 1
        elif tag in {"a", "mj-button"}:
            self._links.append(values.get("href"))
        elif tag in {"img", "mj-image"} and values.get("alt"):
            self.parts.append(f"\n{values['alt']}\n")
        elif tag == "br":
            self.parts.append("\n")
        if tag == "li":
            self.parts.append("\n- ")
        elif tag in self._BLOCKS:
            self.parts.append("\n\n")

    def handle_endtag(self, tag: str) -> None:
        """End a block, write a link's target out."""
        if tag in self._SILENT:
            self._silent = max(0, self._silent - 1)
        elif tag in {"a", "mj-button"} and self._links and (target := self._links.pop()):
            self.parts.append(": " + self._slots.add(link(target, self._slots)))
        if tag in self._BLOCKS and tag != "li":
            self.parts.append("\n\n")

    def handle_data(self, data: str) -> None:
        """Keep words, with their white space as HTML reads it."""
        if not self._silent:
            words = re.sub(r"\s+", " ", data)
            self.parts.append(words if words != " " or (self.parts and not self.parts[-1].endswith("\n")) else "")


def _plain(slots: Slots) -> str:
    words = _Words(slots)
    words.feed(slots.source)
    words.close()
    lines = (line.strip() for line in "".join(words.parts).splitlines())
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).strip() + "\n"
