"""What providers report about answers of operators: the highest rank counts, in any order, repeated or not.

Few events are about answers, so they are looked for among those that name no message of a campaign.
"""

from collections.abc import Mapping
from datetime import datetime

from sqlalchemy import text
from sqlalchemy.orm import Session

from outreach.vocabulary import DELIVERY_RANK, FAILED_RANK
from webhooks import consents
from webhooks.providers.base import ParsedEvent

_APPLY = text("""
WITH e AS (
    SELECT * FROM unnest(cast(:ids AS uuid[]), cast(:kinds AS text[]), cast(:ranks AS int[]), cast(:details AS text[]))
         AS e(id, kind, rank, detail)
), best AS (
    SELECT DISTINCT ON (id) id, kind, rank, detail FROM e ORDER BY id, rank DESC, kind
), before AS (
    SELECT a.id, a.delivery_rank FROM operator_answers a WHERE a.id = ANY(:ids) ORDER BY a.id FOR UPDATE
), changed AS (
    UPDATE operator_answers a
    SET delivery = CASE WHEN best.rank > a.delivery_rank THEN best.kind ELSE a.delivery END,
        detail = CASE WHEN best.rank > a.delivery_rank THEN best.detail ELSE a.detail END,
        delivery_rank = greatest(a.delivery_rank, best.rank),
        state = CASE WHEN a.state IN ('queued', 'sending', 'unknown', 'dead') THEN 'accepted' ELSE a.state END,
        sent_at = coalesce(a.sent_at, :now)
    FROM best JOIN before ON before.id = best.id WHERE a.id = before.id
    RETURNING a.id, a.response_id, a.delivery_rank, before.delivery_rank AS rank_before
), open_again AS (
    -- It did not arrive after all: somebody must look, once.
    UPDATE responses SET handled_at = NULL, handled_by = NULL
    WHERE id IN (SELECT response_id FROM changed WHERE delivery_rank >= :failed AND rank_before < :failed)
)
SELECT id FROM changed
""")
_BAR = text("""
INSERT INTO suppressions (channel, address, reason, source, created_at)
SELECT DISTINCT ON (a.channel, a.address) a.channel, a.address, b.reason, b.source, b.at
FROM unnest(cast(:ids AS uuid[]), cast(:reasons AS text[]), cast(:sources AS text[]), cast(:ats AS timestamptz[]))
     AS b(id, reason, source, at)
JOIN operator_answers a ON a.id = b.id
WHERE NOT EXISTS (SELECT 1 FROM suppressions s
                  WHERE s.channel = a.channel AND s.address = a.address AND s.lifted_at > b.at)
ORDER BY a.channel, a.address, b.at
ON CONFLICT (channel, address) WHERE lifted_at IS NULL DO NOTHING
""")


def apply(session: Session, events: Mapping[int, tuple[str, ParsedEvent]], now: datetime) -> set[int]:
    """Bring answers up to date by numbered events (with their provider); returns the numbers that were about one."""
    named = {n: event for n, (_, event) in events.items() if event.message_id is not None}
    if not named:
        return set()
    given = {
        "ids": [event.message_id for event in named.values()],
        "kinds": [event.kind.value for event in named.values()],
        # What is no step of the ladder (opened, clicked) still proves that the provider has it.
        "ranks": [DELIVERY_RANK.get(event.kind, 0) for event in named.values()],
        "details": [event.detail for event in named.values()],
        "now": now,
        "failed": FAILED_RANK,
    }
    ours = set(session.scalars(_APPLY, given))
    found = {n for n, event in named.items() if event.message_id in ours}
    barring = [(events[n][0], named[n]) for n in sorted(found) if named[n].bars and not consents.of_one_class(named[n])]
    if barring:
        session.execute(
            _BAR,
            {
                "ids": [event.message_id for _, event in barring],
                "reasons": [event.bars.value for _, event in barring if event.bars],
                "sources": [source for source, _ in barring],
                "ats": [min(event.at or now, now) for _, event in barring],
            },
        )
    return found
