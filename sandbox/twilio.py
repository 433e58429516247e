"""The SMS wire: create, fetch and list messages, opt-outs, and the status callbacks that follow."""

import secrets
import time
from collections import defaultdict
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import Any
from urllib.parse import parse_qs, parse_qsl, urlencode, urlsplit

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from sandbox.recipients import Step, sms_refusal, sms_story
from sandbox.record import Accepted
from sandbox.rules.twilio import Refusal, refusal, segments
from sandbox.wire import basic_credentials, read_body, same, with_faults
from sandbox.world import World

MAX_BYTES = 1024 * 1024
DATE_FILTERS = ("DateSent", "DateSent<", "DateSent>")
POOL_NUMBER = "+15005550006"
STOP_WORDS = frozenset(["STOP", "STOPALL", "UNSUBSCRIBE", "CANCEL", "END", "QUIT", "REVOKE", "OPTOUT"])
START_WORDS = frozenset(["START", "YES", "UNSTOP"])
PATH = "/2010-04-01/Accounts/{account}/Messages"
REFUSED_TEXT = {21211: "Invalid 'To' Phone Number", 21614: "'To' number is not a valid mobile number"}


class Twilio:
    """Answers and behaves like Twilio's Messages resource."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._messages: dict[str, dict[str, Any]] = world.record.load("sms")
        self._opted_out: dict[str, bool] = world.record.load("opted_out")
        self._by_recipient: defaultdict[str, list[str]] = defaultdict(list)
        for sid, message in self._messages.items():
            self._by_recipient[message["to"]].append(sid)

    def routes(self) -> list[Route]:
        """Return the routes of this wire."""
        return [
            Route(PATH + ".json", self._create, methods=["POST"]),
            Route(PATH + ".json", self._list, methods=["GET"]),
            Route(PATH + "/{sid}.json", self._fetch, methods=["GET"]),
        ]

    def forget(self) -> None:
        """Forget every message and opt-out."""
        self._messages.clear()
        self._opted_out.clear()
        self._by_recipient.clear()

    def heard(self, customer: str, sender: str, text: str) -> str | None:
        """Apply a customer's text to the opt-outs; return the OptOutType that Twilio adds to its webhook."""
        word = text.strip().upper()
        if word in STOP_WORDS:
            self._opted_out[f"{sender} {customer}"] = True
        elif word in START_WORDS:
            self._opted_out[f"{sender} {customer}"] = False
        else:
            return "HELP" if word in {"HELP", "INFO"} else None
        self._world.record.put("opted_out", f"{sender} {customer}", word in STOP_WORDS)
        return "STOP" if word in STOP_WORDS else "START"

    def _denied(self, request: Request) -> Response | None:
        given, settings = basic_credentials(request), self._world.settings
        account = settings.secret("twilio_sid")
        known = given and same(given[0], account) and same(given[1], settings.secret("twilio_token"))
        if not known:
            return _error(Refusal(20003, "Authenticate", 401))
        if request.path_params["account"] != account:
            return _error(Refusal(20404, f"The requested resource {request.url.path} was not found", 404))
        return None

    async def _create(self, request: Request) -> Response:
        denied = self._denied(request)
        if denied:
            return denied

        async def accept() -> tuple[Response, str]:
            return await self._accept(request)

        return await with_faults(self._world.faults, "twilio", accept, self._refusal)

    def _refusal(self, status: int) -> Response:
        if status == 500:
            return _error(Refusal(20500, "An internal server error has occurred", 500))
        answer = _error(Refusal(20429, "Too Many Requests", 429))
        answer.headers["Retry-After"] = str(self._world.faults.of("twilio").retry_after_seconds)
        return answer

    async def _accept(self, request: Request) -> tuple[Response, str]:
        body = await read_body(request, MAX_BYTES)
        if body is None:
            return _error(Refusal(21617, "The request is too large.", 413)), ""
        try:
            form = dict(parse_qsl(body.decode(), keep_blank_values=True))
        except UnicodeDecodeError:
            return _error(Refusal(20001, "The form is not UTF-8.")), ""
        refused = refusal(form) or self._refused_number(form)
        if refused is None:
            wrong = self._world.official("twilio", form)
            refused = Refusal(20001, wrong[0]) if wrong else None
        if refused:
            return _error(refused), ""
        message = _new_message(form, self._world.settings.secret("twilio_sid"))
        about = _message_id(form)
        accepted = Accepted(about, form["To"], form.get("From") or form["MessagingServiceSid"], message["sid"])
        await self._world.record.accept(
            "twilio", request.url.path, form, [accepted], [("sms", message["sid"], message)]
        )
        # The answer shows the resource as it was born, whatever the story makes of it meanwhile.
        answer = JSONResponse(_public(message), 201)
        self._messages[message["sid"]] = message
        self._by_recipient[form["To"]].append(message["sid"])
        self._live(message, form.get("StatusCallback"), about or "")
        return answer, about or ""

    def _refused_number(self, form: dict[str, str]) -> Refusal | None:
        code = sms_refusal(form["To"])
        if code:
            return Refusal(code, f"{REFUSED_TEXT[code]}: {form['To']}")
        sender = form.get("From") or POOL_NUMBER
        if self._opted_out.get(f"{sender} {form['To']}"):
            return Refusal(21610, "Attempt to send to unsubscribed recipient")
        return None

    def _live(self, message: dict[str, Any], callback: str | None, about: str) -> None:
        settings = self._world.settings
        shares = self._world.faults.of("twilio").outcomes
        story = sms_story(message["to"], shares, settings.seed)
        for step in story:
            self._apply(message, step)
            if callback:
                fields = _callback_fields(message, step)
                after = step.arrives_after * settings.pace_seconds
                self._world.post_form("twilio", callback, fields, after, about)
        if story:
            self._world.record.put("sms", message["sid"], message)

    def _apply(self, message: dict[str, Any], step: Step) -> None:
        """Move the resource along; its final state is visible at once, the callbacks take their time."""
        now = _rfc2822(time.time())
        code = step.facts.get("ErrorCode")
        message |= {"status": step.name, "date_updated": now, "error_code": code, "price": "-0.00790"}
        message["date_sent"] = message["date_sent"] or now
        message["error_message"] = "Unknown destination handset" if code else None

    async def _fetch(self, request: Request) -> Response:
        denied = self._denied(request)
        if denied:
            return denied
        message = self._messages.get(request.path_params["sid"])
        if message is None:
            return _error(Refusal(20404, f"The requested resource {request.url.path} was not found", 404))
        return JSONResponse(_public(message))

    async def _list(self, request: Request) -> Response:
        denied = self._denied(request)
        if denied:
            return denied
        query = request.query_params
        try:
            page, size = int(query.get("Page", 0)), min(1000, max(1, int(query.get("PageSize", 50))))
        except ValueError:
            return _error(Refusal(20001, "Page and PageSize must be numbers."))
        sids = self._by_recipient[query["To"]] if query.get("To") else list(self._messages)
        found = [self._messages[sid] for sid in reversed(sids)]
        found = [m for m in found if query.get("From") in (None, m["from"]) and _sent_when_asked(m, query)]
        return JSONResponse(_page(request, found, page, size))


