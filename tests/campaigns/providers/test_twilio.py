"""Twilio: its errors in our words, its search, and the bytes of the official SDK."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any
from urllib.parse import parse_qs, quote_plus, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr
from twilio.rest import Client  # type: ignore[import-untyped]

from campaigns.providers.base import LookUp, Outcome, Receipt, Search
from campaigns.providers.twilio import Twilio, form_value
from campaigns.providers.twilio_errors import ERRORS
from outreach.vocabulary import SuppressionReason
from tests.campaigns.providers.cases import JSON, TWILIO, message_id, sms
from tests.campaigns.providers.wire import Wire, as_json, http_server

SINCE = datetime(2026, 5, 1, 12, 0, tzinfo=UTC)
TO = "+15550000001"


@contextmanager
def twilio(answers: Any, sender: str = "+15550009999") -> Iterator[tuple[Wire, Twilio]]:
    """A server and the adapter pointed at it."""
    with http_server(answers) as wire:
        made = Twilio(
            base_url=wire.url,
            account_sid="AC" + "0" * 32,
            auth_token=SecretStr("t"),
            sender=sender,
            connections=2,
            timeout_seconds=2,
        )
        yield wire, made
        made.close()


def send_one(code: int, status: int = 400, headers: dict[str, str] | None = None) -> Receipt:
    """Send one message to a server that answers with an error."""
    body = as_json({"code": code, "message": "no", "status": status, "more_info": ""})
    with twilio({"accept": (status, {**JSON, **(headers or {})}, body)}) as (_, made):
        (receipt,) = made.send([sms(1)], deadline=time.monotonic() + 5)
    return receipt


@pytest.mark.parametrize(
    ("code", "status", "outcome"),
    [
        (21211, 400, Outcome.REJECTED),
        (21614, 400, Outcome.REJECTED),
        (21610, 400, Outcome.REJECTED),
        (30005, 400, Outcome.REJECTED),
        (30006, 400, Outcome.REJECTED),
        (99999, 400, Outcome.REJECTED),
        (20429, 429, Outcome.REFUSED),
        (21606, 400, Outcome.REFUSED),
        (21611, 429, Outcome.REFUSED),
        (20003, 401, Outcome.REFUSED),
        (20500, 500, Outcome.UNKNOWN),
        (20503, 503, Outcome.UNKNOWN),
    ],
)
def test_their_errors_become_our_outcomes(code: int, status: int, outcome: Outcome) -> None:
    receipt = send_one(code, status)
    assert receipt.outcome is outcome
    assert receipt.status_code == status
    assert str(code) in (receipt.detail or "")


@pytest.mark.parametrize(
    ("code", "bars"),
    [
        (21610, SuppressionReason.OPTED_OUT_AT_PROVIDER),
        (21211, SuppressionReason.UNUSABLE_NUMBER),
        (21614, SuppressionReason.UNUSABLE_NUMBER),
        (30005, SuppressionReason.UNUSABLE_NUMBER),
        (30006, SuppressionReason.UNUSABLE_NUMBER),
    ],
)
def test_what_is_said_of_the_number_bars_it(code: int, bars: SuppressionReason) -> None:
    assert send_one(code).bars is bars
    # Beside trouble at Twilio it proves nothing.
    assert send_one(code, 500).bars is None


@pytest.mark.parametrize("status", [400, 401, 403, 404, 429])
@pytest.mark.parametrize(
    "code",
    # The account, our sender, the words, the queue, what nobody knows: https://www.twilio.com/docs/api/errors
    [20003, 20404, 20429, 21212, 21408, 21606, 21611, 21617, 21659, 30001, 30002, 30003, 30007, 30034, 99999],
)
def test_what_is_said_of_the_account_the_sender_or_the_words_bars_nobody(code: int, status: int) -> None:
    assert send_one(code, status).bars is None


def test_every_error_has_words_and_only_what_is_refused_for_good_bars() -> None:
    assert all(error.words for error in ERRORS.values())
    assert all(error.outcome is Outcome.REJECTED for error in ERRORS.values() if error.bars)


def test_the_rate_limit_carries_its_wait() -> None:
    assert send_one(20429, 429, {"Retry-After": "11"}).retry_after_seconds == 11


def form(wire: Wire) -> dict[str, list[str]]:
    """The last form sent."""
    return parse_qs(wire.calls[-1].body.decode(), keep_blank_values=True)


def test_the_request_is_that_of_the_official_sdk() -> None:
    with twilio(TWILIO.answers) as (wire, made):
        made.send([sms(1)], deadline=time.monotonic() + 5)
        stock = Client("AC" + "0" * 32, "t")
        stock.api.base_url = wire.url
        stock.messages.create(
            to=TO,
            from_="+15550009999",
            body=sms(1).body,
            status_callback=f"https://example.com/webhooks/twilio/status?message_id={message_id(1)}",
        )
        stock.http_client.session.close()
        ours, theirs = wire.calls
    assert parse_qs(ours.body.decode()) == parse_qs(theirs.body.decode())
    assert (ours.method, ours.path) == (theirs.method, theirs.path)
    assert ours.headers["authorization"] == theirs.headers["authorization"]


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_a_form_is_written_as_the_standard_library_writes_it(text: str) -> None:
    assert form_value(text) == quote_plus(text)


def test_our_id_joins_the_callback_address_and_keeps_its_query() -> None:
    with twilio(TWILIO.answers) as (wire, made):
        made.send([sms(1, status_callback="https://example.com/w?a=1&b=")], deadline=time.monotonic() + 5)
        (callback,) = form(wire)["StatusCallback"]
    assert parse_qs(urlsplit(callback).query, keep_blank_values=True) == {
        "a": ["1"],
        "b": [""],
        "message_id": [str(message_id(1))],
    }


def test_a_messaging_service_is_used_by_its_identifier() -> None:
    with twilio(TWILIO.answers, sender="MG" + "1" * 32) as (wire, made):
        made.send([sms(1, status_callback=None)], deadline=time.monotonic() + 5)
        sent = form(wire)
    assert sent["MessagingServiceSid"] == ["MG" + "1" * 32]
    assert "From" not in sent
    assert "StatusCallback" not in sent


def listed(*messages: tuple[str, str, timedelta]) -> dict[str, Any]:
    """Twilio's list of (sid, body, age relative to SINCE)."""
    page = {
        "messages": [
            {"sid": sid, "body": body, "direction": "outbound-api", "date_created": format_datetime(SINCE + after)}
            for sid, body, after in messages
        ],
        "next_page_uri": None,
    }
    return {"accept": (200, JSON, as_json(page))}


