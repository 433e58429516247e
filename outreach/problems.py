"""The life of a problem: report, mark known, update, monitor, resolve, reopen, close.

Every verb changes rows only. What follows from it (a scope, a campaign, a check-in) is noticed by the
sweeps of the floors above, which look at `problem_updates`.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from outreach.errors import Conflict, NotFound
from outreach.models import PROBLEM_TRANSITIONS, DepartmentTask, Problem, ProblemUpdate
from outreach.queue import wake
from outreach.vocabulary import ProblemState, Severity


def report(
    session: Session,
    *,
    title: str,
    author: str,
    now: datetime,
    summary: str = "",
    severity: Severity = Severity.MEDIUM,
    department: str | None = None,
    key: str | None = None,
    desk: str | None = None,
    desk_reference: str | None = None,
    attributes: Mapping[str, Any] | None = None,
) -> Problem:
    """Record a new problem under investigation; raises `Conflict` when its key or desk reference is taken."""
    if key is None:
        key = f"P-{(session.scalar(select(func.coalesce(func.max(Problem.id), 0))) or 0) + 1}"
    same = Problem.key == key
    if desk_reference is not None:
        same |= (Problem.desk == desk) & (Problem.desk_reference == desk_reference)
    if (other := session.scalar(select(Problem.key).where(same))) is not None:
        raise Conflict(f"Problem {other} exists already; update it, or choose another key.")
    problem = Problem(
        key=key,
        title=title,
        summary=summary,
        state=ProblemState.INVESTIGATING,
        severity=severity,
        department=department,
        desk=desk,
        desk_reference=desk_reference,
        attributes=dict(attributes or {}),
        reported_at=now,
    )
    session.add(problem)
    session.flush()
    _enter(session, problem, None, text=summary, author=author, now=now)
    return problem


def find(session: Session, key: str) -> Problem:
    """Return the problem with this key; raises `NotFound`."""
    problem = session.scalar(select(Problem).where(Problem.key == key))
    if problem is None:
        raise NotFound(f"There is no problem {key}.")
    return problem


def mark_known(
    session: Session,
    *,
    problem: Problem,
    author: str,
    now: datetime,
    text: str = "",
    workaround: str | None = None,
    fixed_by: datetime | None = None,
    next_update_by: datetime | None = None,
) -> ProblemUpdate:
    """Say that the cause is known; from here on everybody it touches is to hear of it."""
    _promise(problem, workaround=workaround, fixed_by=fixed_by, next_update_by=next_update_by)
    problem.known_at = problem.known_at or now
    return _move(session, problem, ProblemState.KNOWN, text=text, author=author, now=now)


def update(
    session: Session,
    *,
    problem: Problem,
    author: str,
    now: datetime,
    text: str,
    workaround: str | None = None,
    fixed_by: datetime | None = None,
    next_update_by: datetime | None = None,
) -> ProblemUpdate:
    """Add an entry to the timeline without changing the state, with what it promises."""
    _promise(problem, workaround=workaround, fixed_by=fixed_by, next_update_by=next_update_by)
    return _append(session, problem, None, None, text=text, author=author, now=now)


def monitor(session: Session, *, problem: Problem, author: str, now: datetime, text: str = "") -> ProblemUpdate:
    """Say that a fix is out and being watched."""
    return _move(session, problem, ProblemState.MONITORING, text=text, author=author, now=now)


def resolve(
    session: Session, *, problem: Problem, author: str, now: datetime, text: str = "", fix: str | None = None
) -> ProblemUpdate:
    """Say that the problem is over; everybody who was told is to hear it."""
    problem.fix = fix if fix is not None else problem.fix
    problem.resolved_at = now
    return _move(session, problem, ProblemState.RESOLVED, text=text, author=author, now=now)


def reopen(session: Session, *, problem: Problem, author: str, now: datetime, text: str = "") -> ProblemUpdate:
    """Take a resolved, monitored or closed problem back to known, and give the department its work again."""
    if problem.state in {ProblemState.INVESTIGATING, ProblemState.KNOWN}:
        raise Conflict(f"Problem {problem.key} is {problem.state}; there is nothing to reopen.")
    problem.resolved_at = problem.closed_at = None
    if problem.department:
        assign(session, problem=problem, title=f"Reopened: {problem.title}", detail=text, now=now)
    return _move(session, problem, ProblemState.KNOWN, text=text, author=author, now=now)


def close(session: Session, *, problem: Problem, author: str, now: datetime, text: str = "") -> ProblemUpdate:
    """Put the problem away; its scope is no longer kept up."""
    problem.closed_at = now
    return _move(session, problem, ProblemState.CLOSED, text=text, author=author, now=now)


def assign(
    session: Session, *, problem: Problem, title: str, now: datetime, detail: str = "", due_at: datetime | None = None
) -> DepartmentTask:
    """Give the department that owns the cause a piece of work."""
    if not problem.department:
        raise Conflict(f"Problem {problem.key} has no department; set one first.")
    task = DepartmentTask(
        problem_id=problem.id, department=problem.department, title=title, detail=detail, due_at=due_at, opened_at=now
    )
    session.add(task)
    session.flush()
    return task


def _promise(
    problem: Problem, *, workaround: str | None, fixed_by: datetime | None, next_update_by: datetime | None
) -> None:
    problem.workaround = workaround if workaround is not None else problem.workaround
    problem.fixed_by = fixed_by if fixed_by is not None else problem.fixed_by
    problem.next_update_by = next_update_by if next_update_by is not None else problem.next_update_by


def _move(
    session: Session, problem: Problem, to_state: ProblemState, *, text: str, author: str, now: datetime
) -> ProblemUpdate:
    if to_state not in PROBLEM_TRANSITIONS[problem.state]:
        allowed = ", ".join(sorted(PROBLEM_TRANSITIONS[problem.state]))
        raise Conflict(f"Problem {problem.key} is {problem.state}; from there it can become {allowed}.")
    return _enter(session, problem, to_state, text=text, author=author, now=now)


def _enter(
    session: Session, problem: Problem, to_state: ProblemState | None, *, text: str, author: str, now: datetime
) -> ProblemUpdate:
    before = None if to_state is None else problem.state
    problem.state = to_state or problem.state
    return _append(session, problem, before, problem.state, text=text, author=author, now=now)


def _append(
    session: Session,
    problem: Problem,
    from_state: ProblemState | None,
    to_state: ProblemState | None,
    *,
    text: str,
    author: str,
    now: datetime,
) -> ProblemUpdate:
    entry = ProblemUpdate(
        problem_id=problem.id, from_state=from_state, to_state=to_state, text=text, author=author, at=now
    )
    session.add(entry)
    session.flush()
    wake(session, "segments.sweep")
    wake(session, "campaigns.sweep")
    return entry
