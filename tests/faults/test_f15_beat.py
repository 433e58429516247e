"""F15: no beat, two beats, a beat whose clock is wrong by an hour."""

import time

import pytest
from sqlalchemy import text

from campaigns.sweeps import plan_all
from outreach.db import transaction
from outreach.vocabulary import Channel
from tests.faults.conftest import Install
from tests.faults.judge import (
    a_campaign_on,
    expect_everybody_once,
    judge,
    make_due,
    open_messages,
    record_of,
    rest,
)
from tests.installation import until

ODD = "tests.faults.odd_process"


@pytest.mark.faults
def test_without_beat_nothing_is_lost_and_two_beats_double_nothing(database: str, install: Install) -> None:
    people = 300
    installation = install({"sendgrid": {"latency_ms": 50}})
    a_campaign_on(Channel.EMAIL, people)
    installation.start_worker()
    time.sleep(8)
    # Nobody rang: the worker has nothing to do, and everything that is due is a row that waits.
    assert not record_of(installation)
    installation.start_beat()
    installation.start_beat()
    rest()
    expect_everybody_once(installation, people)
    with transaction() as session:
        notices = session.scalar(text("SELECT count(*) FROM notices"))
    assert notices == people


@pytest.mark.faults
def test_what_nobody_rang_for_in_time_is_not_sent_late(database: str, install: Install) -> None:
    people = 40
    installation = install()
    campaign_id = a_campaign_on(Channel.EMAIL, people)
    with transaction() as session:
        session.execute(text("UPDATE campaigns SET not_after = clock_timestamp() + interval '3 seconds'"))
    plan_all(campaign_id)
    installation.start_worker()
    time.sleep(5)
    installation.start_beat()
    installation.start_beat()
    rest()
    judged = judge(installation)
    assert (judged.accepted, judged.states) == (0, {"expired": people})


@pytest.mark.faults
@pytest.mark.parametrize("hours", ["1", "-1"])
def test_a_beat_whose_clock_is_an_hour_off_rings_all_the_same_and_once(
    database: str, install: Install, hours: str
) -> None:
    people, now = 100, 60
    installation = install()
    plan_all(a_campaign_on(Channel.EMAIL, people))
    with transaction() as session:
        # By the database's clock: some are due now, the others in half an hour, and nobody is too late.
        session.execute(text("UPDATE chunks SET due_at = clock_timestamp() + interval '30 minutes'"))
        session.execute(text("UPDATE campaigns SET not_after = clock_timestamp() + interval '50 minutes'"))
    make_due(now)
    installation.start_worker()
    installation.start(ODD, "beat", ODD_CLOCK_HOURS=hours)
    until(lambda: open_messages() == people - now, seconds=60, what="an end of what is due")
    rings = installation.log().count("Scheduler: Sending")
    until(lambda: installation.log().count("Scheduler: Sending") > rings + 50, what="a few more rings")
    assert sum(record_of(installation).values()) == now
    with transaction() as session:
        session.execute(text("UPDATE chunks SET due_at = clock_timestamp() WHERE state = 'ready'"))
    rest()
    expect_everybody_once(installation, people)
