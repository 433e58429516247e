"""Who is owed a notice, and by which channel she is tried first; one set-based statement per slice.

`plan` runs when a campaign starts and again whenever the audience has changed: it adds what is missing (late
joiners) and touches nothing that is there. Everybody gets a notice row, also those who cannot be told, with the
reason. Planning never calls a provider.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import TextClause, text
from sqlalchemy.orm import Session

from campaigns.addresses import ADDRESSES, barred, refused
from outreach.errors import InvalidInput
from outreach.models import Campaign
from outreach.vocabulary import CampaignKind, Channel

CHUNK_SIZE = 1000

_AUDIENCE = """
    SELECT m.customer_id, 0 AS occurrence, m.grade, m.evidence_items, m.evidence_orders, m.evidence_tickets
    FROM audience_members m
    WHERE m.segment_id = :segment_id AND m.left_at IS NULL AND m.grade = ANY(:grades) AND m.customer_id > :after
      AND NOT EXISTS (SELECT 1 FROM notices n
                      WHERE n.campaign_id = :campaign_id AND n.customer_id = m.customer_id AND n.occurrence = 0)
    ORDER BY m.customer_id LIMIT :slice"""

_CHECK_INS_DUE = """
    SELECT k.customer_id, k.occurrence, m.grade, m.evidence_items, m.evidence_orders, m.evidence_tickets
    FROM check_ins k
    JOIN audience_members m ON m.segment_id = :segment_id AND m.customer_id = k.customer_id
    WHERE k.campaign_id = :campaign_id AND k.state = 'due' AND k.due_at <= :now AND k.customer_id > :after
      AND NOT EXISTS (SELECT 1 FROM notices n WHERE n.campaign_id = :campaign_id
                      AND n.customer_id = k.customer_id AND n.occurrence = k.occurrence)
    ORDER BY k.customer_id LIMIT :slice"""


def _statement(source: str) -> TextClause:
    """Return the planning statement over `source`: choose the channel, write notices, chunks and messages."""
    can_use = f"NOT {barred('ladder.channel', 'a.address')} AND NOT {refused('ladder.channel', 'c.id')}"
    return text(f"""
WITH source AS MATERIALIZED ({source}
), chosen AS MATERIALIZED (
    SELECT source.*, best.channel, best.step, best.address,
           CASE WHEN source.grade = 'cleared' THEN 'cleared'
                WHEN best.channel IS NOT NULL THEN NULL
                WHEN any_address.barred THEN 'suppressed'
                WHEN any_address.known THEN 'no_consent'
                ELSE 'no_address' END AS reason,
           (row_number() OVER (PARTITION BY best.channel ORDER BY source.customer_id) - 1) / {CHUNK_SIZE} AS slot
    FROM source
    JOIN customers c ON c.id = source.customer_id
    LEFT JOIN LATERAL (
        SELECT ladder.channel, ladder.step, a.address
        FROM unnest(cast(:channels AS text[]), cast(:steps AS int[])) AS ladder(channel, step)
        JOIN LATERAL {ADDRESSES} a ON a.channel = ladder.channel
        WHERE source.grade <> 'cleared' AND {can_use}
        ORDER BY ladder.step LIMIT 1
    ) best ON true
    LEFT JOIN LATERAL (
        SELECT true AS known, bool_or({barred("a.channel", "a.address")}) AS barred
        FROM {ADDRESSES} a WHERE best.channel IS NULL AND a.channel = ANY(cast(:channels AS text[]))
        HAVING count(*) > 0
    ) any_address ON true
), noted AS (
    INSERT INTO notices (campaign_id, customer_id, occurrence, grade, evidence_items, evidence_orders,
                         evidence_tickets, state, reason, created_at, settled_at)
    SELECT :campaign_id, customer_id, occurrence, grade, evidence_items, evidence_orders, evidence_tickets,
           CASE WHEN reason IS NULL THEN 'owed' ELSE 'skipped' END, reason, :now,
           CASE WHEN reason IS NOT NULL THEN cast(:now AS timestamptz) END
    FROM chosen ORDER BY customer_id
    ON CONFLICT (campaign_id, customer_id, occurrence) DO NOTHING
    RETURNING id, customer_id, state
), made AS (
    INSERT INTO chunks (campaign_id, channel, template_version, due_at, size)
    SELECT :campaign_id, channel, :template_version, cast(:due_at AS timestamptz), count(*)
    FROM chosen WHERE reason IS NULL GROUP BY channel, slot ORDER BY channel, slot
    RETURNING id, channel
), numbered AS (
    SELECT id, channel, row_number() OVER (PARTITION BY channel ORDER BY id) - 1 AS slot FROM made
), written AS (
    INSERT INTO messages (notice_id, campaign_id, customer_id, channel, step, chunk_id, address)
    SELECT noted.id, :campaign_id, chosen.customer_id, chosen.channel, chosen.step, numbered.id, chosen.address
    FROM chosen JOIN noted USING (customer_id) JOIN numbered USING (channel, slot)
    WHERE noted.state = 'owed'
    RETURNING channel
)
SELECT (SELECT count(*) FROM source) AS found, (SELECT max(customer_id) FROM source) AS last_customer,
       (SELECT count(*) FROM noted) AS notices, (SELECT count(*) FROM noted WHERE state = 'skipped') AS skipped,
       (SELECT coalesce(jsonb_object_agg(channel, total), '{{}}')
        FROM (SELECT channel, count(*) AS total FROM written GROUP BY channel) counted) AS messages
