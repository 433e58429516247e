"""Postcards through Lob, directly over HTTP. https://docs.lob.com/#tag/Postcards

Our message id is the Idempotency-Key (kept by Lob for 24 hours) and the metadata that a search finds.
"""

import base64
from collections.abc import Sequence
from datetime import datetime
from typing import Any
from urllib.parse import quote, urlencode
from uuid import UUID

import orjson
from pydantic import SecretStr

from campaigns.classes import POLICIES
from campaigns.providers.base import LookUp, Outcome, PostalAddress, PostcardEnvelope, Receipt, Search
from campaigns.providers.lanes import Lanes, StopLanesError
from campaigns.providers.pace import Pace
from campaigns.providers.transport import (
    Answer,
    MaybeSentError,
    NotSentError,
    Transport,
    problems_with_url,
    safe_detail,
)
from outreach.vocabulary import Channel, NoticeClass

# Lob's limit per endpoint and account: 150 requests in 5 seconds.
REQUESTS_PER_PERIOD = 150
PERIOD_SECONDS = 5.0
SETTINGS_RETRY_SECONDS = 300.0

# Lob asks what the mail is for; required unless the account has a default.
USE_TYPE: dict[NoticeClass, str] = {row.notice_class: row.postal_use for row in POLICIES.values()}


class Lob:
    """Sends postcards, one call each."""

    name = "lob"
    channel = Channel.POSTCARD
    messages_per_call = 1
    # Lob forgets an Idempotency-Key after 24 hours; then only its search tells whether a postcard was made, and
    # nothing is sent again without it, safety included.
    never_blind = True

    def __init__(
        self,
        *,
        base_url: str,
        api_key: SecretStr | None,
        connections: int = 8,
        timeout_seconds: float = 20,
        pace: Pace | None = None,
    ) -> None:
        self.window = max(1, connections) * 4
        self._base_url = base_url
        self._api_key = api_key
        self._transport = Transport(base_url, connections=connections, timeout_seconds=timeout_seconds)
        self._lanes: Lanes[PostcardEnvelope] = Lanes(self.name, connections, timeout_seconds=timeout_seconds)
        self._pace = pace or Pace(REQUESTS_PER_PERIOD, PERIOD_SECONDS)
        key = api_key.get_secret_value() if api_key else ""
        self._headers = {
            "Authorization": "Basic " + base64.b64encode(f"{key}:".encode()).decode(),
            "Content-Type": "application/json",
            "User-Agent": "outreach",
        }

    def send(self, envelopes: Sequence[PostcardEnvelope], *, deadline: float) -> list[Receipt]:
        """Send each envelope; one receipt per envelope, in order."""
        groups = [[envelope] for envelope in envelopes]
        found = self._lanes.run(
            groups, lambda group, call: [self._send_one(group[0], call, deadline)], deadline=deadline, pace=self._pace
        )
        return [receipt for receipts in found for receipt in receipts]

    def look_up(self, message_id: UUID, to: str, since: datetime, body: str | None = None) -> LookUp:  # noqa: ARG002
        """Search Lob by our id in the metadata."""
        query = urlencode({"metadata[message_id]": str(message_id), "limit": 1})
        try:
            answer = self._transport.call("GET", f"/v1/postcards?{query}", headers=self._headers)
            if answer.status != 200:
                return LookUp(Search.UNABLE, detail=_detail_of(answer))
            found = orjson.loads(answer.body)["data"]
            if not found:
                return LookUp(Search.ABSENT)
            if found[0]["metadata"]["message_id"] != str(message_id):
                return LookUp(Search.UNABLE, detail="Lob answered with another postcard")
            return LookUp(Search.FOUND, str(found[0]["id"]))
        except (NotSentError, MaybeSentError) as error:
            return LookUp(Search.UNABLE, detail=str(error))
        except (orjson.JSONDecodeError, KeyError, TypeError, IndexError):
            return LookUp(Search.UNABLE, detail="the answer could not be read")

    def withdraw(self, provider_id: str) -> Outcome:
        """Cancel a postcard that is not printed yet; REJECTED where it is too late."""
        try:
            answer = self._transport.call(
                "DELETE", f"/v1/postcards/{quote(provider_id, safe='')}", headers=self._headers
            )
        except NotSentError:
            return Outcome.REFUSED
        except MaybeSentError:
            return Outcome.UNKNOWN
        if answer.status == 200:
            return Outcome.ACCEPTED
        # 404: deleted by somebody else, or never there. Either way nothing can be taken back.
        return Outcome.REJECTED if answer.status in {404, 422} else Outcome.REFUSED

    def check(self) -> list[str]:
        """Return what is wrong with the settings."""
        problems = problems_with_url("OUTREACH_LOB_URL", self._base_url)
        key = self._api_key.get_secret_value() if self._api_key else ""
        if not key:
            problems.append("OUTREACH_LOB_API_KEY is not set: postcards cannot be sent.")
        elif key.startswith("test_") and self._base_url.startswith("https://api.lob.com"):
            problems.append("OUTREACH_LOB_API_KEY is a test key: nothing would be printed.")
        return problems

    def close(self) -> None:
        """Let connections and threads go."""
        self._lanes.close()
        self._transport.close()

    def _send_one(self, envelope: PostcardEnvelope, call: int, deadline: float) -> Receipt:
        body = orjson.dumps(body_for(envelope))
        answer = self._transport.call(
            "POST",
            "/v1/postcards",
            headers={**self._headers, "Idempotency-Key": str(envelope.message_id)},
            body=body,
            deadline=deadline,
        )
        provider_id = _id_of(answer)
        outcome = _outcome_of(answer.status, provider_id)
        wait = None
        if outcome is Outcome.REFUSED:
            wait = answer.retry_after_seconds if answer.status == 429 else SETTINGS_RETRY_SECONDS
        detail = None if outcome is Outcome.ACCEPTED else _detail_of(answer)
        receipt = Receipt(envelope.message_id, outcome, provider_id, answer.status, detail, wait, call=call)
        if outcome is Outcome.REFUSED:
            raise StopLanesError([receipt])
        return receipt


