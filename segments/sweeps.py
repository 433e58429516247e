"""Keep the audiences of all living problems true: the work that beat rings for."""

from datetime import datetime

import structlog
from sqlalchemy import select, text
from sqlalchemy.orm import Session

from outreach.models import Problem, Segment
from outreach.vocabulary import ProblemState
from segments import audiences, scopes
from segments.refreshing import Refreshed

log = structlog.get_logger()
# Resolved problems stay alive until they are closed: late joiners hear of the resolution too.
LIVING = (ProblemState.INVESTIGATING, ProblemState.KNOWN, ProblemState.MONITORING, ProblemState.RESOLVED)
_SWEEP_LOCK = 7311


def sweep(session: Session, *, now: datetime) -> dict[str, Refreshed]:
    """Refresh the scope of every living problem; nothing when another sweep is at it."""
    if not session.scalar(text("SELECT pg_try_advisory_xact_lock(:lock)"), {"lock": _SWEEP_LOCK}):
        return {}
    for problem in scopes.problems_without_scope(session, LIVING):
        # Until somebody says more, the scope is those who wrote.
        definition = scopes.scope_for(session, problem_id=problem.id)
        scopes.save_scope(session, problem=problem, definition=definition, author="Outreach")
    living = (
        select(Segment)
        .join(Problem, Problem.id == Segment.problem_id)
        .where(Problem.state.in_(LIVING), Segment.current_version > 0)
        .order_by(Segment.id)
    )
    found = {}
    for segment in session.scalars(living).all():
        found[segment.key] = audiences.refresh(session, segment_id=segment.id, now=now)
    return found
