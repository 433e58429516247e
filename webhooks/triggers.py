"""What a help desk's events set in motion: tickets kept and linked, problems known, resolved, reopened.

The order of events is unknown. Where the desk has an API, a step of a problem is only noted, and taken once the
desk has been asked how the problem stands now; else an event that is older than the last one acted on is too late.
"""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, replace
from datetime import datetime, timedelta
from typing import Any

import orjson
from sqlalchemy import select, text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from outreach import clock, problems
from outreach.models import DeskAction, Problem, ProblemUpdate
from outreach.queue import wake
from outreach.vocabulary import ProblemState, Severity
from webhooks import desk_tickets
from webhooks.connectors import Desk
from webhooks.desks.base import DeskEvent, DeskEventKind, DeskProblem, DeskState, DeskTicket
from webhooks.desks.problem_steps import StepWords

OVER = frozenset({ProblemState.RESOLVED, ProblemState.CLOSED})

_SEEN = text("""
INSERT INTO connectors (key, kind, name, from_settings, last_event_at) VALUES (:desk, :kind, :name, true, :now)
ON CONFLICT (key) DO UPDATE SET last_event_at = excluded.last_event_at
WHERE connectors.last_event_at IS NULL OR connectors.last_event_at < excluded.last_event_at - interval '1 second'
""")


def apply(session: Session, *, desk: Desk, events: Sequence[DeskEvent]) -> None:
    """Do what events of one desk mean; the same event a second time changes nothing."""
    now = clock.now(session)
    live = [event for event in events if event.kind is not DeskEventKind.IGNORED]
    asks = desk.client() is not None
    tickets = [replace(e.ticket, changed_at=e.ticket.changed_at or e.occurred_at) for e in live if e.ticket is not None]
    strangers = _keep(session, desk, tickets, now)
    if asks:
        silent = {one.reference for one in tickets if not one.requester_email and not one.requester_phone}
        owe(session, desk, [("fetch", f"fetch:{desk.key}:{one}", {"reference": one}) for one in strangers & silent])
    steps = [event for event in live if event.problem is not None]
    if asks:
        owe(session, desk, [("step", f"step:{desk.key}:{event.key}", _step_payload(event)) for event in steps])
    else:
        for event in steps:
            act(session, desk=desk, event=event, now=now)
    if events:
        session.execute(_SEEN, {"desk": desk.key, "kind": desk.kind, "name": desk.name, "now": clock.wall()})


def catch_up(session: Session, *, desk: Desk, states: Sequence[DeskState], event: DeskEvent | None = None) -> None:
    """Bring tickets and problems in line with what the desk's API says now.

    With `event` this was asked because of it; without, it is the poll, which acts only on what is newer here.
    """
    now = clock.now(session)
    tickets = [replace(s.ticket, changed_at=s.ticket.changed_at or s.changed_at) for s in states if s.ticket]
    # Problems first: what is linked to them finds them with their names.
    for state in states:
        if state.problem is not None:
            _stand(session, desk, state, state.problem, event, now)
    _keep(session, desk, tickets, now)


def act(session: Session, *, desk: Desk, event: DeskEvent, now: datetime) -> None:
    """Take the step that an event says, unless it is a repetition or comes too late."""
    given = event.problem
    if given is None:
        return
    problem = _lookup(session, desk, given.reference)
    if problem is not None and _late(problem, event.key, event.occurred_at):
        return
    problem = _problem(session, desk, given, now)
    _step(session, desk, event.kind, problem, given, now)
    problem.desk_event = event.key
    problem.desk_changed_at = event.occurred_at or problem.desk_changed_at


def owe(session: Session, desk: Desk, actions: Iterable[tuple[str, str, dict[str, Any]]]) -> None:
    """Note what is to be asked of the desk; asking again for the same ticket before it was done is one question."""
    wall = clock.wall()
    rows = [
        {"desk": desk.key, "action": action, "key": key, "payload": payload, "next_try_at": wall}
        for key, (action, payload) in {key[:300]: (action, payload) for action, key, payload in actions}.items()
    ]
    for start in range(0, len(rows), 1000):
        statement = insert(DeskAction).values(rows[start : start + 1000])
        session.execute(
            statement.on_conflict_do_update(
                index_elements=["key"],
                set_={"done_at": None, "tries": 0, "next_try_at": statement.excluded.next_try_at, "error": None},
                where=(DeskAction.action == "fetch") & DeskAction.done_at.is_not(None),
            )
        )
    if rows:
        wake(session, "webhooks.work_at_desks")