""")


_PLAN_AUDIENCE = _statement(_AUDIENCE)
_PLAN_CHECK_INS = _statement(_CHECK_INS_DUE)


@dataclass(frozen=True, slots=True)
class Planned:
    """What planning one slice did; `last_customer` is where the next slice goes on, none when all is planned."""

    notices: int
    skipped: int
    messages: dict[str, int]
    last_customer: int | None


def plan_slice(
    session: Session, *, campaign: Campaign, now: datetime, after: int = 0, slice_size: int = 20_000
) -> Planned:
    """Write the missing notices of up to `slice_size` recipients after customer id `after`, and their messages.

    A resolution also names the cleared, as skipped, so that its account shows why they hear nothing.
    """
    statement = _PLAN_CHECK_INS if campaign.kind == CampaignKind.CHECK_IN else _PLAN_AUDIENCE
    row = session.execute(
        statement,
        {
            "campaign_id": campaign.id,
            "segment_id": campaign.segment_id,
            "grades": list(campaign.grades),
            "template_version": campaign.template_version,
            "notice_class": campaign.notice_class.value,
            "channels": [step["channel"] for step in campaign.ladder],
            "steps": list(range(len(campaign.ladder))),
            "due_at": max(now, campaign.not_before or now),
            "now": now,
            "after": after,
            "slice": slice_size,
        },
    ).one()
    more = row.found == slice_size
    return Planned(row.notices, row.skipped, row.messages, row.last_customer if more else None)


def checked_ladder(ladder: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the ladder when every step is a channel of its own with whole hours; raises `InvalidInput`."""
    if not ladder:
        raise InvalidInput("A campaign needs at least one channel.", where="ladder")
    seen: set[str] = set()
    for number, step in enumerate(ladder):
        where = f"ladder[{number}]"
        channel, hours = step.get("channel"), step.get("after_hours")
        if channel not in set(Channel):
            raise InvalidInput(f"{channel!r} is not a channel; use {', '.join(Channel)}.", where=where)
        if channel in seen:
            raise InvalidInput(f"{channel} is in the ladder twice; each channel is tried once.", where=where)
        if hours is not None and (not isinstance(hours, int) or hours < 1):
            raise InvalidInput("after_hours must be a whole number of hours, at least 1.", where=where)
        seen.add(str(channel))
    return list(ladder)
