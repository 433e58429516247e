"""The board of problems and the page of one: what is wrong, whom it touches, what was said, what is owed next."""

from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Query, Request
from fastapi.responses import HTMLResponse, Response
from sqlalchemy import select
from sqlalchemy.orm import Session

from app.web.forms import Mistake, Sent, SentForm, attempt, read, see_other
from app.web.layout import page
from app.web.remembered import remembered
from campaigns import board as boards
from campaigns import problem_story, progress
from campaigns.board import BoardRow
from outreach import clock, problem_verbs, problems
from outreach.doors import SessionDep, requires
from outreach.errors import NotFound
from outreach.models import PROBLEM_TRANSITIONS, Campaign, Problem
from outreach.permissions import Actor, Permission
from outreach.problem_verbs import Verb
from outreach.schemas import EntryIn, ProblemIn, PromiseIn, ResolveIn, UpdateIn
from outreach.vocabulary import Grade, ProblemState, Severity
from segments import audiences, growth, rules
from segments.sentences import sentences

router = APIRouter(default_response_class=HTMLResponse, include_in_schema=False)
Reader = Annotated[Actor, Depends(requires(Permission.PROBLEMS_READ))]
Writer = Annotated[Actor, Depends(requires(Permission.PROBLEMS_WRITE))]
Key = Annotated[str, Path(max_length=64)]
Said = Annotated[str, Query(max_length=20)]

SAID = {
    "reported": "Reported. Next: say whom it touches.",
    "known": "Marked known. Its notice waits for approval as soon as it has a scope.",
    "update": "The entry is on the timeline.",
    "monitor": "Marked as being watched.",
    "resolve": "Marked resolved. The notice to everybody who was told waits for approval.",
    "reopen": "Reopened.",
    "close": "Closed. Its scope is no longer kept up.",
    "scope": "The scope is saved; the audience is being built.",
}
_SCHEMAS: dict[Verb, type[EntryIn]] = {
    Verb.KNOWN: PromiseIn,
    Verb.UPDATE: UpdateIn,
    Verb.MONITOR: EntryIn,
    Verb.RESOLVE: ResolveIn,
    Verb.REOPEN: EntryIn,
    Verb.CLOSE: EntryIn,
}
_LEADS_TO = {
    Verb.KNOWN: ProblemState.KNOWN,
    Verb.MONITOR: ProblemState.MONITORING,
    Verb.RESOLVE: ProblemState.RESOLVED,
    Verb.CLOSE: ProblemState.CLOSED,
}


@dataclass(frozen=True, slots=True)
class Told:
    """How far the newest notice of a problem has come: recipients told, on the way, and everybody it is owed to."""

    told: int
    way: int
    skipped: int
    failed: int
    all: int


def told_of(session: Session, campaign_id: int | None) -> Told | None:
    """Return how far a campaign is, from figures that pages share."""
    if campaign_id is None:
        return None

    def count() -> dict[str, int]:
        campaign = session.get_one(Campaign, campaign_id)
        return progress.progress(session, campaign=campaign)[0]

    notices = remembered(("notices", campaign_id), count)
    return Told(
        told=notices.get("delivered", 0),
        way=notices.get("owed", 0),
        skipped=notices.get("skipped", 0) + notices.get("held_out", 0),
        failed=notices.get("failed", 0),
        all=sum(notices.values()),
    )


@router.get("/problems")
def board(
    request: Request,
    session: SessionDep,
    actor: Reader,
    tab: Annotated[str, Query(max_length=20)] = "open",
    after: Annotated[int | None, Query(ge=1, le=2**62)] = None,
) -> Response:
    """Show the board."""
    tab = tab if tab in boards.TABS else "open"
    rows, following = boards.board(session, states=boards.TABS[tab], before=after)
    now = clock.now(session)
    return page(
        request,
        session,
        actor,
        "problems/board.html",
        tab=tab,
        totals=boards.totals(session),
        rows=[(row, told_of(session, row.campaign_id), boards.owed(row, now)) for row in rows],
        following=following,
    )


@router.get("/problems/new")
def new_problem(request: Request, session: SessionDep, actor: Writer) -> Response:
    """Show the form to report a problem."""
    return page(request, session, actor, "problems/new.html", sent=Sent(), severities=tuple(Severity))


