"""The next channel for those whom the last one did not reach.

A chunk whose `check_at` has come is looked at once: where all messages of a notice's newest group of channels failed,
or were not delivered within the next group's `after_hours`, the notice gets messages on the next usable channels, in
new chunks of the same content version; where there is none, the notice is settled. Whoever learns of a failure sets
`check_at` of the message's chunk, nothing more. Nobody who has answered hears more of it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import text
from sqlalchemy.orm import Session

from campaigns.addresses import ADDRESSES, barred, refused
from campaigns.classes import policy
from campaigns.households import notice_reaching
from campaigns.ladders import NEVER_HOURS, ladder_of
from campaigns.last_look import ANSWERED
from campaigns.planning import CHUNK_SIZE
from campaigns.send_slots import SIGNATURE, SLOTS, bound_channels, signatures_of, slots_of
from outreach.models import Campaign

_DUE_CHUNKS = text("""
SELECT k.id, k.campaign_id FROM chunks k JOIN campaigns c ON c.id = k.campaign_id
WHERE k.check_at <= :now AND c.state IN ('running', 'finished')
ORDER BY k.check_at LIMIT 200 FOR UPDATE OF k SKIP LOCKED
""")

# A message is over when no event can change for the better what we do next.
_OVER = """(m.send_state IN ('rejected', 'suppressed', 'cancelled', 'expired', 'dead')
            OR (m.send_state = 'accepted' AND m.delivery_rank >= 60))"""

# These say that the notice itself is not to be sent any more, on whatever channel.
_FINAL_REASONS = "('expired', 'capped', 'cleared', 'answered')"

_GROUP = "(cast(:groups AS int[]))[m.step + 1]"
_PATIENCE = "make_interval(hours => (cast(:patience AS int[]))[m.step + 1])"

# The shared address did not work: those who relied on it go their own way.
_REOPEN = text(f"""
UPDATE notices n SET state = 'owed', reason = NULL, settled_at = NULL
FROM messages m
WHERE m.chunk_id = ANY(:chunk_ids) AND {_OVER} AND n.shared_with = m.notice_id
  AND n.state = 'skipped' AND n.reason = 'shared_address' AND :open
  AND NOT EXISTS (SELECT 1 FROM messages other WHERE other.notice_id = m.notice_id AND other.delivery_rank = 50)
