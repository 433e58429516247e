"""Bounces that come back as emails when we send over SMTP: delivery status (RFC 3464) and abuse reports (RFC 5965).

Anybody can send such an email: it is believed only for a message of ours that it names, by the token of the address
it came to or by the Message-ID of what it returns, and the caller compares its recipient with that message's.
"""

import re
from datetime import UTC, datetime
from email import message_from_string
from email.message import Message
from email.policy import compat32
from email.utils import parsedate_to_datetime
from uuid import UUID

from outreach.errors import InvalidInput, TooLarge
from outreach.vocabulary import EventKind, SuppressionReason
from webhooks.mime import decode_header_value, parse_message
from webhooks.providers.base import Malformed, ParsedBatch, ParsedEvent
from webhooks.wire import clean, digest, excerpt, identifier, moment, reply_token, text

KINDS: dict[str, EventKind] = {
    "failed": EventKind.BOUNCED,
    "delayed": EventKind.DEFERRED,
    "delivered": EventKind.DELIVERED,
    "relayed": EventKind.SENT,
    "expanded": EventKind.SENT,
}

_LARGEST = 5 * 1024 * 1024
_MOST_PARTS = 50
_MOST_RECIPIENTS = 100
_LOCAL_PART = re.compile(r"<([^<>@\s]{1,100})@")
_OUR_ID = re.compile(r"(?<![0-9a-fA-F])([0-9a-fA-F]{8}-?(?:[0-9a-fA-F]{4}-?){3}[0-9a-fA-F]{12})(?![0-9a-fA-F])")


def parse_events(body: bytes, now: datetime | None = None) -> ParsedBatch:
    """Return one event per recipient that a raw email reports on; an email that reports nothing is malformed."""
    try:
        if len(body) > _LARGEST:
            raise TooLarge(f"A bounce of {len(body)} bytes is none.")
        message = parse_message(body)
        parts = [part for _, part in zip(range(_MOST_PARTS), message.walk(), strict=False)]
    except (InvalidInput, TooLarge) as error:
        return ParsedBatch((), (Malformed("email", error.message, excerpt(body)),))
    ours = _our_message(message, parts)
    at = _moment_of(message.get("Date"), now)
    events: list[ParsedEvent] = []
    for part in parts:
        if part.get_content_type() == "message/delivery-status":
            events += [
                event for fields in _recipients(part) if (event := _delivery_status(fields, ours, at, now)) is not None
            ]
        elif part.get_content_type() == "message/feedback-report":
            events.append(_feedback(_fields_of(part), ours, at))
    if not events:
        return ParsedBatch((), (Malformed("email", "it holds no delivery status and no abuse report", excerpt(body)),))
    return ParsedBatch(tuple(events[:_MOST_RECIPIENTS]), ())


def _delivery_status(
    fields: Message, ours: UUID | None, at: datetime | None, now: datetime | None
) -> ParsedEvent | None:
    """Return what happened to one recipient; only a status of 5.x.x that says "no such address" bars it."""
    action = (text(fields.get("Action"), 50) or "").lower()
    recipient = _address(fields.get("Original-Recipient")) or _address(fields.get("Final-Recipient"))
    if not action or recipient is None:
        return None
    status = (text(fields.get("Status"), 20) or "").partition(" ")[0]
    said = text(decode_header_value(str(fields.get("Diagnostic-Code") or "")))
    detail = f"{action} {status}".strip() + (f": {said}" if said else "")
    return ParsedEvent(
        message_id=ours,
        provider_id=text(fields.get("X-Original-Message-ID"), 250),
        key=digest("delivery-status", ours, recipient, action, status),
        kind=KINDS.get(action, EventKind.UNKNOWN),
        at=_moment_of(fields.get("Last-Attempt-Date"), now) or at,
        detail=detail,
        bars=SuppressionReason.HARD_BOUNCE if action == "failed" and _no_such_address(status) else None,
        address=recipient,
        machine=False,
        raw=_raw(fields),
    )


def _feedback(fields: Message, ours: UUID | None, at: datetime | None) -> ParsedEvent:
    """Return the complaint of a recipient; other reports (`not-spam`, `virus`) are kept, and bar nothing."""
    kind = (text(fields.get("Feedback-Type"), 50) or "").lower()
    complaint = kind in ("abuse", "fraud", "opt-out")
    recipient = _address(fields.get("Original-Rcpt-To")) or _address(fields.get("Removal-Recipient"))
    return ParsedEvent(
        message_id=ours,
        provider_id=None,
        key=digest("feedback", ours, recipient, kind),
        kind=EventKind.COMPLAINED if complaint else EventKind.UNKNOWN,
        at=at,
        detail=f"feedback report: {kind or 'without a type'}",
        bars=SuppressionReason.COMPLAINT if complaint else None,
        address=recipient,
        machine=False,
        raw=_raw(fields),
    )


def _no_such_address(status: str) -> bool:
    """Tell whether an enhanced status (RFC 3463) means the address itself: 5.1.x, or 5.2.1 (disabled), or plain 5.0.0.

    Full mailboxes (5.2.2), sizes (5.3.4), routing and policy (5.4.x, 5.7.x) may change.
    """
    return status.startswith("5.1.") or status in ("5.0.0", "5.2.1")


def _recipients(part: Message) -> list[Message]:
    """Return the field groups of a delivery status; the standard library parses them into sub-messages."""
    payload = part.get_payload()
    if isinstance(payload, list):
        return [one for one in payload[: _MOST_RECIPIENTS + 1] if isinstance(one, Message)]
    return []


def _fields_of(part: Message) -> Message:
    """Return the fields of a report, which is a part of its own kind or a message inside one."""
    payload = part.get_payload()
    if isinstance(payload, list):
        inner = next((one for one in payload if isinstance(one, Message)), Message())
        content = inner.get_payload()
        return inner if inner.keys() else message_from_string(str(content)[:50_000], policy=compat32)
    return message_from_string(str(payload)[:50_000], policy=compat32)


def _our_message(message: Message, parts: list[Message]) -> UUID | None:
    """Return the message of ours that is meant: named by the address of the bounce, or by what it returns."""
    token = reply_token(*(str(message.get(one) or "") for one in ("To", "Delivered-To", "X-Original-To")))
    if token is not None:
        return token
    for part in parts:
        if part.get_content_type() == "text/rfc822-headers":
            payload = part.get_payload(decode=True)
            raw = payload.decode("utf-8", "replace") if isinstance(payload, bytes) else ""
            part = message_from_string(raw[:100_000], policy=compat32)
        elif part is message:
            continue
        local = _LOCAL_PART.search(str(part.get("Message-ID") or ""))
        found = _OUR_ID.search(local[1]) if local else None
        if found and (ours := identifier(found[1])):
            return ours
    return None


def _address(value: object) -> str | None:
    """Return the address of a field such as `rfc822; ann@example.com`."""
    bare = str(value or "").rpartition(";")[2].strip().strip("<>")
    return text(bare, 320) if "@" in bare else None


def _moment_of(value: object, now: datetime | None) -> datetime | None:
    """Return a date of a mail header (RFC 5322) that can be believed."""
    try:
        found = parsedate_to_datetime(str(value)[:100])
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    aware = found if found.tzinfo is not None else found.replace(tzinfo=UTC)
    return moment(aware.isoformat(), now)


def _raw(fields: Message) -> dict[str, str]:
    return {clean(name)[:100]: clean(str(value))[:1000] for name, value in fields.items()[:50]}
