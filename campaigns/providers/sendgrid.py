"""Email through SendGrid's v3 mail/send: many people per call, each text exactly as rendered.

What is the same for all travels once (the common beginning and end of the texts), what differs per
person travels as substitutions. https://www.twilio.com/docs/sendgrid/api-reference/mail-send/mail-send
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

import orjson
from pydantic import SecretStr

from campaigns.providers.base import Asked, EmailEnvelope, LookUp, Outcome, Receipt, Search, messages_per_call_of
from campaigns.providers.email_activity import activity_of
from campaigns.providers.lanes import StopLanesError
from campaigns.providers.pace import Pace
from campaigns.providers.sharing import HTML_TAG, REPLY_TO_TAG, TEXT_TAG, SharedParts, groups_of, share
from campaigns.providers.streams import StreamLanes, request, request_head
from campaigns.providers.transport import Answer, Transport, problems_with_url, safe_detail
from outreach.vocabulary import Channel, NoticeClass

# A bad key or a sender that is not verified is mended by a person, not by the next attempt.
SETTINGS_RETRY_SECONDS = 300.0
MAX_PERSONALIZATIONS = 1000  # per request, SendGrid's limit


class SendGrid:
    """Sends email; a call that fails for one person is split until that person is found."""

    name = "sendgrid"
    channel = Channel.EMAIL

    def __init__(
        self,
        *,
        base_url: str,
        api_key: SecretStr | None,
        messages_per_call: int = 50,
        messages_per_bulk_call: int | None = None,
        connections: int = 16,
        timeout_seconds: float = 20,
        unsubscribe_groups: Mapping[NoticeClass, int] | None = None,
        bypass_for_safety: bool = False,
        email_activity: bool = False,
        pace: Pace | None = None,
    ) -> None:
        self.messages_per_call = max(1, min(messages_per_call, MAX_PERSONALIZATIONS))
        self.window = min(MAX_PERSONALIZATIONS, self.messages_per_call * connections * 2)
        self.bulk_messages_per_call = max(1, min(messages_per_bulk_call or messages_per_call, MAX_PERSONALIZATIONS))
        self.bulk_window = min(MAX_PERSONALIZATIONS, self.bulk_messages_per_call * connections * 2)
        self._pace = pace
        self._base_url = base_url
        self._api_key = api_key
        self._unsubscribe_groups = dict(unsubscribe_groups or {})
        self._bypass_for_safety = bypass_for_safety
        self._email_activity = email_activity
        self._transport = Transport(base_url, connections=1, timeout_seconds=timeout_seconds)  # to search
        self._lanes: StreamLanes[EmailEnvelope] = StreamLanes(
            self.name, base_url, connections=connections, timeout_seconds=timeout_seconds
        )
        key = api_key.get_secret_value() if api_key else ""
        self._headers = {
            "Authorization": f"Bearer {key}",
            "Content-Type": "application/json",
            "User-Agent": "outreach",
        }
        self._head = request_head(base_url, "/v3/mail/send", self._headers)

    def send(self, envelopes: Sequence[EmailEnvelope], *, deadline: float) -> list[Receipt]:
        """Send each envelope; one receipt per envelope, in order."""
        if not envelopes:
            return []
        # A chunk is of one class.
        numbered = groups_of(envelopes, messages_per_call_of(self, envelopes[0].notice_class))
        receipts: dict[int, Receipt] = {}
        calls = 0
        while numbered:
            groups = [[envelopes[i] for i in numbers] for numbers in numbered]
            found = self._lanes.run(groups, self._request, _receipts, deadline=deadline, pace=self._pace, first=calls)
            calls += len(groups)
            halves: list[list[int]] = []
            for numbers, results in zip(numbered, found, strict=True):
                if len(numbers) > 1 and results[0].outcome is Outcome.REJECTED:
                    # The whole call was refused because of at least one person: find her, spare the rest.
                    half = len(numbers) // 2
                    halves += [numbers[:half], numbers[half:]]
                else:
                    receipts.update(zip(numbers, results, strict=True))
            numbered = halves
        return [receipts[i] for i in range(len(envelopes))]

    def body_for(self, group: Sequence[EmailEnvelope]) -> dict[str, Any]:
        """Return the JSON of one call; all of `group` share sender, class and reply domain."""
        first, shared = group[0], share(group)
        body: dict[str, Any] = {
            "from": _person(first.from_address, first.from_name),
            "subject": first.subject,
            "personalizations": [self._personalization(e, first, shared) for e in group],
            "content": [
                {"type": "text/plain", "value": shared.text.pattern(TEXT_TAG)},
                {"type": "text/html", "value": shared.html.pattern(HTML_TAG)},
            ],
        }
        if first.reply_to is not None:
            body["reply_to"] = {"email": shared.reply_to or first.reply_to}
        if group_id := self._unsubscribe_groups.get(first.notice_class):
            body["asm"] = {"group_id": group_id}
        if self._bypass_for_safety and first.notice_class is NoticeClass.SAFETY:
            body["mail_settings"] = {"bypass_list_management": {"enable": True}}
        return body

    def look_up(self, message_id: UUID, to: str, since: datetime, body: str | None = None) -> LookUp:  # noqa: ARG002
        """Ask Email Activity about one message."""
        return self.look_up_many([Asked(message_id, to, since)])[message_id]

    def look_up_many(self, asked: Sequence[Asked]) -> dict[UUID, LookUp]:
        """Ask Email Activity, a paid add-on, about many messages with few calls; without it nothing can be asked."""
        if not self._email_activity:
            unable = LookUp(Search.UNABLE, detail="SendGrid can be searched only with its Email Activity add-on.")
            return dict.fromkeys((one.message_id for one in asked), unable)
        return activity_of(asked, lambda path: self._transport.call("GET", path, headers=self._headers))

    def check(self) -> list[str]:
        """Return what is wrong with the settings."""
        problems = problems_with_url("OUTREACH_SENDGRID_URL", self._base_url)
        key = self._api_key.get_secret_value() if self._api_key else ""
        if not key:
            problems.append("OUTREACH_SENDGRID_API_KEY is not set: email cannot be sent.")
        elif key != key.strip() or not key.isprintable():
            problems.append("OUTREACH_SENDGRID_API_KEY holds a space or a line break: copy it again.")
        return problems

    def close(self) -> None:
        """Let connections and threads go."""
        self._lanes.close()
        self._transport.close()

    def _personalization(self, envelope: EmailEnvelope, first: EmailEnvelope, shared: SharedParts) -> dict[str, Any]:
        person: dict[str, Any] = {
            "to": [_person(envelope.to, envelope.to_name)],
            "custom_args": {"message_id": str(envelope.message_id)},
        }
        if envelope.subject != first.subject:
            person["subject"] = envelope.subject
        if envelope.headers:
            person["headers"] = dict(envelope.headers)
        values: dict[str, str] = {}
        if not shared.text.identical:
            values[TEXT_TAG] = shared.text.middle(envelope.text)
        if not shared.html.identical:
            values[HTML_TAG] = shared.html.middle(envelope.html)
        if shared.reply_to is not None and envelope.reply_to is not None:
            values[REPLY_TO_TAG] = envelope.reply_to.rpartition("@")[0]
        if values:
            person["substitutions"] = values
        return person

    def _request(self, group: Sequence[EmailEnvelope]) -> bytes:
        return request(self._head, orjson.dumps(self.body_for(group)))


def _receipts(group: Sequence[EmailEnvelope], answer: Answer, call: int) -> list[Receipt]:
    outcome = _outcome_of(answer)
    provider_id = answer.headers.get("x-message-id") if outcome is Outcome.ACCEPTED else None
    detail = None if outcome is Outcome.ACCEPTED else _detail_of(answer)
    wait = _wait_of(answer) if outcome is Outcome.REFUSED else None
    receipts = [Receipt(e.message_id, outcome, provider_id, answer.status, detail, wait, call=call) for e in group]
    if outcome is Outcome.REFUSED:
        raise StopLanesError(receipts)
    return receipts


def _person(address: str, name: str | None) -> dict[str, str]:
    return {"email": address, "name": name} if name else {"email": address}


def _outcome_of(answer: Answer) -> Outcome:
    """https://www.twilio.com/docs/sendgrid/api-reference/how-to-use-the-sendgrid-v3-api/responses"""
    if answer.status == 202:
        return Outcome.ACCEPTED
    if answer.status == 200 and ("x-message-id" in answer.headers or answer.body.strip() in {b"", b"{}"}):
        return Outcome.ACCEPTED  # sandbox mode
    if answer.status in {401, 403, 404, 429} or 300 <= answer.status < 400:
        return Outcome.REFUSED
    if answer.status != 408 and 400 <= answer.status < 500:
        return Outcome.REJECTED
    return Outcome.UNKNOWN


def _wait_of(answer: Answer) -> float | None:
    return answer.retry_after_seconds if answer.status == 429 else SETTINGS_RETRY_SECONDS


def _detail_of(answer: Answer) -> str | None:
    try:
        errors = orjson.loads(answer.body)["errors"]
        words = "; ".join(f"{e.get('field') or ''} {e.get('message')}".strip() for e in errors[:3])
    except (orjson.JSONDecodeError, KeyError, TypeError, AttributeError):
        words = "the answer could not be read"
    return safe_detail(f"{answer.status}: {words}")