def event_of(payload: dict[str, Any]) -> DeskEvent:
    """Return the event that a noted step was made of."""
    given = dict(payload["problem"])
    for name in ("next_update_by", "fixed_by"):
        given[name] = datetime.fromisoformat(given[name]) if given.get(name) else None
    at = payload.get("at")
    return DeskEvent(
        key=payload["key"],
        kind=DeskEventKind(payload["kind"]),
        occurred_at=datetime.fromisoformat(at) if at else None,
        problem=DeskProblem(**given),
    )


def _step_payload(event: DeskEvent) -> dict[str, Any]:
    assert event.problem is not None  # noqa: S101 - the caller asks
    given = orjson.loads(orjson.dumps(asdict(event.problem)))
    at = event.occurred_at.isoformat() if event.occurred_at else None
    return {
        "reference": event.problem.reference,
        "kind": event.kind.value,
        "key": event.key,
        "at": at,
        "problem": given,
    }


def _keep(session: Session, desk: Desk, tickets: Sequence[DeskTicket], now: datetime) -> set[str]:
    named = {ticket.problem_reference for ticket in tickets if ticket.problem_reference}
    found = session.execute(
        select(Problem.desk_reference, Problem.id).where(Problem.desk == desk.key, Problem.desk_reference.in_(named))
    )
    problem_ids: dict[str, int] = {str(reference): number for reference, number in found} if named else {}
    for reference in sorted(named - set(problem_ids)):
        problem_ids[reference] = _problem(session, desk, DeskProblem(reference), now).id
    ours = desk.kind == "generic"
    return desk_tickets.keep(session, desk=desk.key, tickets=tickets, problem_ids=problem_ids, ours=ours, now=now)


def _lookup(session: Session, desk: Desk, reference: str) -> Problem | None:
    query = select(Problem).where(Problem.desk == desk.key, Problem.desk_reference == reference)
    return session.scalar(query.with_for_update())


def _problem(session: Session, desk: Desk, given: DeskProblem, now: datetime) -> Problem:
    """Return our problem for the desk's, reported now if it is new; what the desk says overrides what we had."""
    found = _lookup(session, desk, given.reference)
    if found is None:
        found = problems.report(
            session,
            title=given.title or f"Problem {given.reference} at the help desk",
            summary=given.summary or "",
            severity=_severity(given.severity) or Severity.MEDIUM,
            department=given.department,
            desk=desk.key,
            desk_reference=given.reference,
            attributes=given.attributes,
            author=_author(desk),
            now=now,
        )
    _describe(found, given)
    return found


def _describe(problem: Problem, given: DeskProblem) -> None:
    problem.title = given.title or problem.title
    problem.summary = given.summary or problem.summary
    problem.severity = _severity(given.severity) or problem.severity
    problem.department = given.department or problem.department
    problem.attributes = {**problem.attributes, **given.attributes}


def _late(problem: Problem, key: str, at: datetime | None) -> bool:
    older = at is not None and problem.desk_changed_at is not None and at < problem.desk_changed_at
    return problem.desk_event == key or older


def _step(
    session: Session, desk: Desk, kind: DeskEventKind, problem: Problem, given: DeskProblem, now: datetime
) -> None:
    author, summary = _author(desk), given.summary or ""
    promise: dict[str, Any] = {
        "next_update_by": given.next_update_by,
        "fixed_by": given.fixed_by,
        "workaround": given.workaround,
    }
    if kind is DeskEventKind.PROBLEM_KNOWN and problem.state is ProblemState.INVESTIGATING:
        problems.mark_known(session, problem=problem, author=author, now=now, text=summary, **promise)
    elif kind is DeskEventKind.PROBLEM_WORKAROUND and problem.state is ProblemState.INVESTIGATING:
        # Whoever has a workaround knows what it is about.
        problems.mark_known(session, problem=problem, author=author, now=now, text=summary, **promise)
    elif kind is DeskEventKind.PROBLEM_WORKAROUND and problem.state is not ProblemState.CLOSED:
        problems.update(session, problem=problem, author=author, now=now, text=given.workaround or "", **promise)
    elif kind is DeskEventKind.PROBLEM_RESOLVED and problem.state not in OVER:
        problems.resolve(session, problem=problem, author=author, now=now, text=summary, fix=given.fix)
    elif kind is DeskEventKind.PROBLEM_REOPENED and problem.state in {*OVER, ProblemState.MONITORING}:
        problems.reopen(session, problem=problem, author=author, now=now, text=summary)


