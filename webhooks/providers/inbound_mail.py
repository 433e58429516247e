"""Emails that customers send back, as SendGrid's Inbound Parse posts them (parsed fields, or the raw message).

https://www.twilio.com/docs/sendgrid/for-developers/parsing-email/setting-up-the-inbound-parse-webhook
Everything in them was written by strangers: sizes, counts and depth are bounded before they are read.
"""

from collections.abc import Mapping
from email.utils import parseaddr
from typing import Any

from python_multipart.exceptions import MultipartParseError
from python_multipart.multipart import MultipartParser, parse_options_header

from outreach.errors import InvalidInput, TooLarge
from outreach.vocabulary import Channel
from webhooks.html_words import text_of_html
from webhooks.mime import (
    Attachment,
    address_in,
    decode_bytes,
    decode_header_value,
    is_automatic,
    read_headers,
    read_message,
    thread_ids,
)
from webhooks.providers.base import ParsedReply
from webhooks.wire import clean, digest, load_object, reply_token, text

LARGEST_BODY = 30 * 1024 * 1024  # what SendGrid itself accepts
_MOST_PARTS = 200
_LARGEST_FIELD = 2 * 1024 * 1024
_LONGEST_TEXT = 100_000
_KEPT_FIELDS = ("to", "cc", "from", "subject", "envelope", "sender_ip", "dkim", "SPF", "spam_score", "attachments")


def parse_inbound(content_type: str, body: bytes) -> ParsedReply:
    """Return the reply that a multipart form holds; `TooLarge` or `InvalidInput` say what is wrong with it."""
    if len(body) > LARGEST_BODY:
        raise TooLarge(f"The email has {len(body)} bytes; {LARGEST_BODY} are the most we read.")
    parts = _parts(content_type, body)
    fields = {part.name: part for part in reversed(parts) if part.file_name is None}
    charsets = _json_field(fields, "charsets")
    values = {name: _text(part, charsets.get(name)) for name, part in fields.items() if name != "email"}
    if "email" in fields:
        return _from_message(bytes(fields["email"].data), values)
    return _from_fields(values, parts)


def _from_fields(values: dict[str, str], parts: list["_Part"]) -> ParsedReply:
    headers = read_headers(values.get("headers", ""))
    words = values.get("text") or text_of_html(values.get("html", ""))
    files = tuple(
        Attachment(part.file_name, part.media_type, part.size) for part in parts if part.file_name is not None
    )
    return _reply(values, headers, values.get("from"), values.get("subject"), words, files)


def _from_message(raw: bytes, values: dict[str, str]) -> ParsedReply:
    message = read_message(raw)
    sender = values.get("from") or message.headers.get("from")
    subject = values.get("subject") or message.headers.get("subject")
    return _reply(values, message.headers, sender, subject, message.text, message.attachments)


def _reply(
    values: dict[str, str],
    headers: Mapping[str, str],
    sender: str | None,
    subject: str | None,
    words: str,
    attachments: tuple[Attachment, ...],
) -> ParsedReply:
    envelope = _envelope(values.get("envelope", ""))
    recipients = [*envelope["to"], values.get("to", ""), headers.get("to", ""), headers.get("delivered-to", "")]
    address = address_in(sender) or address_in(envelope["from"])
    if address is None:
        raise InvalidInput("The email does not say who sent it.", where="from")
    recipient = next((one for one in recipients if reply_token(one)), recipients[0] or values.get("to", ""))
    title = text(decode_header_value(subject or ""), 500)
    words = clean(words)[:_LONGEST_TEXT]
    bounced = envelope["seen"] and not envelope["from"]
    return ParsedReply(
        key=digest(headers.get("message-id"), address, recipient, title, words),
        channel=Channel.EMAIL,
        sender=address,
        recipient=address_in(recipient) or "",
        subject=title,
        text=words,
        message_id=reply_token(*recipients),
        thread_ids=thread_ids(headers),
        automatic=bounced or is_automatic(headers, address, title),
        attachments=attachments,
        raw={name: clean(values[name])[:2000] for name in _KEPT_FIELDS if name in values},
    )


