"""F20: one message kills every process that renders it, by a crash or for want of memory; it alone is given up."""

import re

import pytest
from sqlalchemy import text

from campaigns import ledger
from campaigns.lifecycle import find
from outreach.db import transaction
from outreach.vocabulary import Channel
from tests.faults.conftest import Install
from tests.faults.judge import Judged, a_campaign_on, judge, rest
from tests.installation import Installation

PEOPLE = 16
POISON = "rendering c-7"


def expect_only_the_killer_given_up(installation: Installation) -> None:
    """Fail unless everybody but c-7 was told."""
    with transaction() as session:
        given_up = session.execute(
            text("""SELECT c.external_id, m.reason, n.state FROM messages m JOIN notices n ON n.id = m.notice_id
                    JOIN customers c ON c.id = m.customer_id WHERE m.send_state <> 'accepted'""")
        ).all()
        assert ledger.verify(session, campaign=find(session, "C-1")).discrepancies == []
    assert [tuple(row)[:2] for row in given_up] == [("c-7", "template")]
    assert judge(installation) == Judged(PEOPLE - 1, 0, 0, {"accepted": PEOPLE - 1, "rejected": 1})


def test_a_message_that_kills_its_worker_is_given_up_alone(database: str, install: Install) -> None:
    installation = install(lease_seconds="2")
    a_campaign_on(Channel.EMAIL, PEOPLE)
    worker = installation.start("tests.faults.plain_worker", "email", OUTREACH_CRASH_AT=POISON)
    rest(90)
    installation.kill(worker)
    expect_only_the_killer_given_up(installation)
    # Two for the whole chunk, one for each half that held it, and the last ones alone.
    assert 5 <= installation.log().count("worker ended with -9") <= 10


@pytest.mark.faults
def test_a_message_whose_processes_are_killed_for_want_of_memory_is_given_up_alone(
    database: str, install: Install
) -> None:
    """The kernel takes the child of the Celery worker, as it takes whoever eats too much: by SIGKILL."""
    installation = install(lease_seconds="2")
    a_campaign_on(Channel.EMAIL, PEOPLE)
    worker = installation.start_worker(OUTREACH_CRASH_AT=POISON)
    installation.start_beat()
    rest(120)
    assert worker.poll() is None, "the worker itself ended"
    expect_only_the_killer_given_up(installation)
    lost = len(re.findall(r"WorkerLostError|signal 9 \(SIGKILL\)", installation.log()))
    assert lost >= 5
