"""What beat rings for every few seconds: find everything that is due and push it one step on."""

from datetime import datetime, timedelta

import structlog
from sqlalchemy import select, text
from sqlalchemy.orm import Session

from campaigns import checkins, fallbacks, lifecycle, planning, playbooks, reconcile, send_slots, stalls, waves
from outreach import clock
from outreach.crash import crash_at
from outreach.db import transaction
from outreach.models import Campaign
from outreach.vocabulary import CampaignKind, CampaignState

log = structlog.get_logger()

_NEWEST_CHANGE = text("SELECT coalesce(max(id), 0) FROM audience_changes WHERE segment_id = :segment_id")

# A mail server reports only failures: silence for this long counts as delivered.
SILENCE_IS_DELIVERY = timedelta(hours=24)
_SILENT_DELIVERIES = text("""
WITH quiet AS (
    UPDATE messages SET delivery_rank = 50, delivery = 'delivered', delivered_at = :now,
                        delivery_detail = 'the mail server took it and reported nothing since'
    WHERE provider = 'smtp' AND send_state = 'accepted' AND delivery_rank < 50 AND sent_at < :before
      AND campaign_id IN (SELECT id FROM campaigns WHERE state IN ('running', 'finished'))
    RETURNING notice_id
)
UPDATE notices SET state = 'delivered', settled_at = :now
WHERE id IN (SELECT notice_id FROM quiet) AND state IN ('owed', 'failed')
""")

_FINISHED = text("""
SELECT c.id FROM campaigns c JOIN problems p ON p.id = c.problem_id
WHERE c.state = 'running' AND c.kind = 'resolved' AND p.state IN ('resolved', 'closed')
  AND EXISTS (SELECT 1 FROM notices n WHERE n.campaign_id = c.id)
  AND NOT EXISTS (SELECT 1 FROM notices n WHERE n.campaign_id = c.id AND n.state = 'owed')
  AND c.created_at < :now - interval '1 day'
""")


def sweep() -> None:
    """Open, plan, check in, fall back and give back leases; a second sweep at the same time does nothing."""
    with transaction() as session:
        if not _ours(session):
            return
        now = clock.now(session)
        if any(reconcile.sweep_leases(session).values()):
            crash_at("before_sweep_commit")
        playbooks.open_due(session, now=now)
        checkins.schedule(session, now=now)
        checkins.skip_needless(session, now=now)
        fallbacks.fall_back(session, now=now)
        stalls.look_after(session, now=now)
        waves.release_due(session, now=now)
        send_slots.move_closed(session, now=now)
        session.execute(_SILENT_DELIVERIES, {"now": now, "before": now - SILENCE_IS_DELIVERY})
        for campaign_id in session.scalars(_FINISHED, {"now": now}):
            lifecycle.finish(session, campaign=session.get_one(Campaign, campaign_id), now=now, reason="everybody told")
        # Those of programmes are planned from their due rows (campaigns.programmes.sweeps).
        mine = select(Campaign.id).where(Campaign.state == CampaignState.RUNNING, Campaign.programme_id.is_(None))
        running = list(session.scalars(mine))
    for campaign_id in running:
        plan_all(campaign_id)


def plan_all(campaign_id: int) -> None:
    """Plan a running campaign slice by slice, one transaction each, if anything has changed since the last time."""
    after: int | None = 0
    while after is not None:
        with transaction() as session:
            planning.alone(session, campaign_id=campaign_id)
            campaign = session.get_one(Campaign, campaign_id)
            if campaign.state is not CampaignState.RUNNING:
                return
            now = clock.now(session)
            newest = session.execute(_NEWEST_CHANGE, {"segment_id": campaign.segment_id}).scalar_one()
            if not _due(session, campaign, newest, now):
                return
            waves.draw_bounds(session, campaign=campaign)
            size = planning.SLICE if after else planning.FIRST_SLICE
            planned = planning.plan_slice(session, campaign=campaign, now=now, after=after, slice_size=size)
            if campaign.kind is CampaignKind.CHECK_IN:
                checkins.mark_sent(session, campaign=campaign)
            elif planned.last_customer is None:
                campaign.planned_through = newest
            after = planned.last_customer
            if planned.notices:
                crash_at("before_plan_commit")
        if planned.notices:
            crash_at("after_plan")
        if planned.notices:
            log.info("planned", campaign=campaign.key, notices=planned.notices, skipped=planned.skipped)


def _due(session: Session, campaign: Campaign, newest_change: int, now: datetime) -> bool:
    if campaign.kind is not CampaignKind.CHECK_IN:
        return newest_change > campaign.planned_through
    found = session.execute(
        text("SELECT EXISTS (SELECT 1 FROM check_ins WHERE campaign_id = :id AND state = 'due' AND due_at <= :now)"),
        {"id": campaign.id, "now": now},
    ).scalar_one()
    return bool(found)


def _ours(session: Session) -> bool:
    locked = session.execute(text("SELECT pg_try_advisory_xact_lock(:lock, 0)"), {"lock": planning.LOCK}).scalar_one()
    return bool(locked)
