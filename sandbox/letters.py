"""What one person got out of an accepted request: subject, text, addresses, headers."""

import re
from dataclasses import asdict, dataclass, field
from typing import Any

from sandbox.record import Stored


@dataclass(frozen=True)
class Letter:
    """One message as its recipient sees it."""

    subject: str = ""
    text: str = ""
    html: str = ""
    reply_to: str | None = None
    headers: dict[str, str] = field(default_factory=dict)


def letter(stored: Stored) -> Letter:
    """Return what the recipient of an accepted message got."""
    if stored.provider == "sendgrid":
        return _mail(stored.request, stored.position)
    if stored.provider == "twilio":
        return Letter(text=stored.request.get("Body", ""))
    return Letter(text=stored.request.get("back", ""), html=stored.request.get("front", ""))


def as_seen(stored: Stored) -> dict[str, Any]:
    """Return an accepted message for people who look into the sandbox."""
    got = letter(stored)
    return {
        "provider": stored.provider,
        "message_id": stored.message_id,
        "to": stored.recipient,
        "from": stored.sender,
        "provider_id": stored.provider_id,
        "at": stored.at,
        "body": got.text or got.html,
        **asdict(got),
        "position": stored.position,
        "request": stored.request,
    }


def _mail(request: dict[str, Any], position: int) -> Letter:
    """Apply substitutions as SendGrid does: in subject, content and reply-to, as plain text, once."""
    person = request["personalizations"][position]
    values: dict[str, str] = person.get("substitutions") or {}

    # The longest tag first, and one pass: a value that looks like a tag stays as it is.
    tags = re.compile("|".join(re.escape(tag) for tag in sorted(values, key=len, reverse=True)))

    def filled(text: str) -> str:
        return tags.sub(lambda found: values[found[0]], text) if values else text

    parts = {part["type"]: filled(part["value"]) for part in request.get("content", [])}
    reply_to = request.get("reply_to") or next(iter(request.get("reply_to_list") or []), None) or request["from"]
    return Letter(
        subject=filled(person.get("subject") or request.get("subject") or ""),
        text=parts.get("text/plain", ""),
        html=parts.get("text/html", ""),
        reply_to=filled(reply_to["email"]),
        headers={**(request.get("headers") or {}), **(person.get("headers") or {})},
    )
