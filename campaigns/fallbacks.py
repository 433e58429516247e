"""The next channel for those whom the last one did not reach.

A chunk whose `check_at` has come is looked at once: a message that failed, or that was not delivered within the
next step's `after_hours`, gives its notice a message on the next usable channel, in a new chunk; where there is
none, the notice has failed. Whoever learns of a failure sets `check_at` of the message's chunk, nothing more.
"""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import text
from sqlalchemy.orm import Session

from campaigns.addresses import ADDRESSES, barred, refused
from campaigns.planning import CHUNK_SIZE
from outreach.models import Campaign

_DUE_CHUNKS = text("""
SELECT k.id, k.campaign_id FROM chunks k JOIN campaigns c ON c.id = k.campaign_id
WHERE k.check_at <= :now AND c.state IN ('running', 'finished')
ORDER BY k.check_at LIMIT 200 FOR UPDATE OF k SKIP LOCKED
""")

# A message is over when no event can change for the better what we do next.
_OVER = """(m.send_state IN ('rejected', 'suppressed', 'expired', 'dead')
            OR (m.send_state = 'accepted' AND m.delivery_rank >= 60))"""

_NEXT = text(f"""
WITH stuck AS MATERIALIZED (
    SELECT n.id AS notice_id, n.customer_id, m.step, {_OVER} AS over
    FROM messages m JOIN notices n ON n.id = m.notice_id
    WHERE m.chunk_id = ANY(:chunk_ids) AND n.state = 'owed'
      AND NOT EXISTS (SELECT 1 FROM messages later WHERE later.notice_id = n.id AND later.step > m.step)
      AND ({_OVER} OR (m.send_state IN ('accepted', 'unknown') AND m.delivery_rank < 50 AND m.step < :last_step
            AND coalesce(m.sent_at, :now) <= cast(:now AS timestamptz)
                - make_interval(hours => (cast(:patience AS int[]))[m.step + 2])))
), chosen AS MATERIALIZED (
    SELECT stuck.notice_id, stuck.customer_id, best.channel, best.step, best.address,
           (row_number() OVER (PARTITION BY best.channel ORDER BY stuck.notice_id) - 1) / {CHUNK_SIZE} AS slot
    FROM stuck
    JOIN customers c ON c.id = stuck.customer_id
    JOIN LATERAL (
        SELECT ladder.channel, ladder.step, a.address
        FROM unnest(cast(:channels AS text[]), cast(:steps AS int[])) AS ladder(channel, step)
        JOIN LATERAL {ADDRESSES} a ON a.channel = ladder.channel
        WHERE ladder.step > stuck.step AND :open
          AND NOT {barred("ladder.channel", "a.address")} AND NOT {refused("ladder.channel", "c.id")}
        ORDER BY ladder.step LIMIT 1
    ) best ON true
), made AS (
    INSERT INTO chunks (campaign_id, channel, template_version, due_at, size)
    SELECT :campaign_id, channel, :template_version, cast(:now AS timestamptz), count(*)
    FROM chosen GROUP BY channel, slot ORDER BY channel, slot
    RETURNING id, channel
), numbered AS (
    SELECT id, channel, row_number() OVER (PARTITION BY channel ORDER BY id) - 1 AS slot FROM made
), written AS (
    INSERT INTO messages (notice_id, campaign_id, customer_id, channel, step, chunk_id, address)
    SELECT chosen.notice_id, :campaign_id, chosen.customer_id, chosen.channel, chosen.step, numbered.id, chosen.address
    FROM chosen JOIN numbered USING (channel, slot)
    ON CONFLICT (notice_id, channel, attempt) DO NOTHING
    RETURNING notice_id
), failed AS (
    UPDATE notices n SET state = 'failed', reason = 'not_delivered', settled_at = :now
    FROM stuck WHERE n.id = stuck.notice_id AND stuck.over
      AND NOT EXISTS (SELECT 1 FROM chosen WHERE chosen.notice_id = n.id)
    RETURNING n.id
)
SELECT (SELECT count(*) FROM written) AS written, (SELECT count(*) FROM failed) AS failed
""")

# Look again when the patience of a message that is still under way runs out.
_NEXT_CHECK = text("""
UPDATE chunks k SET check_at = (
    SELECT min(m.sent_at + make_interval(hours => (cast(:patience AS int[]))[m.step + 2]))
    FROM messages m
    WHERE m.chunk_id = k.id AND m.send_state IN ('accepted', 'unknown') AND m.delivery_rank < 50
      AND m.step < :last_step AND :open
      AND m.sent_at + make_interval(hours => (cast(:patience AS int[]))[m.step + 2]) > :now)
WHERE k.id = ANY(:chunk_ids)
""")

# No waiting time was given: the next channel is tried only after a failure.
NEVER_HOURS = 24 * 365 * 10


@dataclass(frozen=True, slots=True)
class FellBack:
    """How many notices got another message, and how many have no channel left."""

    written: int
    failed: int


def fall_back(session: Session, *, now: datetime) -> FellBack:
    """Look at the chunks whose time has come and give their unreached notices the next channel."""
    written = failed = 0
    by_campaign: dict[int, list[int]] = {}
    for chunk_id, campaign_id in session.execute(_DUE_CHUNKS, {"now": now}):
        by_campaign.setdefault(campaign_id, []).append(chunk_id)
    for campaign_id, chunk_ids in by_campaign.items():
        campaign = session.get_one(Campaign, campaign_id)
        parameters = {
            "campaign_id": campaign_id,
            "chunk_ids": chunk_ids,
            "template_version": campaign.template_version,
            "notice_class": campaign.notice_class.value,
            "channels": [step["channel"] for step in campaign.ladder],
            "steps": list(range(len(campaign.ladder))),
            "last_step": len(campaign.ladder) - 1,
            "patience": [int(step.get("after_hours") or NEVER_HOURS) for step in campaign.ladder],
            # A finished campaign only settles what it has sent; it starts nothing new.
            "open": campaign.finished_at is None,
            "now": now,
        }
        row = session.execute(_NEXT, parameters).one()
        written, failed = written + row.written, failed + row.failed
        session.execute(_NEXT_CHECK, parameters)
    return FellBack(written, failed)
