"""F22: a transaction stays open for the whole campaign and old versions of rows pile up; claims stay fast."""

import time

import pytest
from sqlalchemy import text

from campaigns.dispatch import dispatch
from campaigns.envelopes import sender_for
from campaigns.preparing import claim_next
from campaigns.sweeps import plan_all
from outreach.db import engine, transaction
from outreach.vocabulary import Channel
from tests.faults.conftest import Install
from tests.faults.judge import a_campaign_on, expect_everybody_once

PEOPLE = 60_000


@pytest.mark.faults
@pytest.mark.timeout(600)
def test_claims_stay_fast_under_a_held_snapshot(database: str, install: Install) -> None:
    installation = install(email_messages_per_call="500", lease_seconds="60")
    campaign_id = a_campaign_on(Channel.EMAIL, PEOPLE)
    plan_all(campaign_id)
    waits = []
    with engine().connect() as held:
        held.execute(text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ"))
        held.execute(text("SET idle_in_transaction_session_timeout = 0"))
        held.execute(text("SELECT count(*) FROM messages"))
        while dispatch(channel=Channel.EMAIL, sender=sender_for(Channel.EMAIL), owner="test", budget_seconds=2).chunks:
            for _ in range(5):
                began = time.monotonic()
                with transaction() as session:
                    claim_next(session, channel=Channel.EMAIL, provider="sendgrid", owner="test", lease_seconds=60)
                    waits.append(time.monotonic() - began)
                    session.rollback()
        held.rollback()
    print(f"{len(waits)} claims, the 95th of 100 took {sorted(waits)[len(waits) * 95 // 100] * 1000:.1f} ms")  # noqa: T201
    assert sorted(waits)[len(waits) * 95 // 100] < 0.1
    expect_everybody_once(installation, PEOPLE)
