"""Text messages through Twilio: sending writes the official client's requests itself, many at once; searching uses it.

https://www.twilio.com/docs/messaging/api/message-resource
"""

import base64
import re
import threading
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any
from urllib.parse import parse_qsl, quote, urlencode, urlsplit, urlunsplit
from uuid import UUID

import orjson
import twilio.http  # type: ignore[import-untyped]
from pydantic import SecretStr
from twilio.base.exceptions import TwilioException  # type: ignore[import-untyped]
from twilio.http.response import Response  # type: ignore[import-untyped]
from twilio.rest import Client  # type: ignore[import-untyped]

from campaigns.providers.base import LookUp, Outcome, Receipt, Search, SmsEnvelope
from campaigns.providers.lanes import StopLanesError
from campaigns.providers.pace import Pace
from campaigns.providers.streams import StreamLanes, request, request_head
from campaigns.providers.transport import (
    Answer,
    MaybeSentError,
    NotSentError,
    Transport,
    problems_with_url,
    safe_detail,
)
from campaigns.providers.twilio_errors import meaning_of
from outreach.vocabulary import Channel

SETTINGS_RETRY_SECONDS = 300.0
MAX_LOOK_UP_MESSAGES = 500
# Our clock and Twilio's may differ by this much.
CLOCK_SKEW = timedelta(minutes=2)

_OTHER_TEXTS = LookUp(Search.UNABLE, detail="Twilio has other texts to this number since; ours may be one of them.")


class PooledHttpClient(twilio.http.HttpClient):  # type: ignore[misc]
    """The SDK's transport, over kept-alive connections; keeps each thread's last answer and deadline."""

    def __init__(self, transport: Transport) -> None:
        super().__init__(None, False, None)
        self._transport = transport
        self._local = threading.local()

    @property
    def last_answer(self) -> Answer | None:
        """The answer to this thread's last request: the SDK's errors carry no headers."""
        answer: Answer | None = getattr(self._local, "answer", None)
        return answer

    def set_deadline(self, deadline: float | None) -> None:
        """Set the deadline of this thread's next request."""
        self._local.deadline = deadline
        self._local.answer = None

    def request(
        self,
        method: str,
        url: str,
        params: dict[str, object] | None = None,
        data: dict[str, object] | None = None,
        headers: dict[str, str] | None = None,
        auth: tuple[str, str] | None = None,
        timeout: float | None = None,  # noqa: ARG002 - the transport has its own
        allow_redirects: bool = False,  # noqa: ARG002 - never
    ) -> Response:
        """Make one request for the SDK; raises NotSentError or MaybeSentError instead of answering."""
        sent = dict(headers or {})
        body = None
        if auth:
            sent["Authorization"] = "Basic " + base64.b64encode(":".join(auth).encode()).decode()
        if params:
            url += ("&" if "?" in url else "?") + urlencode(params, doseq=True)
        if data is not None:
            body = urlencode(data, doseq=True).encode()
            sent["Content-Type"] = "application/x-www-form-urlencoded"
        answer = self._transport.call(
            method, url, headers=sent, body=body, deadline=getattr(self._local, "deadline", None)
        )
        self._local.answer = answer
        return Response(answer.status, answer.body.decode(errors="replace"), headers=dict(answer.headers))


class Twilio:
    """Sends text messages, one call each, over a few lanes."""

    name = "twilio"
    channel = Channel.SMS
    messages_per_call = 1

    def __init__(
        self,
        *,
        base_url: str,
        account_sid: str | None,
        auth_token: SecretStr | None,
        sender: str,
        connections: int = 16,
        timeout_seconds: float = 20,
        pace: Pace | None = None,
    ) -> None:
        self.window = max(1, connections) * 8
        self._pace = pace
        self._base_url = base_url
        self._account_sid = account_sid
        self._auth_token = auth_token
        # A Messaging Service chooses the number itself.
        self._sender = sender
        self._sender_field = "&" + urlencode({"MessagingServiceSid" if sender.startswith("MG") else "From": sender})
        self._transport = Transport(base_url, connections=connections, timeout_seconds=timeout_seconds)
        self._http = PooledHttpClient(self._transport)
        self._lanes: StreamLanes[SmsEnvelope] = StreamLanes(
            self.name, base_url, connections=connections, timeout_seconds=timeout_seconds
        )
        token = auth_token.get_secret_value() if auth_token else ""
        self._head = _head(base_url, account_sid or "not set", token)
        # The SDK refuses to be built without credentials; `check` says what is missing.
        self._client = Client(account_sid or "not set", token or "not set", http_client=self._http)
        self._client.api.base_url = base_url.rstrip("/")

    def send(self, envelopes: Sequence[SmsEnvelope], *, deadline: float) -> list[Receipt]:
        """Send each envelope; one receipt per envelope, in order."""
        groups = [[envelope] for envelope in envelopes]
        found = self._lanes.run(groups, self._request, _receipts, deadline=deadline, pace=self._pace)
        return [receipt for receipts in found for receipt in receipts]

    def look_up(self, message_id: UUID, to: str, since: datetime, body: str | None = None) -> LookUp:  # noqa: ARG002
        """Search the messages to one number for the very same text.

        Twilio returns neither our id nor the callback address, so the text is all there is: the same
        text to the same number counts as this message. ABSENT only when the list was read back to `since` and
        holds no other text of ours: our data, or Twilio's smart encoding, may have changed the letters since.
        """
        if body is None:
            return LookUp(Search.UNABLE, detail="Twilio can be searched only by the exact text.")
        earliest = since.astimezone(UTC) - CLOCK_SKEW
        seen, others = 0, 0
        absent = LookUp(Search.ABSENT)
        try:
            self._http.set_deadline(None)
            for message in self._client.messages.stream(to=to, limit=MAX_LOOK_UP_MESSAGES, page_size=50):
                seen += 1
                if message.date_created is None:
                    continue
                if message.date_created < earliest:
                    return _OTHER_TEXTS if others else absent
                if str(message.direction or "").startswith("outbound"):
                    if message.body == body:
                        return LookUp(Search.FOUND, message.sid)
                    others += 1
        except (NotSentError, MaybeSentError, TwilioException, ValueError, KeyError) as error:
            return LookUp(Search.UNABLE, detail=f"Twilio did not answer ({type(error).__name__})")
        if seen >= MAX_LOOK_UP_MESSAGES:
            return LookUp(Search.UNABLE, detail="too many messages to this number to search them all")
        return _OTHER_TEXTS if others else absent

    def check(self) -> list[str]:
        """Return what is wrong with the settings."""
        problems = problems_with_url("OUTREACH_TWILIO_URL", self._base_url)
        if not (self._account_sid or "").startswith("AC"):
            problems.append("OUTREACH_TWILIO_ACCOUNT_SID must be set; it begins with AC.")
        if not self._auth_token or not self._auth_token.get_secret_value().strip():
            problems.append("OUTREACH_TWILIO_AUTH_TOKEN is not set: text messages cannot be sent.")
        if not self._sender.startswith(("+", "MG")):
            problems.append("OUTREACH_SMS_FROM must be a number such as +15551230000 or a Messaging Service (MG…).")
        return problems

    def close(self) -> None:
        """Let connections and threads go."""
        self._lanes.close()
        self._transport.close()

    def _request(self, group: Sequence[SmsEnvelope]) -> bytes:
        """Return the bytes of the request; a test holds them equal to those of the official SDK."""
        (envelope,) = group
        form = f"To={form_value(envelope.to)}&Body={form_value(envelope.body)}{self._sender_field}"
        if envelope.status_callback:
            form += f"&StatusCallback={_callback_field(envelope.status_callback)}{envelope.message_id}"
        return request(self._head, form.encode())


