"""The adapters under the contract: how to build each, its envelopes, and its provider's answers."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from pydantic import SecretStr

from campaigns.providers.base import EmailEnvelope, PostalAddress, PostcardEnvelope, SmsEnvelope
from campaigns.providers.lob import Lob
from campaigns.providers.sendgrid import SendGrid
from campaigns.providers.smtp import Smtp
from campaigns.providers.twilio import Twilio
from outreach.vocabulary import NoticeClass
from tests.campaigns.providers.wire import as_json

SECRET = "canary-5f1e0c7d9b3a4e"
PRIVATE = "maria.canary"  # part of every address, name and body: must never be logged or stored


def message_id(n: int) -> UUID:
    """A fixed id."""
    return UUID(int=0x0190_0000_0000_7000_8000_0000_0000_0000 + n)


def email(n: int = 0, **changes: Any) -> EmailEnvelope:
    """One email."""
    values: dict[str, Any] = {
        "message_id": message_id(n),
        "to": f"{PRIVATE}.{n}@example.org",
        "to_name": None,
        "subject": "About your order",
        "html": f"<p>Hello number {n} {PRIVATE}</p>",
        "text": f"Hello number {n} {PRIVATE}",
        "from_address": "care@example.com",
        "from_name": "Example",
        "reply_to": f"r{n}@reply.example.com",
        "notice_class": NoticeClass.SERVICE,
        "headers": {"List-Unsubscribe": f"<https://example.com/u/{n}>"},
    }
    return EmailEnvelope(**(values | changes))


def sms(n: int = 0, **changes: Any) -> SmsEnvelope:
    """One text message."""
    values: dict[str, Any] = {
        "message_id": message_id(n),
        "to": f"+1555000{n:04d}",
        "body": f"Hello {PRIVATE} {n}",
        "status_callback": "https://example.com/webhooks/twilio/status",
    }
    return SmsEnvelope(**(values | changes))


ADDRESS = PostalAddress(f"{PRIVATE} Example", "185 Berry St", None, "San Francisco", "CA", "94107", "US")


def postcard(n: int = 0, **changes: Any) -> PostcardEnvelope:
    """One postcard."""
    values: dict[str, Any] = {
        "message_id": message_id(n),
        "to": ADDRESS,
        "sender": ADDRESS,
        "front": f"<p>{PRIVATE} {n}</p>",
        "back": "<p>back</p>",
        "notice_class": NoticeClass.SERVICE,
    }
    return PostcardEnvelope(**(values | changes))


@dataclass(frozen=True)
class Case:
    """One adapter and its provider's ways of answering."""

    name: str
    make: Callable[[str, float], Any]  # (base address, time-out in seconds)
    envelope: Callable[..., Any]
    answers: dict[str, tuple[int, dict[str, str], bytes]]


def _sendgrid(url: str, seconds: float) -> SendGrid:
    return SendGrid(
        base_url=url,
        api_key=SecretStr(SECRET),
        messages_per_call=4,
        connections=4,
        timeout_seconds=seconds,
    )


def _twilio(url: str, seconds: float) -> Twilio:
    return Twilio(
        base_url=url,
        account_sid="AC" + "0" * 32,
        auth_token=SecretStr(SECRET),
        sender="+15550009999",
        connections=4,
        timeout_seconds=seconds,
    )


def _lob(url: str, seconds: float) -> Lob:
    return Lob(base_url=url, api_key=SecretStr(SECRET), connections=4, timeout_seconds=seconds)


JSON = {"Content-Type": "application/json"}
WAIT = {**JSON, "Retry-After": "7"}


def _sendgrid_error(message: str) -> bytes:
    return as_json({"errors": [{"message": message, "field": "personalizations.0.to", "help": None}]})


def _twilio_error(code: int, message: str, status: int) -> bytes:
    return as_json({"code": code, "message": message, "more_info": "https://example.com", "status": status})


def _lob_error(message: str, status: int) -> bytes:
    return as_json({"error": {"message": message, "status_code": status, "code": "invalid"}})


SENDGRID = Case(
    "sendgrid",
    _sendgrid,
    email,
    {
        "accept": (202, {"X-Message-Id": "sg-1"}, b""),
        "reject": (400, JSON, _sendgrid_error(f"{PRIVATE}@example.org is not an address")),
        "rate": (429, WAIT, _sendgrid_error("too many requests")),
        "error": (500, JSON, b"oops"),
        "unreadable": (200, {"Content-Type": "text/html"}, b"<html>sign in to the network</html>"),
        "settings": (401, JSON, _sendgrid_error("authorization required")),
        "redirect": (307, {"Location": "http://127.0.0.1:9/elsewhere"}, b""),
    },
)
TWILIO = Case(
    "twilio",
    _twilio,
    sms,
    {
        "accept": (201, JSON, as_json({"sid": "SM" + "1" * 32, "status": "queued"})),
        "reject": (400, JSON, _twilio_error(21211, "The 'To' number +15550000000 is not valid.", 400)),
        "rate": (429, WAIT, _twilio_error(20429, "Too Many Requests", 429)),
        "error": (500, JSON, _twilio_error(20500, "Internal", 500)),
        "unreadable": (201, {"Content-Type": "text/html"}, b"<html>sign in to the network</html>"),
        "settings": (401, JSON, _twilio_error(20003, "Authenticate", 401)),
        "redirect": (307, {"Location": "http://127.0.0.1:9/elsewhere"}, b""),
    },
)
LOB = Case(
    "lob",
    _lob,
    postcard,
    {
        "accept": (200, JSON, as_json({"id": "psc_1", "object": "postcard"})),
        "reject": (422, JSON, _lob_error(f"{PRIVATE}@example.org has no address", 422)),
        "rate": (429, WAIT, _lob_error("rate limited", 429)),
        "error": (500, JSON, b"oops"),
        "unreadable": (200, {"Content-Type": "text/html"}, b"<html>sign in to the network</html>"),
        "settings": (401, JSON, _lob_error("bad key", 401)),
        "redirect": (307, {"Location": "http://127.0.0.1:9/elsewhere"}, b""),
    },
)
HTTP_CASES = [SENDGRID, TWILIO, LOB]


def smtp(port: int, seconds: float = 2, connections: int = 1) -> Smtp:
    """The SMTP adapter for a local server."""
    return Smtp(url=SecretStr(f"smtp://127.0.0.1:{port}"), connections=connections, timeout_seconds=seconds)
