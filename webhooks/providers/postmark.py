"""Postmark's webhooks: what became of emails, and answers of customers. https://postmarkapp.com/developer/webhooks

They are not signed: give Postmark an address with basic credentials (`https://user:password@…`).
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from outreach.errors import InvalidInput, TooLarge
from outreach.vocabulary import Channel, EventKind, SuppressionReason
from webhooks.html_words import text_of_html
from webhooks.mime import Attachment, address_in, is_automatic, thread_ids
from webhooks.providers.base import MESSAGE_ID_FIELD, Malformed, ParsedBatch, ParsedEvent, ParsedReply
from webhooks.signatures import verify_basic
from webhooks.wire import (
    clean,
    digest,
    excerpt,
    identifier,
    load_object,
    moment,
    object_in,
    reply_token,
    storable,
    text,
)

KINDS: dict[str, EventKind] = {
    "Delivery": EventKind.DELIVERED,
    "Open": EventKind.OPENED,
    "Click": EventKind.CLICKED,
    "SpamComplaint": EventKind.COMPLAINED,
    "Bounce": EventKind.BOUNCED,
    "SubscriptionChange": EventKind.UNSUBSCRIBED,
}

# https://postmarkapp.com/developer/api/bounce-api#bounce-types
BOUNCE_KINDS: dict[str, EventKind] = {
    "Transient": EventKind.DEFERRED,
    "Unsubscribe": EventKind.UNSUBSCRIBED,
    "SpamComplaint": EventKind.COMPLAINED,
    "AutoResponder": EventKind.UNKNOWN,
    "OpenRelayTest": EventKind.UNKNOWN,
    "Subscribe": EventKind.UNKNOWN,
    "AddressChange": EventKind.UNKNOWN,
    "ChallengeVerification": EventKind.UNKNOWN,
}
BARRING: dict[str, SuppressionReason] = {
    "HardBounce": SuppressionReason.HARD_BOUNCE,
    "BadEmailAddress": SuppressionReason.HARD_BOUNCE,
    "ManuallyDeactivated": SuppressionReason.OPTED_OUT_AT_PROVIDER,
    "ManualSuppression": SuppressionReason.UNSUBSCRIBED,
    "Unsubscribe": SuppressionReason.UNSUBSCRIBED,
    "SpamComplaint": SuppressionReason.COMPLAINT,
    "SpamNotification": SuppressionReason.COMPLAINT,
}

_LARGEST_BODY = 40 * 1024 * 1024
_LONGEST_TEXT = 100_000


def verify(headers: Mapping[str, str], credentials: Sequence[str]) -> None:
    """Refuse unless the basic credentials (`user:password`) are right."""
    verify_basic(headers, credentials, "Postmark webhook password")


def parse_events(body: bytes, now: datetime | None = None) -> ParsedBatch:
    """Return the one event of a body."""
    try:
        raw = load_object(body)
    except ValueError as error:
        return ParsedBatch((), (Malformed("body", str(error), excerpt(body)),))
    record = text(raw.get("RecordType"), 50)
    if record is None:
        return ParsedBatch((), (Malformed("RecordType", "the event does not say what it is", excerpt(raw)),))
    reason = text(raw.get("SuppressionReason" if record == "SubscriptionChange" else "Type"), 50)
    resubscribed = record == "SubscriptionChange" and raw.get("SuppressSending") is not True
    said_at = next((raw[one] for one in ("BouncedAt", "DeliveredAt", "ReceivedAt", "ChangedAt") if raw.get(one)), None)
    provider_id = text(raw.get("MessageID"), 200)
    which = raw.get("OriginalLink") or reason
    event = ParsedEvent(
        message_id=identifier(object_in(raw, "Metadata").get(MESSAGE_ID_FIELD)),
        provider_id=provider_id,
        key=digest(provider_id, record, raw.get("ID"), said_at, which, raw.get("Recipient")),
        kind=EventKind.UNKNOWN if resubscribed else _kind(record, reason),
        at=moment(said_at, now),
        detail=_detail(raw, record, reason),
        bars=None if resubscribed else _bars(record, reason),
        address=text(raw.get("Email"), 320) or text(raw.get("Recipient"), 320),
        machine=False,
        raw=storable(raw),
    )
    return ParsedBatch((event,), ())


def parse_inbound(body: bytes) -> ParsedReply:
    """Return the reply that an inbound body holds; `InvalidInput` or `TooLarge` say what is wrong with it."""
    if len(body) > _LARGEST_BODY:
        raise TooLarge(f"The email has {len(body)} bytes; {_LARGEST_BODY} are the most we read.")
    try:
        raw = storable(load_object(body))
    except ValueError as error:
        raise InvalidInput(f"The email cannot be read: {error}.", where="body") from None
    sender = text(object_in(raw, "FromFull").get("Email"), 320) or address_in(text(raw.get("From"), 1000))
    if sender is None:
        raise InvalidInput("The email does not say who sent it.", where="From")
    headers = {
        str(text(one.get("Name"), 100) or "").lower(): text(one.get("Value"), 4000) or ""
        for one in _list(raw, "Headers")
    }
    recipient = text(raw.get("OriginalRecipient"), 320) or address_in(text(raw.get("To"), 1000)) or ""
    plain, rich = raw.get("TextBody"), raw.get("HtmlBody")
    words = plain if isinstance(plain, str) and plain.strip() else text_of_html(rich if isinstance(rich, str) else "")
    subject = text(raw.get("Subject"))
    return ParsedReply(
        key=text(raw.get("MessageID"), 200) or digest(sender, recipient, subject, words),
        channel=Channel.EMAIL,
        sender=sender,
        recipient=recipient,
        subject=subject,
        text=clean(words)[:_LONGEST_TEXT].strip("\r\n"),
        message_id=reply_token(recipient, text(raw.get("To"), 2000)),
        thread_ids=thread_ids(headers),
        automatic=is_automatic(headers, sender, subject),
        attachments=tuple(_attachment(one) for one in _list(raw, "Attachments")),
        raw={one: raw[one] for one in ("From", "To", "Cc", "Subject", "Date", "MessageID") if one in raw},
    )


def _kind(record: str, reason: str | None) -> EventKind:
    if record == "Bounce":
        return BOUNCE_KINDS.get(reason or "", EventKind.BOUNCED)
    if record == "SubscriptionChange":
        known = {"HardBounce": EventKind.BOUNCED, "SpamComplaint": EventKind.COMPLAINED}
        return known.get(reason or "", EventKind.UNSUBSCRIBED)
    return KINDS.get(record, EventKind.UNKNOWN)


def _bars(record: str, reason: str | None) -> SuppressionReason | None:
    if record in ("Bounce", "SubscriptionChange"):
        return BARRING.get(reason or "")
    return SuppressionReason.COMPLAINT if record == "SpamComplaint" else None


def _detail(raw: dict[str, Any], record: str, reason: str | None) -> str:
    said = text(raw.get("Details")) or text(raw.get("Description"))
    head = f"{record} {reason}" if reason else record
    return f"{head}: {said}" if said else head


def _list(raw: dict[str, Any], name: str) -> list[dict[str, Any]]:
    found = raw.get(name)
    return [one for one in found[:500] if isinstance(one, dict)] if isinstance(found, list) else []


def _attachment(one: dict[str, Any]) -> Attachment:
    size = one.get("ContentLength")
    return Attachment(
        text(one.get("Name"), 200) or "unnamed",
        text(one.get("ContentType"), 100) or "application/octet-stream",
        size if isinstance(size, int) and not isinstance(size, bool) and size >= 0 else None,
    )