def _receipts(group: Sequence[SmsEnvelope], answer: Answer, call: int) -> list[Receipt]:
    return [_receipt(group[0], answer, call)]


def _receipt(envelope: SmsEnvelope, answer: Answer, call: int) -> Receipt:
    try:
        found = orjson.loads(answer.body)
    except orjson.JSONDecodeError:
        found = None
    said: dict[str, Any] = found if isinstance(found, dict) else {}
    if 200 <= answer.status < 300:
        sid = said.get("sid")
        if isinstance(sid, str) and sid:
            return Receipt(envelope.message_id, Outcome.ACCEPTED, sid, 201, call=call)
        # It may well have been accepted.
        detail = "the answer could not be read"
        return Receipt(envelope.message_id, Outcome.UNKNOWN, None, answer.status, detail, call=call)
    code = said.get("code", answer.status)
    words = said.get("message", "the answer could not be read")
    return _classified(envelope, answer.status, code if isinstance(code, int) else None, code, words, call, answer)


def _classified(
    envelope: SmsEnvelope,
    status: int | None,
    code: int | None,
    shown: Any,
    words: str,
    call: int,
    answer: Answer | None,
) -> Receipt:
    outcome = _outcome_of(status or 0, code)
    wait = None
    if outcome is Outcome.REFUSED:
        wait = answer.retry_after_seconds if answer else None
        if wait is None and status != 429:
            wait = SETTINGS_RETRY_SECONDS
    receipt = Receipt(
        envelope.message_id,
        outcome,
        status_code=status,
        detail=safe_detail(f"{shown or status}: {words}"),
        retry_after_seconds=wait,
        # Only with a refusal of this very message: a code that comes with trouble at Twilio proves nothing.
        bars=meaning_of(code).bars if outcome is Outcome.REJECTED else None,
        call=call,
    )
    if outcome is Outcome.REFUSED and (status in {401, 403, 404, 429} or meaning_of(code).outcome is outcome):
        raise StopLanesError([receipt])
    return receipt


def _outcome_of(status: int, code: int | None) -> Outcome:
    if status >= 500 or status == 408:
        return Outcome.UNKNOWN
    if (known := meaning_of(code).outcome) is not None:
        return known
    if status in {401, 403, 404, 429} or 300 <= status < 400:
        return Outcome.REFUSED
    return Outcome.REJECTED if 400 <= status < 500 else Outcome.UNKNOWN


def _head(base_url: str, account_sid: str, auth_token: str) -> bytes:
    key = base64.b64encode(f"{account_sid}:{auth_token}".encode()).decode()
    headers = {
        "Authorization": f"Basic {key}",
        "Accept": "application/json",
        "Content-Type": "application/x-www-form-urlencoded",
    }
    return request_head(base_url, f"/2010-04-01/Accounts/{quote(account_sid)}/Messages.json", headers)


@lru_cache(maxsize=16)
def _callback_field(callback: str) -> str:
    """Return the callback address in a form, up to our id; Twilio signs the whole address, query included."""
    parts = urlsplit(callback)
    query = [*parse_qsl(parts.query, keep_blank_values=True), ("message_id", "")]
    return form_value(urlunsplit(parts._replace(query=urlencode(query))))


_TO_QUOTE = re.compile(r"[^A-Za-z0-9_.~ -]")


def form_value(text: str) -> str:
    """Return what `urllib.parse.quote_plus` would, which looks at every letter and takes six times as long."""
    return _TO_QUOTE.sub(_quoted, text).replace(" ", "+")


def _quoted(found: re.Match[str]) -> str:
    return _quoted_character(found[0])


@lru_cache(maxsize=4096)
def _quoted_character(character: str) -> str:
    return quote(character, safe="")
