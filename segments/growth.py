"""How an audience grew: its size by grade over time, from the ledger of changes."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import accumulate

from sqlalchemy import text
from sqlalchemy.orm import Session

from outreach.vocabulary import Grade

POINTS = 60
_SPAN = text("SELECT min(at) AS first, max(at) AS last FROM audience_changes WHERE segment_id = :id")
_STEPS = text("""
SELECT date_bin(cast(:step AS interval), at, :origin) AS slot, from_grade, to_grade, count(*) AS total
FROM audience_changes WHERE segment_id = :id GROUP BY 1, 2, 3 ORDER BY 1
""")


@dataclass(frozen=True, slots=True)
class Growth:
    """Moments, and the number of members of each grade at each of them."""

    moments: list[datetime]
    counts: dict[Grade, list[int]]


def growth(session: Session, *, segment_id: int, now: datetime) -> Growth:
    """Return the audience's size over time in at most about 60 steps; empty before anybody entered."""
    first, last = session.execute(_SPAN, {"id": segment_id}).one()
    if first is None:
        return Growth([], {})
    until = max(last, now)
    step = max(timedelta(seconds=1), (until - first) / POINTS)
    # One moment before anybody entered, so that a sudden start is seen, and the present one at the end.
    moments = [first + step * place for place in range(-1, int((until - first) / step) + 1)] + [until]
    moves = {grade: [0] * len(moments) for grade in Grade}
    for row in session.execute(_STEPS, {"id": segment_id, "step": step, "origin": first}):
        place = min(round((row.slot - first) / step) + 1, len(moments) - 1)
        if row.from_grade:
            moves[Grade(row.from_grade)][place] -= row.total
        if row.to_grade:
            moves[Grade(row.to_grade)][place] += row.total
    return Growth(moments, {grade: list(accumulate(each)) for grade, each in moves.items()})
