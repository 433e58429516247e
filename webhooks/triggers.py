"""What a help desk's event sets in motion: tickets kept and linked, problems known, resolved, reopened."""

from datetime import datetime

from sqlalchemy import select, text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from outreach import clock, problems
from outreach.models import Problem, Ticket
from outreach.queue import wake
from outreach.vocabulary import ProblemState, Severity
from webhooks.desks.base import DeskEvent, DeskEventKind, DeskProblem, DeskTicket

# The person behind a ticket: by our own reference, by email, by phone; a shared address names nobody.
_CUSTOMER = text("""
SELECT CASE WHEN count(*) = 1 THEN min(id) END FROM customers
WHERE erased_at IS NULL AND CASE
    WHEN EXISTS (SELECT 1 FROM customers WHERE external_id = :reference) THEN external_id = :reference
    WHEN :email <> '' AND EXISTS (SELECT 1 FROM customers WHERE email = :email) THEN email = :email
    ELSE :phone <> '' AND phone = :phone END
""")


def apply(session: Session, *, desk: str, event: DeskEvent) -> None:
    """Do what one desk event means; the same event a second time changes nothing."""
    now = clock.now(session)
    if event.kind is DeskEventKind.IGNORED:
        return
    if event.ticket is not None:
        _keep_ticket(session, desk, event.ticket, now)
    if event.problem is not None:
        _step(session, desk, event.kind, event.problem, now)


def _keep_ticket(session: Session, desk: str, given: DeskTicket, now: datetime) -> None:
    problem_id = None
    if given.problem_reference:
        problem_id = _problem(session, desk, DeskProblem(reference=given.problem_reference), now).id
    customer_id = session.execute(
        _CUSTOMER,
        {
            "reference": given.requester_reference or "",
            "email": (given.requester_email or "").strip().lower(),
            "phone": given.requester_phone or "",
        },
    ).scalar_one()
    values = {
        "customer_id": customer_id,
        "problem_id": problem_id,
        "requester_email": given.requester_email,
        "subject": given.subject,
        "body": given.body,
        "status": given.status,
        "priority": given.priority,
        "opened_at": given.opened_at,
        "solved_at": given.solved_at,
    }
    statement = insert(Ticket).values(
        desk=desk,
        external_id=given.reference,
        **{**values, "opened_at": given.opened_at or now},
        attributes=given.attributes,
        updated_at=now,
    )
    # An event says only what it knows: what it leaves out stays.
    known = {name: value for name, value in values.items() if value is not None}
    session.execute(
        statement.on_conflict_do_update(
            index_elements=["desk", "external_id"],
            set_={**known, "attributes": Ticket.attributes.op("||")(statement.excluded.attributes), "updated_at": now},
        )
    )
    wake(session, "segments.sweep")


def _problem(session: Session, desk: str, given: DeskProblem, now: datetime) -> Problem:
    """Return our problem for the desk's, reported now if it is new; what the desk says overrides what we had."""
    found = session.scalar(select(Problem).where(Problem.desk == desk, Problem.desk_reference == given.reference))
    if found is None:
        found = problems.report(
            session,
            title=given.title or f"Problem {given.reference} at the help desk",
            summary=given.summary or "",
            severity=_severity(given.severity) or Severity.MEDIUM,
            department=given.department,
            desk=desk,
            desk_reference=given.reference,
            attributes=given.attributes,
            author=f"desk:{desk}",
            now=now,
        )
    found.title = given.title or found.title
    found.summary = given.summary or found.summary
    found.severity = _severity(given.severity) or found.severity
    found.department = given.department or found.department
    found.workaround = given.workaround or found.workaround
    found.fix = given.fix or found.fix
    found.attributes = {**found.attributes, **given.attributes}
    return found


def _step(session: Session, desk: str, kind: DeskEventKind, given: DeskProblem, now: datetime) -> None:
    problem, author = _problem(session, desk, given, now), f"desk:{desk}"
    promise = {"next_update_by": given.next_update_by, "fixed_by": given.fixed_by, "workaround": given.workaround}
    if kind is DeskEventKind.PROBLEM_KNOWN and problem.state is ProblemState.INVESTIGATING:
        problems.mark_known(session, problem=problem, author=author, now=now, text=given.summary or "", **promise)  # type: ignore[arg-type]
    elif kind is DeskEventKind.PROBLEM_WORKAROUND and problem.state is not ProblemState.CLOSED:
        problems.update(session, problem=problem, author=author, now=now, text=given.workaround or "", **promise)  # type: ignore[arg-type]
    elif kind is DeskEventKind.PROBLEM_RESOLVED and problem.state not in {ProblemState.RESOLVED, ProblemState.CLOSED}:
        problems.resolve(session, problem=problem, author=author, now=now, text=given.summary or "", fix=given.fix)
    elif kind is DeskEventKind.PROBLEM_REOPENED and problem.state in {
        ProblemState.MONITORING,
        ProblemState.RESOLVED,
        ProblemState.CLOSED,
    }:
        problems.reopen(session, problem=problem, author=author, now=now, text=given.summary or "")


def _severity(word: str | None) -> Severity | None:
    known = {"urgent": "critical", "normal": "medium", "major": "high", "minor": "low"}
    wanted = known.get((word or "").lower(), (word or "").lower())
    return Severity(wanted) if wanted in set(Severity) else None
