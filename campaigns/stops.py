"""The kill switch: everything, one channel or one campaign stands still until somebody lifts the stop.

Dispatch reads it at the claim and again before every window, so that it takes effect within one window.
"""

from datetime import datetime

from sqlalchemy import select, text, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from outreach import audit
from outreach.models import Campaign, SendingStop
from outreach.queue import wake
from outreach.vocabulary import Channel


def stopped(channel: str, campaign_id: str) -> str:
    """Return SQL that is true while a stop covers the channel or the campaign."""
    return f"""EXISTS (SELECT 1 FROM sending_stops stop WHERE stop.lifted_at IS NULL
        AND (stop.channel IS NULL OR stop.channel = {channel})
        AND (stop.campaign_id IS NULL OR stop.campaign_id = {campaign_id}))"""


def stop(
    session: Session,
    *,
    actor: str,
    now: datetime,
    channel: Channel | None = None,
    campaign: Campaign | None = None,
    reason: str = "",
) -> bool:
    """Stop one channel, one campaign, both at once, or (neither named) everything; false when it was stopped."""
    inserted = session.execute(
        insert(SendingStop)
        .values(
            channel=channel, campaign_id=campaign.id if campaign else None, reason=reason, stopped_by=actor,
            stopped_at=now,
        )
        .on_conflict_do_nothing(index_elements=["channel", "campaign_id"], index_where=text("lifted_at IS NULL"))
        .returning(SendingStop.id)
    ).scalar_one_or_none()  # fmt: skip
    if inserted is None:
        return False
    _record(session, "sending.stopped", actor, now, channel, campaign, reason)
    return True


def lift(
    session: Session,
    *,
    actor: str,
    now: datetime,
    channel: Channel | None = None,
    campaign: Campaign | None = None,
) -> bool:
    """Lift exactly the stop of this scope, others stay; false when there was none."""
    lifted = session.execute(
        update(SendingStop)
        .where(
            SendingStop.lifted_at.is_(None),
            SendingStop.channel.is_not_distinct_from(channel),
            SendingStop.campaign_id.is_not_distinct_from(campaign.id if campaign else None),
        )
        .values(lifted_at=now, lifted_by=actor)
        .returning(SendingStop.id)
    ).scalar_one_or_none()
    if lifted is None:
        return False
    _record(session, "sending.resumed", actor, now, channel, campaign, "")
    wake(session, "campaigns.sweep")
    return True


def standing(session: Session) -> list[SendingStop]:
    """Return the stops that are on, oldest first."""
    return list(session.scalars(select(SendingStop).where(SendingStop.lifted_at.is_(None)).order_by(SendingStop.id)))


def _record(
    session: Session,
    action: str,
    actor: str,
    now: datetime,
    channel: Channel | None,
    campaign: Campaign | None,
    reason: str,
) -> None:
    subject = " ".join([*([channel.value] if channel else []), *([campaign.key] if campaign else [])]) or "everything"
    audit.record(session, actor=actor, action=action, subject=subject, detail={"reason": reason}, now=now)
