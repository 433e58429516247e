"""A link that a phone reads from paper: QR codes (ISO/IEC 18004) as SVG that stands in the page."""

import segno
from liquid.exceptions import FilterArgumentError
from markupsafe import Markup

# The picture with its quiet zone of four modules; 3 cm, so that a module of the longest text is half a millimetre.
WIDTH = "1.2in"
# A code of 57 by 57 modules holds 213 bytes at level M; with more of them, paper and telephones become unreliable.
MOST_BYTES = 200


def qr_code(value: object) -> Markup:
    """Return a text as the SVG of its QR code, black on white; raises `FilterArgumentError` for what cannot be one.

    Nothing of the text stands in the SVG but as modules. Level M bears the loss of 15 percent of them.
    """
    if not isinstance(value, str) or not value.strip():
        raise FilterArgumentError("qr_code takes a text such as links.answer", token=None)
    length = len(value.encode())
    if length > MOST_BYTES:
        raise FilterArgumentError(f"qr_code takes at most {MOST_BYTES} bytes, this text has {length}", token=None)
    code = segno.make(value, error="M", micro=False, encoding="utf-8")
    svg = code.svg_inline(border=4, dark="#000", light="#fff", omitsize=True, svgclass=None, lineclass=None)
    # Without crisp edges hairlines of the ground show between the rows.
    start = f'<svg width="{WIDTH}" height="{WIDTH}" shape-rendering="crispEdges" '
    return Markup(start + svg.removeprefix("<svg "))  # noqa: S704 - made of numbers only
