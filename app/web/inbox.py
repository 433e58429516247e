"""The inbox: replies that wait for somebody, and one conversation with everything that can be done about it."""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Annotated
from urllib.parse import urlencode
from uuid import UUID, uuid4

from fastapi import APIRouter, Depends, Path, Query, Request
from fastapi.responses import HTMLResponse, Response
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy import select
from sqlalchemy.orm import Session

from app.web.forms import Attempt, Mistake, Sent, SentForm, attempt, see_other
from app.web.layout import page
from app.web.reading import zone_named
from app.web.remembered import forget
from outreach import clock
from outreach.doors import SessionDep, requires
from outreach.errors import InvalidInput
from outreach.models import Customer, Operator, Problem
from outreach.models import Response as Reply
from outreach.permissions import Actor, Permission
from outreach.vocabulary import Intent, ProblemState
from webhooks import answering, conversations, triage
from webhooks.conversations import Filter, View

router = APIRouter(default_response_class=HTMLResponse, include_in_schema=False)
Reader = Annotated[Actor, Depends(requires(Permission.CUSTOMERS_READ))]
Writer = Annotated[Actor, Depends(requires(Permission.CUSTOMERS_WRITE))]
Number = Annotated[int, Path(ge=1, le=2**63 - 1)]

SAID = {
    "answered": "Your answer is on its way.",
    "corrected": "Corrected. What follows from it has followed.",
    "assigned": "Assigned.",
    "snoozed": "Put aside until then.",
    "back": "Back in the inbox.",
    "handled": "Dealt with. Here is the next one.",
    "ticket": "The help desk gets it within seconds.",
}
MORNING = 9  # o'clock, where the reader is


class Looking(BaseModel):
    """Which part of the inbox is looked at; it goes along from page to page. What cannot be read is left out."""

    model_config = ConfigDict(extra="ignore")

    view: str = Field(default="", max_length=20)
    intent: str = Field(default="", max_length=20)
    problem: str = Field(default="", max_length=64)

    def wanted(self, actor: Actor) -> Filter:
        """Return what to look for."""
        return Filter(
            view=View(self.view) if self.view in set(View) else View.WAITING,
            intent=Intent(self.intent) if self.intent in set(Intent) else None,
            problem=self.problem or None,
            operator_id=actor.operator_id,
        )

    def query(self, **more: object) -> str:
        """Return the query string that leads back to the same list."""
        given = {"view": self.view, "intent": self.intent, "problem": self.problem, **more}
        found = urlencode({name: value for name, value in given.items() if value})
        return f"?{found}" if found else ""


LookingAt = Annotated[Looking, Query()]


@router.get("/inbox")
def show_list(
    request: Request,
    session: SessionDep,
    actor: Reader,
    looking: LookingAt,
    after: Annotated[int | None, Query(ge=1, le=2**62)] = None,
    said: Annotated[str, Query(max_length=20)] = "",
) -> Response:
    """List replies."""
    wanted, now = looking.wanted(actor), clock.now(session)
    rows, following = conversations.rows(session, wanted, now=now, before=after)
    return page(
        request, session, actor, "inbox/list.html", rows=rows, following=following, looking=looking, wanted=wanted,
        views=tuple(View), intents=tuple(Intent), problems=_problems(session), said=SAID.get(said, ""),
    )  # fmt: skip


@router.get("/inbox/{response_id}")
def show(
    request: Request,
    session: SessionDep,
    actor: Reader,
    response_id: Number,
    looking: LookingAt,
    said: Annotated[str, Query(max_length=20)] = "",
) -> Response:
    """Show one conversation."""
    return _conversation(request, session, actor, response_id, looking, said=SAID.get(said, ""))


@router.post("/inbox/{response_id}/answer")
def answer(
    request: Request, session: SessionDep, actor: Writer, response_id: Number, looking: LookingAt, sent: SentForm
) -> Response:
    """Answer by the channel the person wrote on."""
    with attempt(session) as tried:
        answering.answer(
            session, response_id=response_id, answer_id=_uuid(sent.text("answer_id")), words=sent.text("words"),
            by=actor.name, now=clock.now(session), handled=sent.text("then") == "handled",
        )  # fmt: skip
    return _after(request, session, actor, response_id, looking, tried, "answered", sent=sent)


@router.post("/inbox/{response_id}/correct")
def correct(
    request: Request, session: SessionDep, actor: Writer, response_id: Number, looking: LookingAt, sent: SentForm
) -> Response:
    """Correct the intent, say whose it is or what it is about, or link a ticket."""
    with attempt(session) as tried:
        intent = sent.text("intent")
        if intent and intent not in set(Intent):
            raise InvalidInput("Choose an intent.", where="intent")
        triage.correct(
            session, response_id=response_id, by=actor.name, now=clock.now(session),
            intent=Intent(intent) if intent else None, customer=sent.text("customer") or None,
            problem=sent.text("problem") or None, ticket=_ticket(sent),
        )  # fmt: skip
    return _after(request, session, actor, response_id, looking, tried, "corrected", sent=sent)


@router.post("/inbox/{response_id}/assign")
def assign(
    request: Request, session: SessionDep, actor: Writer, response_id: Number, looking: LookingAt, sent: SentForm
) -> Response:
    """Give it to somebody; `me` is who asks, nothing is nobody."""
    with attempt(session) as tried:
        to = sent.text("to")
        if to == "me":
            own = session.get(Operator, actor.operator_id) if actor.operator_id else None
            to = own.email if own is not None else ""
        triage.assign(session, response_id=response_id, to=to or None, by=actor.name, now=clock.now(session))
    return _after(request, session, actor, response_id, looking, tried, "assigned")


