"""The email wire: `POST /v3/mail/send`, and the event webhook that follows each mail."""

import hashlib
import json
import secrets
import time
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from sandbox import email_activity
from sandbox.recipients import DROPPED, Step, email_story
from sandbox.record import Accepted
from sandbox.rules.sendgrid import Problem, problems
from sandbox.webhooks import EventBatch
from sandbox.wire import read_body, same, with_faults
from sandbox.world import World

MAX_BYTES = 30 * 1024 * 1024
SUPPRESSED_BY = {"bounce": "Bounced Address", "spamreport": "Spam Reporting Address"}
EVENTS_PATH = "/webhooks/sendgrid/events"


class SendGrid:
    """Answers and behaves like SendGrid, down to dropping mail for addresses that bounced before."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._suppressed: dict[str, str] = world.record.load("suppressed")
        url = world.settings.webhooks_to.rstrip("/") + EVENTS_PATH
        self._events = EventBatch(world.courier, "sendgrid", url, world.signatures.sendgrid)

    def routes(self) -> list[Route]:
        """Return the routes of this wire."""
        return [
            Route("/v3/mail/send", self._send, methods=["POST"]),
            Route("/v3/messages", self._search, methods=["GET"]),
        ]

    def forget(self) -> None:
        """Forget which addresses bounced, and the events that wait."""
        self._suppressed.clear()
        self._events.forget()

    def _denied(self, request: Request) -> Response | None:
        scheme, _, key = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer" and same(key.strip(), self._world.settings.secret("sendgrid_key")):
            return None
        return _errors(401, Problem("The provided authorization grant is invalid, expired, or revoked", None))

    async def _search(self, request: Request) -> Response:
        return self._denied(request) or await email_activity.answer(self._world, request)

    async def _send(self, request: Request) -> Response:
        if denied := self._denied(request):
            return denied

        async def accept() -> tuple[Response, str]:
            return await self._accept(request)

        return await with_faults(self._world.faults, "sendgrid", accept, self._refusal)

    def _refusal(self, status: int) -> Response:
        if status == 500:
            return _errors(500, Problem("An internal server error occurred.", None))
        pause = self._world.faults.of("sendgrid").retry_after_seconds
        answer = _errors(429, Problem("too many requests", None))
        answer.headers["Retry-After"] = str(pause)
        answer.headers["X-RateLimit-Limit"] = "600"
        answer.headers["X-RateLimit-Remaining"] = "0"
        answer.headers["X-RateLimit-Reset"] = str(int(time.time()) + pause)
        return answer

    async def _accept(self, request: Request) -> tuple[Response, str]:
        body = await read_body(request, MAX_BYTES)
        if body is None:
            return _errors(413, Problem("The JSON payload you have included in your request is too large.", None)), ""
        try:
            mail = json.loads(body)
        except ValueError:
            return _errors(400, Problem("Bad Request", None)), ""
        wrong = problems(mail) or [Problem(text, None) for text in self._world.official("sendgrid", mail)]
        if wrong:
            return _errors(400, *wrong), ""
        if ((mail.get("mail_settings") or {}).get("sandbox_mode") or {}).get("enable"):
            return Response(status_code=200), ""
        base = secrets.token_urlsafe(16)
        messages = _messages(mail, base)
        await self._world.record.accept("sendgrid", request.url.path, mail, messages)
        for message in messages:
            self._tell(mail, message)
        return Response(status_code=202, headers={"X-Message-Id": base}), messages[0].message_id or ""

    def _tell(self, mail: dict[str, Any], message: Accepted) -> None:
        settings = self._world.settings
        now = time.time()
        for step in self._story(mail, message.recipient):
            event = _event(mail, message, step, int(now + step.after * settings.pace_seconds))
            self._events.add(event, step.arrives_after * settings.pace_seconds, message.message_id or "")
            reason = SUPPRESSED_BY.get(step.name)
            if reason and step.facts.get("type") != "blocked":
                self._suppressed[message.recipient.lower()] = reason
                self._world.record.put("suppressed", message.recipient.lower(), reason)

    def _story(self, mail: dict[str, Any], address: str) -> tuple[Step, ...]:
        reason = self._suppressed.get(address.lower())
        bypass = ((mail.get("mail_settings") or {}).get("bypass_list_management") or {}).get("enable")
        if reason and not bypass:
            return (Step("dropped", 0, {**DROPPED.facts, "reason": reason}),)
        return email_story(address, self._world.faults.of("sendgrid").outcomes, self._world.settings.seed)


def _messages(mail: dict[str, Any], base: str) -> list[Accepted]:
    """Return one message per addressee; `sg_message_id` begins with the X-Message-Id of the answer."""
    return [
        Accepted(
            message_id=_custom_args(mail, position).get("message_id"),
            recipient=address["email"],
            sender=(person.get("from") or mail["from"])["email"],
            provider_id=f"{base}.recvd-sandbox-{position}-{number}",
            position=position,
        )
        for position, person in enumerate(mail["personalizations"])
        for number, address in enumerate(person["to"])
    ]


def _custom_args(mail: dict[str, Any], position: int) -> dict[str, str]:
    """Return the custom arguments of one personalization; its own win over those of the message."""
    return {**(mail.get("custom_args") or {}), **(mail["personalizations"][position].get("custom_args") or {})}


def smtp_id(provider_id: str) -> str:
    """Return the Message-ID header that the recipient sees."""
    return f"<{provider_id}@sandbox.invalid>"


def _event(mail: dict[str, Any], message: Accepted, step: Step, timestamp: int) -> dict[str, Any]:
    # A repeated step has the same identity, as a webhook that SendGrid delivers twice.
    identity = hashlib.sha256(f"{message.provider_id}:{step.name}:{step.after}".encode()).digest()[:16].hex()
    event: dict[str, Any] = {
        **_custom_args(mail, message.position),
        "email": message.recipient,
        "timestamp": timestamp,
        "smtp-id": smtp_id(message.provider_id),
        "event": step.name,
        "sg_event_id": identity,
        "sg_message_id": message.provider_id,
        **step.facts,
    }
    if mail.get("categories"):
        event["category"] = mail["categories"]
    if step.name == "bounce" and step.after > 1:
        # An asynchronous bounce: the mailbox provider answers later, and SendGrid no longer names the message.
        del event["sg_message_id"], event["smtp-id"]
    return event


def _errors(status: int, *found: Problem) -> Response:
    listed = [{"message": problem.message, "field": problem.field, "help": None} for problem in found]
    return JSONResponse({"errors": listed}, status)
