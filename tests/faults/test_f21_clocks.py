"""F21: the clocks of workers are wrong by two hours, or jump; leases and due times are the database's."""

import pytest

from outreach.vocabulary import Channel
from tests.faults.conftest import Install
from tests.faults.judge import a_campaign_on, expect_everybody_once, rest

PEOPLE = 200


@pytest.mark.faults
@pytest.mark.parametrize("hours", [("2", "-2"), ("0,2,-2,0,0.5", "0")], ids=["apart", "jumping"])
def test_workers_whose_clocks_are_hours_apart_share_the_work(
    database: str, install: Install, hours: tuple[str, ...]
) -> None:
    installation = install({"sendgrid": {"latency_ms": 60, "accept_then_drop": 0.1}})
    a_campaign_on(Channel.EMAIL, PEOPLE)
    crowd = [
        installation.start("tests.faults.plain_worker", "email", PLAIN_WORKER_CLOCK_HOURS=wrong) for wrong in hours
    ]
    rest()
    for worker in crowd:
        installation.kill(worker)
    expect_everybody_once(installation, PEOPLE)
    assert "leases ran out" not in installation.log()


@pytest.mark.faults
@pytest.mark.parametrize("hours", ["2", "-2"])
def test_a_worker_whose_clock_is_hours_off_hears_beat(database: str, install: Install, hours: str) -> None:
    installation = install()
    a_campaign_on(Channel.EMAIL, PEOPLE)
    installation.start("tests.faults.odd_process", "worker", "--concurrency", "2", ODD_CLOCK_HOURS=hours)
    installation.start_beat()
    rest()
    expect_everybody_once(installation, PEOPLE)
