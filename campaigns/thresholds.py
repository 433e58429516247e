"""When too much goes wrong, the campaign pauses itself and says so: bounces, complaints, opt-outs, failures, replies.

Looked at are the newest chunks of a running campaign, in a window of at least 200 messages handed over or its whole
first wave, and never before two of a kind: one angry customer stops nobody. After a person has resumed the campaign
only what was sent since counts. Limits: docs/controls.md says where they come from.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

import structlog
from sqlalchemy import text
from sqlalchemy.orm import Session

from campaigns import lifecycle
from campaigns.owners import tell_owner
from outreach.models import Campaign

log = structlog.get_logger()

LOOK_EVERY = timedelta(seconds=30)
SMALLEST_WINDOW = 200
FEWEST = 2

_DUE = text("""
SELECT id FROM campaigns WHERE state = 'running' AND coalesce(watched_at, '-infinity') <= :before ORDER BY id
""")

# The newest chunks that have begun: a bound amount of work, whatever the size of the campaign.
_WINDOW = text("""
WITH newest AS (
    SELECT k.id FROM chunks k WHERE k.campaign_id = :id AND k.fence > 0 ORDER BY k.id DESC LIMIT 20
), handed AS (
    SELECT m.* FROM newest JOIN messages m ON m.chunk_id = newest.id
    WHERE m.send_state IN ('accepted', 'rejected', 'unknown', 'dead')
      AND coalesce(m.sent_at, m.failed_at, :now) >= coalesce(cast(:since AS timestamptz), '-infinity')
)
SELECT count(*) AS handed,
       count(*) FILTER (WHERE delivery IN ('bounced', 'returned')) AS bounced,
       count(*) FILTER (WHERE delivery IN ('failed', 'rejected') AND reason IS DISTINCT FROM 'provider_rejected')
           AS failed,
       count(*) FILTER (WHERE complained_at IS NOT NULL) AS complained,
       count(*) FILTER (WHERE unsubscribed_at IS NOT NULL OR EXISTS (
           SELECT 1 FROM suppressions s WHERE s.channel = handed.channel AND s.address = handed.address
             AND s.lifted_at IS NULL AND s.reason IN ('stop', 'unsubscribed') AND s.created_at >= handed.sent_at))
           AS unsubscribed,
       count(*) FILTER (WHERE EXISTS (
           SELECT 1 FROM suppressions s WHERE s.channel = handed.channel AND s.address = handed.address
             AND s.lifted_at IS NULL AND s.reason = 'opted_out_at_provider')) AS opted_out,
       count(*) FILTER (WHERE reason = 'provider_rejected') AS refused,
       count(*) FILTER (WHERE send_state = 'unknown') AS unknown,
       count(*) FILTER (WHERE replied_at IS NOT NULL) AS replied
FROM handed
""")

_FIRST_WAVE_OUT = text("""
SELECT EXISTS (SELECT 1 FROM chunks WHERE campaign_id = :id AND state = 'held')
   AND NOT EXISTS (SELECT 1 FROM chunks WHERE campaign_id = :id AND state IN ('ready', 'claimed') AND due_at <= :now)
""")


@dataclass(frozen=True, slots=True)
class Threshold:
    """Above `share` of the window the campaign pauses; `column` is a count of the window."""

    column: str
    share: float
    words: str


THRESHOLDS = (
    Threshold("bounced", 0.05, "bounced"),
    Threshold("complained", 0.003, "were reported as spam"),
    Threshold("unsubscribed", 0.03, "were answered by an unsubscription"),
    Threshold("opted_out", 0.02, "went to people who had opted out at the provider"),
    Threshold("refused", 0.10, "were refused by the provider"),
    Threshold("failed", 0.10, "could not be delivered"),
    Threshold("unknown", 0.01, "have an unknown outcome"),
    Threshold("replied", 0.30, "were answered: more than an ordinary notice brings"),
)


@dataclass(frozen=True, slots=True)
class Window:
    """What was counted: messages handed over, and of each kind."""

    handed: int
    counts: dict[str, int]


def breach(window: Window, *, whole_first_wave: bool = False) -> str | None:
    """Return the first threshold that the window is above, in words; none while all is well or little is known."""
    if window.handed < SMALLEST_WINDOW and not whole_first_wave:
        return None
    for threshold in THRESHOLDS:
        count = window.counts[threshold.column]
        if count >= FEWEST and count > threshold.share * window.handed:
            share = f"{100 * count / window.handed:.1f} %"
            return (
                f"{count} of {window.handed} messages ({share}) {threshold.words}; the limit is {threshold.share:.1%}"
            )
    return None


def watch(session: Session, *, now: datetime) -> list[str]:
    """Pause the running campaigns that are above a threshold and tell their owners; returns their keys."""
    paused = []
    for campaign_id in session.scalars(_DUE, {"before": now - LOOK_EVERY}).all():
        campaign = session.get_one(Campaign, campaign_id, with_for_update=True)
        campaign.watched_at = now
        row = session.execute(_WINDOW, {"id": campaign_id, "since": campaign.watched_from, "now": now}).one()
        counts = {threshold.column: int(getattr(row, threshold.column)) for threshold in THRESHOLDS}
        first = bool(session.execute(_FIRST_WAVE_OUT, {"id": campaign_id, "now": now}).scalar_one())
        why = breach(Window(row.handed, counts), whole_first_wave=first)
        if why is not None:
            _pause(session, campaign, why, now)
            paused.append(campaign.key)
    return paused


def _pause(session: Session, campaign: Campaign, why: str, now: datetime) -> None:
    lifecycle.pause(session, campaign=campaign, actor="outreach", now=now, reason=why)
    log.warning("campaign paused itself", campaign=campaign.key, reason=why)
    tell_owner(session, campaign, f"{campaign.key} has paused itself: {why}.", now)
