"""The JSON routes of the ground: sessions, problems, customers, the audit log and the clock."""

from datetime import timedelta
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Request, Response, status
from fastapi.responses import JSONResponse
from sqlalchemy import select
from sqlalchemy.orm import Session

from outreach import audit, clock, operators, problem_verbs, problems, security, timeline
from outreach.doors import (
    COOKIE,
    PageDep,
    SessionDep,
    check_same_origin,
    clear_session_cookie,
    public,
    requires,
    set_session_cookie,
)
from outreach.models import AuditEntry, Problem, ProblemUpdate
from outreach.pagination import Listing, fetch_page
from outreach.permissions import Actor, Permission
from outreach.problem_verbs import Verb
from outreach.schemas import (
    AdvanceIn,
    AuditCheckOut,
    AuditOut,
    ClockOut,
    CustomerOut,
    EntryIn,
    HappeningOut,
    ProblemDetailOut,
    ProblemIn,
    ProblemOut,
    ProblemUpdateOut,
    PromiseIn,
    ResolveIn,
    ScopeOut,
    SessionOut,
    SignIn,
    UpdateIn,
)
from outreach.vocabulary import ProblemState

router = APIRouter(prefix="/api")

Anybody = Annotated[Actor, Depends(requires(Permission.SESSION_OWN))]
ProblemReader = Annotated[Actor, Depends(requires(Permission.PROBLEMS_READ))]
ProblemWriter = Annotated[Actor, Depends(requires(Permission.PROBLEMS_WRITE))]
CustomerReader = Annotated[Actor, Depends(requires(Permission.CUSTOMERS_READ))]
AuditReader = Annotated[Actor, Depends(requires(Permission.AUDIT_READ))]
ClockMover = Annotated[Actor, Depends(requires(Permission.CLOCK_MOVE))]
ProblemKey = Annotated[str, Path(max_length=64)]


@router.post(
    "/session",
    tags=["session"],
    response_model=SessionOut,
    dependencies=[Depends(public("this is how one signs in"))],
)
def sign_in(body: SignIn, request: Request, response: Response, session: SessionDep) -> SessionOut | JSONResponse:
    """Sign in with address and password; the answer sets the session cookie."""
    if "Origin" in request.headers or "Sec-Fetch-Site" in request.headers:
        check_same_origin(request)  # nobody else's page may sign a browser in to an account of theirs
    now = clock.now(session)
    operator = operators.authenticate(session, email=body.email, password=body.password.get_secret_value(), now=now)
    if operator is None:
        # Returned instead of raised: the transaction commits, so that the wrong try counts.
        refusal = "Address or password is wrong, or there were too many tries; wait a few minutes."
        return JSONResponse(
            {"error": "not_authenticated", "detail": refusal, "where": None}, status.HTTP_401_UNAUTHORIZED
        )
    opened = operators.open_session(session, operator=operator, now=now, replaces=request.cookies.get(COOKIE))
    set_session_cookie(response, opened)
    actor = operators.actor_of_session(session, opened.token)
    assert actor is not None  # noqa: S101 - opened in this very transaction
    return _session_out(actor, opened.csrf_token)


@router.get("/session", tags=["session"])
def who_am_i(actor: Anybody, request: Request) -> SessionOut:
    """Tell who is signed in, what they may do, and the CSRF token of this browser."""
    token = request.cookies.get(COOKIE) if actor.operator_id is not None else None
    return _session_out(actor, security.csrf_token(token) if token else None)


@router.delete("/session", tags=["session"], status_code=status.HTTP_204_NO_CONTENT)
def sign_out(actor: Anybody, request: Request, response: Response, session: SessionDep) -> None:
    """End this session."""
    token = request.cookies.get(COOKIE)
    if actor.operator_id is not None and token:
        operators.close_session(session, token=token, actor=actor, now=clock.now(session))
    clear_session_cookie(response)


def _session_out(actor: Actor, csrf_token: str | None) -> SessionOut:
    return SessionOut(name=actor.name, role=actor.role, permissions=sorted(actor.permissions), csrf_token=csrf_token)


@router.get("/problems", tags=["problems"])
def list_problems(
    session: SessionDep, _: ProblemReader, page: PageDep, state: ProblemState | None = None
) -> Listing[ProblemOut]:
    """List problems, newest first."""
    query = select(Problem) if state is None else select(Problem).where(Problem.state == state)
    rows, following = fetch_page(session, query, Problem.id, page)
    return Listing(items=[ProblemOut.model_validate(row) for row in rows], next=following)


@router.get("/problems/{key}", tags=["problems"])
def get_problem(session: SessionDep, _: ProblemReader, key: ProblemKey) -> ProblemDetailOut:
    """Return one problem with its timeline."""
    problem = problems.find(session, key)
    query = select(ProblemUpdate).where(ProblemUpdate.problem_id == problem.id).order_by(ProblemUpdate.id)
    updates = [ProblemUpdateOut.model_validate(row) for row in session.scalars(query.limit(1000))]
    return ProblemDetailOut(**ProblemOut.model_validate(problem).model_dump(), updates=updates)