class _Part:
    """One part of the form, filled by the parser's callbacks; of a file only the size is kept."""

    def __init__(self) -> None:
        self.headers: dict[str, str] = {}
        self.data = bytearray()
        self.size = 0
        self.name = ""
        self.file_name: str | None = None
        self.media_type = "text/plain"

    def headers_finished(self) -> None:
        _, options = parse_options_header(self.headers.get("content-disposition", ""))
        self.name = options.get(b"name", b"").decode("utf-8", "replace")
        if b"filename" in options:
            name = options[b"filename"].decode("utf-8", "replace")
            self.file_name = text(decode_header_value(name).replace("\\", "/").rpartition("/")[2], 200) or "unnamed"
        self.media_type = text(self.headers.get("content-type", "").partition(";")[0], 100) or "text/plain"

    def add(self, data: bytes) -> None:
        self.size += len(data)
        if self.file_name is None:
            # The raw message travels in a field of its own and may be as large as the body.
            if self.name != "email" and self.size > _LARGEST_FIELD:
                raise TooLarge(f"The field {text(self.name, 50)} of the email is larger than {_LARGEST_FIELD} bytes.")
            self.data += data


class _Collector:
    """Gathers the parts of a form; its methods are the callbacks that python-multipart knows."""

    def __init__(self) -> None:
        self.parts: list[_Part] = []
        self._field, self._value = bytearray(), bytearray()

    def begin(self) -> None:
        if len(self.parts) >= _MOST_PARTS:
            raise TooLarge(f"The email has more than {_MOST_PARTS} parts.")
        self.parts.append(_Part())

    def header_field(self, data: bytes, start: int, end: int) -> None:
        self._field += data[start:end]

    def header_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def header_end(self) -> None:
        name, value = self._field.decode("latin-1").lower(), self._value.decode("utf-8", "replace")
        self.parts[-1].headers[name] = value
        self._field, self._value = bytearray(), bytearray()

    def headers_finished(self) -> None:
        self.parts[-1].headers_finished()

    def data(self, data: bytes, start: int, end: int) -> None:
        self.parts[-1].add(data[start:end])


def _parts(content_type: str, body: bytes) -> list[_Part]:
    kind, options = parse_options_header(content_type)
    boundary = options.get(b"boundary")
    if kind != b"multipart/form-data" or not boundary:
        raise InvalidInput("The email must come as multipart/form-data with a boundary.", where="Content-Type")
    collector = _Collector()
    parser = MultipartParser(
        boundary,
        {
            "on_part_begin": collector.begin,
            "on_header_field": collector.header_field,
            "on_header_value": collector.header_value,
            "on_header_end": collector.header_end,
            "on_headers_finished": collector.headers_finished,
            "on_part_data": collector.data,
        },
    )
    try:
        parser.write(body)
        parser.finalize()
    except MultipartParseError as error:
        raise InvalidInput(f"The form of the email is broken: {error}", where="body") from None
    return collector.parts


def _text(part: _Part, charset: object) -> str:
    return clean(decode_bytes(bytes(part.data), charset if isinstance(charset, str) else "utf-8")).strip("\r\n")


def _json_field(fields: dict[str, _Part], name: str) -> dict[str, Any]:
    try:
        return load_object(bytes(fields[name].data)) if name in fields else {}
    except ValueError:
        return {}


def _envelope(value: str) -> dict[str, Any]:
    """Return the SMTP envelope: `to` as a list of texts, `from` as a text, and whether there was one at all."""
    try:
        found = load_object(value.encode("utf-8", "replace"))
    except ValueError:
        return {"to": [], "from": "", "seen": False}
    recipients = found.get("to")
    listed = recipients if isinstance(recipients, list) else [recipients]
    addresses = [one for item in listed[:100] if (one := text(item, 1000))]
    sender = parseaddr(text(found.get("from"), 1000) or "")[1]
    return {"to": addresses, "from": sender, "seen": "from" in found}
