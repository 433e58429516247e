"""F24: Lob forgets a key after 24 hours; an old postcard in doubt is never sent again without a search."""

from datetime import timedelta

import pytest
from sqlalchemy import text

from campaigns.dispatch import dispatch
from campaigns.envelopes import sender_for
from campaigns.reconcile import reconcile
from campaigns.sweeps import plan_all
from outreach import clock
from outreach.db import transaction
from outreach.vocabulary import Channel, NoticeClass
from tests.faults.conftest import Install
from tests.faults.judge import a_campaign_on, record_of
from tests.installation import Installation

PEOPLE = 6


@pytest.fixture
def postcards_in_doubt(database: str, install: Install) -> Installation:
    """Half of the postcards were made and their answers lost, half were not made; a day has passed."""
    installation = install(
        {"lob": {"accept_then_drop": {"first": 3}, "error_before_accept": {"first": 3}}},
        reconcile_grace_seconds="0", provider_connections="1",
    )  # fmt: skip
    plan_all(a_campaign_on(Channel.POSTCARD, PEOPLE, NoticeClass.SAFETY))
    dispatch(channel=Channel.POSTCARD, sender=sender_for(Channel.POSTCARD), owner="test")
    with transaction() as session:
        clock.advance(session, timedelta(hours=25))
        session.execute(text("UPDATE attempts SET leased_until = clock_timestamp() - interval '1 second'"))
    return installation


def states() -> dict[str, int]:
    """Count messages by state."""
    with transaction() as session:
        rows = session.execute(text("SELECT send_state, count(*) FROM messages GROUP BY send_state"))
        return {row[0]: row[1] for row in rows}


def test_without_an_answer_of_the_search_nothing_is_sent_again(postcards_in_doubt: Installation) -> None:
    installation = postcards_in_doubt
    installation.kill(installation._processes[0])
    assert states() == {"unknown": PEOPLE}
    reconcile(channel=Channel.POSTCARD, sender=sender_for(Channel.POSTCARD), budget_seconds=2)
    dispatch(channel=Channel.POSTCARD, sender=sender_for(Channel.POSTCARD), owner="test")
    with transaction() as session:
        calls = session.scalar(text("SELECT count(*) FROM attempts"))
    assert states() == {"unknown": PEOPLE}
    assert calls == PEOPLE
    assert sum(record_of(installation).values()) == 3


def test_the_search_tells_which_postcards_were_made(postcards_in_doubt: Installation) -> None:
    reconcile(channel=Channel.POSTCARD, sender=sender_for(Channel.POSTCARD), budget_seconds=2)
    assert states() == {"accepted": 3, "queued": 3}
    dispatch(channel=Channel.POSTCARD, sender=sender_for(Channel.POSTCARD), owner="test")
    assert states() == {"accepted": PEOPLE}
    assert sorted(record_of(postcards_in_doubt).values()) == [1] * PEOPLE