@router.post("/problems", tags=["problems"], status_code=status.HTTP_201_CREATED)
def report_problem(session: SessionDep, actor: ProblemWriter, body: ProblemIn) -> ProblemOut:
    """Report a problem; it starts under investigation and nobody is told yet."""
    problem = problem_verbs.report(session, actor=actor, now=clock.now(session), **body.model_dump())
    return ProblemOut.model_validate(problem)


@router.post("/problems/{key}/known", tags=["problems"])
def mark_problem_known(session: SessionDep, actor: ProblemWriter, key: ProblemKey, body: PromiseIn) -> ProblemOut:
    """Mark a problem known: everybody it touches is to hear of it."""
    return _act(session, actor, key, Verb.KNOWN, body.model_dump())


@router.post("/problems/{key}/update", tags=["problems"])
def update_problem(session: SessionDep, actor: ProblemWriter, key: ProblemKey, body: UpdateIn) -> ProblemOut:
    """Add an entry to the timeline, with what it promises."""
    return _act(session, actor, key, Verb.UPDATE, body.model_dump())


@router.post("/problems/{key}/monitor", tags=["problems"])
def monitor_problem(session: SessionDep, actor: ProblemWriter, key: ProblemKey, body: EntryIn) -> ProblemOut:
    """Say that a fix is out and being watched."""
    return _act(session, actor, key, Verb.MONITOR, body.model_dump())


@router.post("/problems/{key}/resolve", tags=["problems"])
def resolve_problem(session: SessionDep, actor: ProblemWriter, key: ProblemKey, body: ResolveIn) -> ProblemOut:
    """Mark a problem resolved: everybody who was told is to hear it."""
    return _act(session, actor, key, Verb.RESOLVE, body.model_dump())


@router.post("/problems/{key}/reopen", tags=["problems"])
def reopen_problem(session: SessionDep, actor: ProblemWriter, key: ProblemKey, body: EntryIn) -> ProblemOut:
    """Take a problem back to known."""
    return _act(session, actor, key, Verb.REOPEN, body.model_dump())


@router.post("/problems/{key}/close", tags=["problems"])
def close_problem(session: SessionDep, actor: ProblemWriter, key: ProblemKey, body: EntryIn) -> ProblemOut:
    """Put a problem away; its scope is no longer kept up."""
    return _act(session, actor, key, Verb.CLOSE, body.model_dump())


def _act(session: Session, actor: Actor, key: str, verb: Verb, details: dict[str, Any]) -> ProblemOut:
    problem = problem_verbs.act(session, key=key, verb=verb, actor=actor, now=clock.now(session), **details)
    return ProblemOut.model_validate(problem)


@router.get("/customers/{external_id:path}", tags=["customers"])
def get_customer(session: SessionDep, _: CustomerReader, external_id: str) -> CustomerOut:
    """Return a customer, the problems that touch them, and the newest things that happened."""
    customer = timeline.find_customer(session, external_id)
    fields = {name: getattr(customer, name) for name in CustomerOut.model_fields if hasattr(customer, name)}
    return CustomerOut(
        **fields,
        problems=[ScopeOut.model_validate(each) for each in timeline.problems_of(session, customer)],
        timeline=[HappeningOut.model_validate(each) for each in timeline.happenings(session, customer)],
    )


@router.get("/audit-entries", tags=["audit"])
def list_audit_entries(
    session: SessionDep, _: AuditReader, page: PageDep, subject: str | None = None
) -> Listing[AuditOut]:
    """List what was changed, by whom, newest first."""
    query = select(AuditEntry) if subject is None else select(AuditEntry).where(AuditEntry.subject == subject)
    rows, following = fetch_page(session, query, AuditEntry.id, page)
    return Listing(items=[AuditOut.model_validate(row) for row in rows], next=following)


@router.get("/audit-entries/check", tags=["audit"])
def check_audit_entries(session: SessionDep, _: AuditReader) -> AuditCheckOut:
    """Recompute the chain of the audit log and name every entry that does not fit."""
    complaints = audit.verify_chain(session)
    return AuditCheckOut(holds=not complaints, complaints=complaints[:100])


@router.get("/clock", tags=["clock"])
def read_clock(session: SessionDep, _: Anybody) -> ClockOut:
    """Tell what time it is for everything that falls due."""
    return ClockOut(now=clock.now(session), moved_by_seconds=clock.offset(session).total_seconds())


@router.post("/clock/advance", tags=["clock"])
def advance_clock(session: SessionDep, actor: ClockMover, body: AdvanceIn) -> ClockOut:
    """Move the clock of a demo forward; refused everywhere else."""
    now = clock.advance(session, timedelta(seconds=body.seconds))
    audit.record(session, actor=actor.name, action="clock.advance", subject="clock", detail=body.model_dump(), now=now)
    return ClockOut(now=now, moved_by_seconds=clock.offset(session).total_seconds())
