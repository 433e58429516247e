"""Lob's webhooks: what becomes of a postcard. https://docs.lob.com/#tag/Webhooks"""

from collections.abc import Mapping, Sequence
from datetime import datetime

from outreach.vocabulary import EventKind, SuppressionReason
from webhooks.providers.base import MESSAGE_ID_FIELD, Malformed, ParsedBatch, ParsedEvent
from webhooks.signatures import hmac_hex, require_match, require_recent, single_header, usable
from webhooks.wire import digest, excerpt, identifier, load_object, moment, object_in, storable, text

# Their words, after `postcard.`, `letter.` or `self_mailer.`.
KINDS: dict[str, EventKind] = {
    "created": EventKind.QUEUED,
    "rendered_pdf": EventKind.QUEUED,
    "rendered_thumbnails": EventKind.QUEUED,
    "rejected": EventKind.REJECTED,
    "failed": EventKind.FAILED,
    "deleted": EventKind.FAILED,
    "mailed": EventKind.SENT,
    "in_transit": EventKind.IN_TRANSIT,
    "in_local_area": EventKind.IN_TRANSIT,
    "processed_for_delivery": EventKind.IN_TRANSIT,
    "re-routed": EventKind.IN_TRANSIT,
    "international_exit": EventKind.IN_TRANSIT,
    "delivered": EventKind.DELIVERED,
    "returned_to_sender": EventKind.RETURNED,
    "viewed": EventKind.CLICKED,  # the QR code was scanned
}


def verify(headers: Mapping[str, str], body: bytes, secrets: Sequence[str], now: datetime) -> None:
    """Refuse unless `Lob-Signature` is the hex HMAC-SHA256 of time, dot and body, made in the last 5 minutes."""
    accepted = usable(secrets, "Lob webhook secret")
    given = single_header(headers, "Lob-Signature")
    timestamp = single_header(headers, "Lob-Signature-Timestamp")
    signed = timestamp.encode("utf-8", "replace") + b"." + body
    require_match(given, [hmac_hex(secret, signed) for secret in accepted], "Lob-Signature")
    require_recent(timestamp, now, "Lob-Signature-Timestamp")


def parse_events(body: bytes, now: datetime | None = None) -> ParsedBatch:
    """Return the one event of a body; its key is Lob's own event id, the same on every retry."""
    try:
        raw = load_object(body)
    except ValueError as error:
        return ParsedBatch((), (Malformed("body", str(error), excerpt(body)),))
    word = text(object_in(raw, "event_type").get("id")) or text(raw.get("event_type"))
    if word is None:
        return ParsedBatch((), (Malformed("event_type.id", "the event does not say what it is", excerpt(raw)),))
    postcard = object_in(raw, "body")
    kind = KINDS.get(word.rpartition(".")[2], EventKind.UNKNOWN)
    reference = text(raw.get("reference_id")) or text(postcard.get("id"))
    detail = text(postcard.get("failure_reason")) or text(object_in(postcard, "failure_reason").get("message"))
    event = ParsedEvent(
        message_id=identifier(object_in(postcard, "metadata").get(MESSAGE_ID_FIELD)),
        provider_id=reference,
        key=text(raw.get("id")) or digest(reference, word, raw.get("date_created")),
        kind=kind,
        at=moment(raw.get("date_created"), now),
        detail=f"{word}: {detail}" if detail else word,
        bars=SuppressionReason.RETURNED_MAIL if kind is EventKind.RETURNED else None,
        address=None,
        machine=False,
        raw=storable(raw),
    )
    return ParsedBatch((event,), ())
