"""What customers want to hear: acts of consent and refusal, ordered by the person's own time; refusal wins a tie.

An act is for one channel, and for one class of notices or all of them. `campaigns.addresses.refused` reads them.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import lru_cache

from sqlalchemy import text
from sqlalchemy.orm import Session

from campaigns.providers.configured import unsubscribe_groups
from outreach.models import Consent
from outreach.settings import get_settings
from outreach.vocabulary import Channel, NoticeClass, SuppressionReason
from webhooks.providers.base import ParsedEvent

_REFUSALS = frozenset({SuppressionReason.UNSUBSCRIBED, SuppressionReason.OPTED_OUT_AT_PROVIDER})

_RECORD = text("""
INSERT INTO consents (customer_id, channel, notice_class, allowed, acted_at, source, wording)
SELECT DISTINCT m.customer_id, m.channel, w.notice_class, w.allowed, w.at, w.provider, w.wording
FROM unnest(cast(:message_ids AS uuid[]), cast(:classes AS text[]), cast(:alloweds AS boolean[]),
            cast(:ats AS timestamptz[]), cast(:providers AS text[]), cast(:wordings AS text[]))
     AS w(message_id, notice_class, allowed, at, provider, wording)
JOIN messages m ON m.id = w.message_id
WHERE NOT EXISTS (
    SELECT 1 FROM consents c
    WHERE c.customer_id = m.customer_id AND c.channel = m.channel AND c.notice_class IS NOT DISTINCT FROM w.notice_class
      AND c.allowed = w.allowed AND c.acted_at = w.at AND c.source = w.provider)
""")

_STANDING = text("""
SELECT DISTINCT ON (channel, asked.notice_class) k.channel, asked.notice_class, k.allowed
FROM unnest(cast(:classes AS text[])) AS asked(notice_class)
JOIN consents k ON k.customer_id = :customer_id
 AND (k.notice_class IS NULL OR k.notice_class = asked.notice_class)
ORDER BY channel, asked.notice_class, k.acted_at DESC, k.allowed
""")


def record(session: Session, events: Sequence[tuple[str, ParsedEvent]], now: datetime) -> None:
    """Write down what the events (with their provider's name) say about consent; the same event twice adds nothing."""
    acts = [(provider, event) for provider, event in events if event.bars in _REFUSALS or _resubscribes(event)]
    if acts:
        session.execute(
            _RECORD,
            {
                "message_ids": [event.message_id for _, event in acts],
                "classes": [found.value if (found := of_one_class(event)) else None for _, event in acts],
                "alloweds": [_resubscribes(event) for _, event in acts],
                "ats": [moment_of(event, now) for _, event in acts],
                "providers": [provider for provider, _ in acts],
                "wordings": [event.detail for _, event in acts],
            },
        )


def standing(session: Session, *, customer_id: int) -> dict[tuple[Channel, NoticeClass], bool]:
    """Return the customer's newest word by channel and class; what is missing was never said."""
    rows = session.execute(_STANDING, {"customer_id": customer_id, "classes": [one.value for one in NoticeClass]})
    return {(Channel(row.channel), NoticeClass(row.notice_class)): row.allowed for row in rows}


def choose(
    session: Session,
    *,
    customer_id: int,
    wanted: Mapping[tuple[Channel, NoticeClass], bool],
    shown: Mapping[tuple[Channel, NoticeClass], bool],
    source: str,
    now: datetime,
) -> int:
    """Write down each choice that differs from what was `shown`; returns how many did."""
    changes = {what: allowed for what, allowed in wanted.items() if allowed != shown.get(what)}
    for (channel, notice_class), allowed in changes.items():
        session.add(
            Consent(
                customer_id=customer_id,
                channel=channel,
                notice_class=notice_class,
                allowed=allowed,
                acted_at=now,
                source=source,
            )
        )
    session.flush()
    return len(changes)


def moment_of(event: ParsedEvent, now: datetime) -> datetime:
    """Return when the person acted as far as anybody knows, never later than now."""
    return min(event.at or now, now)


def of_one_class(event: ParsedEvent) -> NoticeClass | None:
    """Return the class of notices that an unsubscribe group of SendGrid stands for; a group we do not know has none.

    https://www.twilio.com/docs/sendgrid/for-developers/tracking-events/event#group-unsubscribe
    """
    if event.raw.get("event") not in ("group_unsubscribe", "group_resubscribe"):
        return None
    return classes_of_groups(get_settings().sendgrid_unsubscribe_groups).get(str(event.raw.get("asm_group_id")))


@lru_cache(maxsize=4)
def classes_of_groups(setting: str) -> Mapping[str, NoticeClass]:
    """Return the class of each group number; raises `InvalidInput` for a setting that cannot be read."""
    return {str(group): notice_class for notice_class, group in unsubscribe_groups(setting).items()}


def _resubscribes(event: ParsedEvent) -> bool:
    return event.raw.get("event") == "group_resubscribe" and of_one_class(event) is not None
