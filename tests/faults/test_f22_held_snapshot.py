"""F22: a transaction stays open for the whole campaign and old versions of rows pile up; claims stay fast."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

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

PEOPLE = 500_000
CLAIM_SECONDS = 0.1
_rates: dict[bool, float] = {}


@contextmanager
def a_snapshot(*, held: bool) -> Iterator[None]:
    """Hold a snapshot of everything as it is now, so that no old version of a row can be cleared away."""
    if not held:
        yield
        return
    with engine().connect() as holder:
        holder.execute(text("SET idle_in_transaction_session_timeout = 0"))
        holder.commit()
        holder.execute(text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ"))
        holder.execute(text("SELECT count(*) FROM messages"))
        began = holder.scalar(text("SELECT pg_current_snapshot()::text"))
        yield
        assert holder.scalar(text("SELECT pg_current_snapshot()::text")) == began


@pytest.mark.faults
@pytest.mark.timeout(900)
@pytest.mark.parametrize("held", [False, True], ids=["free", "held"])
def test_claims_stay_fast_under_a_held_snapshot(database: str, install: Install, held: bool) -> None:
    installation = install(email_messages_per_call="1000", lease_seconds="60")
    plan_all(a_campaign_on(Channel.EMAIL, PEOPLE))
    waits, sending = [], 0.0
    with a_snapshot(held=held):
        found = 1
        while found:
            began = time.monotonic()
            found = dispatch(
                channel=Channel.EMAIL, sender=sender_for(Channel.EMAIL), owner="test", budget_seconds=2
            ).chunks
            sending += time.monotonic() - began
            for _ in range(5):
                began = time.monotonic()
                with transaction() as session:
                    claim_next(session, channel=Channel.EMAIL, provider="sendgrid", owner="test", lease_seconds=60)
                    waits.append(time.monotonic() - began)
                    session.rollback()
    slow = sorted(waits)[len(waits) * 95 // 100]
    _rates[held] = PEOPLE / sending
    print(f"{len(waits)} claims, the 95th of 100 took {slow * 1000:.1f} ms; {_rates[held]:.0f} messages/s")  # noqa: T201
    if len(_rates) == 2:
        # Shown, not asserted: a machine that others work on says little about a tenth (docs/performance.md, row 13).
        print(f"with the snapshot held {_rates[True] / _rates[False]:.0%} of the rate without it")  # noqa: T201
    assert slow < CLAIM_SECONDS
    expect_everybody_once(installation, PEOPLE)