def body_for(envelope: PostcardEnvelope) -> dict[str, Any]:
    """Return the JSON that creates one postcard."""
    return {
        "to": _address(envelope.to),
        "from": _address(envelope.sender),
        "front": envelope.front,
        "back": envelope.back,
        "size": envelope.size,
        "use_type": USE_TYPE[envelope.notice_class],
        "metadata": {"message_id": str(envelope.message_id)},
    }


def _address(address: PostalAddress) -> dict[str, str]:
    fields = {
        "name": address.name,
        "address_line1": address.line1,
        "address_line2": address.line2,
        "address_city": address.city,
        "address_state": address.region,
        "address_zip": address.postal_code,
        "address_country": address.country,
    }
    return {name: value for name, value in fields.items() if value}


def _outcome_of(status: int, provider_id: str | None) -> Outcome:
    """https://docs.lob.com/#tag/Errors; 409: the same key is being worked on, so it may be accepted."""
    if status in {200, 201}:
        return Outcome.ACCEPTED if provider_id else Outcome.UNKNOWN
    if status in {401, 403, 404, 429} or 300 <= status < 400:
        return Outcome.REFUSED
    if 400 <= status < 500 and status not in {408, 409}:
        return Outcome.REJECTED
    return Outcome.UNKNOWN


def _id_of(answer: Answer) -> str | None:
    if answer.status not in {200, 201}:
        return None
    try:
        return str(orjson.loads(answer.body)["id"])
    except (orjson.JSONDecodeError, KeyError, TypeError):
        return None


def _detail_of(answer: Answer) -> str | None:
    try:
        words = orjson.loads(answer.body)["error"]["message"]
    except (orjson.JSONDecodeError, KeyError, TypeError):
        words = "the answer could not be read"
    return safe_detail(f"{answer.status}: {words}")