@router.post("/problems/new")
def report(request: Request, session: SessionDep, actor: Writer, sent: SentForm) -> Response:
    """Report a problem."""
    key = ""
    with attempt(session) as tried:
        given = read(ProblemIn, sent.fields("title", "summary", "severity", "department", "key"))
        key = problem_verbs.report(session, actor=actor, now=clock.now(session), **given.model_dump()).key
    if tried.mistake:
        return page(
            request, session, actor, "problems/new.html", status=422, mistake=tried.mistake, sent=sent,
            severities=tuple(Severity),
        )  # fmt: skip
    return see_other(f"/problems/{key}?said=reported")


@router.get("/problems/{key}")
def show(request: Request, session: SessionDep, actor: Reader, key: Key, said: Said = "") -> Response:
    """Show one problem."""
    return _problem_page(request, session, actor, key, said=SAID.get(said, ""))


@router.post("/problems/{key}/mark/{verb}")
def act(request: Request, session: SessionDep, actor: Writer, key: Key, verb: Verb, sent: SentForm) -> Response:
    """Mark known, update, resolve, reopen or close."""
    with attempt(session) as tried:
        given: dict[str, Any] = sent.fields("text", "workaround", "fix")
        given |= {name: due for name in ("fixed_by", "next_update_by") if (due := sent.moment(name))}
        taken = {name: value for name, value in given.items() if name in _SCHEMAS[verb].model_fields}
        details = read(_SCHEMAS[verb], taken).model_dump()
        problem_verbs.act(session, key=key, verb=verb, actor=actor, now=clock.now(session), **details)
    if tried.mistake:
        return _problem_page(request, session, actor, key, mistake=tried.mistake, sent=sent, opened=verb)
    return see_other(f"/problems/{key}?said={verb.value}")


@router.get("/problems/{key}/growth")
def show_growth(request: Request, session: SessionDep, actor: Reader, key: Key) -> Response:
    """Return the chart of the audience over time."""
    problem = problems.find(session, key)
    scope = audiences.scope_of(session, problem_id=problem.id)
    now = clock.now(session)
    grown = (
        remembered(("growth", scope.id), lambda: growth.growth(session, segment_id=scope.id, now=now))
        if scope
        else None
    )
    return page(request, session, actor, "problems/growth.html", growth=grown)


def verbs_of(problem: Problem) -> set[Verb]:
    """Return what can be done to a problem in its state."""
    found = {verb for verb, state in _LEADS_TO.items() if state in PROBLEM_TRANSITIONS[problem.state]}
    if problem.state not in {ProblemState.INVESTIGATING, ProblemState.KNOWN}:
        found = (found | {Verb.REOPEN}) - {Verb.KNOWN}
    return found | {Verb.UPDATE} if problem.state is not ProblemState.CLOSED else found


def _problem_page(
    request: Request,
    session: Session,
    actor: Actor,
    key: str,
    *,
    said: str = "",
    mistake: Mistake | None = None,
    sent: Sent | None = None,
    opened: Verb | None = None,
) -> Response:
    problem, row = problems.find(session, key), boards.one(session, key)
    if row is None:
        raise NotFound(f"There is no problem {key}.")
    return page(
        request,
        session,
        actor,
        "problems/problem.html",
        status=422 if mistake else 200,
        problem=problem,
        row=row,
        told=told_of(session, row.campaign_id),
        owed=boards.owed(row, clock.now(session)),
        said_scope=_sentences(session, row),
        entries=problem_story.entries(session, problem_id=problem.id),
        tickets=problem_story.tickets(session, problem_id=problem.id),
        replies=problem_story.replies(session, problem_id=problem.id),
        intents=problem_story.intents(session, problem_id=problem.id),
        tasks=problem_story.tasks(session, problem_id=problem.id),
        campaigns=_campaigns(session, problem),
        verbs={verb.value for verb in verbs_of(problem)},
        said=said,
        mistake=mistake,
        sent=sent or Sent(),
        opened=opened.value if opened else "",
    )


def _sentences(session: Session, row: BoardRow) -> dict[Grade, str]:
    if row.segment_id is None or not row.has_scope:
        return {}
    version = audiences.version_in_force(session, segment_id=row.segment_id)
    return sentences(rules.parse_definition(version.definition)) if version.definition else {}


def _campaigns(session: Session, problem: Problem) -> list[tuple[Campaign, Told | None]]:
    newest = select(Campaign).where(Campaign.problem_id == problem.id).order_by(Campaign.id.desc()).limit(20)
    return [(campaign, told_of(session, campaign.id)) for campaign in session.scalars(newest)]
