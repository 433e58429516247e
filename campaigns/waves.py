"""Who goes first: a draw that can be repeated, waves that grow tenfold, and the release of the next one.

The draw of a customer follows from the campaign's seed alone, so that the order of release and who was held out can
be told again at any time. The bounds of the waves are drawn once, before planning, from the audience of that moment;
late joiners fall into their wave by the same draw. A chunk of a wave that is not out yet is `held`.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import structlog
from sqlalchemy import text
from sqlalchemy.orm import Session

from campaigns.classes import policy
from outreach import audit
from outreach.models import Campaign
from outreach.settings import get_settings
from outreach.vocabulary import CampaignKind

log = structlog.get_logger()

GROWTH = 10
# The next wave waits until so large a part of the last one has final news (or `wave_minutes` are over).
NEWS_SHARE = 0.8


def _uniform(salt: str) -> str:
    """Return SQL for a number in [0, 1) that follows from the seed, the salt and `customer_id`."""
    return f"""(('x' || substr(md5(concat_ws(' ', cast(:seed AS bigint), '{salt}', customer_id)), 1, 8))
               ::bit(32)::bigint / 4294967296.0::float8)"""


# Place in the order of release; only worked out where there are waves.
DRAW = f"(CASE WHEN cardinality(cast(:bounds AS float8[])) = 0 THEN 0::float8 ELSE {_uniform('wave')} END)"
# A draw of its own: being held out says nothing about the place in the order.
HELD_OUT = f"(cast(:holdout_share AS float8) > 0 AND {_uniform('held')} < cast(:holdout_share AS float8))"

_BOUNDS = text(f"""
SELECT draw FROM (
    SELECT {_uniform("wave")} AS draw, row_number() OVER (ORDER BY {_uniform("wave")}, customer_id) AS place
    FROM audience_members m
    WHERE m.segment_id = :segment_id AND m.left_at IS NULL AND m.grade = ANY(:grades) AND m.grade <> 'cleared'
      AND NOT {HELD_OUT}
) ordered WHERE place = ANY(cast(:places AS bigint[])) ORDER BY draw
""")

_SIZE = text("""
SELECT count(*) FROM audience_members m
WHERE m.segment_id = :segment_id AND m.left_at IS NULL AND m.grade = ANY(:grades) AND m.grade <> 'cleared'
""")

_HELD = text("""
SELECT c.id AS campaign_id, min(k.wave) AS wave FROM campaigns c JOIN chunks k ON k.campaign_id = c.id
WHERE c.state = 'running' AND k.state = 'held' GROUP BY c.id ORDER BY c.id
""")

# What is still to be handed over of the waves that are out, and what has been heard of those that were.
_NEWS = text("""
SELECT (SELECT count(*) FROM chunks k WHERE k.campaign_id = :campaign_id AND k.wave < :wave
          AND k.state IN ('ready', 'claimed') AND k.due_at <= :now) AS under_way,
       coalesce(sum(told.handed), 0)::int AS handed, coalesce(sum(told.final), 0)::int AS final,
       max(told.newest) AS newest
FROM (SELECT count(*) AS handed, count(*) FILTER (WHERE m.delivery_rank >= 50) AS final, max(m.sent_at) AS newest
      FROM chunks k JOIN messages m ON m.chunk_id = k.id
      WHERE k.campaign_id = :campaign_id AND k.wave = :wave - 1 AND m.send_state IN ('accepted', 'unknown')) told
""")

_REPLIES = text("""
SELECT count(*) FILTER (WHERE r.received_at > cast(:now AS timestamptz) - interval '1 hour') AS last_hour,
       count(*) FILTER (WHERE r.campaign_id = :campaign_id) AS campaign,
       (SELECT count(*) FROM messages m WHERE m.campaign_id = :campaign_id AND m.sent_at IS NOT NULL) AS handed,
       (SELECT coalesce(sum(k.size), 0)::int FROM chunks k
        WHERE k.released_at > cast(:now AS timestamptz) - interval '1 hour') AS released
FROM responses r
WHERE r.intent <> 'out_of_office'
  AND (r.campaign_id = :campaign_id OR r.received_at > cast(:now AS timestamptz) - interval '1 hour')
