"""Twilio's webhooks: status callbacks and incoming messages, as form posts.

https://www.twilio.com/docs/usage/webhooks/webhooks-security and
https://www.twilio.com/docs/messaging/guides/track-outbound-message-status
"""

import base64
import hashlib
import hmac
from collections.abc import Mapping, Sequence
from urllib.parse import parse_qs, parse_qsl, urlsplit

from campaigns.providers.twilio_errors import meaning_of
from outreach.errors import InvalidInput, NotAuthenticated
from outreach.vocabulary import Channel, EventKind
from webhooks.mime import Attachment
from webhooks.providers.base import Malformed, ParsedBatch, ParsedEvent, ParsedReply
from webhooks.signatures import require_match, single_header, usable
from webhooks.wire import clean, excerpt, identifier, text

KINDS: dict[str, EventKind] = {
    "accepted": EventKind.QUEUED,
    "scheduled": EventKind.QUEUED,
    "queued": EventKind.QUEUED,
    "sending": EventKind.QUEUED,
    "sent": EventKind.SENT,
    "partially_delivered": EventKind.SENT,
    "delivered": EventKind.DELIVERED,
    "read": EventKind.OPENED,
    "undelivered": EventKind.FAILED,
    "failed": EventKind.FAILED,
    "canceled": EventKind.FAILED,
}

_MOST_FIELDS = 300
_LONGEST_BODY = 100_000


def verify(headers: Mapping[str, str], body: bytes, url: str, tokens: Sequence[str]) -> None:
    """Refuse unless `X-Twilio-Signature` is right for the *configured* public address, with its query string.

    Never build `url` from Host or X-Forwarded headers: the caller of the request writes those. Twilio signs with
    or without the port, so both are tried. A body that is no form is covered by `bodySHA256` in the query.
    """
    accepted = usable(tokens, "Twilio auth token")
    given = single_header(headers, "X-Twilio-Signature")
    body_hash = parse_qs(urlsplit(url).query).get("bodySHA256", [])
    fields: dict[str, list[str]] = {}
    if body_hash:
        if not hmac.compare_digest(body_hash[0].lower().encode(), hashlib.sha256(body).hexdigest().encode()):
            raise NotAuthenticated("The body is not the one that was signed.", where="bodySHA256")
    else:
        try:
            fields = _form(body)
        except ValueError as error:
            raise NotAuthenticated(f"The form cannot be read: {error}") from None
    values = "".join(name + value for name in sorted(fields) for value in sorted(set(fields[name])))
    expected = [
        base64.b64encode(hmac.new(token.encode(), (address + values).encode(), hashlib.sha1).digest()).decode()
        for token in accepted
        for address in _addresses(url)
    ]
    require_match(given, expected, "X-Twilio-Signature")


def parse_events(body: bytes, message_id: str | None = None) -> ParsedBatch:
    """Return the one event of a status callback; `message_id` is the query parameter of the callback address.

    The key is message and status: Twilio gives no time, repeats itself, and keeps no order.
    """
    try:
        fields = _form(body)
        sid = _one(fields, "MessageSid") or _one(fields, "SmsSid")
        status = _one(fields, "MessageStatus") or _one(fields, "SmsStatus")
    except ValueError as error:
        return ParsedBatch((), (Malformed("body", str(error), excerpt(body)),))
    if sid is None or status is None:
        reason = "a status callback needs MessageSid and MessageStatus"
        return ParsedBatch((), (Malformed("body", reason, excerpt(body)),))
    error_code = text(_first(fields, "ErrorCode"), 20)
    meaning = meaning_of(int(error_code) if error_code and error_code.isdecimal() else None)
    event = ParsedEvent(
        message_id=identifier(message_id),
        provider_id=sid,
        key=f"{sid}:{status}",
        kind=KINDS.get(status.lower(), EventKind.UNKNOWN),
        at=None,
        detail=_detail_of(status, error_code, meaning.words),
        bars=meaning.bars,
        address=_number(_first(fields, "To")),
        machine=False,
        raw=_raw(fields),
    )
    return ParsedBatch((event,), ())


def _detail_of(status: str, error_code: str | None, words: str) -> str:
    if not error_code:
        return status
    return f"{status} (error {error_code}: {words})" if words else f"{status} (error {error_code})"


def parse_inbound(body: bytes) -> ParsedReply:
    """Return the incoming message of a form post; `InvalidInput` when it is none."""
    try:
        fields = _form(body)
        sid = _one(fields, "MessageSid") or _one(fields, "SmsSid")
        sender, recipient = _number(_one(fields, "From")), _number(_one(fields, "To"))
    except ValueError as error:
        raise InvalidInput(f"The incoming message cannot be read: {error}") from None
    if sid is None or sender is None:
        raise InvalidInput("An incoming message needs MessageSid and From.", where="MessageSid")
    return ParsedReply(
        key=sid,
        channel=Channel.SMS,
        sender=sender,
        recipient=recipient or "",
        subject=None,
        text=clean(_first(fields, "Body") or "")[:_LONGEST_BODY],
        message_id=None,
        attachments=_media(fields),
        provider_keyword=_keyword(fields),
        raw=_raw(fields),
    )


def _addresses(url: str) -> set[str]:
    """Return the address as configured, without its port, and with the usual port where it has none."""
    parts = urlsplit(url)
    host = parts.netloc.removesuffix(f":{parts.port}") if parts.port else parts.netloc
    with_port = parts.netloc if parts.port else f"{host}:{443 if parts.scheme == 'https' else 80}"
    return {url, parts._replace(netloc=host).geturl(), parts._replace(netloc=with_port).geturl()}


def _form(body: bytes) -> dict[str, list[str]]:
    """Return all values of each field; `ValueError` for what is no form of at most 300 fields."""
    pairs = parse_qsl(body.decode("utf-8"), keep_blank_values=True, strict_parsing=False, max_num_fields=_MOST_FIELDS)
    fields: dict[str, list[str]] = {}
    for name, value in pairs:
        fields.setdefault(name, []).append(value)
    return fields


def _first(fields: dict[str, list[str]], name: str) -> str | None:
    return fields[name][0] if name in fields else None


def _one(fields: dict[str, list[str]], name: str) -> str | None:
    """Return the value of a field that must not be ambiguous."""
    values = set(fields.get(name, []))
    if len(values) > 1:
        raise ValueError(f"{name} is there with {len(values)} different values")
    return text(values.pop(), 100) if values else None


def _number(value: str | None) -> str | None:
    """Return the phone number without the channel that Twilio writes before it (`whatsapp:`, `rcs:`)."""
    return text(value.rpartition(":")[2], 64) if value else None


def _keyword(fields: dict[str, list[str]]) -> str | None:
    word = (text(_first(fields, "OptOutType"), 20) or "").upper()
    return word if word in {"STOP", "START", "HELP"} else None


def _media(fields: dict[str, list[str]]) -> tuple[Attachment, ...]:
    """Return what MediaUrl0… name; Twilio sends addresses, never the bytes. Ten are the most an MMS can have."""
    found = []
    for index in range(10):
        address = text(_first(fields, f"MediaUrl{index}"))
        if address:
            media_type = text(_first(fields, f"MediaContentType{index}"), 100)
            found.append(Attachment(address, media_type or "application/octet-stream", None))
    return tuple(found)


def _raw(fields: dict[str, list[str]]) -> dict[str, str | list[str]]:
    kept = {clean(name): [clean(value) for value in values] for name, values in fields.items()}
    return {name: values[0] if len(values) == 1 else values for name, values in kept.items()}
