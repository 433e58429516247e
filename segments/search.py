"""The search for a common cause: single conditions, windows and ranges, then conjunctions of two and three.

A condition is scored by how much oftener cases meet it than others (a G-test on distinct customers).
Windows over dates and ranges in natural order come from a scan statistic: all intervals between values
that cases have. A conjunction has to be met by one and the same row, and to earn its extra conditions.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from segments.holdings import NATURAL, PREFIXED, Holdings

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

MIN_CASES = 3
BEAM = 12
KEPT_PER_PATH = 3
MOST_ENDS = 48
# What a further condition has to add to the score: the 99.9 % point of chi-square with one degree, twice for ranges.
EARNED, EARNED_RANGE = 10.8, 15.0
# Two conjunctions that share this much of their rows say the same.
SAME = 0.75
_PREFIX_LENGTHS = (1, 2, 3, 4, 5, 6, 8)


@dataclass
class Found:
    """A conjunction: its conditions as rules about an order item, the rows that meet it, its score and counts."""

    conditions: list[dict[str, Any]]
    rows: "NDArray[np.bool_]"
    score: float
    cases: int
    others: int
    paths: frozenset[str] = field(default_factory=frozenset)
    steps: list[tuple[int, int]] = field(default_factory=list)  # cases and others after each condition


@dataclass
class Search:
    """What was found, best first, and how many conditions were looked at on the way."""

    found: list[Found]
    tried: int


def search(holdings: Holdings, *, most: int = 10) -> Search:
    """Return the best conjunctions of up to three conditions, best first.

    Second comes what best explains the cases that the first leaves unexplained: one problem may have two
    causes. The rest are alternatives to the first.
    """
    import numpy as np

    first = _search(holdings, most=most)
    if len(first.found) < 1:
        return first
    explained = np.unique(holdings.customer[first.found[0].rows])
    kept = np.ones(len(holdings.is_case), dtype=bool)
    kept[explained] = False
    rest = _search(holdings, most=2, kept=kept)
    others = [found for found in rest.found if all(found.conditions != each.conditions for each in first.found)]
    ordered = [first.found[0], *(_counted(holdings, found) for found in others), *first.found[1:]]
    return Search(_distinct(ordered)[:most], first.tried + rest.tried)


def _search(holdings: Holdings, *, most: int, kept: "NDArray[np.bool_] | None" = None) -> Search:
    """Search among all customers, or those `kept`."""
    import numpy as np

    if kept is not None:
        rows = kept[holdings.customer]
        places = np.cumsum(kept) - 1
        holdings = Holdings(
            customer=places[holdings.customer[rows]],
            is_case=holdings.is_case[kept],
            codes={path: codes[rows] for path, codes in holdings.codes.items()},
            values=holdings.values,
            times={path: times[rows] for path, times in holdings.times.items()},
        )
    if holdings.cases < MIN_CASES or not holdings.others or not len(holdings.customer):
        return Search([], 0)
    everything = Found([], np.ones(len(holdings.customer), dtype=bool), 0.0, holdings.cases, holdings.others)
    best: list[Found] = []
    beam, tried = [everything], 0
    for _ in range(3):
        grown: list[Found] = []
        for parent in beam:
            children = list(_extend(holdings, parent))
            tried += sum(child[1] for child in children)
            grown += [
                child for child, _ in children if child is not None and child.score > parent.score + _price(child)
            ]
        beam = _distinct(sorted(grown, key=_worth, reverse=True))[:BEAM]
        if not beam:
            break
        best += beam
    return Search(_distinct(sorted(best, key=_worth, reverse=True))[:most], tried)


def _counted(holdings: Holdings, found: Found) -> Found:
    """Return a conjunction that was found among some customers with its rows and counts among all."""
    import numpy as np

    rows = np.ones(len(holdings.customer), dtype=bool)
    steps = []
    child = found
    for condition in found.conditions:
        rows &= _meets(holdings, condition)
        child = _child(holdings, Found([], rows, 0.0, 0, 0), condition["field"], condition, rows)
        steps.append((child.cases, child.others))
    return Found(found.conditions, rows.copy(), child.score, child.cases, child.others, found.paths, steps)


def _meets(holdings: Holdings, condition: dict[str, Any]) -> "NDArray[np.bool_]":
    import numpy as np

    path, value = condition["field"], condition["value"]
    if path in holdings.times:
        days = np.floor(holdings.times[path])
        with np.errstate(invalid="ignore"):
            met: NDArray[np.bool_] = (days >= _days(value["from"])) & (days <= _days(value["to"]))
        return met
    values, codes = holdings.values[path], holdings.codes[path]
    if condition["op"] == "equals":
        good = [code for code, each in enumerate(values) if each == value]
    elif condition["op"] == "starts_with":
        good = [code for code, each in enumerate(values) if each.startswith(value)]
    else:
        low, high = values.index(value["from"]), values.index(value["to"])
        good = list(range(low, high + 1))
    return np.isin(codes, np.array(good, dtype=np.int64))


def _price(found: Found) -> float:
    last = found.conditions[-1]
    return EARNED_RANGE if isinstance(last.get("value"), dict) else EARNED


def _worth(found: Found) -> float:
    """Return the score less what its conditions cost: of two that say the same, the simpler comes first."""
    return found.score - sum(4.0 if isinstance(each.get("value"), dict) else 2.0 for each in found.conditions)


def _distinct(ordered: list[Found]) -> list[Found]:
    """Leave out what says nearly the same as something better."""
    import numpy as np

    kept: list[Found] = []
    for found in ordered:
        for other in kept:
            both = int(np.count_nonzero(found.rows & other.rows))
            either = int(np.count_nonzero(found.rows | other.rows))
            if both >= SAME * either:
                break
        else:
            kept.append(found)
    return kept


def _extend(holdings: Holdings, parent: Found) -> Iterator[tuple[Found | None, int]]:
    for path in holdings.codes:
        if path not in parent.paths:
            yield from _by_value(holdings, parent, path)
            if path in PREFIXED:
                yield from _by_prefix(holdings, parent, path)
            if path in NATURAL and len(holdings.values[path]) > 4:
                yield from _by_range(holdings, parent, path)
    for path in holdings.times:
        if path not in parent.paths:
            yield from _by_window(holdings, parent, path)


def _by_value(holdings: Holdings, parent: Found, path: str) -> Iterator[tuple[Found | None, int]]:
    import numpy as np

    codes = holdings.codes[path]
    inside = parent.rows & (codes >= 0)
    pairs = np.unique(np.stack([codes[inside], holdings.customer[inside]]), axis=1)
    size = len(holdings.values[path])
    case = holdings.is_case[pairs[1]]
    cases = np.bincount(pairs[0][case], minlength=size)
    others = np.bincount(pairs[0][~case], minlength=size)
    held = np.flatnonzero(cases >= MIN_CASES)
    yield None, len(held)
    scores = _scores(holdings, cases[held], others[held])
    for place in np.argsort(scores)[::-1][:KEPT_PER_PATH]:
        code = int(held[place])
        condition = {"field": path, "op": "equals", "value": holdings.values[path][code]}
        yield _child(holdings, parent, path, condition, parent.rows & (codes == code)), 0


def _by_prefix(holdings: Holdings, parent: Found, path: str) -> Iterator[tuple[Found | None, int]]:
    import numpy as np

    codes, values = holdings.codes[path], holdings.values[path]
    case_codes = set(codes[parent.rows & holdings.is_case[holdings.customer] & (codes >= 0)].tolist())
    for length in _PREFIX_LENGTHS:
        prefixes = {values[code][:length] for code in case_codes if len(values[code]) > length}
        yield None, len(prefixes)
        if not 1 <= len(prefixes) <= 200:
            continue
        for prefix in sorted(prefixes):
            with_it = np.array([code for code, value in enumerate(values) if value.startswith(prefix)])
            condition = {"field": path, "op": "starts_with", "value": prefix}
            child = _child(holdings, parent, path, condition, parent.rows & np.isin(codes, with_it))
            if child.cases >= MIN_CASES:
                yield child, 0


def _by_range(holdings: Holdings, parent: Found, path: str) -> Iterator[tuple[Found | None, int]]:
    import numpy as np

    codes, values = holdings.codes[path], holdings.values[path]
    places = np.where(codes >= 0, codes.astype(np.float64), np.nan)
    yield None, _intervals(holdings, parent, places)
    for low, high in _scan(holdings, parent, places):
        if low == high:
            continue
        ends = {"from": values[int(low)], "to": values[int(high)]}
        condition = {"field": path, "op": "natural_between", "value": ends}
        with np.errstate(invalid="ignore"):
            yield _child(holdings, parent, path, condition, parent.rows & (places >= low) & (places <= high)), 0


def _by_window(holdings: Holdings, parent: Found, path: str) -> Iterator[tuple[Found | None, int]]:
    import numpy as np

    days = np.floor(holdings.times[path])
    yield None, _intervals(holdings, parent, days)
    for low, high in _scan(holdings, parent, days):
        condition = {"field": path, "op": "between", "value": {"from": _date(low), "to": _date(high)}}
        with np.errstate(invalid="ignore"):
            yield _child(holdings, parent, path, condition, parent.rows & (days >= low) & (days <= high)), 0


def _ends(holdings: Holdings, parent: Found, places: "NDArray[np.float64]") -> "NDArray[np.float64]":
    import numpy as np

    mine = places[parent.rows & holdings.is_case[holdings.customer] & ~np.isnan(places)]
    ends = np.unique(mine)
    if len(ends) > MOST_ENDS:
        ends = np.unique(np.quantile(mine, np.linspace(0, 1, MOST_ENDS), method="nearest"))
    return ends


def _intervals(holdings: Holdings, parent: Found, places: "NDArray[np.float64]") -> int:
    count = len(_ends(holdings, parent, places))
    return count * (count + 1) // 2


def _scan(holdings: Holdings, parent: Found, places: "NDArray[np.float64]") -> list[tuple[float, float]]:
    """Return the best intervals by rows; that a customer may have several rows is settled when they are scored."""
    import numpy as np

    ends = _ends(holdings, parent, places)
    if len(ends) < 2:
        return []
    usable = parent.rows & ~np.isnan(places)
    case = holdings.is_case[holdings.customer]
    mine, theirs = np.sort(places[usable & case]), np.sort(places[usable & ~case])
    first, last = np.triu_indices(len(ends))
    a = np.searchsorted(mine, ends, "right")[last] - np.searchsorted(mine, ends, "left")[first]
    b = np.searchsorted(theirs, ends, "right")[last] - np.searchsorted(theirs, ends, "left")[first]
    rows_of_cases = max(1, int(np.count_nonzero(case)))
    scores = _g(a, b, rows_of_cases, max(1, len(case) - rows_of_cases))
    scores[a < MIN_CASES] = -1
    kept: list[tuple[float, float]] = []
    for place in np.argsort(scores)[::-1][:200]:
        low, high = float(ends[first[place]]), float(ends[last[place]])
        if scores[place] > 0 and all(_overlap((low, high), other) < 0.7 for other in kept):
            kept.append((low, high))
        if len(kept) == KEPT_PER_PATH:
            break
    return kept


def _overlap(one: tuple[float, float], other: tuple[float, float]) -> float:
    both = min(one[1], other[1]) - max(one[0], other[0]) + 1
    return max(0.0, both) / (max(one[1], other[1]) - min(one[0], other[0]) + 1)


def _child(holdings: Holdings, parent: Found, path: str, condition: dict[str, Any], rows: "NDArray[np.bool_]") -> Found:
    import numpy as np

    who = np.unique(holdings.customer[rows])
    cases = int(np.count_nonzero(holdings.is_case[who]))
    others = len(who) - cases
    score = float(_scores(holdings, np.array([cases]), np.array([others]))[0])
    return Found(
        conditions=[*parent.conditions, condition],
        rows=rows,
        score=score,
        cases=cases,
        others=others,
        paths=parent.paths | {path},
        steps=[*parent.steps, (cases, others)],
    )


def _scores(holdings: Holdings, cases: "NDArray[Any]", others: "NDArray[Any]") -> "NDArray[np.float64]":
    return _g(cases, others, holdings.cases, holdings.others)


def _g(a: "NDArray[Any]", b: "NDArray[Any]", cases: int, others: int) -> "NDArray[np.float64]":
    """Return the G statistic of each 2 x 2 table, negative where cases meet the condition less often than others."""
    import numpy as np

    table = np.stack([a, cases - a, b, others - b]).astype(np.float64)
    inside, outside = table[0] + table[2], table[1] + table[3]
    total = cases + others
    expected = np.stack([inside * cases, outside * cases, inside * others, outside * others]) / total
    with np.errstate(divide="ignore", invalid="ignore"):
        parts = np.where(table > 0, table * np.log(table / expected), 0.0)
    g = 2 * parts.sum(axis=0)
    found: NDArray[np.float64] = np.where(a * others > b * cases, g, -g)
    return found


def _days(value: str) -> float:
    return float((datetime.fromisoformat(value).replace(tzinfo=UTC) - datetime(1970, 1, 1, tzinfo=UTC)).days)


def _date(day: float) -> str:
    return (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(days=day)).date().isoformat()
