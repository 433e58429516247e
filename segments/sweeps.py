"""Keep all living audiences true: rebuild what was reworded, ask again whom changes or the time touched.

Bulk imports cost one pass: triggers note the changed customers per statement (`customer_changes`), a sweep
takes all notes at once and asks each audience only about them.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta

import structlog
from sqlalchemy import delete, func, or_, select, text, update
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from outreach.errors import InvalidRule, OutreachError
from outreach.models import Customer, CustomerChange, Problem, Segment
from outreach.vocabulary import ProblemState
from segments import audiences, boundaries, rules, scopes
from segments.meaning import rows_within, understand
from segments.refreshing import Refreshed

log = structlog.get_logger()
# Resolved problems stay alive until they are closed: late joiners hear of the resolution too.
LIVING = (ProblemState.INVESTIGATING, ProblemState.KNOWN, ProblemState.MONITORING, ProblemState.RESOLVED)
_SWEEP_LOCK = 7311
# Past this many changed customers, and this share of all, one whole refresh is cheaper than asking about each.
WHOLE_FROM, WHOLE_SHARE = 20_000, 0.2
# What no trigger notes (sending changes millions of messages): rules about it are asked again this often.
UNWATCHED, UNWATCHED_EVERY = frozenset({"messages"}), timedelta(minutes=5)
# And everything, as a net under the triggers.
EVERYTHING_EVERY = timedelta(hours=12)


def sweep(session: Session, *, now: datetime) -> dict[str, Refreshed]:
    """Bring every living audience up to date; nothing when another sweep is at it."""
    found = {}
    for segment_id in prepare(session, now=now):
        key, result = build(session, segment_id=segment_id, now=now)
        if result is not None:
            found[key] = result
    return found | ask_again(session, now=now)


def prepare(session: Session, *, now: datetime) -> list[int]:
    """Give every living problem a scope; return the segments that have to be built whole."""
    if not _alone(session):
        return []
    for problem in scopes.problems_without_scope(session, LIVING):
        # Until somebody says more, the scope is those who wrote.
        definition = scopes.scope_for(session, problem_id=problem.id)
        scopes.save_scope(session, problem=problem, definition=definition, author="Outreach")
    found = []
    for segment in living(session):
        age = now - segment.refreshed_at if segment.refreshed_at is not None else EVERYTHING_EVERY
        unwatched = age >= UNWATCHED_EVERY and _kinds_of_rows(session, segment) & UNWATCHED
        if segment.built_version != segment.current_version or age >= EVERYTHING_EVERY or unwatched:
            found.append(segment.id)
    return found


def build(session: Session, *, segment_id: int, now: datetime) -> tuple[str, Refreshed | None]:
    """Build one audience whole; an edit that comes meanwhile, or a rule that fails, undoes this one only."""
    segment = session.get_one(Segment, segment_id)
    try:
        with session.begin_nested():
            result = audiences.refresh(session, segment_id=segment_id, now=now)
            _note_dependents(session, segment, since=now, result=result)
    except (OutreachError, DBAPIError) as error:
        log.warning("audience not built", segment=segment.key, error=str(error)[:500])
        return segment.key, None
    return segment.key, result


def ask_again(session: Session, *, now: datetime) -> dict[str, Refreshed]:
    """Take all notes of changed customers, and those whom the time touched, and ask each audience about them."""
    if not _alone(session):
        return {}
    changed = _take_changes(session)
    whole = len(changed) > WHOLE_FROM and len(changed) > WHOLE_SHARE * (
        session.scalar(select(func.count()).select_from(Customer)) or 0
    )
    found = {}
    for segment in living(session):
        if segment.built_version != segment.current_version:
            continue  # the next sweep builds it whole
        result = _ask_one(session, segment, changed, whole=whole, now=now)
        if result is not None:
            found[segment.key] = result
    return found


def _ask_one(session: Session, segment: Segment, changed: list[int], *, whole: bool, now: datetime) -> Refreshed | None:
    """Ask one audience about changed customers; one that fails is built whole next time, the others go on."""
    key = segment.key
    try:
        with session.begin_nested():
            asked = changed
            if segment.due_at is not None and segment.due_at <= now and segment.refreshed_at is not None:
                asked = sorted({*changed, *_crossed(session, segment, now=now)})
            if not asked:
                return None
            result = audiences.refresh(session, segment_id=segment.id, now=now, only_customers=None if whole else asked)
            _note_dependents(session, segment, since=now, result=result)
            return result
    except (OutreachError, DBAPIError) as error:
        log.warning("audience not asked again", segment=key, error=str(error)[:500])
        session.execute(update(Segment).where(Segment.key == key).values(refreshed_at=None))
        return None


def living(session: Session) -> Sequence[Segment]:
    """Return the segments that are kept up: of no problem, or of one that is not closed."""
    query = (
        select(Segment)
        .outerjoin(Problem, Problem.id == Segment.problem_id)
        .where(or_(Segment.problem_id.is_(None), Problem.state.in_(LIVING)), Segment.current_version > 0)
        .order_by(Segment.id)
        .execution_options(populate_existing=True)
    )
    return session.scalars(query).all()


def _alone(session: Session) -> bool:
    """Two beats are harmless: whoever comes second has nothing to do."""
    return bool(session.scalar(text("SELECT pg_try_advisory_xact_lock(:lock)"), {"lock": _SWEEP_LOCK}))


def _take_changes(session: Session) -> list[int]:
    # Deleted in this transaction: a crash gives every note back.
    taken = delete(CustomerChange).returning(CustomerChange.customer_id).cte("taken")
    return list(session.scalars(select(taken.c.customer_id).distinct()))


def _crossed(session: Session, segment: Segment, *, now: datetime) -> list[int]:
    """Return whose rows crossed a boundary since the last look; remember that time was looked at, and when to next."""
    definition, since = _definition(session, segment), segment.refreshed_at or now
    crossed: list[int] = []
    following = boundaries.next_boundary(session, definition=definition, now=since)
    if following is not None and following <= now:
        crossed = boundaries.crossed(session, definition=definition, since=since, now=now)
        following = boundaries.next_boundary(session, definition=definition, now=now + timedelta(microseconds=1))
    segment.refreshed_at, segment.due_at = now, following
    session.flush()
    return crossed


def _definition(session: Session, segment: Segment) -> rules.Definition:
    return rules.parse_definition(audiences.version_in_force(session, segment_id=segment.id).definition)


def _kinds_of_rows(session: Session, segment: Segment) -> frozenset[str]:
    try:
        meanings = understand(_definition(session, segment)).values()
    except InvalidRule:
        return frozenset()  # said when it is built
    return frozenset(node.entity for meaning in meanings for node in rows_within(meaning))


def _note_dependents(session: Session, segment: Segment, *, since: datetime, result: Refreshed) -> None:
    """Put on the queue whoever entered, left or changed here, if another audience asks for membership in this one."""
    if not result.entered + result.left + result.changed:
        return
    others = [other for other in living(session) if other.id != segment.id]
    asking = [other for other in others if "memberships" in _kinds_of_rows(session, other)]
    if any(segment.key in audiences.segments_named(_definition(session, other)) for other in asking):
        session.execute(
            text(
                "INSERT INTO customer_changes (customer_id) SELECT DISTINCT customer_id FROM audience_changes"
                " WHERE segment_id = :segment AND at >= :since"
            ),
            {"segment": segment.id, "since": since},
        )
