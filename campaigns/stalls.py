"""What nobody would notice: campaigns that stand still, go wrong, or wait for an approval that never comes."""

from datetime import datetime, timedelta

import structlog
from sqlalchemy import text
from sqlalchemy.orm import Session

from campaigns import lifecycle, thresholds
from campaigns.owners import tell_owner, write_letters
from campaigns.stops import stopped
from outreach.models import Campaign
from outreach.settings import get_settings

log = structlog.get_logger()

# Due for so long, and nothing accepted in that time: nobody is sending.
STUCK_AFTER = timedelta(minutes=5)
STUCK = "stuck: messages are due, but nothing has been accepted for five minutes"

_STUCK = f"""
SELECT c.id FROM campaigns c WHERE c.state = 'running' AND EXISTS (
    SELECT 1 FROM chunks k WHERE k.campaign_id = c.id AND k.state IN ('ready', 'claimed') AND k.due_at < :before
      AND (k.closes_at IS NULL OR k.closes_at > :now) AND NOT {stopped("k.channel", "k.campaign_id")})
  AND NOT EXISTS (SELECT 1 FROM chunks k JOIN messages m ON m.chunk_id = k.id
                  WHERE k.campaign_id = c.id AND m.sent_at >= :before)"""

_MARK = text(f"""
WITH stuck AS ({_STUCK})
UPDATE campaigns c SET state_reason = CASE WHEN c.id IN (SELECT id FROM stuck) THEN :words END
WHERE c.state = 'running' AND CASE WHEN c.id IN (SELECT id FROM stuck) THEN c.state_reason IS DISTINCT FROM :words
                                   ELSE c.state_reason = :words END
RETURNING c.id, c.key, c.state_reason
""")


def look_after(session: Session, *, now: datetime) -> None:
    """Mark stuck campaigns, pause those above a threshold, let plans lapse; whoever owns them is told."""
    for row in session.execute(_MARK, {"before": now - STUCK_AFTER, "now": now, "words": STUCK}):
        log.warning("campaign is stuck" if row.state_reason else "campaign moves again", campaign=row.key)
        if row.state_reason:
            campaign = session.get_one(Campaign, row.id)
            write_letters(session, campaign, f"{row.key} is {STUCK}. The page /system says what stands still.")
    if get_settings().auto_pause:
        thresholds.watch(session, now=now)
    for campaign in lifecycle.let_lapse(session, now=now):
        title = f"{campaign.key} was never approved and has lapsed: decide whether people are still to be told."
        tell_owner(session, campaign, title, now)