def _new_message(form: dict[str, str], account: str) -> dict[str, Any]:
    sid = "SM" + secrets.token_hex(16)
    now = time.time()
    return {
        "sid": sid,
        "account_sid": account,
        "api_version": "2010-04-01",
        "body": form.get("Body", ""),
        "date_created": _rfc2822(now),
        "date_updated": _rfc2822(now),
        "date_sent": None,
        "direction": "outbound-api",
        "error_code": None,
        "error_message": None,
        "from": form.get("From"),
        "messaging_service_sid": form.get("MessagingServiceSid"),
        "num_media": "0",
        "num_segments": str(segments(form.get("Body", ""))),
        "price": None,
        "price_unit": "USD",
        "status": "queued" if form.get("From") else "accepted",
        "to": form["To"],
        "uri": f"/2010-04-01/Accounts/{account}/Messages/{sid}.json",
        "subresource_uris": {"media": f"/2010-04-01/Accounts/{account}/Messages/{sid}/Media.json"},
        "_created": now,
    }


def _public(message: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in message.items() if not name.startswith("_")}


def _message_id(form: dict[str, str]) -> str | None:
    """Return our own id, which travels in the address of the status callback."""
    return parse_qs(urlsplit(form.get("StatusCallback", "")).query).get("message_id", [None])[0]


def _callback_fields(message: dict[str, Any], step: Step) -> dict[str, str]:
    fields = {
        "MessageSid": message["sid"],
        "SmsSid": message["sid"],
        "MessageStatus": step.name,
        "SmsStatus": step.name,
        "AccountSid": message["account_sid"],
        "From": message["from"] or POOL_NUMBER,
        "To": message["to"],
        "ApiVersion": "2010-04-01",
    }
    if message["messaging_service_sid"]:
        fields["MessagingServiceSid"] = message["messaging_service_sid"]
    if "ErrorCode" in step.facts:
        fields["ErrorCode"] = str(step.facts["ErrorCode"])
    if step.name in {"delivered", "undelivered"}:
        fields["RawDlrDoneDate"] = datetime.now(UTC).strftime("%y%m%d%H%M")
    return fields


def _sent_when_asked(message: dict[str, Any], query: Mapping[str, str]) -> bool:
    """Filter as Twilio does: DateSent is a day, DateSent< and DateSent> are bounds that include their moment."""
    sent = datetime.fromtimestamp(message["_created"], UTC)
    try:
        asked = {name: datetime.fromisoformat(query[name]) for name in DATE_FILTERS if query.get(name)}
    except ValueError:
        return False
    zoned = {name: moment if moment.tzinfo else moment.replace(tzinfo=UTC) for name, moment in asked.items()}
    return (
        ("DateSent" not in zoned or sent.date() == zoned["DateSent"].date())
        and ("DateSent<" not in zoned or sent <= zoned["DateSent<"])
        and ("DateSent>" not in zoned or sent >= zoned["DateSent>"])
    )


def _page(request: Request, found: list[dict[str, Any]], page: int, size: int) -> dict[str, Any]:
    start = page * size

    def uri(number: int) -> str:
        query = {**request.query_params, "Page": str(number), "PageSize": str(size)}
        return f"{request.url.path}?{urlencode(query)}"

    shown = found[start : start + size]
    return {
        "messages": [_public(message) for message in shown],
        "page": page,
        "page_size": size,
        "start": start,
        "end": start + max(len(shown) - 1, 0),
        "uri": uri(page),
        "first_page_uri": uri(0),
        "next_page_uri": uri(page + 1) if len(found) > start + size else None,
        "previous_page_uri": uri(page - 1) if page else None,
    }


def _rfc2822(moment: float) -> str:
    return format_datetime(datetime.fromtimestamp(moment, UTC))


def _error(refused: Refusal) -> Response:
    body = {
        "code": refused.code,
        "message": refused.message,
        "more_info": f"https://www.twilio.com/docs/errors/{refused.code}",
        "status": refused.status,
    }
    return JSONResponse(body, refused.status)
