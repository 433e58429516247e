"""The worker dies again and again in the middle of a campaign; nobody is left out, nobody is told twice."""

import json
import random
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import text

from campaigns import ledger
from campaigns.lifecycle import find
from outreach import clock
from outreach.db import transaction
from tests.installation import Installation, until
from tests.people import a_campaign

PEOPLE = 2000
KILLS = 4
# Slow enough for the kills to land in the middle; 1 % of the calls is accepted and never answered.
FAULTS = {
    "sendgrid": {"latency_ms": 120, "accept_then_drop": 0.01},
    "twilio": {"latency_ms": 100, "accept_then_drop": 0.01},
    "lob": {"latency_ms": 100},
}


@pytest.fixture
def installation(database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Installation]:
    running = Installation(
        tmp_path, monkeypatch, "--faults", json.dumps(FAULTS),
        lease_seconds="3", reconcile_grace_seconds="2", tick_seconds="0.5", provider_connections="4",
        email_messages_per_call="10", sendgrid_email_activity="true",
    )  # fmt: skip
    try:
        running.serve_api()
        yield running
    finally:
        running.stop()


def accepted(installation: Installation) -> int:
    """Return how many messages the providers have taken."""
    return sum(installation.sandbox("counts")["accepted"].values())


def test_a_killed_worker_loses_nobody_and_tells_nobody_twice(installation: Installation) -> None:
    with transaction() as session:
        campaign_id = a_campaign(session, PEOPLE, clock.now(session)).id
        # An address at most: two of the three channels are used, and nobody falls back.
        session.execute(text("UPDATE customers SET city = NULL"))
        reachable = session.scalar(text("SELECT count(*) FROM customers WHERE email IS NOT NULL OR phone IS NOT NULL"))
    beat = installation.start_beat()
    # Two, so that while a new one starts the other goes on, into the next kill.
    workers = [installation.start_worker(), installation.start_worker()]
    dice, killed_at = random.Random(7), []
    for kill in range(KILLS):
        goal = PEOPLE * (kill + 1) // (KILLS + 2)
        until(lambda goal=goal: accepted(installation) >= goal, seconds=60, what=f"{goal} messages")  # type: ignore[misc]
        time.sleep(dice.random() * 0.3)
        installation.kill(workers.pop(0))
        killed_at.append(accepted(installation))
        workers.append(installation.start_worker())
    until(lambda: open_messages(campaign_id) == 0, seconds=60, what="an end of every message")
    installation.wait_until_idle()
    until(lambda: undelivered(campaign_id) == 0, seconds=30, what="every delivery")
    for process in (beat, *workers):
        installation.kill(process)
    counts = installation.sandbox("counts")
    assert killed_at[0] > 0
    assert killed_at[-1] < reachable, "the kills came after the work"
    assert counts["duplicates"] == 0
    assert sum(counts["distinct_message_ids"].values()) == reachable
    assert recipients(installation) == reachable
    with transaction() as session:
        account = ledger.verify(session, campaign=find(session, "C-1"))
    assert account.discrepancies == []
    assert account.delivered == reachable


def open_messages(campaign_id: int) -> int:
    """Count messages whose outcome is open, and one more where nothing has been planned."""
    with transaction() as session:
        return int(
            session.scalar(
                text("""SELECT count(*) FILTER (WHERE send_state IN ('queued', 'sending', 'unknown'))
                               + (count(*) = 0)::int FROM messages WHERE campaign_id = :id"""),
                {"id": campaign_id},
            )
            or 0
        )


def undelivered(campaign_id: int) -> int:
    """Count messages without a delivery report whose webhook was not lost on the way."""
    with transaction() as session:
        return int(
            session.scalar(
                text("SELECT count(*) FROM messages WHERE campaign_id = :id AND delivery_rank < 50"),
                {"id": campaign_id},
            )
            or 0
        )


def recipients(installation: Installation) -> int:
    """Return how many people the sandbox has a message for, by its own record."""
    with sqlite3.connect(installation.home / "sandbox" / "record.sqlite3") as record:
        return int(record.execute("SELECT count(DISTINCT recipient) FROM accepted").fetchone()[0])
