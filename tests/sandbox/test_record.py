"""The durable record: nothing that was answered is lost, whatever happens to the process; and it is fast."""

import json
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import urllib3

from sandbox.record import Record
from sandbox.settings import SandboxSettings
from tests.sandbox.receiver import Receiver
from tests.sandbox.running import ROOT, SECRETS, Sandbox, person, postcard


def test_counts_tell_duplicates_by_recipient_and_message_id(sandbox: Sandbox) -> None:
    sandbox.mail(person("a@example.com", "m-1"), person("b@example.com", "m-2"))
    sandbox.mail(person("a@example.com", "m-1"), person("c@example.com"))
    counts = sandbox.get("/_sandbox/counts")
    assert counts["accepted"] == {"sendgrid": 4}
    assert counts["distinct_message_ids"] == {"sendgrid": 2}
    assert (counts["duplicates"], counts["without_message_id"]) == (1, 1)
    assert counts["duplicated"] == [{"provider": "sendgrid", "to": "a@example.com", "message_id": "m-1", "count": 2}]


def test_a_reset_drops_the_webhooks_that_wait(sandbox: Sandbox) -> None:
    sandbox.post("/_sandbox/faults", {"sendgrid": {"webhooks": {"delay_seconds": 60}}})
    sandbox.mail(person("a@example.com", "m-1"))
    assert sandbox.get("/_sandbox/idle") == {"idle": False, "waiting": 2}
    sandbox.post("/_sandbox/reset", {})
    assert sandbox.get("/_sandbox/idle") == {"idle": True, "waiting": 0}
    assert sandbox.get("/_sandbox/counts")["accepted"] == {}


def test_everything_that_was_answered_survives_a_kill(own_home: Path, receiver: Receiver) -> None:
    sandbox = Sandbox(own_home, receiver, "--lob-window-seconds", "60")
    answered: list[str] = []

    def send(worker: int) -> None:
        for number in range(10_000):
            try:
                status = sandbox.mail(person(f"w{worker}@example.com", f"{worker}-{number}")).status
            except urllib3.exceptions.HTTPError:
                return
            if status == 202:
                answered.append(f"{worker}-{number}")

    card = sandbox.lob("POST", body=postcard("m-1"), Idempotency_Key="k-1").json()["id"]
    sandbox.text("+12025550142")
    sandbox.post("/_sandbox/reply", {"channel": "sms", "to": "+12025550142", "text": "STOP"})
    threads = [threading.Thread(target=send, args=(worker,)) for worker in range(4)]
    for thread in threads:
        thread.start()
    time.sleep(0.5)
    sandbox.kill()
    for thread in threads:
        thread.join()
    sandbox.start()
    try:
        found = sandbox.get("/_sandbox/accepted", provider="sendgrid", limit="10000")["accepted"]
        assert len(answered) > 20
        assert set(answered) <= {one["message_id"] for one in found}
        again = sandbox.lob("POST", body=postcard("m-1"), Idempotency_Key="k-1").json()["id"]
        assert again == card
        assert sandbox.text("+12025550142").json()["code"] == 21610
    finally:
        sandbox.stop()


@pytest.mark.timeout(60)
def test_thousands_of_messages_pass_with_all_their_webhooks(sandbox: Sandbox) -> None:
    def mails(block: int) -> int:
        people = [person(f"p{block}-{number}@example.com", f"{block}-{number}") for number in range(100)]
        return sandbox.mail(*people).status

    def text(number: int) -> int:
        url = f"{sandbox.receiver.url}/webhooks/twilio/status?message_id={number}"
        return sandbox.text(f"+1202556{number:04d}"[:-1] + "9", StatusCallback=url).status

    with ThreadPoolExecutor(8) as threads:
        assert set(threads.map(mails, range(20))) == {202}
        assert set(threads.map(text, range(300))) == {201}
    sandbox.settle(30)
    counts = sandbox.get("/_sandbox/counts")
    assert counts["accepted"] == {"sendgrid": 2000, "twilio": 300}
    assert counts["duplicates"] == 0
    batches = [json.loads(one.body) for one in sandbox.receiver.at("/webhooks/sendgrid/events")]
    assert sum(map(len, batches)) == 4000
    assert max(map(len, batches)) <= 100
    assert len(sandbox.receiver.at("/webhooks/twilio/status")) == 600


def test_secrets_that_are_not_given_are_made_once_and_kept_private(own_home: Path) -> None:
    given = SandboxSettings(home=own_home, sendgrid_key=SECRETS["sendgrid_key"]).with_secrets()  # type: ignore[arg-type]
    again = SandboxSettings(home=own_home).with_secrets()
    assert given.secret("sendgrid_key") == SECRETS["sendgrid_key"]
    assert given.secret("twilio_token") == again.secret("twilio_token")
    assert given.secret("desk_secret").startswith("whsec_")
    assert (own_home / "secrets.json").stat().st_mode & 0o077 == 0
    assert given.secret("lob_key") not in repr(given)


def test_one_job_that_cannot_be_stored_fails_alone(tmp_path: Path) -> None:
    record = Record(tmp_path)
    jobs = [record.put("thing", name, {"name": name}) for name in ("a", "\ud800", "b")]
    assert jobs[0].result(5) is None
    with pytest.raises(UnicodeEncodeError):
        jobs[1].result(5)
    assert jobs[2].result(5) is None
    assert record.load("thing") == {"a": {"name": "a"}, "b": {"name": "b"}}
    record.close()


@pytest.mark.parametrize(
    ("option", "value", "reason"),
    [
        ("--faults", '{"sendgrid": {"explode": 1}}', "explode"),
        ("--openapi", "/nowhere", "cannot start"),
        ("--desk-secret", "whsec_???", "base64"),
        ("--port", "0", "port"),
    ],
)
def test_a_wrong_option_is_named_and_ends_the_start(own_home: Path, option: str, value: str, reason: str) -> None:
    command = [sys.executable, "-m", "sandbox", "--home", str(own_home), option, value]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=20, check=False)
    assert ended.returncode == 2
    assert reason in ended.stderr
    assert "Traceback" not in ended.stderr
