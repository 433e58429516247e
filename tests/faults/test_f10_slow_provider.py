"""F10: the provider takes very long; nobody waits for it with a transaction or a connection in hand."""

import time

import pytest
from sqlalchemy import text

from outreach.db import transaction
from outreach.vocabulary import Channel
from tests.faults.conftest import Install
from tests.faults.judge import a_campaign_on, expect_everybody_once, rest
from tests.installation import until

PEOPLE = 60
ANSWER_SECONDS = 4


@pytest.mark.faults
def test_a_slow_provider_holds_no_connection_and_slows_nobody(database: str, install: Install) -> None:
    installation = install(
        {"sendgrid": {"latency_ms": ANSWER_SECONDS * 1000}}, lease_seconds="20", database_pool_size="2"
    )
    installation.start_api()
    a_campaign_on(Channel.EMAIL, PEOPLE)
    crowd = [installation.start("tests.faults.plain_worker", "email") for _ in range(3)]
    until(lambda: attempts() > 0, what="the first call")
    waits, most, idle = [], 0, 0
    for _ in range(100):
        began = time.monotonic()
        assert installation.http.request("GET", f"{installation.url}/health").status == 200
        waits.append(time.monotonic() - began)
        with transaction() as session:
            row = session.execute(
                text("""SELECT count(*) AS held,
                               count(*) FILTER (WHERE state = 'idle in transaction'
                                                AND state_change < clock_timestamp() - interval '1 second') AS idle
                        FROM pg_stat_activity WHERE datname = current_database()""")
            ).one()
        most, idle = max(most, row.held), max(idle, row.idle)
        time.sleep(0.03)
    assert sorted(waits)[98] < 1
    assert idle == 0
    # Three workers, the API and this test, each within its pool of 2 and 5 more for a rush.
    assert most <= 5 * 7
    rest(60)
    for worker in crowd:
        installation.kill(worker)
    expect_everybody_once(installation, PEOPLE)


def attempts() -> int:
    """Count calls."""
    with transaction() as session:
        return int(session.scalar(text("SELECT count(*) FROM attempts")) or 0)