RETURNING n.id
""")

_NEXT = text(f"""
WITH touched AS (
    SELECT m.notice_id FROM messages m WHERE m.chunk_id = ANY(:chunk_ids)
    UNION SELECT unnest(cast(:reopened AS bigint[]))
), pursued AS MATERIALIZED (
    SELECT n.id AS notice_id, n.customer_id, n.occurrence, n.created_at, n.shared_with, told.*,
           {ANSWERED.format(customer="n.customer_id", since="n.created_at")} AS answered
    FROM touched JOIN notices n ON n.id = touched.notice_id AND n.state = 'owed'
    -- A notice that relied on somebody else's message is at the place in the plan where that one was.
    CROSS JOIN LATERAL (
        SELECT max({_GROUP}) AS grp, min(k.template_version) AS version,
               bool_and({_OVER}) AS all_over,
               bool_or(m.send_state = 'accepted') AS handed,
               (array_agg(m.reason ORDER BY m.failed_at DESC NULLS LAST) FILTER (WHERE m.reason IN {_FINAL_REASONS}))[1]
                   AS final_reason
        FROM messages m JOIN chunks k ON k.id = m.chunk_id
        WHERE m.notice_id = CASE WHEN EXISTS (SELECT 1 FROM messages own WHERE own.notice_id = n.id)
                                 THEN n.id ELSE n.shared_with END
    ) told
), stuck AS MATERIALIZED (
    SELECT pursued.*, newest.over OR newest.late AS wants_next FROM pursued
    CROSS JOIN LATERAL (
        SELECT bool_and({_OVER}) AS over,
               bool_and({_OVER} OR (m.send_state IN ('accepted', 'unknown') AND m.delivery_rank < 50
                   AND coalesce(m.sent_at, :now) <= cast(:now AS timestamptz) - {_PATIENCE})) AS late
        FROM messages m
        WHERE m.notice_id = CASE WHEN EXISTS (SELECT 1 FROM messages own WHERE own.notice_id = pursued.notice_id)
                                 THEN pursued.notice_id ELSE pursued.shared_with END
          AND {_GROUP} = pursued.grp
    ) newest
), usable AS MATERIALIZED (
    SELECT stuck.notice_id, stuck.customer_id, stuck.occurrence, stuck.version, best.channel, best.step, best.address,
           {SIGNATURE} AS signature
    FROM stuck
    JOIN customers c ON c.id = stuck.customer_id
    JOIN LATERAL (
        SELECT open.channel, open.step, open.address FROM (
            SELECT ladder.channel, ladder.step, ladder.grp, a.address, min(ladder.grp) OVER () AS first_grp
            FROM unnest(cast(:channels AS text[]), cast(:steps AS int[]), cast(:groups AS int[]))
                 AS ladder(channel, step, grp)
            JOIN LATERAL {ADDRESSES} a ON a.channel = ladder.channel
            WHERE ladder.grp > stuck.grp AND NOT {barred("ladder.channel", "a.address")}
              AND NOT {refused("ladder.channel", "c.id")}
        ) open WHERE open.grp = open.first_grp
    ) best ON true
    WHERE stuck.wants_next AND :open AND NOT stuck.answered AND stuck.final_reason IS NULL
), placed AS MATERIALIZED (
    SELECT usable.*, slots.zones, coalesce(slots.opens_at, cast(:now AS timestamptz)) AS due_at, slots.closes_at,
           CASE WHEN :shared THEN {notice_reaching("usable")} END AS shared_with,
           :shared AND row_number() OVER (PARTITION BY usable.channel, usable.address ORDER BY usable.notice_id) > 1
               AS waits
    FROM usable LEFT JOIN {SLOTS} ON slots.channel = usable.channel AND slots.signature = usable.signature
), chosen AS MATERIALIZED (
    SELECT placed.*, (row_number() OVER (PARTITION BY channel, version, zones ORDER BY notice_id) - 1)
               / {CHUNK_SIZE} AS slot
    FROM placed WHERE shared_with IS NULL AND NOT waits
), made AS (
    INSERT INTO chunks (campaign_id, channel, template_version, zones, due_at, closes_at, size)
    SELECT :campaign_id, channel, version, zones, due_at, closes_at, count(*)
    FROM chosen GROUP BY channel, version, zones, due_at, closes_at, slot ORDER BY channel, version, zones, slot
    RETURNING id, channel, template_version, zones
), numbered AS (
    SELECT id, channel, template_version, coalesce(zones, '') AS zones,
           row_number() OVER (PARTITION BY channel, template_version, zones ORDER BY id) - 1 AS slot FROM made
), written AS (
    INSERT INTO messages (notice_id, campaign_id, customer_id, channel, step, chunk_id, address)
    SELECT chosen.notice_id, :campaign_id, chosen.customer_id, chosen.channel, chosen.step, numbered.id, chosen.address
    FROM chosen JOIN numbered ON numbered.channel = chosen.channel AND numbered.template_version = chosen.version
         AND numbered.zones = coalesce(chosen.zones, '') AND numbered.slot = chosen.slot
    ON CONFLICT (notice_id, channel, attempt) DO NOTHING
    RETURNING notice_id
), settled AS (
    UPDATE notices n
    SET state = CASE WHEN stuck.handed THEN 'failed'
                     WHEN coalesce(stuck.final_reason, '') <> '' OR stuck.answered THEN 'skipped' ELSE 'failed' END,
        reason = coalesce(stuck.final_reason, CASE WHEN stuck.answered THEN 'answered' END, 'not_delivered'),
        settled_at = :now
    FROM stuck WHERE n.id = stuck.notice_id AND stuck.all_over
      AND NOT EXISTS (SELECT 1 FROM placed WHERE placed.notice_id = n.id)
    RETURNING n.id
), housed AS (
    UPDATE notices n SET state = 'skipped', reason = 'shared_address', shared_with = placed.shared_with,
                         settled_at = :now
    FROM placed WHERE n.id = placed.notice_id AND placed.shared_with IS NOT NULL
      AND NOT EXISTS (SELECT 1 FROM chosen WHERE chosen.notice_id = n.id)
      AND EXISTS (SELECT 1 FROM stuck WHERE stuck.notice_id = n.id AND stuck.all_over)
    RETURNING n.id
)
SELECT (SELECT count(*) FROM written) AS written, (SELECT count(*) FROM settled) AS failed,
       (SELECT count(*) FROM placed WHERE waits AND shared_with IS NULL) AS again
""")

# Look again when the patience of a message that is still under way runs out.
_NEXT_CHECK = text(f"""
UPDATE chunks k SET check_at = CASE WHEN :again THEN cast(:now AS timestamptz) ELSE (
    SELECT min(m.sent_at + {_PATIENCE}) FROM messages m
    WHERE m.chunk_id = k.id AND m.send_state IN ('accepted', 'unknown') AND m.delivery_rank < 50
      AND (cast(:patience AS int[]))[m.step + 1] < {NEVER_HOURS} AND :open
      AND m.sent_at + {_PATIENCE} > :now) END
WHERE k.id = ANY(:chunk_ids)
""")


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
        parameters = _parameters(session, campaign, chunk_ids, now)
        row = session.execute(_NEXT, parameters).one()
        written, failed = written + row.written, failed + row.failed
        # Two of one household fell back at the same moment: the second is looked at when the first is written.
        session.execute(_NEXT_CHECK, {**parameters, "again": row.again > 0})
    return FellBack(written, failed)


def _parameters(session: Session, campaign: Campaign, chunk_ids: Sequence[int], now: datetime) -> dict[str, Any]:
    ladder = ladder_of(campaign.ladder)
    # A finished campaign only settles what it has sent; it starts nothing new.
    chunks = {"chunk_ids": list(chunk_ids), "open": campaign.finished_at is None}
    reopened = list(session.scalars(_REOPEN, {**chunks, "now": now}))
    bound = bound_channels(campaign)
    who = """SELECT m.customer_id FROM messages m WHERE m.chunk_id = ANY(:chunk_ids)
             UNION SELECT n.customer_id FROM notices n WHERE n.id = ANY(:reopened)"""
    signatures = signatures_of(session, who, {**chunks, "reopened": reopened}) if bound else []
    return {
        **chunks,
        **slots_of(signatures, bound, due_at=now).parameters(),
        "reopened": reopened,
        "campaign_id": campaign.id,
        "problem_id": campaign.problem_id,
        "notice_class": campaign.notice_class.value,
        "shared": policy(campaign.notice_class).shared_address,
        "channels": ladder.channels,
        "steps": ladder.steps,
        "groups": ladder.groups,
        "patience": ladder.patience,
        "now": now,
    }
