"""Faults on demand: what fails, that it is recorded all the same, and that a seed repeats it."""

import json
from pathlib import Path
from typing import Any

import pytest
import urllib3
from sendgrid.helpers.eventwebhook import EventWebhook

from sandbox.faults import Faults
from tests.sandbox.running import Sandbox, person, postcard

EVENTS = "/webhooks/sendgrid/events"


def turn(sandbox: Sandbox, provider: str, **knobs: Any) -> None:
    sandbox.post("/_sandbox/faults", {provider: knobs})


def send(sandbox: Sandbox, provider: str) -> urllib3.BaseHTTPResponse:
    if provider == "sendgrid":
        return sandbox.mail(person("jane@example.com", "m"))
    if provider == "twilio":
        return sandbox.text("+12025550142")
    if provider == "lob":
        return sandbox.lob("POST", body=postcard())
    return sandbox.zendesk("POST", "/tickets.json", {"ticket": {"comment": {"body": "x"}}})


PROVIDERS = pytest.mark.parametrize("provider", ["sendgrid", "twilio", "lob", "desk"])


@PROVIDERS
def test_a_dropped_answer_was_accepted_and_recorded(sandbox: Sandbox, provider: str) -> None:
    turn(sandbox, provider, accept_then_drop={"first": 1})
    with pytest.raises(urllib3.exceptions.ProtocolError):
        send(sandbox, provider)
    assert sandbox.get("/_sandbox/counts")["accepted"] == {provider: 1}
    assert send(sandbox, provider).status < 300


@PROVIDERS
def test_an_error_after_acceptance_was_recorded_and_one_before_was_not(sandbox: Sandbox, provider: str) -> None:
    turn(sandbox, provider, error_after_accept={"first": 1})
    assert send(sandbox, provider).status == 500
    assert sandbox.get("/_sandbox/counts")["accepted"] == {provider: 1}
    turn(sandbox, provider, error_before_accept=True)
    assert send(sandbox, provider).status == 500
    assert sandbox.get("/_sandbox/counts")["accepted"] == {provider: 1}


@PROVIDERS
def test_a_rate_limit_says_when_to_come_back(sandbox: Sandbox, provider: str) -> None:
    turn(sandbox, provider, rate_limit={"every": 2}, retry_after_seconds=3)
    answers = [send(sandbox, provider) for _ in range(4)]
    assert [answer.status == 429 for answer in answers] == [False, True, False, True]
    assert answers[1].headers["Retry-After"] == "3"


def test_a_wrong_answer_is_not_json_though_the_text_was_accepted(sandbox: Sandbox) -> None:
    turn(sandbox, "twilio", wrong_json=True)
    answer = send(sandbox, "twilio")
    assert answer.status == 201
    with pytest.raises(ValueError):
        answer.json()
    assert sandbox.get("/_sandbox/counts")["accepted"] == {"twilio": 1}


def test_lost_doubled_and_forged_webhooks(sandbox: Sandbox) -> None:
    turn(sandbox, "sendgrid", webhooks={"lose": {"first": 1}, "duplicate": {"first": 1}})
    sandbox.mail(person("jane@example.com", "m"))
    sandbox.settle()
    got = [event["event"] for one in sandbox.receiver.at(EVENTS) for event in json.loads(one.body)]
    assert got == ["delivered", "delivered"]
    sandbox.receiver.received.clear()
    turn(sandbox, "sendgrid", webhooks={"bad_signature": True})
    sandbox.mail(person("jane@example.com", "m"))
    sandbox.settle()
    (one,) = sandbox.receiver.at(EVENTS)
    verifier = EventWebhook(sandbox.get("/_sandbox/keys")["sendgrid_public_key"])
    signature = one.headers["x-twilio-email-event-webhook-signature"]
    timestamp = one.headers["x-twilio-email-event-webhook-timestamp"]
    assert not verifier.verify_signature(one.body.decode(), signature, timestamp)


def test_a_webhook_that_is_not_taken_is_tried_again(sandbox: Sandbox) -> None:
    sandbox.receiver.answers.extend([500, 503])
    sandbox.mail(person("jane@example.com", "m"))
    sandbox.settle()
    bodies = [one.body for one in sandbox.receiver.at(EVENTS)]
    assert len(bodies) == 3
    assert len(set(bodies)) == 1
    assert sandbox.get("/_sandbox/counts")["webhooks"] == {
        "delivered": 1,
        "retried": 2,
        "answered_500": 1,
        "answered_503": 1,
    }


def test_a_share_of_the_unmarked_addresses_bounces(sandbox: Sandbox) -> None:
    turn(sandbox, "sendgrid", outcomes={"bounce": 0.5})
    sandbox.mail(*[person(f"jane{number}@example.com", str(number)) for number in range(60)])
    sandbox.settle()
    got = [event["event"] for one in sandbox.receiver.at(EVENTS) for event in json.loads(one.body)]
    assert 15 < got.count("bounce") < 45
    assert got.count("bounce") + got.count("delivered") == 60


def test_knobs_that_do_not_exist_or_are_no_probability_are_refused(sandbox: Sandbox) -> None:
    wrong: list[dict[str, Any]] = [{"sendgrid": {"explode": 1}}, {"sendgrid": {"rate_limit": 2}}, {"postal": {}}]
    for knobs in wrong:
        assert "cannot be set" in sandbox.post("/_sandbox/faults", knobs, expect=(400,))["error"]


def test_a_seed_repeats_every_decision_and_writes_it_down(tmp_path: Path) -> None:
    plan = json.dumps({"sendgrid": {"rate_limit": 0.3, "accept_then_drop": {"every": 3, "probability": 0.1}}})

    def run(seed: int, name: str) -> list[dict[str, Any]]:
        faults = Faults(plan, seed, tmp_path / name)
        for number in range(100):
            faults.strikes("sendgrid", "rate_limit", f"m-{number}")
            faults.strikes("sendgrid", "accept_then_drop", f"m-{number}")
        faults.close()
        return list(faults.decisions)

    first, again, other = run(7, "a"), run(7, "b"), run(8, "c")
    assert first == again != other
    assert 10 < sum(one["hit"] for one in first if one["knob"] == "sendgrid.rate_limit") < 50
    written = [json.loads(line) for line in (tmp_path / "a").read_text().splitlines()]
    assert written == first
