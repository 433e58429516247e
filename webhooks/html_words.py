"""The words of an HTML body, read in one pass.

Cleaning libraries build a tree first, and a megabyte of opened tags keeps them busy for minutes. The result is
plain text, never shown as HTML, so no tree is needed: tags part words, some hide what they hold.
"""

import html
import re

_TAG_NAME = re.compile(r"<(/?)([A-Za-z][A-Za-z0-9]{0,20})")
# What these hold is no text of the sender: code, and what they quote.
_CODE = {name: re.compile(f"</{name}", re.IGNORECASE) for name in ("script", "style", "title")}
_QUOTE = "blockquote"
_BLOCKS = frozenset({"br", "p", "div", "tr", "li", "ul", "ol", "table", "h1", "h2", "h3", "h4", "h5", "h6", "hr"})
_LONGEST = 1_000_000


def text_of_html(source: str) -> str:
    """Return the words of an HTML body, one line per block, without scripts and without quoted parts."""
    source = source[:_LONGEST]
    found: list[str] = []
    position, quoted = 0, 0
    while (opened := source.find("<", position)) >= 0:
        if not quoted:
            found.append(source[position:opened])
        if source.startswith("<!--", opened):
            position = _after(source, "-->", opened)
            continue
        tag = _TAG_NAME.match(source, opened)
        if tag is None and source[opened + 1 : opened + 2] not in ("!", "?", "/"):
            found.append("" if quoted else "<")
            position = opened + 1
            continue
        position = _after(source, ">", opened)
        if tag is None:
            continue
        name, closes = tag[2].lower(), bool(tag[1])
        if name == _QUOTE:
            quoted = max(0, quoted - 1) if closes else quoted + 1
        elif name in _CODE and not closes:
            ending = _CODE[name].search(source, position)
            position = ending.start() if ending else len(source)
        if name in _BLOCKS or name == _QUOTE:
            found.append("\n")
    if not quoted:
        found.append(source[position:])
    lines = (" ".join(line.split()) for line in html.unescape("".join(found)).splitlines())
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).strip()


def _after(source: str, ending: str, start: int) -> int:
    """Return the place after the next `ending`; the end of the source where there is none."""
    place = source.find(ending, start)
    return place + len(ending) if place >= 0 else len(source)
