"""The email wire, through the official SDK and its own signature check."""

import json
from typing import Any

import pytest
from python_http_client.exceptions import HTTPError
from sendgrid.helpers.eventwebhook import EventWebhook
from sendgrid.helpers.mail import Content, Mail

from tests.sandbox.running import SECRETS, Sandbox, person

EVENTS = "/webhooks/sendgrid/events"


def events(sandbox: Sandbox) -> list[dict[str, Any]]:
    sandbox.settle()
    return [event for one in sandbox.receiver.at(EVENTS) for event in json.loads(one.body)]


def names(sandbox: Sandbox, address: str) -> list[str]:
    return [event["event"] for event in events(sandbox) if event["email"] == address]


def test_a_mail_of_the_official_sdk_is_accepted_and_delivered(sandbox: Sandbox) -> None:
    mail = Mail(("care@example.com", "Care"), "jane@example.com", "We found a fault")
    mail.add_content(Content("text/plain", "Hello"))
    answer = sandbox.sendgrid().send(mail)
    assert answer.status_code == 202
    assert answer.headers["X-Message-Id"]
    found = events(sandbox)
    assert [event["event"] for event in found] == ["processed", "delivered"]
    assert found[0]["sg_message_id"].startswith(answer.headers["X-Message-Id"])


def test_every_personalization_is_one_recorded_message_with_its_own_words(sandbox: Sandbox) -> None:
    people = [
        person("a@example.com", "m-a", substitutions={"{name}": "Ann", "{key}": "r1"}),
        person("b@example.com", "m-b", subject="Hello {name}", substitutions={"{name}": "Bob", "{key}": "r2"}),
    ]
    content = [{"type": "text/plain", "value": "Dear {name}"}]
    reply_to = {"email": "reply+{key}@reply.example.com"}
    assert sandbox.mail(*people, content=content, reply_to=reply_to, subject="Your order, {name}").status == 202
    second, first = sandbox.get("/_sandbox/accepted", provider="sendgrid")["accepted"]
    assert (first["to"], first["message_id"], first["subject"]) == ("a@example.com", "m-a", "Your order, Ann")
    assert (second["subject"], second["text"]) == ("Hello Bob", "Dear Bob")
    assert second["reply_to"] == "reply+r2@reply.example.com"
    assert len(second["request"]["personalizations"]) == 2


def test_a_value_that_looks_like_a_tag_is_not_filled_again(sandbox: Sandbox) -> None:
    values = {"{a}": "see {b}", "{b}": "secret"}
    content = [{"type": "text/plain", "value": "{a}"}]
    sandbox.mail(person("a@example.com", "m", substitutions=values), content=content)
    assert sandbox.get("/_sandbox/accepted")["accepted"][0]["text"] == "see {b}"


def test_events_are_signed_as_sendgrid_signs_and_carry_custom_arguments_and_categories(sandbox: Sandbox) -> None:
    sandbox.mail(person("jane@example.com", "m-1"), categories=["notice"], custom_args={"campaign": "7"})
    sandbox.settle()
    verifier = EventWebhook(sandbox.get("/_sandbox/keys")["sendgrid_public_key"])
    (one,) = sandbox.receiver.at(EVENTS)
    signature = one.headers["x-twilio-email-event-webhook-signature"]
    timestamp = one.headers["x-twilio-email-event-webhook-timestamp"]
    assert verifier.verify_signature(one.body.decode(), signature, timestamp)
    assert not verifier.verify_signature(one.body.decode() + " ", signature, timestamp)
    event = json.loads(one.body)[0]
    assert (event["message_id"], event["campaign"], event["category"]) == ("m-1", "7", ["notice"])


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("bounce@example.com", ["processed", "bounce"]),
        ("jane+bounce3@example.com", ["processed", "bounce"]),
        ("defer.7@example.com", ["processed", "deferred", "delivered"]),
        ("dup@example.com", ["processed", "processed", "delivered", "delivered"]),
        ("complain@example.com", ["processed", "delivered", "spamreport"]),
        ("drop@example.com", ["dropped"]),
        ("silent@example.com", []),
        ("dupont@example.com", ["processed", "delivered"]),
    ],
)
def test_the_local_part_decides_what_happens(sandbox: Sandbox, address: str, expected: list[str]) -> None:
    sandbox.mail(person(address, "m"))
    assert sorted(names(sandbox, address)) == sorted(expected)


def test_out_of_order_events_arrive_late_but_keep_their_time(sandbox: Sandbox) -> None:
    sandbox.mail(person("ooo@example.com", "m"))
    first, second = events(sandbox)
    assert (first["event"], second["event"]) == ("delivered", "processed")
    assert second["timestamp"] <= first["timestamp"]


def test_a_doubled_event_keeps_its_identity(sandbox: Sandbox) -> None:
    sandbox.mail(person("dup@example.com", "m"))
    found = events(sandbox)
    assert len(found) == 4
    assert len({event["sg_event_id"] for event in found}) == 2


def test_an_address_that_bounced_is_dropped_the_next_time(sandbox: Sandbox) -> None:
    sandbox.mail(person("bounce@example.com", "m-1"))
    sandbox.settle()
    sandbox.mail(person("bounce@example.com", "m-2"))
    last = events(sandbox)[-1]
    assert (last["event"], last["reason"], last["message_id"]) == ("dropped", "Bounced Address", "m-2")


def test_sandbox_mode_answers_200_and_sends_nothing(sandbox: Sandbox) -> None:
    answer = sandbox.mail(person("jane@example.com"), mail_settings={"sandbox_mode": {"enable": True}})
    assert answer.status == 200
    assert events(sandbox) == []
    assert sandbox.get("/_sandbox/counts")["accepted"] == {}


def test_a_wrong_key_is_refused_in_sendgrids_words(sandbox: Sandbox) -> None:
    client = sandbox.sendgrid()
    client._auth = "Bearer wrong"
    client.client.request_headers["Authorization"] = "Bearer wrong"
    with pytest.raises(HTTPError) as refused:
        client.client.mail.send.post(request_body={})
    assert refused.value.status_code == 401
    assert json.loads(refused.value.body)["errors"][0].keys() == {"message", "field", "help"}


def test_a_body_over_30_megabytes_is_refused_with_413(sandbox: Sandbox) -> None:
    large = [{"type": "text/plain", "value": "x" * (30 * 1024 * 1024)}]
    assert sandbox.mail(person("jane@example.com"), content=large).status == 413


def test_a_body_that_is_not_json_is_a_400(sandbox: Sandbox) -> None:
    headers = {"Authorization": f"Bearer {SECRETS['sendgrid_key']}"}
    answer = sandbox.http.request("POST", sandbox.url + "/v3/mail/send", body=b"{", headers=headers)
    assert answer.status == 400
