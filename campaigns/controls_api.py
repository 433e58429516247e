"""The JSON routes of control: what a plan will reach and cost, new words, the kill switch, and unknown outcomes."""

from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Depends, Path, Query, Response, status
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy.orm import Session

from campaigns import channel_plan, editing, lifecycle, proofs, samples, stops, unknowns
from campaigns.channel_plan import Urgency
from campaigns.proofs import ProofFile
from campaigns.schemas import CampaignOut, Incoming, ReasonIn
from outreach import clock
from outreach.doors import SessionDep, requires
from outreach.errors import Conflict
from outreach.models import Campaign, SendingStop
from outreach.permissions import Actor, Permission
from outreach.vocabulary import Channel

router = APIRouter(prefix="/api", tags=["sending"])

reads = [Depends(requires(Permission.CAMPAIGNS_READ))]
Writer = Annotated[Actor, Depends(requires(Permission.CAMPAIGNS_WRITE))]
Approver = Annotated[Actor, Depends(requires(Permission.CAMPAIGNS_APPROVE))]
Key = Annotated[str, Path(max_length=64)]


class PlanIn(Incoming):
    """What the money and the time are."""

    budget_cents: Annotated[int, Field(ge=0, le=10**12)] | None = None
    urgency: Urgency = Urgency.NORMAL


class ProposalOut(BaseModel):
    """One ladder with what to expect of it."""

    model_config = ConfigDict(from_attributes=True)

    ladder: list[dict[str, Any]]
    expected_reached: float
    expected_share: float
    expected_cost_cents: int
    messages: dict[str, float]


class PlanOut(BaseModel):
    """The proposed ladder and the runners-up."""

    model_config = ConfigDict(from_attributes=True)

    people: int
    reachable: int
    budget_cents: int | None
    urgency: Urgency
    best: ProposalOut
    others: list[ProposalOut]
    within_budget: bool


class CostOut(BaseModel):
    """What one channel has cost so far."""

    messages: int
    cents: float


class EditIn(Incoming):
    """Which version of the words; none: the newest."""

    version: Annotated[int, Field(ge=1)] | None = None


class StopIn(ReasonIn):
    """What stands still: one channel, one campaign, or (neither named) everything."""

    channel: Channel | None = None
    campaign: Annotated[str, Field(max_length=64)] | None = None


class StopOut(BaseModel):
    """One stop that is on."""

    channel: Channel | None
    campaign: str | None
    reason: str
    stopped_by: str
    stopped_at: datetime


class UnknownOut(BaseModel):
    """One message of unknown outcome."""

    model_config = ConfigDict(from_attributes=True)

    message_id: UUID
    campaign: str
    notice_class: str
    channel: str
    customer: str
    provider: str | None
    since: datetime
    age_seconds: float


class DecisionIn(Incoming):
    """What a person decides."""

    decision: unknowns.Decision


@router.post("/campaigns/{key}/plan", dependencies=reads)
def plan(key: Key, given: PlanIn, session: SessionDep) -> PlanOut:
    """Propose a ladder within a budget, with expected reach and cost; changes nothing."""
    campaign = lifecycle.find(session, key)
    found = channel_plan.propose(session, campaign=campaign, budget_cents=given.budget_cents, urgency=given.urgency)
    return PlanOut.model_validate(found)


@router.get("/campaigns/{key}/costs", dependencies=reads)
def show_costs(key: Key, session: SessionDep) -> dict[str, CostOut]:
    """Show what the campaign has cost so far, by channel."""
    spent = channel_plan.costs(session, campaign=lifecycle.find(session, key))
    return {channel: CostOut.model_validate(cost) for channel, cost in spent.items()}


@router.post("/campaigns/{key}/edit")
def edit(key: Key, given: EditIn, session: SessionDep, actor: Approver) -> CampaignOut:
    """Give a campaign another version of its words; nobody gets two versions."""
    campaign = lifecycle.find(session, key)
    session.refresh(campaign, with_for_update=True)
    editing.edit(session, campaign=campaign, actor=actor.name, now=clock.now(session), version=given.version)
    return CampaignOut.model_validate(campaign)


@router.get("/sending-stops", dependencies=reads)
def list_stops(session: SessionDep) -> list[StopOut]:
    """List the stops that are on."""
    return [_shown(session, found) for found in stops.standing(session)]


@router.post("/sending-stops", status_code=status.HTTP_201_CREATED)
def stop(given: StopIn, session: SessionDep, actor: Writer) -> list[StopOut]:
    """Stop everything, one channel or one campaign within one window; returns the stops that are on."""
    stops.stop(
        session, actor=actor.name, now=clock.now(session), channel=given.channel, campaign=_named(session, given),
        reason=given.reason,
    )  # fmt: skip
    return list_stops(session)


@router.post("/sending-stops/lift")
def lift(given: StopIn, session: SessionDep, actor: Approver) -> list[StopOut]:
    """Lift exactly the stop of this scope; returns those that are still on."""
    lifted = stops.lift(
        session, actor=actor.name, now=clock.now(session), channel=given.channel, campaign=_named(session, given)
    )
    if not lifted:
        raise Conflict("There is no stop of exactly this scope; GET /api/sending-stops lists them.")
    return list_stops(session)


@router.get("/unknown-messages", dependencies=reads)
def list_unknown(session: SessionDep, limit: Annotated[int, Query(ge=1, le=1000)] = 100) -> list[UnknownOut]:
    """List the messages of which nobody knows whether they were sent, oldest first."""
    return [UnknownOut.model_validate(found) for found in unknowns.list_unknown(session, limit=limit)]


@router.post("/unknown-messages/{message_id}/resolve", status_code=status.HTTP_204_NO_CONTENT)
def resolve(message_id: UUID, given: DecisionIn, session: SessionDep, actor: Approver) -> None:
    """Settle one message of unknown outcome as a person decided."""
    unknowns.resolve(session, message_id=message_id, decision=given.decision, actor=actor.name, now=clock.now(session))


def _named(session: Session, given: StopIn) -> Campaign | None:
    return lifecycle.find(session, given.campaign) if given.campaign else None


def _shown(session: Session, found: SendingStop) -> StopOut:
    campaign = session.get(Campaign, found.campaign_id) if found.campaign_id else None
    return StopOut(
        channel=found.channel, campaign=campaign.key if campaign else None, reason=found.reason,
        stopped_by=found.stopped_by, stopped_at=found.stopped_at,
    )  # fmt: skip


@router.get(
    "/campaigns/{key}/proof", dependencies=reads, response_class=Response,
    responses={200: {"content": {"application/pdf": {}, "image/png": {}}}},
)  # fmt: skip
def postcard_proof(
    session: SessionDep,
    key: Key,
    customer: Annotated[str, Query(max_length=200, description="customer number; the first recipient otherwise")] = "",
    file: Annotated[ProofFile, Query(description="both sides as PDF, or one as a picture")] = ProofFile.PDF,
) -> Response:
    """Return the postcard that one recipient would get, as it will be printed."""
    campaign = lifecycle.find(session, key)
    if customer:
        number = samples.numbered(session, customer)
        chosen = samples.person(session, campaign=campaign, customer_id=number)
    elif people := samples.people(session, campaign=campaign, each=1):
        chosen = people[0]
    else:
        raise Conflict("Nobody is in the audience of this campaign yet.")
    made = proofs.proof(session, campaign=campaign, person=chosen, file=file, now=clock.now(session))
    return Response(made, media_type=file.media_type)
