"""What stands in a form, answered within a moment while it is being edited: counted where quick, else estimated.

A question about nearly everybody takes seconds to count however it is asked. While somebody is still typing, the same
question is put to customers drawn by chance, and scaled up; the exact count comes with saving. A narrow question,
whose sample would say little, is counted, unless that takes too long as well.
"""

import random
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from math import sqrt

from psycopg.errors import QueryCanceled
from sqlalchemy import func, select, text
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session

from outreach.models import Customer
from segments import rules
from segments.differences import Move, differences
from segments.previews import Preview, preview

SAMPLED = 20_000
# Up to so many customers everything is counted.
COUNTED = 100_000
# With fewer finds than these the sample says too little, and the answer is short enough to be counted.
FEW = 400
PATIENCE_MS = 500


@dataclass(frozen=True, slots=True)
class QuickLook:
    """The answer and what it would change; with `sampled` customers asked (0: all) it is right within `margin`.

    The margin is half of the 95 % interval of the number in scope, in customers.
    """

    found: Preview
    moves: list[Move]
    sampled: int = 0
    margin: int = 0


def quick_look(
    session: Session,
    *,
    definition: rules.Definition,
    now: datetime,
    against: int | None,
    sample: int = 6,
    exclude_problem: int | None = None,
) -> QuickLook:
    """Answer a definition and compare it with the segment `against`; reads only."""

    def look(only: list[int] | None) -> QuickLook:
        found = preview(
            session, definition=definition, now=now, sample=sample, exclude_problem=exclude_problem, only_customers=only
        )
        if against is None:
            return QuickLook(found, [])
        moves = differences(session, definition=definition, segment_id=against, now=now, only_customers=only)
        return QuickLook(found, moves)

    low, high = session.execute(select(func.min(Customer.id), func.max(Customer.id))).one()
    people = high - low + 1 if low is not None else 0
    if people <= COUNTED:
        return look(None)
    # The same draw each time, so that numbers move because the rule did. Ids that are free count for nobody.
    drawn = sorted(random.Random(people).sample(range(low, high + 1), SAMPLED))  # noqa: S311 - no secret
    estimate = look(drawn)
    if estimate.found.total < FEW:
        with _patience(session) as counted:
            counted.append(look(None))
        if counted:
            return counted[0]
    return _scaled(estimate, people)


def _scaled(estimate: QuickLook, people: int) -> QuickLook:
    scale, hits = people / SAMPLED, estimate.found.total
    # Agresti and Coull's two more of each: none found is not none there.
    careful = (hits + 2) / (SAMPLED + 4)
    margin = 1.96 * sqrt(careful * (1 - careful) / SAMPLED) * people

    def up(number: int) -> int:
        return round(number * scale)

    found = estimate.found
    return QuickLook(
        replace(
            found,
            counts={grade: up(number) for grade, number in found.counts.items()},
            reach=[
                replace(
                    each,
                    reachable=up(each.reachable),
                    no_address=up(each.no_address),
                    invalid=up(each.invalid),
                    suppressed=up(each.suppressed),
                    cost_cents=up(each.cost_cents),
                )
                for each in found.reach
            ],
            unreachable=up(found.unreachable),
            overlap={key: up(number) for key, number in found.overlap.items()},
        ),
        [replace(move, number=up(move.number)) for move in estimate.moves],
        SAMPLED,
        round(max(margin, scale if hits else 0)),
    )


@contextmanager
def _patience(session: Session) -> Iterator[list[QuickLook]]:
    """Give the block a moment; what takes longer is dropped, and the list stays empty."""
    held: list[QuickLook] = []
    before = session.execute(text("SELECT current_setting('statement_timeout')")).scalar_one()
    try:
        with session.begin_nested():
            session.execute(text("SELECT set_config('statement_timeout', :ms, true)"), {"ms": str(PATIENCE_MS)})
            yield held
    except OperationalError as error:
        # Cancelled by a newer edit, it is not ours to answer.
        if not isinstance(error.orig, QueryCanceled) or "user request" in str(error.orig):
            raise
        held.clear()
    session.execute(text("SELECT set_config('statement_timeout', :ms, true)"), {"ms": before})
