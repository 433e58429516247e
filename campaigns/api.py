"""The JSON routes of campaigns: open, look, approve, pause, resume, cancel, and the account."""

from typing import Annotated

from fastapi import APIRouter, Depends, Path, Query, status
from sqlalchemy import select
from sqlalchemy.orm import Session

from campaigns import ledger, lifecycle, progress
from campaigns.schemas import AccountOut, CampaignIn, CampaignOut, ProgressOut, ReasonIn
from outreach import clock, problems
from outreach.doors import PageDep, SessionDep, requires
from outreach.errors import Conflict
from outreach.models import Campaign, Problem, Segment
from outreach.pagination import Listing, fetch_page
from outreach.permissions import Actor, Permission

router = APIRouter(prefix="/api/campaigns", tags=["campaigns"])

reads = [Depends(requires(Permission.CAMPAIGNS_READ))]
Writer = Annotated[Actor, Depends(requires(Permission.CAMPAIGNS_WRITE))]
Approver = Annotated[Actor, Depends(requires(Permission.CAMPAIGNS_APPROVE))]
Key = Annotated[str, Path(max_length=64)]


@router.get("", dependencies=reads)
def list_campaigns(
    session: SessionDep, page: PageDep, problem: Annotated[str | None, Query(max_length=64)] = None
) -> Listing[CampaignOut]:
    """List campaigns, newest first."""
    query = select(Campaign)
    if problem is not None:
        query = query.where(Campaign.problem_id == problems.find(session, problem).id)
    rows, following = fetch_page(session, query, Campaign.id, page)
    return Listing(items=[_shown(session, campaign) for campaign in rows], next=following)


@router.post("", status_code=status.HTTP_201_CREATED)
def open_campaign(given: CampaignIn, session: SessionDep, actor: Writer) -> CampaignOut:
    """Open a campaign over the scope of a problem; it waits for approval."""
    problem = problems.find(session, given.problem)
    scope = session.scalar(select(Segment).where(Segment.problem_id == problem.id))
    if scope is None:
        raise Conflict(f"Problem {problem.key} has no scope yet; accept one first.")
    campaign = lifecycle.open_campaign(
        session,
        name=given.name,
        kind=given.kind,
        notice_class=given.notice_class,
        template_key=given.template_key,
        ladder=[step.model_dump(mode="json", exclude_none=True) for step in given.ladder],
        grades=given.grades,
        segment_id=scope.id,
        problem_id=problem.id,
        not_before=given.not_before,
        not_after=given.not_after,
        holdout_share=given.holdout_share,
        first_wave=given.first_wave,
        author=actor.name,
        now=clock.now(session),
    )
    return _shown(session, campaign)


@router.get("/{key}", dependencies=reads)
def show(key: Key, session: SessionDep) -> CampaignOut:
    """Show one campaign."""
    return _shown(session, lifecycle.find(session, key))


@router.get("/{key}/progress", dependencies=reads)
def show_progress(key: Key, session: SessionDep) -> ProgressOut:
    """Show how far a campaign is."""
    notices, messages = progress.progress(session, campaign=lifecycle.find(session, key))
    return ProgressOut(notices=notices, messages=messages)


@router.get("/{key}/account", dependencies=reads)
def show_account(key: Key, session: SessionDep) -> AccountOut:
    """Prove that every recipient is accounted for, row by row."""
    return AccountOut.model_validate(ledger.verify(session, campaign=lifecycle.find(session, key)))


@router.post("/{key}/approve")
def approve(key: Key, session: SessionDep, actor: Approver) -> CampaignOut:
    """Let a waiting campaign run."""
    campaign = _locked(session, key)
    lifecycle.approve(session, campaign=campaign, actor=actor.name, now=clock.now(session))
    return _shown(session, campaign)


@router.post("/{key}/pause")
def pause(key: Key, session: SessionDep, actor: Writer, given: ReasonIn | None = None) -> CampaignOut:
    """Stop handing messages to the providers."""
    campaign = _locked(session, key)
    reason = given.reason if given else ""
    lifecycle.pause(session, campaign=campaign, actor=actor.name, now=clock.now(session), reason=reason)
    return _shown(session, campaign)


@router.post("/{key}/resume")
def resume(key: Key, session: SessionDep, actor: Approver) -> CampaignOut:
    """Go on where a paused campaign stopped."""
    campaign = _locked(session, key)
    lifecycle.resume(session, campaign=campaign, actor=actor.name, now=clock.now(session))
    return _shown(session, campaign)


@router.post("/{key}/cancel")
def cancel(key: Key, session: SessionDep, actor: Writer, given: ReasonIn | None = None) -> CampaignOut:
    """Send nothing more, for good."""
    campaign = _locked(session, key)
    reason = given.reason if given else ""
    lifecycle.cancel(session, campaign=campaign, actor=actor.name, now=clock.now(session), reason=reason)
    return _shown(session, campaign)


def _locked(session: Session, key: str) -> Campaign:
    campaign = lifecycle.find(session, key)
    # Two people may press at the same moment; the second must see what the first did.
    session.refresh(campaign, with_for_update=True)
    return campaign


def _shown(session: Session, campaign: Campaign) -> CampaignOut:
    problem = session.get(Problem, campaign.problem_id) if campaign.problem_id else None
    shown = CampaignOut.model_validate(campaign)
    return shown.model_copy(update={"problem": problem.key if problem else None})