def _stand(
    session: Session, desk: Desk, state: DeskState, given: DeskProblem, event: DeskEvent | None, now: datetime
) -> None:
    """Take the step between how the problem stands here and how it stands at the desk now."""
    steps: StepWords = desk.mapping.steps
    problem = _lookup(session, desk, state.reference)
    over = bool(state.words & set(steps.resolved))
    known = bool(state.words & {*steps.known, *steps.workaround})
    asked = event.kind if event is not None else None
    if problem is None and (over or not known):
        return  # nobody has told us of it, and there is nothing to tell anybody
    if problem is not None and event is not None and problem.desk_event == event.key:
        return
    if problem is not None and event is None and not _newer(session, problem, state.changed_at):
        return
    problem = _problem(session, desk, given, now)
    before = problem.state
    kind = _kind(problem.state, asked, over=over, known=known)
    if kind is DeskEventKind.PROBLEM_REOPENED and event is None and not _last_by(session, problem, desk):
        kind = DeskEventKind.IGNORED  # a person resolved it here: the desk has merely not followed
    # The event may know more than the record (a fix, a promise).
    more = event.problem if event is not None and event.problem is not None else given
    _step(session, desk, kind, problem, _merged(given, more), now)
    if event is not None:
        problem.desk_event = event.key
    if problem.state is not before or event is not None:
        problem.desk_changed_at = state.changed_at or problem.desk_changed_at


def _kind(state: ProblemState, asked: DeskEventKind | None, *, over: bool, known: bool) -> DeskEventKind:
    if over:
        return DeskEventKind.PROBLEM_RESOLVED
    if state in OVER or (state is ProblemState.MONITORING and asked is DeskEventKind.PROBLEM_REOPENED):
        return DeskEventKind.PROBLEM_REOPENED
    if state is ProblemState.INVESTIGATING and known:
        return DeskEventKind.PROBLEM_KNOWN
    return DeskEventKind.PROBLEM_WORKAROUND if asked is DeskEventKind.PROBLEM_WORKAROUND else DeskEventKind.IGNORED


def _merged(given: DeskProblem, more: DeskProblem) -> DeskProblem:
    said = {name: value for name, value in asdict(given).items() if value not in (None, {})}
    return replace(more, **said)


def _newer(session: Session, problem: Problem, changed_at: datetime | None) -> bool:
    """Tell whether the desk changed its problem after ours last changed its state; a second is no order."""
    last = _last_change(session, problem)
    return changed_at is None or last is None or changed_at > last.at - timedelta(seconds=1)


def _last_by(session: Session, problem: Problem, desk: Desk) -> bool:
    last = _last_change(session, problem)
    return last is not None and last.author == _author(desk)


def _last_change(session: Session, problem: Problem) -> ProblemUpdate | None:
    return session.scalar(
        select(ProblemUpdate)
        .where(ProblemUpdate.problem_id == problem.id, ProblemUpdate.to_state.is_not(None))
        .order_by(ProblemUpdate.id.desc())
        .limit(1)
    )


def _author(desk: Desk) -> str:
    return f"desk:{desk.key}"


def _severity(word: str | None) -> Severity | None:
    known = {"urgent": "critical", "normal": "medium", "major": "high", "minor": "low", "highest": "critical"}
    known |= {"lowest": "low", "1": "critical", "2": "high", "3": "medium", "4": "low", "5": "low"}
    plain = (word or "").lower()
    wanted = known.get(plain, known.get(plain.partition(" ")[0], plain))
    return Severity(wanted) if wanted in set(Severity) else None
