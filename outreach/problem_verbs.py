"""What people and programs do to a problem, by name, one at a time and with an audit entry for each."""

from collections.abc import Callable
from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy.orm import Session

from outreach import audit, problems
from outreach.models import Problem, ProblemUpdate
from outreach.permissions import Actor
from outreach.vocabulary import Severity


class Verb(StrEnum):
    """What can be done to a problem that exists."""

    KNOWN = "known"
    UPDATE = "update"
    MONITOR = "monitor"
    RESOLVE = "resolve"
    REOPEN = "reopen"
    CLOSE = "close"


_DOES: dict[Verb, Callable[..., ProblemUpdate]] = {
    Verb.KNOWN: problems.mark_known,
    Verb.UPDATE: problems.update,
    Verb.MONITOR: problems.monitor,
    Verb.RESOLVE: problems.resolve,
    Verb.REOPEN: problems.reopen,
    Verb.CLOSE: problems.close,
}


def report(
    session: Session,
    *,
    actor: Actor,
    now: datetime,
    title: str,
    summary: str = "",
    severity: Severity = Severity.MEDIUM,
    department: str | None = None,
    key: str | None = None,
    attributes: dict[str, Any] | None = None,
) -> Problem:
    """Record a new problem under investigation; raises `Conflict` when its key is taken."""
    problem = problems.report(
        session,
        title=title,
        summary=summary,
        severity=severity,
        department=department,
        key=key,
        attributes=attributes,
        author=actor.name,
        now=now,
    )
    _record(session, actor, "report", problem, now)
    return problem


def act(session: Session, *, key: str, verb: Verb, actor: Actor, now: datetime, **details: Any) -> Problem:
    """Do `verb` to the problem with this key; `details` are those of the verb in `outreach.problems`."""
    problem = problems.find(session, key)
    # Two people may press at the same moment; the second must see what the first did.
    session.refresh(problem, with_for_update=True)
    _DOES[verb](session, problem=problem, author=actor.name, now=now, **details)
    _record(session, actor, verb.value, problem, now)
    return problem


def _record(session: Session, actor: Actor, verb: str, problem: Problem, now: datetime) -> None:
    audit.record(
        session,
        actor=actor.name,
        action=f"problem.{verb}",
        subject=f"problem:{problem.key}",
        detail={"state": problem.state.value},
        now=now,
    )
