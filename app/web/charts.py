"""Charts drawn on the server as SVG: they need no script, print well, and carry their numbers as text.

Presentation is attributes and classes only: the Content-Security-Policy allows no inline styles.
"""

from collections.abc import Mapping, Sequence

from markupsafe import Markup

WIDTH = 1000  # units of the drawing; the page scales it


def stacked(parts: Mapping[str, float] | Sequence[tuple[str, float]], *, whole: float | None = None) -> Markup:
    """Return one bar of several parts; each part's name is its colour class (`fill-affected`)."""
    pairs = list(parts.items()) if isinstance(parts, Mapping) else list(parts)
    total = max(whole or 0, sum(value for _, value in pairs))
    shapes, at = [], 0.0
    for name, value in pairs:
        width = WIDTH * value / total if total else 0
        if value and width < 4:
            width = 4  # few are not nobody
        if width:
            shapes.append(
                Markup('<rect class="fill-{}" x="{:.1f}" y="0" width="{:.1f}" height="8"></rect>').format(
                    name, at, width
                )
            )
            at += width
    return Markup(
        '<svg class="bar" viewBox="0 0 {} 8" preserveAspectRatio="none" aria-hidden="true" focusable="false">'
        '<rect class="fill-track" x="0" y="0" width="{}" height="8"></rect>{}</svg>'
    ).format(WIDTH, WIDTH, Markup("").join(shapes))


def bar(value: float, whole: float, name: str = "accent") -> Markup:
    """Return one plain bar."""
    return stacked([(name, min(value, whole) if whole else 0)], whole=whole)
