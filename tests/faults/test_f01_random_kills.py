"""F1: a random worker is killed every 200 ms while providers drop answers and report late, or not at all."""

import random

import pytest

from outreach.vocabulary import Channel
from tests.faults.conftest import Install
from tests.faults.judge import a_campaign_on, expect_everybody_once, open_messages, planned, rest
from tests.faults.nemesis import keep_killing
from tests.installation import until

FAULTS = {"accept_then_drop": 0.01, "error_after_accept": 0.01, "latency_ms": 20, "webhooks": {"lose": 0.1}}


@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    ("channel", "people", "workers"),
    [
        pytest.param(Channel.EMAIL, 400, 2, id="email-small"),
        pytest.param(Channel.EMAIL, 12_000, 4, marks=pytest.mark.faults, id="email"),
        pytest.param(Channel.SMS, 3_000, 4, marks=pytest.mark.faults, id="sms"),
        pytest.param(Channel.POSTCARD, 250, 3, marks=pytest.mark.faults, id="postcard"),
    ],
)
def test_killed_workers_lose_nobody_and_tell_nobody_twice(
    database: str, install: Install, channel: Channel, people: int, workers: int
) -> None:
    knobs = {**FAULTS, "latency_ms": 100} if people < 1000 else FAULTS
    installation = install(dict.fromkeys(("sendgrid", "twilio", "lob"), knobs))
    installation.start_api()
    a_campaign_on(channel, people)
    crowd = [installation.start("tests.faults.plain_worker", channel.value) for _ in range(workers)]
    until(lambda: open_messages() > people // 2, what="the plan")
    # While enough is left that somebody has to die for it; then they may finish in peace.
    # On a machine too busy to send anything within 200 ms the small run would otherwise never end.
    most = 20 if people < 500 else 5_000
    kills = keep_killing(crowd, random.Random(7), every=0.2, most=most, until=lambda: open_messages() <= people // 10)
    # Whoever planned may have been killed at each try until now, and what PostgreSQL still does for the dead comes
    # first: tables that nobody has analysed yet make it slow to find out who is planned already.
    until(lambda: planned() == people, seconds=180, what="a plan for everybody")
    rest(120)
    for worker in crowd:
        installation.kill(worker)
    print(f"{people} {channel} messages, {kills} kills")  # noqa: T201 - the figure of the row
    assert kills >= 5
    expect_everybody_once(installation, people)
