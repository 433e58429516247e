"""The statistics of scope discovery: lift with an interval, exact p-values, correction for many tries."""

import math
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Contrast:
    """Cases among those inside a rule against those outside; lift is the ratio of the two rates.

    `low` and `high` bound the lift at 95 % (Haldane-Anscombe: half a case is added to each cell, so that
    nothing divides by zero). `p_value` is one-sided: at least so many cases inside by chance.
    """

    cases_inside: int
    inside: int
    cases_outside: int
    outside: int
    lift: float
    low: float
    high: float
    p_value: float

    @property
    def rate_inside(self) -> float:
        """Return the share of cases among those inside."""
        return self.cases_inside / self.inside if self.inside else 0.0

    @property
    def rate_outside(self) -> float:
        """Return the share of cases among those outside."""
        return self.cases_outside / self.outside if self.outside else 0.0


def contrasts(tables: Sequence[tuple[int, int]], *, cases: int, people: int) -> list[Contrast]:
    """Return the contrast of each (cases inside, people inside) against the rest of `people` with `cases`."""
    # Imported when needed: scipy takes a second to load, and most processes never discover anything.
    from scipy.stats import hypergeom

    if not tables:
        return []
    tails = hypergeom.sf([a - 1 for a, _ in tables], people, cases, [n for _, n in tables])
    return [_contrast(a, n, cases, people, float(p)) for (a, n), p in zip(tables, tails, strict=True)]


def _contrast(a: int, n: int, cases: int, people: int, p_value: float) -> Contrast:
    b, m = cases - a, people - n
    inside, outside = (a + 0.5) / (n + 0.5), (b + 0.5) / (m + 0.5)
    ratio = inside / outside
    spread = math.sqrt(max(0.0, 1 / (a + 0.5) - 1 / (n + 0.5) + 1 / (b + 0.5) - 1 / (m + 0.5)))
    margin = math.exp(1.959964 * spread)
    return Contrast(a, n, b, m, ratio, ratio / margin, ratio * margin, min(1.0, max(p_value, 0.0)))


def benjamini_hochberg(p_values: Sequence[float], *, tried: int | None = None) -> list[float]:
    """Return the false discovery rate at which each would be accepted, given that `tried` rules were looked at.

    Benjamini and Hochberg 1995; rules that were tried but not kept count as if their p-value were 1.
    """
    count = max(tried or 0, len(p_values))
    order = sorted(range(len(p_values)), key=lambda place: p_values[place])
    adjusted = [1.0] * len(p_values)
    smallest = 1.0
    for rank in range(len(order), 0, -1):
        place = order[rank - 1]
        smallest = min(smallest, p_values[place] * count / rank)
        adjusted[place] = min(1.0, smallest)
    return adjusted
