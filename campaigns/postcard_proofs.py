"""Proofs of a postcard, as it will lie on the table: both sides as PDF, each as a picture.

The address block that the post prints is laid over the back, so that what it covers shows. Nothing is fetched: the
page may hold its pictures itself (`data:`), any other address stays empty. WeasyPrint draws, for which the system must
have the Pango libraries; without them there are no proofs, and everything else works (docs/adr/0013).
"""

import warnings
from dataclasses import dataclass
from functools import lru_cache
from html import escape
from io import BytesIO
from typing import Any

from campaigns.postcard_sizes import SIZES, PostcardSize
from outreach.errors import Unavailable

PIXELS_PER_INCH = 144
MISSING = "Proofs need the Pango libraries of the system (Debian: libpango-1.0-0 libpangoft2-1.0-0, a font)."


@dataclass(frozen=True, slots=True)
class Side:
    """One side of a card, ready to be drawn; `address` lines are laid over it where the post prints them."""

    html: str
    size: str
    address: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Drawn:
    """A drawn side; `fits` is false where something runs over the edge onto a page that does not exist."""

    pdf: bytes
    fits: bool


@lru_cache
def available() -> bool:
    """Tell whether this machine can draw proofs."""
    try:
        with warnings.catch_warnings():
            # Without this library of the system, fontTools cuts the fonts: slower, as good for a proof.
            warnings.filterwarnings("ignore", "HarfBuzz-Subset", DeprecationWarning)
            import weasyprint  # noqa: F401 - loads the system's libraries; most processes never draw
    except (ImportError, OSError):
        return False
    return True


def as_pdf(sides: list[Side]) -> bytes:
    """Return one PDF with a page per side; raises `Unavailable` where nothing can be drawn."""
    documents = [_laid_out(side) for side in sides]
    made: bytes = documents[0].copy([document.pages[0] for document in documents]).write_pdf()
    return made


def draw(side: Side) -> Drawn:
    """Return one side as PDF, and whether it fits."""
    document = _laid_out(side)
    return Drawn(document.copy(document.pages[:1]).write_pdf(), len(document.pages) == 1)


def as_png(side: Side) -> bytes:
    """Return one side as a picture of 144 pixels per inch; raises `Unavailable` where nothing can be drawn."""
    import pypdfium2

    with pypdfium2.PdfDocument(draw(side).pdf) as document:
        picture = document[0].render(scale=PIXELS_PER_INCH / 72).to_pil()
    out = BytesIO()
    picture.save(out, "PNG", optimize=True)
    return out.getvalue()


def _laid_out(side: Side) -> Any:
    if not available():
        raise Unavailable(MISSING)
    import weasyprint
    from weasyprint.urls import URLFetcher

    size = SIZES[side.size]
    page = weasyprint.CSS(string=f"@page {{ size: {size.width}in {size.height}in; margin: 0 }} body {{ margin: 0 }}")
    html = side.html + _address_block(size, side.address) if side.address else side.html
    only_what_it_holds = URLFetcher(allowed_protocols=("data",), allow_redirects=False)
    return weasyprint.HTML(string=html, url_fetcher=only_what_it_holds).render(stylesheets=[page])


def _address_block(size: PostcardSize, lines: tuple[str, ...]) -> str:
    words = "<br>".join(escape(line) for line in lines if line)
    return (
        f'<div style="position:absolute;left:{size.width - 0.275 - size.free_width}in;'
        f"top:{size.height - 0.25 - size.free_height}in;width:{size.free_width}in;height:{size.free_height}in;"
        'background:#ffffff;color:#000000;font:11pt/1.4 sans-serif">'
        f'<div style="position:absolute;left:0.5in;top:0.9in">{words}</div></div>'
    )
