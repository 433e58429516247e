"""Chunks that are claimed ahead wait for minutes behind a slow provider: nobody takes them for what killed a worker."""

import pytest
from sqlalchemy import text

from outreach.db import transaction
from outreach.vocabulary import Channel
from tests.faults.conftest import Install
from tests.faults.judge import a_campaign_on, expect_everybody_once, rest

PEOPLE = 1100  # two chunks


@pytest.mark.faults
def test_a_chunk_that_waits_for_its_turn_keeps_its_lease(database: str, install: Install) -> None:
    installation = install({"twilio": {"latency_ms": 150, "webhooks": {"lose": 1.0}}}, lease_seconds="6")
    a_campaign_on(Channel.SMS, PEOPLE)
    worker = installation.start("tests.faults.plain_worker", "sms")
    sweeper = installation.start("tests.faults.plain_worker", "sms", PLAIN_WORKER_SENDS="no")
    rest(90)
    for each in (worker, sweeper):
        installation.kill(each)
    expect_everybody_once(installation, PEOPLE)
    with transaction() as session:
        fences = session.scalars(text("SELECT fence FROM chunks ORDER BY id LIMIT 2")).all()
        second = "chunk_id = (SELECT id FROM chunks ORDER BY id OFFSET 1 LIMIT 1)"
        waited = session.execute(
            text(f"""SELECT extract(epoch FROM min(started_at) FILTER (WHERE {second}) - min(started_at))
                     FROM attempts""")
        ).scalar_one()
    assert waited > 7, f"the second chunk had to wait for {waited} s only"
    assert fences == [1, 1]
