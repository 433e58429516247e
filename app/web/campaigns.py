"""Campaigns while they run: the list, the live page, the people behind each number, the account, the stops."""

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Annotated

from fastapi import APIRouter, Depends, Path, Query, Request
from fastapi.responses import HTMLResponse, Response, StreamingResponse
from fastapi.sse import format_sse_event
from sqlalchemy import select
from sqlalchemy.orm import Session
from starlette.concurrency import run_in_threadpool

from app.web.forms import Mistake, SentForm, attempt, see_other
from app.web.layout import page, rendered
from app.web.problems import told_of
from app.web.remembered import forget, remembered
from campaigns import funnel, ledger, lifecycle, stops
from campaigns.funnel import Figures
from outreach import clock
from outreach.db import transaction
from outreach.doors import PageDep, SessionDep, requires
from outreach.models import Campaign, Problem
from outreach.pagination import fetch_page
from outreach.permissions import Actor, Permission
from outreach.vocabulary import CampaignState, NoticeState

router = APIRouter(default_response_class=HTMLResponse, include_in_schema=False)
Reader = Annotated[Actor, Depends(requires(Permission.CAMPAIGNS_READ))]
Writer = Annotated[Actor, Depends(requires(Permission.CAMPAIGNS_WRITE))]
Approver = Annotated[Actor, Depends(requires(Permission.CAMPAIGNS_APPROVE))]
Key = Annotated[str, Path(max_length=64)]

LOOK_SECONDS = 1.0
STREAM_SECONDS = 120.0  # then the browser asks again, and its session is checked again
SAID = {
    "approved": "Approved. The first messages go out within seconds.",
    "pause": "Paused. What is at the providers already still arrives.",
    "resume": "It goes on.",
    "cancel": "Cancelled for good. What was sent is still followed.",
    "stop": "Stopped at once. Lift the stop to go on.",
    "lift": "The stop is lifted.",
}


@dataclass(frozen=True, slots=True)
class Moment:
    """What everybody who watches a campaign sees at one moment."""

    campaign: Campaign
    figures: Figures
    stopped: bool
    now: datetime

    @property
    def over(self) -> bool:
        """Whether nothing will change any more."""
        return self.campaign.state in {CampaignState.FINISHED, CampaignState.CANCELLED} and self.figures.settled


class Act(StrEnum):
    """What can be done to a campaign that was approved."""

    PAUSE = "pause"
    CANCEL = "cancel"
    STOP = "stop"


@router.get("/campaigns")
def board(request: Request, session: SessionDep, actor: Reader, paging: PageDep) -> Response:
    """List campaigns, newest first."""
    rows, following = fetch_page(session, select(Campaign), Campaign.id, paging)
    named = {
        row.id: row
        for row in session.execute(
            select(Problem.id, Problem.key, Problem.title).where(Problem.id.in_([row.problem_id for row in rows]))
        )
    }
    shown = [(row, named.get(row.problem_id), told_of(session, row.id)) for row in rows]
    return page(request, session, actor, "campaigns/board.html", rows=shown, following=following)


@router.get("/campaigns/{key}")
def show(
    request: Request,
    session: SessionDep,
    actor: Reader,
    key: Key,
    said: Annotated[str, Query(max_length=20)] = "",
) -> Response:
    """Show a campaign live."""
    return _campaign_page(request, session, actor, key, said=SAID.get(said, ""))


@router.get("/campaigns/{key}/live")
def watch(request: Request, session: SessionDep, actor: Reader, key: Key) -> StreamingResponse:
    """Send the figures whenever they have changed."""
    lifecycle.find(session, key)
    return StreamingResponse(_stream(request, actor, key), media_type="text/event-stream")


@router.get("/campaigns/{key}/people")
def show_people(
    request: Request,
    session: SessionDep,
    actor: Annotated[Actor, Depends(requires(Permission.CUSTOMERS_READ))],
    key: Key,
    state: NoticeState = NoticeState.SKIPPED,
    reason: Annotated[str | None, Query(max_length=60)] = None,
    after: Annotated[int, Query(ge=0, le=2**62)] = 0,
) -> Response:
    """Show the people behind one number."""
    campaign = lifecycle.find(session, key)
    rows, following = funnel.people(session, campaign=campaign, state=state.value, reason=reason, after=after)
    return page(
        request, session, actor, "campaigns/people.html", campaign=campaign, state=state.value, reason=reason,
        rows=rows, following=following,
    )  # fmt: skip


