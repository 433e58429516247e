"""The SMS wire, through the official SDK and its own signature check."""

from datetime import UTC, datetime
from urllib.parse import parse_qsl

import pytest
from twilio.base.exceptions import TwilioRestException  # type: ignore[import-untyped]
from twilio.request_validator import RequestValidator  # type: ignore[import-untyped]

from tests.sandbox.running import FROM_NUMBER, SECRETS, Sandbox

STATUS = "/webhooks/twilio/status"


def callback(sandbox: Sandbox, message_id: str) -> str:
    return f"{sandbox.receiver.url}{STATUS}?message_id={message_id}"


def statuses(sandbox: Sandbox) -> list[str]:
    sandbox.settle()
    return [dict(parse_qsl(one.body.decode()))["MessageStatus"] for one in sandbox.receiver.at(STATUS)]


def test_a_text_of_the_official_sdk_is_created_fetched_and_listed(sandbox: Sandbox) -> None:
    client = sandbox.twilio()
    made = client.messages.create(
        to="+12025550142", from_=FROM_NUMBER, body="Hello", status_callback=callback(sandbox, "m-1")
    )
    assert (made.status, made.direction, made.num_segments, made.error_code) == ("queued", "outbound-api", "1", None)
    fetched = client.messages(made.sid).fetch()
    assert (fetched.sid, fetched.body, fetched.status) == (made.sid, "Hello", "delivered")
    client.messages.create(to="+12025550143", from_=FROM_NUMBER, body="Other")
    listed = client.messages.list(to="+12025550142", date_sent=datetime.now(UTC).date())
    assert [message.sid for message in listed] == [made.sid]
    later = datetime(2099, 1, 1, tzinfo=UTC)
    assert client.messages.list(to="+12025550142", date_sent_after=later) == []
    row = sandbox.get("/_sandbox/accepted", provider="twilio", to="+12025550142")["accepted"][0]
    assert (row["message_id"], row["provider_id"], row["text"]) == ("m-1", made.sid, "Hello")


def test_the_list_is_paged(sandbox: Sandbox) -> None:
    for _ in range(5):
        sandbox.text("+12025550142")
    assert len(sandbox.twilio().messages.list(to="+12025550142", page_size=2)) == 5


def test_status_callbacks_are_signed_for_their_address(sandbox: Sandbox) -> None:
    url = callback(sandbox, "m-1")
    sandbox.text("+12025550142", StatusCallback=url)
    assert statuses(sandbox) == ["sent", "delivered"]
    validator = RequestValidator(SECRETS["twilio_token"])
    for one in sandbox.receiver.at(STATUS):
        fields = dict(parse_qsl(one.body.decode(), keep_blank_values=True))
        assert one.path.endswith("message_id=m-1")
        assert validator.validate(url, fields, one.headers["x-twilio-signature"])
        assert not validator.validate(url, fields | {"MessageStatus": "read"}, one.headers["x-twilio-signature"])


@pytest.mark.parametrize(
    ("number", "expected"),
    [
        ("+12025550001", ["sent", "undelivered"]),
        ("+12025550004", ["delivered", "sent"]),
        ("+12025550005", ["delivered", "delivered", "sent", "sent"]),
        ("+12025550006", ["sent"]),
    ],
)
def test_the_last_digits_decide_what_happens(sandbox: Sandbox, number: str, expected: list[str]) -> None:
    sandbox.text(number, StatusCallback=callback(sandbox, "m"))
    assert sorted(statuses(sandbox)) == sorted(expected)


def test_an_unreachable_number_is_undelivered_with_its_code(sandbox: Sandbox) -> None:
    sid = sandbox.text("+12025550001", StatusCallback=callback(sandbox, "m")).json()["sid"]
    sandbox.settle()
    fields = [dict(parse_qsl(one.body.decode())) for one in sandbox.receiver.at(STATUS)]
    assert [one.get("ErrorCode") for one in fields if one["MessageStatus"] == "undelivered"] == ["30005"]
    assert sandbox.twilio().messages(sid).fetch().error_code == 30005


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"to": "+12025550002", "body": "x", "from_": FROM_NUMBER}, 21211),
        ({"to": "not a number", "body": "x", "from_": FROM_NUMBER}, 21211),
        ({"to": "+12025550142", "body": "x" * 1601, "from_": FROM_NUMBER}, 21617),
        ({"to": "+12025550142", "body": "x"}, 21603),
        ({"to": "+12025550142", "from_": FROM_NUMBER}, 21602),
        ({"to": "+12025550142", "body": "x", "from_": FROM_NUMBER, "status_callback": "nowhere"}, 21609),
        ({"to": "+12025550142", "body": "x", "from_": FROM_NUMBER, "validity_period": 36001}, 21623),
    ],
)
def test_a_text_that_twilio_refuses_is_refused_with_its_code(
    sandbox: Sandbox, fields: dict[str, str], code: int
) -> None:
    with pytest.raises(TwilioRestException) as refused:
        sandbox.twilio().messages.create(**fields)
    assert (refused.value.status, refused.value.code) == (400, code)
    assert sandbox.get("/_sandbox/counts")["accepted"] == {}


def test_a_wrong_token_and_a_foreign_account_are_refused(sandbox: Sandbox) -> None:
    client = sandbox.twilio()
    client.auth = (SECRETS["twilio_sid"], "wrong")
    with pytest.raises(TwilioRestException) as refused:
        client.messages("SM" + "0" * 32).fetch()
    assert (refused.value.status, refused.value.code) == (401, 20003)
    with pytest.raises(TwilioRestException) as missing:
        sandbox.twilio().messages("SM" + "0" * 32).fetch()
    assert (missing.value.status, missing.value.code) == (404, 20404)


def test_stop_bars_the_pair_of_numbers_until_start(sandbox: Sandbox) -> None:
    sandbox.text("+12025550142")
    sandbox.post("/_sandbox/reply", {"channel": "sms", "to": "+12025550142", "text": "Stop"})
    with pytest.raises(TwilioRestException) as refused:
        sandbox.twilio().messages.create(to="+12025550142", from_=FROM_NUMBER, body="x")
    assert refused.value.code == 21610
    sandbox.post("/_sandbox/reply", {"channel": "sms", "to": "+12025550142", "text": "START"})
    assert sandbox.text("+12025550142").status == 201
    sandbox.settle()
    inbound = [dict(parse_qsl(one.body.decode())) for one in sandbox.receiver.at("/webhooks/twilio/inbound")]
    assert sorted(one["OptOutType"] for one in inbound) == ["START", "STOP"]


@pytest.mark.parametrize(
    ("body", "expected"), [("x" * 160, 1), ("x" * 161, 2), ("ł" * 70, 1), ("ł" * 71, 2), ("€" * 80, 1), ("€" * 81, 2)]
)
def test_segments_are_counted_by_alphabet(sandbox: Sandbox, body: str, expected: int) -> None:
    assert sandbox.text("+12025550142", Body=body).json()["num_segments"] == str(expected)