def look_up(answers: dict[str, Any], body: str | None = "text") -> tuple[LookUp, Wire]:
    """Search."""
    with twilio(answers) as (wire, made):
        return made.look_up(message_id(1), TO, SINCE, body), wire


def test_the_same_text_to_the_same_number_is_found() -> None:
    found, wire = look_up(listed(("SM2", "other", timedelta(1)), ("SM1", "text", timedelta(seconds=5))))
    assert found == LookUp(Search.FOUND, "SM1")
    assert parse_qs(urlsplit(wire.calls[0].path).query)["To"] == [TO]


def test_an_older_message_with_the_same_text_is_not_it() -> None:
    found, _ = look_up(listed(("SM0", "text", timedelta(hours=-1))))
    assert found.search is Search.ABSENT


def test_an_empty_list_is_absence() -> None:
    assert look_up(listed())[0].search is Search.ABSENT


def test_another_text_to_the_same_number_may_be_ours() -> None:
    # Our data may have changed since, or Twilio the letters (smart encoding): sending again could tell her twice.
    found, _ = look_up(listed(("SM2", "other", timedelta(seconds=5)), ("SM0", "text", timedelta(hours=-1))))
    assert found.search is Search.UNABLE


def test_without_the_text_there_is_no_search() -> None:
    found, wire = look_up(listed(), body=None)
    assert found.search is Search.UNABLE
    assert wire.calls == []


def test_check_names_each_missing_setting() -> None:
    made = Twilio(base_url="https://api.twilio.com", account_sid=None, auth_token=None, sender="")
    told = " ".join(made.check())
    made.close()
    assert all(name in told for name in ("ACCOUNT_SID", "AUTH_TOKEN", "SMS_FROM"))
