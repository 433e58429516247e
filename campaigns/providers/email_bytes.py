"""An email as the bytes that travel (RFC 5322, RFC 2045 to 2047), made without a tree of objects.

Python's `EmailMessage` takes some milliseconds for each message and folds a long link of List-Unsubscribe into encoded
words, which no mail client reads. Its encoders are used here, its objects are not.
"""

import re
from base64 import encodebytes
from binascii import b2a_qp
from dataclasses import dataclass
from email.charset import Charset
from email.headerregistry import Address
from email.utils import formatdate, quote
from functools import lru_cache
from itertools import repeat

from campaigns.providers.base import EmailEnvelope

LONGEST_LINE = 998  # characters without the line break (RFC 5322, 2.1.1)
LONGEST_ADDRESS = 320  # bytes: 64 before the @, 255 after it (RFC 5321, 4.5.3.1)
_LONGEST_NAME = 64  # longer ones are folded, which takes encoded words
_LONGEST_WORD = 64  # so that its line, with the name of the header, has less than 76 characters (RFC 2047, 2)
_UTF8 = Charset("utf-8")
_ASCII = bytes(range(128))
# RFC 5322, 3.2.3, and every letter beyond ASCII (RFC 6531, 3.3).
_ATOM = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~\x80-\U0010ffff-]+"
_LABEL = r"[A-Za-z0-9\x80-\U0010ffff-]+"
# Python's encoder counts a space at the end of a line as one character and then writes three.
_SPACE_TOO_FAR = re.compile(rb"(?m)^([^\r\n]{74,75})(=(?:20|09)\r)$")
_PLAIN_ADDRESS = re.compile(rf"{_ATOM}(?:\.{_ATOM})*@{_LABEL}(?:\.{_LABEL})*")


@dataclass(frozen=True, slots=True)
class WrittenEmail:
    """One email, from whom and to whom; `international`: it goes only where SMTPUTF8 is offered (RFC 6531)."""

    sender: str
    recipient: str
    international: bool
    payload: bytes


def write(envelope: EmailEnvelope) -> WrittenEmail:
    """Return the email; its Message-ID carries our id, so that replies and bounces name it.

    Lines end in CRLF and are at most 998 bytes long, those of the texts at most 76 (RFC 2045, 6.7). Raises ValueError,
    IndexError or `email.errors.MessageError` for an address, or a text with half of a character pair, that cannot be
    written.
    """
    sender, recipient = _address(envelope.from_address), _address(envelope.to)
    reply_to = None if envelope.reply_to is None else _address(envelope.reply_to)
    own_id, boundary = str(envelope.message_id), f"=_{envelope.message_id.hex}"
    head = [
        _from(sender, envelope.from_name),
        f"To: {_mailbox(recipient, envelope.to_name)}",
        _header("Subject", envelope.subject),
        *([] if reply_to is None else [f"Reply-To: {reply_to}"]),
        f"Date: {formatdate()}",
        f"Message-ID: <{own_id}@{sender.rpartition('@')[2]}>",
        f"X-Outreach-Message: {own_id}",
        *(_header(name, value) for name, value in envelope.headers.items()),
        "MIME-Version: 1.0",
        # No encoded text holds "=_" (RFC 2045, 6.7), so no text can hold the boundary.
        f'Content-Type: multipart/alternative; boundary="{boundary}"',
    ]
    payload = b"".join(
        (
            "\r\n".join([*head, ""]).encode(),
            _part(boundary, "plain", envelope.text),
            _part(boundary, "html", envelope.html),
            f"\r\n--{boundary}--\r\n".encode(),
        )
    )
    international = not f"{sender}{recipient}{reply_to}".isascii()
    return WrittenEmail(sender, recipient, international, payload)


def _address(address: str) -> str:
    if not address or not address.isprintable() or len(address.encode()) > LONGEST_ADDRESS:
        raise ValueError("not an address")
    return address if _PLAIN_ADDRESS.fullmatch(address) else Address(addr_spec=address).addr_spec


@lru_cache(maxsize=64)
def _from(address: str, name: str | None) -> str:
    """Return the same line for all messages of a sender; those of customers are not kept."""
    return f"From: {_mailbox(address, name)}"


def _mailbox(address: str, name: str | None) -> str:
    if not name:
        return address
    if _is_verbatim(name) and len(name) <= _LONGEST_NAME:
        return f'"{quote(name)}" <{address}>'
    return f"{_encoded(name)}\r\n <{address}>"


def _header(name: str, value: str) -> str:
    """Return a header as it is wherever that is allowed: a client looks for a whole link in List-Unsubscribe."""
    line = f"{name}: {value}"
    if _is_verbatim(value) and value.strip() == value and len(line) <= LONGEST_LINE:
        return line
    return f"{name}: {_encoded(value)}"


def _is_verbatim(value: str) -> bool:
    """Tell whether a value means itself: printable ASCII in which nobody sees an encoded word."""
    return value.isascii() and value.isprintable() and not ("=?" in value and "?=" in value)


def _encoded(value: str) -> str:
    whole = _UTF8.header_encode(value)
    if len(whole) <= _LONGEST_WORD:
        return whole
    return "\r\n ".join(filter(None, _UTF8.header_encode_lines(value, repeat(_LONGEST_WORD))))


def _part(boundary: str, subtype: str, text: str) -> bytes:
    data = b"\r\n".join(text.encode().splitlines()) + b"\r\n"
    # Quoted-printable takes two bytes more for each that is not ASCII, base64 a third more for all.
    if not text.isascii() and 6 * len(data.translate(None, _ASCII)) > len(data):
        encoding, body = "base64", b"\r\n" + encodebytes(data).replace(b"\n", b"\r\n")
    else:
        # A mailbox file would change a line that begins with "From ", and so break the signature (RFC 2045, 6.7).
        body = (b"\r\n" + b2a_qp(data)).replace(b"\r\nFrom ", b"\r\n=46rom=\r\n ")
        if b"=20\r" in body or b"=09\r" in body:
            body = _SPACE_TOO_FAR.sub(rb"\1=\r\n\2", body)
        encoding = "quoted-printable"
    head = (
        f'\r\n--{boundary}\r\nContent-Type: text/{subtype}; charset="utf-8"\r\n'
        f"Content-Transfer-Encoding: {encoding}\r\n"
    )
    return head.encode() + body