@router.post("/inbox/{response_id}/snooze")
def snooze(
    request: Request, session: SessionDep, actor: Writer, response_id: Number, looking: LookingAt, sent: SentForm
) -> Response:
    """Put it aside, or bring it back."""
    now = clock.now(session)
    back = sent.text("until") == "now"

    def act() -> None:
        until = None if back else _until(sent, now)
        triage.snooze(session, response_id=response_id, until=until, by=actor.name, now=now)

    if back:
        return _tried(request, session, actor, response_id, looking, "back", act)
    return _and_on(request, session, actor, response_id, looking, "snoozed", act)


@router.post("/inbox/{response_id}/handled")
def mark_handled(
    request: Request, session: SessionDep, actor: Writer, response_id: Number, looking: LookingAt, sent: SentForm
) -> Response:
    """Mark it as dealt with and go on to the next one, or bring it back."""
    handled = sent.text("handled") != "no"

    def act() -> None:
        triage.correct(session, response_id=response_id, by=actor.name, now=clock.now(session), handled=handled)

    if not handled:
        return _tried(request, session, actor, response_id, looking, "back", act)
    return _and_on(request, session, actor, response_id, looking, "handled", act)


@router.post("/inbox/{response_id}/ticket")
def open_ticket(
    request: Request, session: SessionDep, actor: Writer, response_id: Number, looking: LookingAt
) -> Response:
    """Hand it to the help desk."""

    def act() -> None:
        triage.open_ticket(session, response_id=response_id, by=actor.name, now=clock.now(session))

    return _tried(request, session, actor, response_id, looking, "ticket", act)


def _tried(
    request: Request, session: Session, actor: Actor, response_id: int, looking: Looking, said: str,
    act: Callable[[], None],
) -> Response:  # fmt: skip
    with attempt(session) as tried:
        act()
    return _after(request, session, actor, response_id, looking, tried, said)


def _and_on(
    request: Request, session: Session, actor: Actor, response_id: int, looking: Looking, said: str,
    act: Callable[[], None],
) -> Response:  # fmt: skip
    """Act, and go on to the next reply of the list that this one leaves."""
    above, below = conversations.neighbours(
        session, looking.wanted(actor), response_id=response_id, now=clock.now(session)
    )
    with attempt(session) as tried:
        act()
    beside = below or above
    path = f"/inbox/{beside}" if beside is not None else "/inbox"
    return _after(request, session, actor, response_id, looking, tried, said, path=path)


def _after(
    request: Request,
    session: Session,
    actor: Actor,
    response_id: int,
    looking: Looking,
    tried: Attempt,
    said: str,
    *,
    sent: Sent | None = None,
    path: str | None = None,
) -> Response:
    if tried.mistake:
        return _conversation(request, session, actor, response_id, looking, mistake=tried.mistake, sent=sent)
    forget("inbox waiting")
    return see_other((path or f"/inbox/{response_id}") + looking.query(said=said))


def _conversation(
    request: Request,
    session: Session,
    actor: Actor,
    response_id: int,
    looking: Looking,
    *,
    said: str = "",
    mistake: Mistake | None = None,
    sent: Sent | None = None,
) -> Response:
    response, now = answering.find(session, response_id), clock.now(session)
    above, below = conversations.neighbours(session, looking.wanted(actor), response_id=response_id, now=now)
    return page(
        request,
        session,
        actor,
        "inbox/conversation.html",
        status=422 if mistake else 200,
        response=response,
        customer=session.get(Customer, response.customer_id) if response.customer_id else None,
        problem=session.get(Problem, response.problem_id) if response.problem_id else None,
        turns=conversations.thread(session, response),
        desk=conversations.at_the_desk(session, response),
        way=answering.way_of(session, response),
        longest=answering.LONGEST,
        answer_id=uuid4(),
        above=above,
        below=below,
        looking=looking,
        operators=_operators(session, response),
        problems=_problems(session),
        intents=tuple(Intent),
        said=said,
        mistake=mistake,
        sent=sent or Sent(),
    )


def _problems(session: Session) -> list[tuple[str, str]]:
    """Return the newest open problems, for a choice."""
    newest = select(Problem.key, Problem.title).where(Problem.state != ProblemState.CLOSED).order_by(Problem.id.desc())
    return [(row.key, row.title) for row in session.execute(newest.limit(100))]


def _operators(session: Session, response: Reply) -> list[tuple[str, str, bool]]:
    """Return who can take it: address, name, and who has it."""
    found = session.scalars(select(Operator).where(Operator.disabled_at.is_(None)).order_by(Operator.name).limit(200))
    return [(one.email, one.name, one.id == response.assigned_to) for one in found]


def _uuid(given: str) -> UUID:
    try:
        return UUID(given)
    except ValueError:
        raise InvalidInput("Load the page again and send the answer once more.", where="answer_id") from None


def _ticket(sent: Sent) -> tuple[str, str] | None:
    desk, reference = sent.text("desk"), sent.text("reference")
    if not reference:
        return None
    if not desk:
        raise InvalidInput("Say at which desk the ticket is.", where="desk")
    return desk, reference


def _until(sent: Sent, now: datetime) -> datetime:
    """Return the moment that a choice stands for, where the reader is."""
    given, here = sent.text("until"), now.astimezone(zone_named(sent.zone))
    morning = here.replace(hour=MORNING, minute=0, second=0, microsecond=0)
    choices = {
        "later": now + timedelta(hours=3),
        "tomorrow": morning + timedelta(days=1),
        "monday": morning + timedelta(days=7 - here.weekday()),
    }
    found = choices.get(given) or sent.moment("at")
    if found is None:
        raise InvalidInput("Choose a time.", where="until")
    return found
