"""Charts drawn on the server as SVG: they need no script, print well, and carry their numbers as text.

Presentation is attributes and classes only: the Content-Security-Policy allows no inline styles.
"""

from collections.abc import Mapping, Sequence

from markupsafe import Markup

WIDTH = 1000  # units of the drawing; the page scales it


def stacked(parts: Mapping[str, float] | Sequence[tuple[str, float]], *, whole: float | None = None) -> Markup:
    """Return one bar of several parts; each part's name is its colour class (`fill-affected`)."""
    given = parts.items() if isinstance(parts, Mapping) else parts
    pairs = [(name, float(value)) for name, value in given]  # sums come from the database as decimals
    total = max(float(whole or 0), sum(value for _, value in pairs))
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


def columns(values: Sequence[float], names: Sequence[str] | str = "way") -> Markup:
    """Return upright bars side by side; `names` are their colour classes, one for each or one for all."""
    top, count = max([1.0, *values]), max(1, len(values))
    step, shapes = WIDTH / count, []
    for place, value in enumerate(values):
        height = max(2.0, 100 * value / top) if value else 0.8  # few are not nobody, and nobody is not missing
        name = names if isinstance(names, str) else names[place]
        shapes.append(
            Markup('<rect class="fill-{}" x="{:.1f}" y="{:.1f}" width="{:.1f}" height="{:.1f}"></rect>').format(
                name if value else "track", place * step + step * 0.12, 100 - height, step * 0.76, height
            )
        )
    return Markup(
        '<svg class="columns-chart" viewBox="0 0 {} 100" preserveAspectRatio="none" aria-hidden="true" '
        'focusable="false">{}</svg>'
    ).format(WIDTH, Markup("").join(shapes))


def interval(value: float, low: float, high: float, *, least: float, most: float) -> Markup:
    """Return a value on its scale with the ends of its interval."""

    def at(number: float) -> float:
        return WIDTH * (min(max(number, least), most) - least) / ((most - least) or 1)

    return Markup(
        '<svg class="interval" viewBox="0 0 {} 12" preserveAspectRatio="none" aria-hidden="true" focusable="false">'
        '<rect class="fill-track" x="0" y="5" width="{}" height="2"></rect>'
        '<rect class="fill-band" x="{:.1f}" y="2" width="{:.1f}" height="8"></rect>'
        '<rect class="fill-accent" x="{:.1f}" y="0" width="8" height="12"></rect></svg>'
    ).format(WIDTH, WIDTH, at(low), max(2.0, at(high) - at(low)), min(at(value), WIDTH - 4) - 4)


def line(points: Sequence[tuple[float, float, float, float]], *, least: float, most: float) -> Markup:
    """Return a line through points of (place 0 to 1, value, low, high), with the band between low and high."""

    def at(number: float) -> float:
        return 100 - 96 * (min(max(number, least), most) - least) / ((most - least) or 1) - 2

    across = [(WIDTH * (0.01 + 0.98 * place), at(value), at(low), at(high)) for place, value, low, high in points]
    way = " ".join(f"{x:.1f},{y:.1f}" for x, y, _, _ in across)
    band = [f"{x:.1f},{low:.1f}" for x, _, low, _ in across] + [f"{x:.1f},{high:.1f}" for x, *_, high in across[::-1]]
    dots = Markup("").join(
        Markup('<path class="line-dot" vector-effect="non-scaling-stroke" d="M{:.1f} {:.1f}h0"></path>').format(x, y)
        for x, y, _, _ in across[-60:]
    )
    return Markup(
        '<svg class="line-chart" viewBox="0 0 {} 100" preserveAspectRatio="none" aria-hidden="true" focusable="false">'
        '<polygon class="fill-band" points="{}"></polygon>'
        '<polyline class="line" vector-effect="non-scaling-stroke" points="{}"></polyline>{}</svg>'
    ).format(WIDTH, " ".join(band), way, dots)
