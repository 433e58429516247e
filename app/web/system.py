"""System health: processes, queues and lag, providers, storage, what is stuck, what waits for a person's decision."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Query, Request
from fastapi.responses import HTMLResponse, Response
from sqlalchemy.orm import Session

from app import processes
from app.web.forms import Mistake, SentForm, attempt, see_other
from app.web.layout import page
from app.web.remembered import forget, remembered
from campaigns import circuits, sending_state, stops, unknowns
from campaigns.circuits import Resting
from outreach import clock, storage
from outreach.doors import SessionDep, requires
from outreach.errors import Conflict, InvalidInput
from outreach.models import Campaign
from outreach.permissions import Actor, Permission
from outreach.settings import get_settings
from outreach.vocabulary import Channel
from webhooks import backlog

router = APIRouter(default_response_class=HTMLResponse, include_in_schema=False)
Reader = Annotated[Actor, Depends(requires(Permission.CAMPAIGNS_READ))]
Writer = Annotated[Actor, Depends(requires(Permission.CAMPAIGNS_WRITE))]
Approver = Annotated[Actor, Depends(requires(Permission.CAMPAIGNS_APPROVE))]

LATE_AFTER = timedelta(minutes=5)
SHOWN_UNKNOWNS = 50
SAID = {
    "decided": "Settled as you decided.",
    "stopped": "Stopped. At most the window under way still goes out.",
    "lifted": "The stop is lifted; sending goes on.",
}
DECISIONS = {
    unknowns.Decision.ACCEPTED: ("It was sent", "count it as handed over"),
    unknowns.Decision.SEND_AGAIN: ("Send again", "rather twice than not at all"),
    unknowns.Decision.GIVE_UP: ("Give up", "go on to the next channel"),
}


@router.get("/system")
def show(
    request: Request, session: SessionDep, actor: Reader, said: Annotated[str, Query(max_length=20)] = ""
) -> Response:
    """Show how the installation does."""
    return _system_page(request, session, actor, said=SAID.get(said, ""))


@router.get("/system/processes")
def show_processes(request: Request, session: SessionDep, actor: Reader) -> Response:
    """Return which processes and providers do their work."""
    found = remembered(("processes",), processes.processes, at_least=15)
    providers = remembered(("providers",), processes.providers, at_least=60)
    return page(request, session, actor, "system/processes.html", processes=found, providers=providers)


@router.post("/system/unknown/{message_id}")
def decide(request: Request, session: SessionDep, actor: Approver, message_id: UUID, sent: SentForm) -> Response:
    """Settle one message of unknown outcome."""
    with attempt(session) as tried:
        if sent.text("decision") not in set(unknowns.Decision):
            raise InvalidInput("Choose what is to become of the message.", where="decision")
        decision = unknowns.Decision(sent.text("decision"))
        unknowns.resolve(session, message_id=message_id, decision=decision, actor=actor.name, now=clock.now(session))
    if tried.mistake:
        return _system_page(request, session, actor, mistake=tried.mistake)
    return see_other("/system?said=decided")


@router.post("/system/stop")
def stop(request: Request, session: SessionDep, actor: Writer, sent: SentForm) -> Response:
    """Stop all sending, or one channel."""
    with attempt(session) as tried:
        wanted, reason = sent.text("channel"), sent.text("reason")[:500]
        if wanted not in {*Channel, "everything"}:
            raise InvalidInput("Choose what is to stand still.", where="channel")
        channel = Channel(wanted) if wanted in set(Channel) else None
        if not stops.stop(session, actor=actor.name, now=clock.now(session), channel=channel, reason=reason):
            raise Conflict("It was stopped before.")
    if tried.mistake:
        return _system_page(request, session, actor, mistake=tried.mistake)
    forget("figures")
    return see_other("/system?said=stopped")


@router.post("/system/lift")
def lift(request: Request, session: SessionDep, actor: Approver, sent: SentForm) -> Response:
    """Lift the stop of everything or of one channel."""
    with attempt(session) as tried:
        wanted = sent.text("channel")
        if wanted not in {*Channel, "everything"}:
            raise InvalidInput("Choose which stop is to be lifted.", where="channel")
        channel = Channel(wanted) if wanted in set(Channel) else None
        if not stops.lift(session, actor=actor.name, now=clock.now(session), channel=channel):
            raise Conflict("There is no such stop; somebody has lifted it.")
    if tried.mistake:
        return _system_page(request, session, actor, mistake=tried.mistake)
    forget("figures")
    return see_other("/system?said=lifted")


def _instead(resting: Sequence[Resting]) -> dict[Channel, str]:
    """Return who sends for a provider that rests, by channel."""
    second = get_settings().email_second_provider
    away = {each.provider for each in resting}
    return {Channel.EMAIL: second} if second and second not in away else {}


def _system_page(
    request: Request, session: Session, actor: Actor, *, said: str = "", mistake: Mistake | None = None
) -> Response:
    now = clock.now(session)
    resting = circuits.resting(session)
    standing = stops.standing(session)
    named = {stop.id: session.get(Campaign, stop.campaign_id) for stop in standing if stop.campaign_id is not None}
    return page(
        request,
        session,
        actor,
        "system/page.html",
        status=422 if mistake else 200,
        lanes=remembered(("lanes",), lambda: sending_state.lanes(session, now=now)),
        late=now - LATE_AFTER,
        calls=remembered(("calls",), lambda: sending_state.calls(session)),
        stuck=sending_state.stuck(session),
        resting=resting,
        instead=_instead(resting),
        backlog=remembered(("backlog",), lambda: backlog.backlog(session)),
        storage=remembered(("storage",), lambda: storage.storage(session)),
        unknown=unknowns.list_unknown(session, limit=SHOWN_UNKNOWNS),
        decisions=DECISIONS,
        stops=[(stop, named.get(stop.id)) for stop in standing],
        said=said,
        mistake=mistake,
    )
