"""Control call `/_sandbox/reply`: what customers do with what they got, as their phone or mailbox would send it."""

import json
import re
import secrets
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import Any
from urllib.parse import quote

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from urllib3 import encode_multipart_formdata

from sandbox.letters import letter
from sandbox.record import Stored
from sandbox.rules.twilio import E164, segments
from sandbox.sendgrid import smtp_id
from sandbox.twilio import POOL_NUMBER, Twilio
from sandbox.webhooks import Webhook
from sandbox.wire import control_body
from sandbox.world import World

PROVIDER_OF = {"email": "sendgrid", "unsubscribe": "sendgrid", "sms": "twilio"}
_LISTED = re.compile(r"<(https?://[^>\s]+)>")


class Replies:
    """Answers the newest accepted message of a recipient or message id."""

    def __init__(self, world: World, twilio: Twilio) -> None:
        self._world = world
        self._twilio = twilio

    def routes(self) -> list[Route]:
        """Return the control route of replies."""
        return [Route("/_sandbox/reply", self._reply, methods=["POST"])]

    async def _reply(self, request: Request) -> Response:
        """Act as the customer; answers once the webhook is on its way, `/_sandbox/idle` tells when it arrived."""
        body = await control_body(request)
        channel = body.get("channel")
        if channel not in PROVIDER_OF:
            raise HTTPException(400, "channel must be email, sms or unsubscribe")
        stored = self._answered(PROVIDER_OF[channel], body)
        if channel == "sms":
            return self._text(stored, body)
        if stored is None:
            raise HTTPException(404, "no accepted mail fits `to` or `message_id`")
        return self._unsubscribe(stored) if channel == "unsubscribe" else self._mail(stored, body)

    def _answered(self, provider: str, body: dict[str, Any]) -> Stored | None:
        if not body.get("to") and not body.get("message_id"):
            raise HTTPException(400, "say which customer (`to`) or which message (`message_id`)")
        found = self._world.record.accepted(
            provider=provider, recipient=body.get("to"), message_id=body.get("message_id"), limit=1
        )
        return found[0] if found else None

    def _text(self, stored: Stored | None, body: dict[str, Any]) -> Response:
        """Send a text from the customer; unasked ones come from `to` and go to `our_number`."""
        customer = stored.recipient if stored else body.get("to") or ""
        if not E164.fullmatch(customer):
            raise HTTPException(404, "no accepted text fits, and `to` is not a phone number in E.164 form")
        sender = body.get("our_number") or (stored.sender if stored else None) or POOL_NUMBER
        service = sender if sender.startswith("MG") else None
        number = POOL_NUMBER if service else sender
        text = str(body.get("text", ""))
        sid = "SM" + secrets.token_hex(16)
        fields = {
            "MessageSid": sid,
            "SmsSid": sid,
            "SmsMessageSid": sid,
            "AccountSid": self._world.settings.secret("twilio_sid"),
            "From": customer,
            "To": number,
            "Body": text,
            "NumMedia": "0",
            "NumSegments": str(segments(text)),
            "SmsStatus": "received",
            "ApiVersion": "2010-04-01",
            "FromCountry": "US",
            "FromState": "",
            "FromCity": "",
            "FromZip": "",
        }
        if service:
            fields["MessagingServiceSid"] = service
        opt_out = self._twilio.heard(customer, number, text)
        if opt_out:
            fields["OptOutType"] = opt_out
        url = self._world.settings.signed_url + "/webhooks/twilio/inbound"
        self._world.post_form("twilio", url, fields, 0, sid)
        return JSONResponse({"id": sid, "from": customer, "to": number})

    def _mail(self, stored: Stored, body: dict[str, Any]) -> Response:
        """Send a mail to the Reply-To address of the accepted one, through inbound parse."""
        got = letter(stored)
        text, to = str(body.get("text", "")), got.reply_to or ""
        subject = str(body.get("subject") or f"Re: {got.subject}")
        identity = f"<{secrets.token_hex(12)}@mail.invalid>"
        sent = smtp_id(stored.provider_id)
        lines = {
            "MIME-Version": "1.0",
            "Date": format_datetime(datetime.now(UTC)),
            "From": stored.recipient,
            "To": to,
            "Subject": subject,
            "Message-ID": identity,
            "In-Reply-To": sent,
            "References": sent,
            **({"Auto-Submitted": "auto-replied"} if body.get("auto") else {}),
            "Content-Type": "text/plain; charset=utf-8",
        }
        # A line break in a header would let the caller of the control call write headers of its own.
        headers = "\n".join(f"{name}: {' '.join(value.splitlines())}" for name, value in lines.items())
        fields = {
            "headers": headers + "\n",
            "dkim": f"{{@{stored.recipient.rpartition('@')[2]} : pass}}",
            "to": to,
            "from": stored.recipient,
            "sender_ip": "192.0.2.10",
            "envelope": json.dumps({"to": [to], "from": stored.recipient}),
            "attachments": "0",
            "subject": subject,
            "text": text,
            "charsets": json.dumps(dict.fromkeys(("to", "from", "subject", "text"), "UTF-8")),
            "SPF": "pass",
        }
        encoded, content_type = encode_multipart_formdata(fields)
        token = quote(self._world.settings.secret("inbound_token"), safe="")
        url = f"{self._world.settings.webhooks_to.rstrip('/')}/webhooks/sendgrid/inbound?token={token}"
        self._world.courier.send(Webhook("sendgrid", url, encoded, content_type, about=identity))
        return JSONResponse({"id": identity, "from": stored.recipient, "to": to, "in_reply_to": sent})

    def _unsubscribe(self, stored: Stored) -> Response:
        """Do what a mailbox provider does at one click (RFC 8058)."""
        headers = {name.lower(): value for name, value in letter(stored).headers.items()}
        listed = _LISTED.search(headers.get("list-unsubscribe", ""))
        if listed is None or "one-click" not in headers.get("list-unsubscribe-post", "").lower():
            raise HTTPException(409, "that mail offers no one-click unsubscribe (List-Unsubscribe[-Post])")
        webhook = Webhook("sendgrid", listed[1], b"List-Unsubscribe=One-Click", "application/x-www-form-urlencoded")
        self._world.courier.send(webhook)
        return JSONResponse({"url": listed[1]})
