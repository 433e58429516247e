"""Which addresses must not be written to again because of what providers report, in the transaction of the report.

A ban is for the address the message went to, whatever address the provider's text names. What a person undid after
the reported moment stays undone: events come late and come again.
"""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import text
from sqlalchemy.orm import Session

from outreach.barred_addresses import as_listed
from outreach.settings import get_settings
from outreach.vocabulary import Channel, EventKind
from webhooks import consents
from webhooks.providers.base import ParsedEvent

_BAR = text("""
INSERT INTO suppressions (channel, address, reason, source, created_at)
SELECT DISTINCT ON (m.channel, m.address) m.channel, m.address, b.reason, b.provider, b.at
FROM unnest(cast(:message_ids AS uuid[]), cast(:reasons AS text[]), cast(:providers AS text[]),
            cast(:ats AS timestamptz[])) AS b(message_id, reason, provider, at)
JOIN messages m ON m.id = b.message_id
WHERE NOT EXISTS (SELECT 1 FROM suppressions s
                  WHERE s.channel = m.channel AND s.address = m.address AND s.lifted_at > b.at)
  AND NOT (b.reason IN ('unsubscribed', 'opted_out_at_provider') AND EXISTS (
        SELECT 1 FROM consents c WHERE c.customer_id = m.customer_id AND c.channel = m.channel
        AND c.notice_class IS NULL AND c.allowed AND c.acted_at > b.at))
ORDER BY m.channel, m.address, b.at
ON CONFLICT (channel, address) WHERE lifted_at IS NULL DO NOTHING
""")

# Bounces that may pass are counted per address over the customer's messages; one delivery starts the count anew.
_BAR_BY_COUNT = text("""
WITH touched AS (
    SELECT DISTINCT m.customer_id, m.channel, m.address FROM messages m WHERE m.id = ANY(:message_ids)
), history AS (
    SELECT t.channel, t.address, o.failed_at, o.delivered_at, o.delivery_rank
    FROM touched t JOIN notices n ON n.customer_id = t.customer_id
    JOIN messages o ON o.notice_id = n.id AND o.channel = t.channel AND o.address = t.address
)
INSERT INTO suppressions (channel, address, reason, source, created_at)
SELECT h.channel, h.address, 'soft_bounces', 'outreach', :now
FROM history h
WHERE h.delivery_rank >= 60 AND h.failed_at > cast(:now AS timestamptz) - make_interval(days => :days)
  AND NOT EXISTS (SELECT 1 FROM history d WHERE d.channel = h.channel AND d.address = h.address
                  AND d.delivery_rank = 50 AND d.delivered_at >= h.failed_at)
  AND NOT EXISTS (SELECT 1 FROM suppressions s WHERE s.channel = h.channel AND s.address = h.address
                  AND s.lifted_at > h.failed_at)
GROUP BY h.channel, h.address HAVING count(*) >= :limit
ON CONFLICT (channel, address) WHERE lifted_at IS NULL DO NOTHING
""")

_LIFT = text("""
UPDATE suppressions SET lifted_at = :now, lifted_by = :by
WHERE channel = :channel AND address = ANY(:addresses) AND lifted_at IS NULL
  AND reason IN ('stop', 'unsubscribed', 'opted_out_at_provider')
""")


def bar(session: Session, events: Sequence[tuple[str, ParsedEvent]], now: datetime) -> None:
    """Bar the addresses of the messages whose events (with their provider's name) say so; they must be stored."""
    barring = [(provider, event) for provider, event in events if event.bars and not consents.of_one_class(event)]
    if barring:
        session.execute(
            _BAR,
            {
                "message_ids": [event.message_id for _, event in barring],
                "reasons": [event.bars.value for _, event in barring if event.bars],
                "providers": [provider for provider, _ in barring],
                "ats": [consents.moment_of(event, now) for _, event in barring],
            },
        )
    soft = [event.message_id for _, event in events if event.bars is None and event.kind is EventKind.BOUNCED]
    if soft:
        settings = get_settings()
        session.execute(
            _BAR_BY_COUNT,
            {
                "message_ids": soft,
                "now": now,
                "days": settings.soft_bounce_days,
                "limit": settings.soft_bounces_that_bar,
            },
        )


def lift(session: Session, *, channel: Channel, address: str, by: str, now: datetime) -> None:
    """End the ban that the person herself asked for; one for an address that does not work stays."""
    given = {"channel": channel.value, "addresses": as_listed(channel, address), "by": by, "now": now}
    session.execute(_LIFT, given)
