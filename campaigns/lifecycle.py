"""The life of a campaign: open, approve, pause, resume, cancel, finish; each change is in the audit log."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import func, select, text
from sqlalchemy.orm import Session

from campaigns.classes import policy
from campaigns.ladders import checked_ladder
from campaigns.missing_words import gaps
from campaigns.wording import newest_version
from outreach import audit
from outreach.errors import Conflict, InvalidInput, NotFound
from outreach.models import Campaign
from outreach.queue import wake
from outreach.settings import get_settings
from outreach.vocabulary import CampaignKind, CampaignState, Grade, NoticeClass

TOLD_GRADES = (Grade.AFFECTED, Grade.LIKELY, Grade.INCOMING)


def open_campaign(
    session: Session,
    *,
    name: str,
    kind: CampaignKind,
    notice_class: NoticeClass,
    template_key: str,
    ladder: Sequence[dict[str, Any]],
    segment_id: int,
    author: str,
    now: datetime,
    problem_id: int | None = None,
    grades: Sequence[Grade] = TOLD_GRADES,
    approved: bool = False,
    playbook_id: int | None = None,
    opened_by: int | None = None,
    not_before: datetime | None = None,
    not_after: datetime | None = None,
    holdout_share: float = 0.0,
    first_wave: int | None = None,
) -> Campaign:
    """Write down a plan; it waits for approval unless a playbook says that it is automatic."""
    version = newest_version(session, template_key)
    if version is None:
        raise InvalidInput(f"There is no template {template_key}; write one first.", where="template_key")
    if holdout_share and not policy(notice_class).withheld:
        raise InvalidInput(f"Nobody is held out of a {notice_class} notice.", where="holdout_share")
    number = (session.scalar(select(func.coalesce(func.max(Campaign.id), 0))) or 0) + 1
    campaign = Campaign(
        key=f"C-{number}",
        name=name,
        kind=kind,
        notice_class=notice_class,
        state=CampaignState.RUNNING if approved else CampaignState.WAITING_APPROVAL,
        problem_id=problem_id,
        segment_id=segment_id,
        playbook_id=playbook_id,
        opened_by=opened_by,
        template_key=template_key,
        template_version=version,
        ladder=checked_ladder(ladder),
        grades=[grade.value for grade in grades],
        created_by=author,
        created_at=now,
        approved_by="playbook" if approved else None,
        approved_at=now if approved else None,
        not_before=not_before,
        not_after=not_after,
        holdout_share=holdout_share,
        first_wave=first_wave,
    )
    session.add(campaign)
    session.flush()
    audit.record(
        session,
        actor=author,
        action="campaign.opened",
        subject=campaign.key,
        detail={"kind": kind, "class": notice_class, "template": template_key, "state": campaign.state},
        now=now,
    )
    wake(session, "campaigns.sweep")
    return campaign


def find(session: Session, key: str) -> Campaign:
    """Return the campaign with this key; raises `NotFound`."""
    campaign = session.scalar(select(Campaign).where(Campaign.key == key))
    if campaign is None:
        raise NotFound(f"There is no campaign {key}.")
    return campaign


def approve(session: Session, *, campaign: Campaign, actor: str, now: datetime) -> None:
    """Let a waiting campaign run.

    Some need a second person, a plan that waited too long is refused, and so is one whose messages cannot be made for
    everybody: its words name something that some people do not have.
    """
    _expect(campaign, "approve", CampaignState.WAITING_APPROVAL)
    if actor == campaign.created_by and (why := second_person_because(session, campaign)):
        raise Conflict(f"{why} needs a second person: whoever opened it cannot approve it.")
    if _lapsed(campaign, now):
        raise Conflict(f"{campaign.key} has waited too long for approval; open it again, its audience has changed.")
    refuse_gaps(session, campaign=campaign, now=now)
    campaign.approved_by, campaign.approved_at = actor, now
    _move(session, campaign, CampaignState.RUNNING, "campaign.approved", actor, now)


def refuse_gaps(session: Session, *, campaign: Campaign, now: datetime) -> None:
    """Raise `Conflict` that names some of those whose messages cannot be made."""
    if found := gaps(session, campaign=campaign, now=now):
        others = f" And {len(found) - 3} more." if len(found) > 3 else ""
        raise Conflict(f"{campaign.key} cannot go out. " + " ".join(map(str, found[:3])) + others, where="words")


def wait_for_approval(session: Session, *, campaign: Campaign, why: str, now: datetime) -> None:
    """Let a campaign that was to run by itself wait for a person instead."""
    campaign.approved_by = campaign.approved_at = None
    _move(session, campaign, CampaignState.WAITING_APPROVAL, "campaign.held_back", "outreach", now, why)


def second_person_because(session: Session, campaign: Campaign) -> str | None:
    """Return what makes a second person necessary; none where one is enough."""
    if policy(campaign.notice_class).second_person:
        return f"A {campaign.notice_class} notice"
    above = get_settings().approval_second_person_above
    people = session.scalar(
        text(
            "SELECT count(*) FROM audience_members WHERE segment_id = :id AND left_at IS NULL AND grade = ANY(:grades)"
        ),
        {"id": campaign.segment_id, "grades": list(campaign.grades)},
    )
    return f"A campaign to more than {above:,} people" if (people or 0) > above else None


def let_lapse(session: Session, *, now: datetime) -> list[Campaign]:
    """Cancel the plans that nobody approved in time; the caller tells somebody."""
    waiting = session.scalars(select(Campaign).where(Campaign.state == CampaignState.WAITING_APPROVAL))
    lapsed = [campaign for campaign in waiting if _lapsed(campaign, now)]
    for campaign in lapsed:
        cancel(session, campaign=campaign, actor="outreach", now=now, reason="nobody approved it in time")
    return lapsed


def _lapsed(campaign: Campaign, now: datetime) -> bool:
    return now - campaign.created_at > timedelta(days=get_settings().approval_days)


def pause(session: Session, *, campaign: Campaign, actor: str, now: datetime, reason: str = "") -> None:
    """Stop handing messages over; at most the window under way still goes out."""
    _expect(campaign, "pause", CampaignState.RUNNING)
    _move(session, campaign, CampaignState.PAUSED, "campaign.paused", actor, now, reason)


def resume(session: Session, *, campaign: Campaign, actor: str, now: datetime) -> None:
    """Go on where a paused campaign stopped."""
    _expect(campaign, "resume", CampaignState.PAUSED)
    # A person has looked: only what is sent from now on counts against the thresholds.
    campaign.watched_from = now
    _move(session, campaign, CampaignState.RUNNING, "campaign.resumed", actor, now)


def cancel(session: Session, *, campaign: Campaign, actor: str, now: datetime, reason: str = "") -> None:
    """Send nothing more, for good; what is already at a provider is still followed."""
    _expect(
        campaign, "cancel", CampaignState.DRAFT, CampaignState.WAITING_APPROVAL, CampaignState.RUNNING,
        CampaignState.PAUSED,
    )  # fmt: skip
    _stop_sending(session, campaign, reason="cancelled", now=now)
    _move(session, campaign, CampaignState.CANCELLED, "campaign.cancelled", actor, now, reason)
    campaign.finished_at = now


def finish(session: Session, *, campaign: Campaign, now: datetime, reason: str = "superseded") -> None:
    """End a campaign: what is queued is not sent any more, what was sent is still followed."""
    _stop_sending(session, campaign, reason=reason, now=now)
    campaign.state, campaign.finished_at = CampaignState.FINISHED, now
    campaign.state_reason = reason


def _stop_sending(session: Session, campaign: Campaign, *, reason: str, now: datetime) -> None:
    parameters = {"campaign_id": campaign.id, "reason": reason, "now": now}
    session.execute(
        text("""UPDATE messages SET send_state = 'cancelled', reason = :reason, failed_at = :now
                WHERE campaign_id = :campaign_id AND send_state = 'queued'"""),
        parameters,
    )
    session.execute(
        text("""UPDATE chunks SET state = 'done', finished_at = :now, leased_until = NULL
                WHERE campaign_id = :campaign_id AND state IN ('ready', 'held')"""),
        parameters,
    )
    session.execute(
        text("""UPDATE notices n SET state = 'skipped', reason = :reason, settled_at = :now
                WHERE n.campaign_id = :campaign_id AND n.state = 'owed' AND NOT EXISTS (
                    SELECT 1 FROM messages m WHERE m.notice_id = n.id AND m.send_state <> 'cancelled')"""),
        parameters,
    )


def _expect(campaign: Campaign, verb: str, *states: CampaignState) -> None:
    if campaign.state not in states:
        raise Conflict(f"Campaign {campaign.key} is {campaign.state}; you can {verb} it when it is {states[0]}.")


def _move(
    session: Session,
    campaign: Campaign,
    state: CampaignState,
    action: str,
    actor: str,
    now: datetime,
    reason: str = "",
) -> None:
    before, campaign.state, campaign.state_reason = campaign.state, state, reason or None
    audit.record(
        session,
        actor=actor,
        action=action,
        subject=campaign.key,
        detail={"from": before, "to": state, "reason": reason},
        now=now,
    )
    wake(session, "campaigns.sweep")
