"""Operators are rows: key, the kinds of fields they fit, what they take, their SQL and their words.

The SQL is made of SQLAlchemy expressions over operands that are always bound; the text of a compiled
rule never depends on a value. A condition on a missing value does not hold, except `is_missing`;
`not` around it does (so `not_equals` means "known, and something else").
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any

from sqlalchemy import ColumnElement, and_, func, literal, select

from segments.fields import Kind

Element = ColumnElement[Any]


class Takes(Enum):
    """What stands in `value`."""

    NOTHING = auto()
    VALUE = auto()  # one value, or another field of the same kind
    VALUES = auto()  # a list, bound as one array
    RANGE = auto()  # {"from": …, "to": …}, both ends included
    DURATION = auto()  # {"days": 30}
    AREA = auto()  # {"latitude": …, "longitude": …, "km": …}


@dataclass(frozen=True)
class Operator:
    """One row of the table; `sql` gets the field, the bound operands and the bound present moment."""

    key: str
    kinds: frozenset[Kind]
    takes: Takes
    sql: Callable[[Element, Sequence[Element], Element], ColumnElement[bool]]
    phrase: str
    # For relative times: where the answer changes, as a sign in `field + sign * duration = now`.
    boundary: int | None = None


def _folded(text: Element) -> Element:
    return func.fold_text(text)


def _natural(text: Element) -> Element:
    return func.natural_key(text)


def _contains_any(text: Element, words: Element) -> ColumnElement[bool]:
    word = func.unnest(words).column_valued("word")
    found = select(literal(1)).where(func.strpos(_folded(text), _folded(word)) > 0)
    # The text belongs to a row of some enclosing query, however far out; only the words are this one's own.
    return found.correlate_except(word.scalar_alias).exists()


def _postal(code: Element) -> Element:
    return func.regexp_replace(func.upper(code), r"[^A-Z0-9]", "", "g")


def _within(place: Element, area: Sequence[Element]) -> ColumnElement[bool]:
    # Haversine on a sphere of 6371.0088 km (IUGG mean radius): within 0.6 % of the ellipsoid.
    latitude, longitude = place.clauses
    south, west, km = area
    half = func.power(func.sind((latitude - south) / 2), 2) + func.cosd(latitude) * func.cosd(south) * func.power(
        func.sind((longitude - west) / 2), 2
    )
    return 2 * 6371.0088 * func.asin(func.sqrt(func.least(half, 1.0))) <= km


_TEXT = frozenset({Kind.TEXT})
_NUMBER = frozenset({Kind.NUMBER})
_TIME = frozenset({Kind.TIME})
_BOOLEAN = frozenset({Kind.BOOLEAN})
_PLAIN = _TEXT | _NUMBER
_ORDERED = _NUMBER | _TIME
_ALL = frozenset(Kind) - {Kind.PLACE}

_ROWS = (
    Operator("equals", _PLAIN | _BOOLEAN, Takes.VALUE, lambda f, v, _: f == v[0], "is {0}"),
    Operator("not_equals", _PLAIN | _BOOLEAN, Takes.VALUE, lambda f, v, _: f != v[0], "is known and not {0}"),
    Operator("one_of", _PLAIN, Takes.VALUES, lambda f, v, _: f == func.any(v[0]), "is one of {0}"),
    Operator("none_of", _PLAIN, Takes.VALUES, lambda f, v, _: f != func.all(v[0]), "is known and none of {0}"),
    Operator("is_present", _ALL, Takes.NOTHING, lambda f, *_: f.is_not(None), "is known"),
    Operator("is_missing", _ALL, Takes.NOTHING, lambda f, *_: f.is_(None), "is missing"),
    # Text: without regard to case and accents.
    Operator(
        "contains", _TEXT, Takes.VALUE, lambda f, v, _: func.strpos(_folded(f), _folded(v[0])) > 0, "contains {0}"
    ),
    Operator("contains_any", _TEXT, Takes.VALUES, lambda f, v, _: _contains_any(f, v[0]), "contains any of {0}"),
    Operator(
        "starts_with",
        _TEXT,
        Takes.VALUE,
        lambda f, v, _: func.starts_with(_folded(f), _folded(v[0])),
        "starts with {0}",
    ),
    Operator(
        "ends_with",
        _TEXT,
        Takes.VALUE,
        lambda f, v, _: func.starts_with(func.reverse(_folded(f)), func.reverse(_folded(v[0]))),
        "ends with {0}",
    ),
    Operator(
        "equals_text", _TEXT, Takes.VALUE, lambda f, v, _: _folded(f) == _folded(v[0]), "reads {0} in any spelling"
    ),
    # Lots and serials in natural order: A9 before A10, 00112 through 10412.
    Operator(
        "natural_between",
        _TEXT,
        Takes.RANGE,
        lambda f, v, _: _natural(f).between(_natural(v[0]), _natural(v[1])),
        "is from {0} through {1}",
    ),
    Operator("natural_from", _TEXT, Takes.VALUE, lambda f, v, _: _natural(f) >= _natural(v[0]), "is {0} or later"),
    Operator("natural_through", _TEXT, Takes.VALUE, lambda f, v, _: _natural(f) <= _natural(v[0]), "is {0} or earlier"),
    Operator(
        "postal_prefix",
        _TEXT,
        Takes.VALUES,
        lambda f, v, _: _postal(f).op("^@", is_comparison=True)(func.any(v[0])),
        "starts with {0}",
    ),
    Operator("less_than", _NUMBER, Takes.VALUE, lambda f, v, _: f < v[0], "is less than {0}"),
    Operator("at_most", _NUMBER, Takes.VALUE, lambda f, v, _: f <= v[0], "is at most {0}"),
    Operator("more_than", _NUMBER, Takes.VALUE, lambda f, v, _: f > v[0], "is more than {0}"),
    Operator("at_least", _NUMBER, Takes.VALUE, lambda f, v, _: f >= v[0], "is at least {0}"),
    Operator("between", _ORDERED, Takes.RANGE, lambda f, v, _: and_(f >= v[0], f <= v[1]), "is from {0} to {1}"),
    # Times; a bare date is that whole day in UTC.
    Operator("before", _TIME, Takes.VALUE, lambda f, v, _: f < v[0], "is before {0}"),
    Operator("after", _TIME, Takes.VALUE, lambda f, v, _: f > v[0], "is after {0}"),
    Operator("since", _TIME, Takes.VALUE, lambda f, v, _: f >= v[0], "is {0} or later"),
    Operator("until", _TIME, Takes.VALUE, lambda f, v, _: f <= v[0], "is {0} or earlier"),
    Operator(
        "in_last", _TIME, Takes.DURATION, lambda f, v, now: and_(f > now - v[0], f <= now), "is within the last {0}", 1
    ),
    Operator(
        "in_next", _TIME, Takes.DURATION, lambda f, v, now: and_(f > now, f <= now + v[0]), "is within the next {0}", -1
    ),
    Operator(
        "more_than_ago", _TIME, Takes.DURATION, lambda f, v, now: f < now - v[0], "is more than {0} in the past", 1
    ),
    Operator("in_past", _TIME, Takes.NOTHING, lambda f, _, now: f <= now, "has come", 0),
    Operator("in_future", _TIME, Takes.NOTHING, lambda f, _, now: f > now, "has not come yet", 0),
    Operator(
        "within_km", frozenset({Kind.PLACE}), Takes.AREA, lambda f, v, _: _within(f, v), "is within {2} km of {0}, {1}"
    ),
)
OPERATORS: dict[str, Operator] = {row.key: row for row in _ROWS}

# How the number of related rows may be compared, with its words.
COUNTS: dict[str, tuple[Callable[[Element, Element], ColumnElement[bool]], str]] = {
    "equals": (lambda n, v: n == v, "exactly {0}"),
    "at_least": (lambda n, v: n >= v, "at least {0}"),
    "at_most": (lambda n, v: n <= v, "at most {0}"),
    "more_than": (lambda n, v: n > v, "more than {0}"),
    "fewer_than": (lambda n, v: n < v, "fewer than {0}"),
}

__all__ = ["COUNTS", "OPERATORS", "Element", "Operator", "Takes"]
