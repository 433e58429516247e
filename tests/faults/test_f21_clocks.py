"""F21: the clocks of two workers are wrong by two hours; leases and due times are the database's."""

import pytest

from outreach.vocabulary import Channel
from tests.faults.conftest import Install
from tests.faults.judge import a_campaign_on, expect_everybody_once, rest

PEOPLE = 200


@pytest.mark.faults
def test_workers_whose_clocks_are_hours_apart_share_the_work(database: str, install: Install) -> None:
    installation = install({"sendgrid": {"latency_ms": 60, "accept_then_drop": 0.1}})
    a_campaign_on(Channel.EMAIL, PEOPLE)
    crowd = [
        installation.start("tests.faults.plain_worker", "email", PLAIN_WORKER_CLOCK_HOURS=hours)
        for hours in ("2", "-2")
    ]
    rest()
    for worker in crowd:
        installation.kill(worker)
    expect_everybody_once(installation, PEOPLE)
    assert "leases ran out" not in installation.log()
