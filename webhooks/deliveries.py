"""Provider events applied in batches: stored once, folded without regard to order, with what follows from them.

The provider's half of a message is the highest rank among its events (`outreach.vocabulary.DELIVERY_RANK`);
opened, clicked, complained and unsubscribed are flags that only grow. Everything is merged by the greatest or the
least, so that any order, any number of repetitions and any cut into batches give the same answer. One statement
stores the events of many bodies and merges them into their messages and notices.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import orjson
from sqlalchemy import text
from sqlalchemy.orm import Session

from campaigns.unrecorded import is_unrecorded
from outreach import clock
from outreach.vocabulary import DELIVERY_RANK
from webhooks import answer_events, consents, suppressing
from webhooks.providers.base import ParsedEvent

_RANKS = ", ".join(f"('{kind.value}', {rank})" for kind, rank in DELIVERY_RANK.items())

# Whoever applies events takes turns: what one stores is what the next one's merge sees, and two batches that name
# the same messages in another order cannot wait for each other. Reading the bodies goes on in parallel.
_TURN = text("SELECT pg_advisory_xact_lock(hashtext('outreach: delivery events'))")

# Evidence settles our half as well: a provider that reports on a message has it, whatever we knew. A message that
# was queued again although the first call had worked leaves the queue, which stops the second one.
_APPLY = text(f"""
WITH e AS MATERIALIZED (
    SELECT * FROM json_to_recordset(cast(:events AS json)) AS e(
        n bigint, message_id uuid, key text, kind text, at double precision, detail text, machine boolean,
        provider text, inbound_event_id bigint)
), known AS MATERIALIZED (
    SELECT e.*, m.delivery_rank AS rank_before FROM e JOIN messages m ON m.id = e.message_id
), new AS (
    INSERT INTO delivery_events (message_id, key, kind, at, provider, detail, inbound_event_id, raw)
    SELECT message_id, key, kind, coalesce(to_timestamp(at), :now), provider, detail, inbound_event_id,
           CASE WHEN machine THEN '{{"machine": true}}'::jsonb ELSE '{{}}'::jsonb END
    FROM known ORDER BY message_id, key
    ON CONFLICT (message_id, key) DO NOTHING
    RETURNING message_id, kind, at, detail, raw <> '{{}}'::jsonb AS machine
), facts AS (
    SELECT f.message_id, max(r.rank) AS rank,
           (array_agg(f.kind ORDER BY r.rank DESC NULLS LAST, f.at))[1] AS kind,
           (array_agg(f.detail ORDER BY r.rank DESC NULLS LAST, f.at, f.detail COLLATE "C")
            FILTER (WHERE f.detail IS NOT NULL))[1] AS detail,
           (array_agg(f.at ORDER BY r.rank DESC NULLS LAST, f.at, f.detail COLLATE "C")
            FILTER (WHERE f.detail IS NOT NULL))[1] AS detail_at,
           coalesce(max(r.rank) FILTER (WHERE f.detail IS NOT NULL), 0) AS detail_rank,
           min(f.at) FILTER (WHERE f.kind = 'delivered') AS delivered_at,
           min(f.at) FILTER (WHERE r.rank >= 60) AS failed_at,
           min(f.at) FILTER (WHERE f.kind = 'opened' AND NOT f.machine) AS opened_at,
           min(f.at) FILTER (WHERE f.kind = 'clicked') AS clicked_at,
           min(f.at) FILTER (WHERE f.kind = 'complained') AS complained_at,
           min(f.at) FILTER (WHERE f.kind = 'unsubscribed') AS unsubscribed_at
    FROM new f LEFT JOIN (VALUES {_RANKS}) AS r(kind, rank) ON r.kind = f.kind
    GROUP BY f.message_id ORDER BY f.message_id
), changed AS (
    UPDATE messages m
    SET send_state = CASE WHEN m.send_state IN ('queued', 'sending', 'unknown') THEN 'accepted' ELSE m.send_state END,
        late_evidence = m.late_evidence OR m.send_state IN ('rejected', 'suppressed', 'cancelled', 'expired', 'dead'),
        sent_at = coalesce(m.sent_at, :now),
        delivery = CASE WHEN facts.rank > m.delivery_rank THEN facts.kind ELSE m.delivery END,
        delivery_rank = greatest(m.delivery_rank, facts.rank),
        delivery_detail = CASE
            WHEN facts.detail IS NULL THEN m.delivery_detail
            WHEN facts.detail_rank > m.delivery_rank THEN facts.detail
            -- The words of the highest rank count, of the earliest among equals, whenever they came.
            ELSE (SELECT said.detail FROM (
                      SELECT d.detail, coalesce(r.rank, 0) AS rank, d.at FROM delivery_events d
                      LEFT JOIN (VALUES {_RANKS}) AS r(kind, rank) ON r.kind = d.kind
                      WHERE d.message_id = m.id AND d.detail IS NOT NULL
                      UNION ALL SELECT facts.detail, facts.detail_rank, facts.detail_at  -- the best of the new ones
                  ) said ORDER BY said.rank DESC, said.at, said.detail COLLATE "C" LIMIT 1) END,
        delivered_at = least(m.delivered_at, facts.delivered_at),
        failed_at = least(m.failed_at, facts.failed_at),
        opened_at = least(m.opened_at, facts.opened_at),
        clicked_at = least(m.clicked_at, facts.clicked_at),
        complained_at = least(m.complained_at, facts.complained_at),
        unsubscribed_at = least(m.unsubscribed_at, facts.unsubscribed_at)
    FROM facts WHERE m.id = facts.message_id
    RETURNING m.notice_id, m.chunk_id, m.delivery_rank
), told AS (
    UPDATE notices SET state = 'delivered', reason = NULL, settled_at = :now
    WHERE id IN (SELECT notice_id FROM changed WHERE delivery_rank = 50) AND state IN ('owed', 'failed', 'skipped')
)
SELECT (SELECT count(*) FROM new) AS new, (SELECT count(*) FROM known) AS known,
       (SELECT array_agg(n) FROM e WHERE n NOT IN (SELECT n FROM known)) AS unknown,
       (SELECT array_agg(DISTINCT notice_id) FROM changed WHERE delivery_rank >= 60) AS failed_notices,
       (SELECT array_agg(DISTINCT chunk_id) FROM changed WHERE delivery_rank >= 60) AS failed_chunks