@router.get("/campaigns/{key}/account")
def show_account(request: Request, session: SessionDep, actor: Reader, key: Key) -> Response:
    """Prove that every recipient is accounted for."""
    campaign = lifecycle.find(session, key)
    account = remembered(("account", campaign.id), lambda: ledger.verify(session, campaign=campaign))
    return page(request, session, actor, "campaigns/account.html", campaign=campaign, account=account)


@router.post("/campaigns/{key}/do/{act}")
def act_on(request: Request, session: SessionDep, actor: Writer, key: Key, act: Act, sent: SentForm) -> Response:
    """Pause, cancel or stop: whoever may write may also halt."""
    reason = sent.text("reason")[:500]
    with attempt(session) as tried:
        campaign, now = _locked(session, key), clock.now(session)
        if act is Act.PAUSE:
            lifecycle.pause(session, campaign=campaign, actor=actor.name, now=now, reason=reason)
        elif act is Act.CANCEL:
            lifecycle.cancel(session, campaign=campaign, actor=actor.name, now=now, reason=reason)
        else:
            stops.stop(session, campaign=campaign, actor=actor.name, now=now, reason=reason)
        forget("figures", campaign.id)
        forget("moment", key)
    if tried.mistake:
        return _campaign_page(request, session, actor, key, mistake=tried.mistake)
    return see_other(f"/campaigns/{key}?said={act.value}")


@router.post("/campaigns/{key}/resume")
def resume(request: Request, session: SessionDep, actor: Approver, key: Key) -> Response:
    """Go on after a pause or a stop."""
    said = "resume"
    with attempt(session) as tried:
        campaign, now = _locked(session, key), clock.now(session)
        if stops.lift(session, campaign=campaign, actor=actor.name, now=now):
            said = "lift"
        if campaign.state is CampaignState.PAUSED or said == "resume":
            lifecycle.resume(session, campaign=campaign, actor=actor.name, now=now)
        forget("figures", campaign.id)
        forget("moment", key)
    if tried.mistake:
        return _campaign_page(request, session, actor, key, mistake=tried.mistake)
    return see_other(f"/campaigns/{key}?said={said}")


def _locked(session: Session, key: str) -> Campaign:
    campaign = lifecycle.find(session, key)
    # Two people may press at the same moment; the second must see what the first did.
    session.refresh(campaign, with_for_update=True)
    return campaign


def _figures(session: Session, campaign: Campaign) -> Figures:
    return remembered(("figures", campaign.id), lambda: funnel.figures(session, campaign=campaign))


def _stopped(session: Session, campaign: Campaign) -> bool:
    channels = {step["channel"] for step in campaign.ladder}
    return any(
        each.campaign_id in (None, campaign.id) and (each.channel is None or each.channel in channels)
        for each in stops.standing(session)
    )


async def _stream(request: Request, actor: Actor, key: str) -> AsyncIterator[bytes]:
    ends, before = time.monotonic() + STREAM_SECONDS, ""
    while time.monotonic() < ends and not await request.is_disconnected():
        # However many watch, the database is asked once; each is shown it in their own zone.
        seen = await run_in_threadpool(remembered, ("moment", key), lambda: _moment(key))
        shown = _shown(request, actor, seen)
        if shown != before:
            before = shown
            yield format_sse_event(data_str=shown, event="figures")
        if seen.over:
            yield format_sse_event(data_str="over", event="over")
            return
        await asyncio.sleep(LOOK_SECONDS)


def _moment(key: str) -> Moment:
    with transaction() as session:
        campaign = lifecycle.find(session, key)
        return Moment(campaign, _figures(session, campaign), _stopped(session, campaign), clock.now(session))


def _shown(request: Request, actor: Actor, seen: Moment) -> str:
    return rendered(
        request, "campaigns/figures.html", now=seen.now, actor=actor, campaign=seen.campaign, figures=seen.figures,
        stopped=seen.stopped,
    )  # fmt: skip


def _campaign_page(
    request: Request,
    session: Session,
    actor: Actor,
    key: str,
    *,
    said: str = "",
    mistake: Mistake | None = None,
) -> Response:
    campaign = lifecycle.find(session, key)
    ended = campaign.state in {CampaignState.FINISHED, CampaignState.CANCELLED}
    figures = _figures(session, campaign)
    return page(
        request,
        session,
        actor,
        "campaigns/campaign.html",
        status=422 if mistake else 200,
        campaign=campaign,
        problem=session.get(Problem, campaign.problem_id) if campaign.problem_id else None,
        figures=figures,
        stopped=_stopped(session, campaign),
        live=not (ended and figures.settled),
        said=said,
        mistake=mistake,
    )
