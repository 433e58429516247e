"""F15, F19: no beat, two beats, and a deployment in the middle of a campaign."""

import os
import signal
import time

import pytest
from sqlalchemy import text

from campaigns.sweeps import plan_all
from outreach.db import transaction
from outreach.vocabulary import Channel
from tests.faults.conftest import Install
from tests.faults.judge import a_campaign_on, expect_everybody_once, judge, record_of, rest
from tests.installation import until


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
@pytest.mark.timeout(400)
def test_a_rolling_deployment_loses_and_doubles_nothing(database: str, install: Install) -> None:
    people = 1200
    installation = install({"sendgrid": {"latency_ms": 150}}, email_messages_per_call="2")
    a_campaign_on(Channel.EMAIL, people)
    installation.start_beat()
    workers = [installation.start_worker()]
    for part in (1, 2, 3):
        until(lambda part=part: sum(record_of(installation).values()) >= people * part // 5, seconds=60)  # type: ignore[misc]
        ready = installation.log().count(" ready.")
        workers.append(installation.start_worker())
        until(lambda ready=ready: installation.log().count(" ready.") > ready, seconds=60, what="the new worker")  # type: ignore[misc]
        old = workers.pop(0)
        os.kill(old.pid, signal.SIGTERM)
        assert old.wait(60) == 0
    rest(90)
    expect_everybody_once(installation, people)
    assert "unregistered task" not in installation.log()
