"""Emails as strangers write them: headers, text and attachments, with every size and depth bounded.

The parser of the standard library does the reading, with its old policy: the newer one parses header values
with a recursive grammar that hostile input can make slow.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from email import message_from_bytes, message_from_string
from email.errors import HeaderParseError, MessageError
from email.header import decode_header
from email.message import Message
from email.policy import compat32
from email.utils import parseaddr

from outreach.errors import InvalidInput, TooLarge
from webhooks.html_words import text_of_html
from webhooks.wire import clean, text

_MOST_PARTS = 200
_MOST_BOUNDARIES = 50
_LONGEST_HEADER = 4000
_LONGEST_TEXT = 200_000
_LONGEST_HTML = 1_000_000

# Codecs of mail. Others are refused: some are no text encodings, some are slow on hostile input.
_CHARSETS = re.compile(
    r"(utf-?(8|16|32)(-?[lb]e)?|us-ascii|ascii|latin-?1|(iso-?)?8859-\d{1,2}|iso-8859-\d{1,2}|windows-\d{3,4}|cp\d{3,4}"
    r"|koi8-[rut]|gb2312|gbk|gb18030|big5(-?hkscs)?|shift[_-]?jis|euc-?(jp|kr)|iso-2022-(jp|kr)|tis-620|macroman)"
)
_MESSAGE_ID = re.compile(r"<([^<>\s]{1,250})>")

_AUTOMATIC_SENDERS = ("mailer-daemon@", "postmaster@", "noreply@", "no-reply@", "donotreply@", "do-not-reply@")
_AUTOMATIC_HEADERS = ("x-autoreply", "x-autorespond", "x-auto-response-suppress", "list-id", "feedback-id")
_AUTOMATIC_SUBJECT = re.compile(
    r"(automatic reply|auto(matic)?[- ]?(reply|response)|out of (the )?office|abwesen\w*|automatische antwort"
    r"|respuesta autom[aá]tica|fuera de la oficina|resposta autom[aá]tica|r[ée]ponse automatique|absence du bureau"
    r"|delivery status notification|undeliver\w*|mail delivery)\b",
    re.IGNORECASE,
)


# Their addresses and ids are read as they came: decoding first would let a display name pose as an address.
_DECODED_HEADERS = frozenset({"subject", "comments", "keywords"})


@dataclass(frozen=True, slots=True)
class Attachment:
    """What a customer attached: its name, media type and size in bytes. The bytes stay in the raw event."""

    name: str
    media_type: str
    size: int | None


@dataclass(frozen=True, slots=True)
class ReadMessage:
    """A message in short: lower-case header names, the words, what was attached."""

    headers: dict[str, str]
    text: str
    attachments: tuple[Attachment, ...]


def read_message(raw: bytes) -> ReadMessage:
    """Return what a raw message says; `InvalidInput` or `TooLarge` when it is built to hurt."""
    message = parse_message(raw)
    plain, rich, attachments = "", "", []
    for index, part in enumerate(message.walk()):
        if index >= _MOST_PARTS:
            raise TooLarge(f"The email has more than {_MOST_PARTS} parts.")
        if part.is_multipart():
            continue
        media_type, name = part.get_content_type(), part.get_filename()
        if name or part.get_content_disposition() == "attachment" or not media_type.startswith("text/"):
            attachments.append(_attachment(part, media_type, name))
        elif media_type == "text/html":
            rich = rich or _content(part)
        else:
            plain = plain or _content(part)
    words = plain or text_of_html(rich)
    return ReadMessage(_headers(message), clean(words)[:_LONGEST_TEXT].strip("\r\n"), tuple(attachments))


def parse_message(raw: bytes) -> Message:
    """Return the parsed message, refusing one whose parts are nested too deep or are too many."""
    if raw.lower().count(b"boundary=") > _MOST_BOUNDARIES or raw.count(b"message/rfc822") > _MOST_BOUNDARIES:
        raise TooLarge("The email holds too many messages within messages.")
    try:
        return message_from_bytes(raw, policy=compat32)
    except (MessageError, RecursionError, ValueError) as error:
        raise InvalidInput(f"The email cannot be read: {type(error).__name__}", where="email") from None


def read_headers(block: str) -> dict[str, str]:
    """Return the headers of a block of header lines: lower-case names, the first of each name."""
    return _headers(message_from_string(block[:200_000], policy=compat32))


def decode_bytes(data: bytes, charset: str) -> str:
    """Return the text of `data`; what cannot be decoded is replaced, an unknown charset is read as UTF-8."""
    name = charset.strip().lower()
    try:
        return data.decode(name if _CHARSETS.fullmatch(name) else "utf-8", "replace")
    except (LookupError, ValueError):
        return data.decode("utf-8", "replace")


def decode_header_value(value: str) -> str:
    """Return a header value in plain words (RFC 2047), on one line."""
    try:
        pieces = decode_header(value[:_LONGEST_HEADER])
    except (HeaderParseError, ValueError):
        pieces = [(value[:_LONGEST_HEADER], None)]
    words = "".join(
        piece if isinstance(piece, str) else decode_bytes(piece, charset or "utf-8") for piece, charset in pieces
    )
    return " ".join(clean(words).split())


def address_in(value: str | None) -> str | None:
    """Return the first email address of a From or To value, domain in lower case; None where there is none."""
    local, at, domain = clean(parseaddr((value or "")[:_LONGEST_HEADER])[1]).strip().rpartition("@")
    return text(f"{local}@{domain.lower()}", 320) if local and at and domain else None


def thread_ids(headers: Mapping[str, str]) -> tuple[str, ...]:
    """Return the Message-IDs that a reply refers to, newest first, at most fifty."""
    newest = _MESSAGE_ID.findall(headers.get("in-reply-to", ""))
    older = reversed(_MESSAGE_ID.findall(headers.get("references", "")))
    return tuple(dict.fromkeys([*newest, *older]))[:50]


def is_automatic(headers: Mapping[str, str], sender: str, subject: str | None) -> bool:
    """Tell whether a machine wrote this (RFC 3834, and what mail programs really send)."""
    if headers.get("auto-submitted", "no").partition(";")[0].strip().lower() != "no":
        return True
    if headers.get("precedence", "").strip().lower() in {"bulk", "junk", "list", "auto_reply"}:
        return True
    if headers.get("return-path", "").strip() == "<>" or any(name in headers for name in _AUTOMATIC_HEADERS):
        return True
    if headers.get("content-type", "").lower().startswith("multipart/report"):
        return True
    if sender.lower().startswith(_AUTOMATIC_SENDERS):
        return True
    return bool(_AUTOMATIC_SUBJECT.match(re.sub(r"^((re|aw|sv|fwd?|wg|auto):\s*){1,5}", "", subject or "", flags=re.I)))


def _headers(message: Message) -> dict[str, str]:
    found: dict[str, str] = {}
    for name, value in message.items()[:500]:
        key = clean(name.lower())
        plain = " ".join(clean(str(value)[:_LONGEST_HEADER]).split())
        found.setdefault(key, decode_header_value(str(value)) if key in _DECODED_HEADERS else plain)
    return found


def _content(part: Message) -> str:
    payload = part.get_payload(decode=True)
    charset = part.get_content_charset() or "utf-8"
    return decode_bytes(payload[:_LONGEST_HTML], charset) if isinstance(payload, bytes) else ""


def _attachment(part: Message, media_type: str, name: str | None) -> Attachment:
    payload = part.get_payload(decode=True)
    shown = decode_header_value(name or "unnamed").replace("\\", "/").rpartition("/")[2]
    size = len(payload) if isinstance(payload, bytes) else None
    return Attachment(text(shown, 200) or "unnamed", text(media_type, 100) or "application/octet-stream", size)
