"""Provider events applied in batches: stored once, folded without regard to order, with what follows from them.

The provider's half of a message is the highest rank among its events (`outreach.vocabulary.DELIVERY_RANK`);
opened, clicked, complained and unsubscribed are flags that only grow. So any order and any number of repetitions
of the same events give the same answer.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

import orjson
from sqlalchemy import text
from sqlalchemy.orm import Session

from outreach import clock
from outreach.vocabulary import DELIVERY_RANK
from webhooks.providers.base import ParsedEvent

_RANKS = ", ".join(f"('{kind.value}', {rank})" for kind, rank in DELIVERY_RANK.items())

# Locked, in key order: two workers with events of one message take turns, so that the second one's fold sees what
# the first one stored. (Without it a late "processed" could overwrite "delivered".)
_KNOWN = text("SELECT id FROM messages WHERE id = ANY(:ids) ORDER BY id FOR UPDATE")

_STORE = text("""
INSERT INTO delivery_events (message_id, key, kind, at, provider, detail, inbound_event_id, raw)
SELECT e.message_id, e.key, e.kind, e.at, :provider, e.detail, :inbound_event_id, cast(e.raw AS jsonb)
FROM unnest(cast(:message_ids AS uuid[]), cast(:keys AS text[]), cast(:kinds AS text[]),
            cast(:ats AS timestamptz[]), cast(:details AS text[]), cast(:raws AS text[]))
     AS e(message_id, key, kind, at, detail, raw)
ON CONFLICT (message_id, key) DO NOTHING
RETURNING message_id
""")

# Evidence settles our half as well: a provider that reports on a message has it, whatever we knew. A message that
# was queued again although the first call had worked leaves the queue, which stops the second one.
_FOLD = text(f"""
WITH facts AS (
    SELECT e.message_id, max(r.rank) AS rank,
           (array_agg(e.kind ORDER BY r.rank DESC NULLS LAST, e.at))[1] AS kind,
           (array_agg(e.detail ORDER BY r.rank DESC NULLS LAST, e.at) FILTER (WHERE e.detail IS NOT NULL))[1] AS detail,
           min(e.at) FILTER (WHERE e.kind = 'delivered') AS delivered_at,
           min(e.at) FILTER (WHERE r.rank >= 60) AS failed_at,
           min(e.at) FILTER (WHERE e.kind = 'opened' AND NOT (e.raw @> '{{"machine": true}}')) AS opened_at,
           min(e.at) FILTER (WHERE e.kind = 'clicked') AS clicked_at,
           min(e.at) FILTER (WHERE e.kind = 'complained') AS complained_at,
           min(e.at) FILTER (WHERE e.kind = 'unsubscribed') AS unsubscribed_at
    FROM delivery_events e LEFT JOIN (VALUES {_RANKS}) AS r(kind, rank) ON r.kind = e.kind
    WHERE e.message_id = ANY(:ids)
    GROUP BY e.message_id
)
UPDATE messages m
SET send_state = CASE WHEN m.send_state IN ('queued', 'sending', 'unknown') THEN 'accepted' ELSE m.send_state END,
    late_evidence = m.late_evidence OR m.send_state IN ('rejected', 'suppressed', 'cancelled', 'expired', 'dead'),
    sent_at = coalesce(m.sent_at, :now),
    delivery_rank = coalesce(facts.rank, m.delivery_rank),
    delivery = CASE WHEN facts.rank IS NULL THEN m.delivery ELSE facts.kind END,
    delivery_detail = coalesce(facts.detail, m.delivery_detail),
    delivered_at = facts.delivered_at, failed_at = coalesce(facts.failed_at, m.failed_at),
    opened_at = facts.opened_at, clicked_at = facts.clicked_at, complained_at = facts.complained_at,
    unsubscribed_at = facts.unsubscribed_at
FROM facts WHERE m.id = facts.message_id
RETURNING m.notice_id, m.chunk_id, m.delivery_rank
""")

_DELIVERED = text("""
UPDATE notices SET state = 'delivered', reason = NULL, settled_at = :now
WHERE id = ANY(:ids) AND state IN ('owed', 'failed', 'skipped')
""")

# A bounce after the delivery: nobody is told unless another message of the notice was delivered.
_NOT_DELIVERED_AFTER_ALL = text("""
UPDATE notices n SET state = 'owed', reason = NULL, settled_at = NULL
WHERE n.id = ANY(:ids) AND n.state = 'delivered'
  AND NOT EXISTS (SELECT 1 FROM messages m WHERE m.notice_id = n.id AND m.delivery_rank = 50)
""")

_LOOK_AGAIN = text("UPDATE chunks SET check_at = :now WHERE id = ANY(:ids)")

_BAR = text("""
INSERT INTO suppressions (channel, address, reason, source, created_at)
SELECT DISTINCT ON (m.channel, m.address) m.channel, m.address, b.reason, :provider, :now
FROM unnest(cast(:message_ids AS uuid[]), cast(:reasons AS text[])) AS b(message_id, reason)
JOIN messages m ON m.id = b.message_id
ORDER BY m.channel, m.address
ON CONFLICT (channel, address) WHERE lifted_at IS NULL DO NOTHING
""")


@dataclass(frozen=True, slots=True)
class Applied:
    """What one batch did: new events, repeated ones, and those whose message we do not know (yet)."""

    new: int
    repeated: int
    unknown: int


def apply_events(
    session: Session, *, provider: str, events: Sequence[ParsedEvent], inbound_event_id: int | None = None
) -> Applied:
    """Store the events that are new and bring their messages, notices and suppressions up to date."""
    named = {event.message_id for event in events if event.message_id is not None}
    known = set(session.scalars(_KNOWN, {"ids": sorted(named)})) if named else set()
    ours = [event for event in events if event.message_id in known]
    if not ours:
        return Applied(new=0, repeated=0, unknown=len(events))
    now = clock.now(session)
    stored = session.scalars(
        _STORE,
        {
            "provider": provider,
            "inbound_event_id": inbound_event_id,
            "message_ids": [event.message_id for event in ours],
            "keys": [event.key for event in ours],
            "kinds": [event.kind.value for event in ours],
            "ats": [event.at or now for event in ours],
            "details": [event.detail for event in ours],
            "raws": [_raw(event) for event in ours],
        },
    ).all()
    if stored:
        _fold(session, sorted(set(stored)), now)
        bars = [event for event in ours if event.bars is not None]
        if bars:
            session.execute(
                _BAR,
                {
                    "message_ids": [event.message_id for event in bars],
                    "reasons": [event.bars.value for event in bars if event.bars],
                    "provider": provider,
                    "now": now,
                },
            )
    return Applied(new=len(stored), repeated=len(ours) - len(stored), unknown=len(events) - len(ours))


def _fold(session: Session, message_ids: Sequence[UUID], now: object) -> None:
    rows = session.execute(_FOLD, {"ids": list(message_ids), "now": now}).all()
    delivered = [row.notice_id for row in rows if row.delivery_rank == 50]
    failed = [row for row in rows if row.delivery_rank >= 60]
    if delivered:
        session.execute(_DELIVERED, {"ids": delivered, "now": now})
    if failed:
        session.execute(_NOT_DELIVERED_AFTER_ALL, {"ids": [row.notice_id for row in failed]})
        session.execute(_LOOK_AGAIN, {"ids": sorted({row.chunk_id for row in failed}), "now": now})


def _raw(event: ParsedEvent) -> str:
    raw = {**event.raw, "machine": True} if event.machine else event.raw
    return orjson.dumps(raw, default=str).decode().replace("\\u0000", "")
