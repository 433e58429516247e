"""The three postcards that Lob prints, and which of them a template is made for.

The size is that of the front's `body`, bleed included, as in Lob's own templates
(https://docs.lob.com/#tag/Postcards: 4x6 is 6.25in x 4.25in, and the only one that travels abroad).
"""

import re
from dataclasses import dataclass

from outreach.errors import InvalidTemplate

_BODY = re.compile(r"\bbody\s*\{([^}]*)\}", re.I)
_INCHES = re.compile(r"(?<![-\w])(width|height)\s*:\s*([\d.]+)in\b", re.I)


@dataclass(frozen=True, slots=True)
class PostcardSize:
    """One size: inches with bleed, and the corner of the back, from its lower right, that is kept free for the post."""

    name: str
    width: float
    height: float
    free_width: float
    free_height: float


SIZES = {
    size.name: size
    for size in (
        PostcardSize("4x6", 6.25, 4.25, 3.2835, 2.375),
        PostcardSize("6x9", 9.25, 6.25, 4.0, 2.375),
        PostcardSize("6x11", 11.25, 6.25, 4.0, 2.375),
    )
}


def size_of(html: str, name: str) -> str:
    """Return the size that a side is made for, 4x6 where it does not say; raises InvalidTemplate for any other."""
    for rules in _BODY.findall(html):
        said = {word.lower(): float(number) for word, number in _INCHES.findall(rules) if number.count(".") <= 1}
        if said:
            for size in SIZES.values():
                if said.get("width", size.width) == size.width and said.get("height", size.height) == size.height:
                    return size.name
            allowed = ", ".join(f"{size.width}in x {size.height}in ({size.name})" for size in SIZES.values())
            raise InvalidTemplate(f"{name}: the body of a postcard is {allowed}, bleed included.", where=name)
    return "4x6"
