"""A provider is away: it rests, its messages wait, one is tried now and then, and then everybody is told once."""

import os
import signal
import time
from collections import Counter
from typing import Any

from sqlalchemy import text

from campaigns.providers.configured import sms_provider
from campaigns.providers.weighted import WeightedSenders
from outreach.db import transaction
from outreach.settings import get_settings
from outreach.vocabulary import Channel
from tests.faults.conftest import Install
from tests.faults.judge import a_campaign_on, expect_everybody_once, record_of, rest
from tests.installation import Installation, until

PEOPLE = 300


def one_of(query: str) -> int:
    """Return the number that a query gives."""
    with transaction() as session:
        return int(session.scalar(text(query)) or 0)


def test_an_outage_is_waited_for_and_nobody_is_marked_failed(database: str, install: Install) -> None:
    installation = install({"sendgrid": {"error_before_accept": 1.0}})
    a_campaign_on(Channel.EMAIL, PEOPLE)
    crowd = [installation.start("tests.faults.plain_worker", "email") for _ in range(2)]
    until(lambda: one_of("SELECT count(*) FROM provider_circuits"), what="the rest")
    time.sleep(1)
    before = one_of("SELECT count(*) FROM attempts")
    time.sleep(4)
    # Tried after 1, 2 and 4 seconds, by one worker each time, with one message.
    assert one_of("SELECT count(*) FROM attempts") - before <= 3
    assert one_of("SELECT failed_tries FROM provider_circuits") >= 1
    assert one_of("SELECT count(*) FROM messages WHERE send_state IN ('rejected', 'dead')") == 0
    assert not record_of(installation)
    installation.sandbox("faults", {"sendgrid": {"error_before_accept": 0}})
    rest(60)
    for worker in crowd:
        installation.kill(worker)
    assert one_of("SELECT count(*) FROM provider_circuits") == 0
    expect_everybody_once(installation, PEOPLE)


def test_two_senders_share_the_people_and_each_keeps_hers(database: str, install: Install) -> None:
    installation = install(sms_from="+12025550100=70,+12025550101=30", sms_per_second="100")
    senders = sms_provider(get_settings())
    assert isinstance(senders, WeightedSenders)
    a_campaign_on(Channel.SMS, PEOPLE)
    worker = installation.start("tests.faults.plain_worker", "sms")
    # A provider that stands still for longer than a window may take: time runs out at once for calls and connections.
    for _ in range(3):
        sent = accepted(installation)
        until(lambda sent=sent: len(accepted(installation)) > len(sent), what="further texts")
        os.killpg(installation.sandbox_process.pid, signal.SIGSTOP)
        time.sleep(1.5)
        os.killpg(installation.sandbox_process.pid, signal.SIGCONT)
    rest(60)
    installation.kill(worker)
    expect_everybody_once(installation, PEOPLE)
    by = Counter(row["from"] for row in accepted(installation))
    assert all(row["from"] == senders.order_for(row["to"])[0].label for row in accepted(installation))
    senders.close()
    assert 0.6 * PEOPLE < by["+12025550100"] < 0.8 * PEOPLE
    assert by["+12025550100"] + by["+12025550101"] == PEOPLE


def accepted(installation: Installation) -> list[dict[str, Any]]:
    """Return what the sandbox has of text messages."""
    found: list[dict[str, Any]] = installation.sandbox("accepted?provider=twilio&limit=1000")["accepted"]
    return found