""")

# A bounce after the delivery: nobody is told unless another message of the notice was delivered.
_NOT_DELIVERED_AFTER_ALL = text("""
UPDATE notices n SET state = 'owed', reason = NULL, settled_at = NULL
WHERE n.id = ANY(:ids) AND n.state = 'delivered'
  AND NOT EXISTS (SELECT 1 FROM messages m WHERE m.notice_id = n.id AND m.delivery_rank = 50)
""")

_LOOK_AGAIN = text("UPDATE chunks SET check_at = :now WHERE id = ANY(:ids)")


@dataclass(frozen=True, slots=True)
class EventSet:
    """The events of one stored body."""

    provider: str
    events: Sequence[ParsedEvent]
    inbound_event_id: int | None = None


@dataclass(frozen=True, slots=True)
class Applied:
    """What a batch did: new and repeated events, and by body the places of those whose message is not known (yet)."""

    new: int
    repeated: int
    unknown: Sequence[Sequence[int]]


def apply_events(session: Session, sets: Sequence[EventSet]) -> Applied:
    """Store the events that are new and bring their messages, notices, suppressions and consents up to date."""
    flat = [(number, place, event) for number, one in enumerate(sets) for place, event in enumerate(one.events)]
    if not flat:
        return Applied(0, 0, [[] for _ in sets])
    now = clock.now(session)
    rows = orjson.dumps([_row(n, event, sets[number]) for n, (number, _, event) in enumerate(flat)]).decode()
    session.execute(_TURN)
    found = session.execute(_APPLY, {"events": rows, "now": now}).one()
    if found.failed_notices:
        session.execute(_NOT_DELIVERED_AFTER_ALL, {"ids": found.failed_notices})
        session.execute(_LOOK_AGAIN, {"ids": found.failed_chunks, "now": now})
    missing = set(found.unknown or ())
    if missing:
        missing -= answer_events.apply(session, {n: (sets[flat[n][0]].provider, flat[n][2]) for n in missing}, now)
    missing = {n for n in missing if not is_unrecorded(flat[n][2].message_id)}
    unknown: list[list[int]] = [[] for _ in sets]
    for n in missing:
        number, place, _ = flat[n]
        unknown[number].append(place)
    ours = [(sets[number].provider, event) for n, (number, _, event) in enumerate(flat) if n not in missing]
    suppressing.bar(session, ours, now)
    consents.record(session, ours, now)
    return Applied(found.new, found.known - found.new, [sorted(places) for places in unknown])


def _row(n: int, event: ParsedEvent, of: EventSet) -> dict[str, Any]:
    return {
        "n": n,
        "message_id": event.message_id,
        "key": event.key,
        "kind": event.kind,
        "at": event.at.timestamp() if event.at else None,
        "detail": event.detail,
        "machine": event.machine,
        "provider": of.provider,
        "inbound_event_id": of.inbound_event_id,
    }