""")

# A chunk whose hours bind it looks for its slot again: `closes_at` in the past says so (`send_slots.move_closed`).
_RELEASE = text("""
UPDATE chunks SET state = 'ready', released_at = :now, due_at = greatest(due_at, cast(:now AS timestamptz)),
       closes_at = CASE WHEN closes_at IS NOT NULL THEN cast(:now AS timestamptz) END
WHERE id IN (SELECT id FROM (
    SELECT k.id, sum(k.size) OVER (ORDER BY k.id) - k.size AS before
    FROM chunks k WHERE k.campaign_id = :campaign_id AND k.state = 'held' AND k.wave = :wave
) queued WHERE queued.before < :room) AND state = 'held'
RETURNING size
""")


def wave_sizes(total: int, first: int) -> list[int]:
    """Return how many people each wave but the last has: the first, then ten times as many each."""
    sizes, size, told = [], first, 0
    while told + size < total:
        sizes.append(size)
        told, size = told + size, size * GROWTH
    return sizes


def draw_bounds(session: Session, *, campaign: Campaign) -> None:
    """Draw the waves of a campaign once, before its first notice is planned; small ones have none."""
    if campaign.waves is not None:
        return
    settings = get_settings()
    campaign.waves = []
    first = settings.first_wave if campaign.first_wave is None else campaign.first_wave
    if not policy(campaign.notice_class).waves or campaign.kind is CampaignKind.CHECK_IN or first < 1:
        return
    if campaign.first_wave is None and not settings.waves_from:
        return
    asked = {"segment_id": campaign.segment_id, "grades": list(campaign.grades)}
    total = session.execute(_SIZE, asked).scalar_one()
    if campaign.first_wave is None and total < settings.waves_from:
        return
    places, told = [], 0
    for size in wave_sizes(total, first):
        told += size
        places.append(told + 1)  # the bound is the first one who belongs to the next wave
    drawn = {**asked, "places": places, "seed": campaign.seed, "holdout_share": campaign.holdout_share}
    campaign.waves = [float(draw) for draw in session.scalars(_BOUNDS, drawn)]


def release_due(session: Session, *, now: datetime) -> int:
    """Release what may go of the next waves; returns how many people's messages were let go."""
    released = 0
    for row in session.execute(_HELD, {}).all():
        campaign = session.get_one(Campaign, row.campaign_id)
        opening = row.wave > campaign.wave
        if opening and not _last_wave_told(session, campaign, row.wave, now):
            continue
        room = _room(session, campaign, now)
        if room <= 0:
            continue
        sizes = session.scalars(
            _RELEASE, {"campaign_id": campaign.id, "wave": row.wave, "room": room, "now": now}
        ).all()
        released += sum(sizes)
        if opening:
            campaign.wave = row.wave
            _note(session, campaign, sizes, now)
    return released


def _last_wave_told(session: Session, campaign: Campaign, wave: int, now: datetime) -> bool:
    news = session.execute(_NEWS, {"campaign_id": campaign.id, "wave": wave, "now": now}).one()
    if news.under_way:
        return False
    if not news.handed or news.final >= NEWS_SHARE * news.handed:
        return True
    return bool(news.newest <= now - timedelta(minutes=get_settings().wave_minutes))


def _room(session: Session, campaign: Campaign, now: datetime) -> int:
    """Return how many people may be written to now, so that their replies fit into the team's hour."""
    capacity = get_settings().replies_per_hour
    if not capacity:
        return 2**62
    seen = session.execute(_REPLIES, {"campaign_id": campaign.id, "now": now}).one()
    # Before anybody was asked, one in fifty is expected to answer; a hundred messages outweigh that guess.
    rate = (seen.campaign + 2) / (seen.handed + 100)
    free = capacity - seen.last_hour
    return int(free / rate) - int(seen.released) if free > 0 else 0


def _note(session: Session, campaign: Campaign, sizes: Sequence[int], now: datetime) -> None:
    detail: dict[str, Any] = {"wave": campaign.wave, "messages": sum(sizes)}
    audit.record(
        session, actor="outreach", action="campaign.wave_released", subject=campaign.key, detail=detail, now=now
    )
    log.info("wave released", campaign=campaign.key, **detail)
