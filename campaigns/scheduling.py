"""When a campaign may begin: set before it is approved."""

from datetime import datetime

from sqlalchemy.orm import Session

from outreach import audit
from outreach.errors import Conflict, InvalidInput
from outreach.models import Campaign
from outreach.vocabulary import CampaignState


def schedule(session: Session, *, campaign: Campaign, not_before: datetime | None, actor: str, now: datetime) -> None:
    """Let a campaign begin at a moment, or as soon as it is approved; raises `Conflict` once it runs."""
    if campaign.state not in {CampaignState.DRAFT, CampaignState.WAITING_APPROVAL}:
        raise Conflict(f"Campaign {campaign.key} is {campaign.state}; its start is set before it is approved.")
    if not_before is not None and not_before < now:
        raise InvalidInput("This time has passed; choose a later one.", where="not_before")
    if campaign.not_after is not None and not_before is not None and not_before >= campaign.not_after:
        raise InvalidInput("It would begin after the time at which it ends.", where="not_before")
    campaign.not_before = not_before
    detail = {"not_before": not_before.isoformat() if not_before else None}
    audit.record(session, actor=actor, action="campaign.scheduled", subject=campaign.key, detail=detail, now=now)
