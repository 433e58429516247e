"""The figures of a survey from its counts, with their intervals (95 %). Pure; scores are never averaged away before.

Wilson 1927 for shares; the margin of NPS from the variance of its three classes; a mean with its standard error.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from statistics import NormalDist

from outreach.vocabulary import SurveyKind

Z = NormalDist().inv_cdf(0.975)
PROMOTERS_FROM, DETRACTORS_TO = 9, 6
SATISFIED_FROM, EASY_FROM = 4, 5


@dataclass(frozen=True, slots=True)
class Figure:
    """A value and the ends of its interval; nothing without answers."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Figures:
    """What the counts of a score say: `headline` is CSAT in %, NPS, or the mean of CES; `top_share` its 5 to 7."""

    n: int
    headline: Figure | None
    top_share: Figure | None
    mean: float | None


def figures(kind: SurveyKind, counts: Mapping[int, int]) -> Figures:
    """Return the figures of one kind from the number of answers by score."""
    n = sum(counts.values())
    if not n:
        return Figures(0, None, None, None)
    average = sum(score * number for score, number in counts.items()) / n
    if kind is SurveyKind.CSAT:
        return Figures(n, share(_from(counts, SATISFIED_FROM), n), None, average)
    if kind is SurveyKind.NPS:
        return Figures(n, nps(counts), None, average)
    if kind is SurveyKind.CES:
        return Figures(n, mean(counts), share(_from(counts, EASY_FROM), n), average)
    return Figures(n, mean(counts), None, average)


def share(successes: int, n: int) -> Figure:
    """Return a share in percent with Wilson's interval."""
    p, z2 = successes / n, Z * Z
    middle = (p + z2 / (2 * n)) / (1 + z2 / n)
    half = Z / (1 + z2 / n) * math.sqrt(p * (1 - p) / n + z2 / (4 * n * n))
    return Figure(100 * p, 100 * max(0.0, middle - half), 100 * min(1.0, middle + half))


def nps(counts: Mapping[int, int]) -> Figure:
    """Return promoters (9, 10) less detractors (0 to 6), in percent, with its margin."""
    n = sum(counts.values())
    p = _from(counts, PROMOTERS_FROM) / n
    d = sum(number for score, number in counts.items() if score <= DETRACTORS_TO) / n
    margin = 100 * Z * math.sqrt((p + d - (p - d) ** 2) / n)
    value = 100 * (p - d)
    return Figure(value, max(-100.0, value - margin), min(100.0, value + margin))


def mean(counts: Mapping[int, int]) -> Figure:
    """Return the mean with the interval of its standard error; a single answer has no interval but itself."""
    n = sum(counts.values())
    value = sum(score * number for score, number in counts.items()) / n
    if n == 1:
        return Figure(value, value, value)
    variance = sum(number * (score - value) ** 2 for score, number in counts.items()) / (n - 1)
    half = Z * math.sqrt(variance / n)
    return Figure(value, value - half, value + half)


def _from(counts: Mapping[int, int], lowest: int) -> int:
    return sum(number for score, number in counts.items() if score >= lowest)
