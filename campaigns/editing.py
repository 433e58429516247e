"""New words for a running campaign: whoever has not been written to yet gets them, nobody gets two versions.

A person whose thread has begun keeps her version, also on later channels. Messages that nobody has tried move to new
chunks of the new version; the old chunk stays what it was, so that a worker that holds it sends nothing of them.
"""

from datetime import datetime

from sqlalchemy import select, text
from sqlalchemy.orm import Session

from campaigns.lifecycle import refuse_gaps, second_person_because
from campaigns.wording import newest_version
from outreach import audit
from outreach.errors import Conflict, InvalidInput
from outreach.models import Campaign, Template
from outreach.queue import wake
from outreach.vocabulary import CampaignState

EDITABLE = (CampaignState.WAITING_APPROVAL, CampaignState.RUNNING, CampaignState.PAUSED)

_MOVE = text("""
WITH untold AS MATERIALIZED (
    SELECT m.id, m.chunk_id FROM messages m JOIN chunks k ON k.id = m.chunk_id
    WHERE m.campaign_id = :campaign_id AND m.send_state = 'queued' AND m.attempt_id IS NULL
      AND k.template_version <> :version
      AND NOT EXISTS (SELECT 1 FROM messages other WHERE other.notice_id = m.notice_id
                      AND (other.attempt_id IS NOT NULL OR other.send_state <> 'queued'))
    ORDER BY m.id FOR UPDATE OF m
), counted AS (
    SELECT chunk_id, count(*) AS size FROM untold GROUP BY chunk_id
), made AS (
    INSERT INTO chunks (campaign_id, channel, template_version, state, due_at, size, wave, zones, closes_at)
    SELECT k.campaign_id, k.channel, :version, CASE k.state WHEN 'held' THEN 'held' ELSE 'ready' END, k.due_at,
           counted.size, k.wave, k.zones, k.closes_at
    FROM counted JOIN chunks k ON k.id = counted.chunk_id ORDER BY k.id
    RETURNING id
), pairs AS (
    SELECT old.chunk_id, new.id FROM (SELECT chunk_id, row_number() OVER (ORDER BY chunk_id) AS place FROM counted) old
    JOIN (SELECT id, row_number() OVER (ORDER BY id) AS place FROM made) new USING (place)
), moved AS (
    UPDATE messages m SET chunk_id = pairs.id FROM untold JOIN pairs ON pairs.chunk_id = untold.chunk_id
    WHERE m.id = untold.id RETURNING m.id
)
SELECT (SELECT count(*) FROM moved) AS messages
""")

# A held chunk that nobody is left in waits for nothing.
_CLOSE_EMPTY = text("""
UPDATE chunks k SET state = 'done', finished_at = :now
WHERE k.campaign_id = :campaign_id AND k.state IN ('held', 'ready')
  AND NOT EXISTS (SELECT 1 FROM messages m WHERE m.chunk_id = k.id)
""")


def edit(session: Session, *, campaign: Campaign, actor: str, now: datetime, version: int | None = None) -> int:
    """Give the campaign another version of its words, the newest unless told; returns how many messages changed.

    Where a second person is necessary, the campaign waits for approval again. Raises `Conflict` or `InvalidInput`.
    """
    if campaign.state not in EDITABLE:
        raise Conflict(f"Campaign {campaign.key} is {campaign.state}; its words can change only before it has ended.")
    wanted = version or newest_version(session, campaign.template_key) or 0
    channels = set(
        session.scalars(
            select(Template.channel).where(Template.key == campaign.template_key, Template.version == wanted)
        )
    )
    missing = [step["channel"] for step in campaign.ladder if step["channel"] not in channels]
    if missing:
        raise InvalidInput(
            f"Version {wanted} of {campaign.template_key} has no words for {', '.join(missing)}.", where="version"
        )
    before, campaign.template_version = campaign.template_version, wanted
    if campaign.state is not CampaignState.WAITING_APPROVAL:  # whoever approves it is told then
        refuse_gaps(session, campaign=campaign, now=now)
    parameters = {"campaign_id": campaign.id, "version": campaign.template_version, "now": now}
    moved = session.execute(_MOVE, parameters).scalar_one()
    session.execute(_CLOSE_EMPTY, parameters)
    if second_person_because(session, campaign):
        if campaign.state is not CampaignState.WAITING_APPROVAL:
            campaign.state, campaign.state_reason = CampaignState.WAITING_APPROVAL, "its words have changed"
            campaign.approved_by = campaign.approved_at = None
            campaign.created_at = now
        # Whoever chose the words is the first of the two persons, whether the plan waited already or not.
        campaign.created_by = actor
    audit.record(
        session, actor=actor, action="campaign.edited", subject=campaign.key,
        detail={"from_version": before, "to_version": campaign.template_version, "messages": moved}, now=now,
    )  # fmt: skip
    wake(session, "campaigns.sweep")
    return int(moved)
