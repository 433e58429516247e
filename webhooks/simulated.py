"""What simulated recipients do: their events and answers, made here and applied like any other.

Which addresses they have stands in `campaigns.providers.simulated`.
"""

from datetime import datetime, timedelta

from sqlalchemy import Row, text
from sqlalchemy.orm import Session

from campaigns.providers.simulated import EMAILS, PHONES, PROVIDER_ID, story_of
from outreach import clock
from outreach.vocabulary import Channel, EventKind, Intent, SuppressionReason
from webhooks import replies
from webhooks.deliveries import EventSet, apply_events
from webhooks.intents import Understanding
from webhooks.providers.base import ParsedEvent

MOST = 500

# The addresses are few and known, so that the customers' own indexes find them.
_ACCEPTED = text("""
SELECT m.id, m.address, m.channel FROM customers c JOIN notices n ON n.customer_id = c.id
JOIN messages m ON m.notice_id = n.id
WHERE (c.email = ANY(:emails) OR c.phone = ANY(:phones))
  AND m.provider_id = :provider_id AND m.send_state = 'accepted' AND m.delivery_rank = 0
ORDER BY m.id LIMIT :most
""")

_KINDS: dict[str, tuple[tuple[EventKind, SuppressionReason | None], ...]] = {
    "deliver": ((EventKind.DELIVERED, None),),
    "bounce": ((EventKind.BOUNCED, SuppressionReason.HARD_BOUNCE),),
    "complain": ((EventKind.DELIVERED, None), (EventKind.COMPLAINED, SuppressionReason.COMPLAINT)),
    "stop": ((EventKind.DELIVERED, None),),
}


def play(session: Session) -> int:
    """Let the simulated recipients of accepted messages do what they always do; returns how many did."""
    found = session.execute(
        _ACCEPTED, {"emails": list(EMAILS), "phones": list(PHONES), "provider_id": PROVIDER_ID, "most": MOST}
    ).all()
    if not found:
        return 0
    now = clock.now(session)
    events = [event for row in found for event in _events(row, now)]
    apply_events(session, [EventSet("simulated", events)])
    for row in found:
        if story_of(row.address) == "stop":
            replies.keep(
                session,
                channel=Channel(row.channel),
                sender=row.address,
                words="STOP",
                meaning=Understanding(Intent.STOP, False, None, "a simulated recipient"),
                message_id=row.id,
                inbound_event_id=None,
                now=now,
            )
    return len(found)


def _events(row: Row[tuple[object, ...]], now: datetime) -> list[ParsedEvent]:
    story = story_of(row.address) or "deliver"
    return [
        ParsedEvent(
            message_id=row.id,
            provider_id=PROVIDER_ID,
            key=f"simulated:{kind}",
            kind=kind,
            at=now + timedelta(milliseconds=place),
            detail=f"a simulated recipient: {story}",
            bars=bars,
            address=row.address,
            machine=False,
            raw={},
        )
        for place, (kind, bars) in enumerate(_KINDS[story])
    ]
