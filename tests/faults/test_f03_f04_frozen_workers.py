"""F3, F4: a worker stands still for longer than its lease, and than lease and grace together, and then goes on.

No software on our side can fence an HTTP provider: a worker frozen between its last look at the clock and the write
to the socket would tell one call's people twice. The grace is 15 minutes by default for that reason. Everywhere else
in the protocol a pause of any length is harmless, which is what these tests show.
"""

import os
import random
import re
import signal
import time
from pathlib import Path

import pytest
from sqlalchemy import text

from outreach.db import transaction
from outreach.vocabulary import Channel
from tests.faults.conftest import Install
from tests.faults.judge import a_campaign_on, expect_everybody_once, open_messages, rest
from tests.faults.nemesis import children, freeze
from tests.installation import until

LEASE = 2


def fenced(log: str) -> int:
    """Return how many receipts came too late to count."""
    return sum(int(number) for number in re.findall(r"fenced=(\d+)", log))


@pytest.mark.faults
@pytest.mark.parametrize(("seconds", "pauses"), [(2 * LEASE, 6), (LEASE + 1 + 4, 6)], ids=["F3", "F4"])
def test_a_frozen_worker_wakes_up_to_a_closed_gate(
    database: str, install: Install, seconds: float, pauses: int
) -> None:
    people = 2400  # three chunks, so that each of the two workers has work
    # Dropped webhooks leave it to search and fence alone. Many calls, so that there is work left after some pauses.
    installation = install({"sendgrid": {"latency_ms": 250, "webhooks": {"lose": 1.0}}}, email_messages_per_call="2")
    a_campaign_on(Channel.EMAIL, people)
    crowd = [installation.start("tests.faults.plain_worker", "email") for _ in range(2)]
    # Somebody else notices, while the two are sending.
    sweeper = installation.start("tests.faults.plain_worker", "email", PLAIN_WORKER_SENDS="no")
    dice, frozen = random.Random(3), 0
    while frozen < pauses and (open_messages() > people // 20 or frozen == 0):
        time.sleep(0.3 + dice.random() * 0.3)
        frozen += freeze(crowd, dice, seconds)
    rest(90)
    time.sleep(1)
    for worker in (*crowd, sweeper):
        installation.kill(worker)
    expect_everybody_once(installation, people)
    assert frozen >= 2
    assert "leases ran out" in installation.log(), f"{frozen} pauses, and nobody noticed one"
    assert fenced(installation.log()) > 0


def test_a_worker_frozen_before_its_call_does_not_call_any_more(
    database: str, install: Install, tmp_path: Path
) -> None:
    people = 10
    installation = install({"sendgrid": {"webhooks": {"lose": 1.0}}})
    trigger = tmp_path / "frozen"
    trigger.touch()
    a_campaign_on(Channel.EMAIL, people)
    frozen = installation.start(
        "tests.faults.plain_worker", "email", OUTREACH_CRASH_AT=f"freeze after_sending_commit:{trigger}"
    )
    until(lambda: not trigger.exists(), what="the freeze")
    # Another one finds the lease run out, the grace over, the provider without the messages: and sends them.
    other = installation.start("tests.faults.plain_worker", "email")
    rest()
    for pid in children(frozen):
        os.kill(pid, signal.SIGCONT)
    until(lambda: fenced(installation.log()) >= people, what="the end of the frozen worker's window")
    for worker in (frozen, other):
        installation.kill(worker)
    expect_everybody_once(installation, people)


@pytest.mark.faults
def test_the_watchdog_ends_a_worker_that_hangs_and_another_goes_on(
    database: str, install: Install, tmp_path: Path
) -> None:
    people = 60
    # The grace is longer than the watchdog's patience: the frozen process never wakes up.
    installation = install(task_seconds="4", reconcile_grace_seconds="6")
    trigger = tmp_path / "frozen"
    trigger.touch()
    a_campaign_on(Channel.EMAIL, people)
    worker = installation.start_worker(OUTREACH_CRASH_AT=f"freeze after_sending_commit:{trigger}")
    installation.start_beat()
    until(lambda: not trigger.exists(), seconds=60, what="the freeze")
    stopped = [pid for pid in children(worker) if state_of(pid) == "T"]
    assert len(stopped) == 1
    until(lambda: state_of(stopped[0]) in {"", "Z"}, what="the end of the process that hangs")
    rest(60)
    assert worker.poll() is None, "the worker itself ended"
    expect_everybody_once(installation, people)
    with transaction() as session:
        assert session.scalar(text("SELECT total FROM sending_counts WHERE name = 'claim_lease_expired'")) >= 1


def state_of(pid: int) -> str:
    """Return the letter of a process's state, empty when it is gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except OSError:
        return ""
