"""SendGrid's event webhook: what became of emails, in batches. Answers of customers: `inbound_mail.py`.

https://www.twilio.com/docs/sendgrid/for-developers/tracking-events/event
"""

import base64
import binascii
from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import lru_cache
from typing import Any

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, EllipticCurvePublicKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_der_public_key

from outreach.errors import NotAuthenticated
from outreach.vocabulary import EventKind, SuppressionReason
from webhooks.providers.base import MESSAGE_ID_FIELD, Malformed, ParsedBatch, ParsedEvent
from webhooks.providers.inbound_mail import parse_inbound
from webhooks.signatures import require_match, single_header, usable
from webhooks.wire import digest, excerpt, identifier, load_json, moment, storable, text

__all__ = ["BARRING_DROPS", "KINDS", "parse_events", "parse_inbound", "verify", "verify_inbound"]

SIGNATURE = "X-Twilio-Email-Event-Webhook-Signature"
TIMESTAMP = "X-Twilio-Email-Event-Webhook-Timestamp"

KINDS: dict[str, EventKind] = {
    "processed": EventKind.QUEUED,
    "dropped": EventKind.REJECTED,
    "deferred": EventKind.DEFERRED,
    "delivered": EventKind.DELIVERED,
    "bounce": EventKind.BOUNCED,
    "blocked": EventKind.BOUNCED,
    "open": EventKind.OPENED,
    "click": EventKind.CLICKED,
    "spamreport": EventKind.COMPLAINED,
    "unsubscribe": EventKind.UNSUBSCRIBED,
    "group_unsubscribe": EventKind.UNSUBSCRIBED,
    "group_resubscribe": EventKind.UNKNOWN,  # consent comes back only through us: kept, never acted on
}

_MAY_BAR = frozenset({"bounce", "dropped", "spamreport", "unsubscribe", "group_unsubscribe"})

# Why SendGrid dropped a message instead of sending it, where that says something about the address.
BARRING_DROPS: dict[str, SuppressionReason] = {
    "unsubscribed address": SuppressionReason.OPTED_OUT_AT_PROVIDER,
    "bounced address": SuppressionReason.HARD_BOUNCE,
    "spam reporting address": SuppressionReason.COMPLAINT,
    "invalid": SuppressionReason.HARD_BOUNCE,
}


def verify(headers: Mapping[str, str], body: bytes, public_keys: Sequence[str]) -> None:
    """Refuse unless one key verifies the ECDSA signature over timestamp header and raw body.

    No window: SendGrid retries for 24 hours and does not say whether it stamps retries anew; the dedupe key
    is what defends against repetition.
    """
    accepted = usable(public_keys, "SendGrid webhook public key")
    timestamp = single_header(headers, TIMESTAMP)
    try:
        signature = base64.b64decode(single_header(headers, SIGNATURE), validate=True)
    except (binascii.Error, ValueError):
        raise NotAuthenticated("The signature is not base64.", where=SIGNATURE) from None
    signed = timestamp.encode("utf-8", "replace") + body
    if not any(_verifies(key, signature, signed) for key in accepted):
        raise NotAuthenticated("The signature is wrong.", where=SIGNATURE)


def verify_inbound(token: str, tokens: Sequence[str]) -> None:
    """Refuse unless the secret part of the inbound parse address is one of `tokens`."""
    require_match(token, usable(tokens, "SendGrid inbound token"), "token")


def parse_events(body: bytes, now: datetime | None = None, *, clean_raw: bool = True) -> ParsedBatch:
    """Return the events of a batch in their order; an element that cannot be read never rejects the others.

    Without `clean_raw` each event's `raw` is the element as it came, which is quicker and may not be storable.
    """
    try:
        elements = load_json(body)
    except ValueError as error:
        return ParsedBatch((), (Malformed("body", str(error), excerpt(body)),))
    if not isinstance(elements, list):
        reason = f"the body is a JSON {type(elements).__name__}, not a list of events"
        return ParsedBatch((), (Malformed("body", reason, excerpt(body)),))
    events: list[ParsedEvent] = []
    malformed: list[Malformed] = []
    for index, element in enumerate(elements):
        if not isinstance(element, dict):
            malformed.append(Malformed(f"[{index}]", "not an object", excerpt(element)))
        elif (word := text(element.get("event"), 50)) is None:
            malformed.append(Malformed(f"[{index}].event", "missing or not a word", excerpt(element)))
        else:
            events.append(_event(element, word, now, clean_raw))
    return ParsedBatch(tuple(events), tuple(malformed))


def _event(raw: dict[str, Any], word: str, now: datetime | None, clean_raw: bool) -> ParsedEvent:
    """Return one event; `sg_event_id` is not its key, because it may change when SendGrid repeats itself."""
    get = raw.get
    message_id = identifier(get(MESSAGE_ID_FIELD))
    sendgrid_id, timestamp = text(get("sg_message_id"), 200), get("timestamp")
    address = text(get("email"), 320)
    why, answer = get("reason"), get("response")
    reason = text(why) or text(answer)
    plain = word.lower()
    return ParsedEvent(
        message_id,
        # The part before the first dot is what the send call answered (X-Message-Id).
        sendgrid_id.partition(".")[0] if sendgrid_id else None,
        digest(
            message_id.hex if message_id else address,
            word,
            timestamp,
            sendgrid_id,
            get("url") or why or answer or get("attempt"),
        ),
        KINDS.get(plain, EventKind.UNKNOWN),
        moment(timestamp, now),
        _detail(raw, word, reason),
        _bars(raw, plain, reason) if plain in _MAY_BAR else None,
        address,
        get("sg_machine_open") in (True, "true", "True", 1, "1"),
        storable(raw) if clean_raw else raw,
    )


def _detail(raw: dict[str, Any], word: str, reason: str | None) -> str:
    for name, limit in (("type", 50), ("bounce_classification", 50), ("status", 20)):
        if (said := text(raw.get(name), limit)) is not None:
            word += f" {said}"
    return f"{word}: {reason}" if reason else word


def _bars(raw: dict[str, Any], word: str, reason: str | None) -> SuppressionReason | None:
    """Return why the address is to be barred; blocked and soft bounces (status 4.x.x) may succeed another day."""
    if word == "bounce":
        passing = text(raw.get("type")) == "blocked" or (text(raw.get("status")) or "").startswith("4")
        return None if passing else SuppressionReason.HARD_BOUNCE
    if word == "dropped":
        return BARRING_DROPS.get((reason or "").lower())
    if word == "spamreport":
        return SuppressionReason.COMPLAINT
    return SuppressionReason.UNSUBSCRIBED if word in ("unsubscribe", "group_unsubscribe") else None


@lru_cache(maxsize=8)
def _public_key(key: str) -> EllipticCurvePublicKey:
    """Return the parsed key, with or without its PEM frame; `ValueError` when it is not one."""
    bare = "".join(line for line in key.splitlines() if not line.startswith("-----"))
    parsed = load_der_public_key(base64.b64decode(bare, validate=True))
    if not isinstance(parsed, EllipticCurvePublicKey):
        raise ValueError("not an elliptic-curve key")
    return parsed


def _verifies(key: str, signature: bytes, signed: bytes) -> bool:
    try:
        _public_key(key).verify(signature, signed, ECDSA(SHA256()))
    except (InvalidSignature, UnsupportedAlgorithm, ValueError, TypeError):
        return False
    return True
