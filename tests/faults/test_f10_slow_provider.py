"""F10: the provider takes half a minute, and the pool of connections runs dry; nobody waits with one in hand."""

import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import text

from outreach.db import engine, transaction
from outreach.vocabulary import Channel
from tests.faults.conftest import Install
from tests.faults.judge import a_campaign_on, expect_everybody_once, rest
from tests.installation import Installation, until

PEOPLE = 60
ANSWER_SECONDS = 30
POOL, RUSH = 2, 5  # connections that a process keeps, and those for a moment (`outreach.db`)


@pytest.mark.faults
@pytest.mark.timeout(400)
def test_a_slow_provider_holds_no_connection_and_slows_nobody(database: str, install: Install) -> None:
    installation = install(
        {"sendgrid": {"latency_ms": ANSWER_SECONDS * 1000}},
        # The lease is more than twice the answer, as the provider's time-out asks for.
        lease_seconds="100", provider_timeout_seconds="45", database_pool_size=str(POOL),
    )  # fmt: skip
    installation.start_api()
    a_campaign_on(Channel.EMAIL, PEOPLE)
    crowd = [installation.start("tests.faults.plain_worker", "email") for _ in range(3)]
    until(lambda: attempts() > 0, what="the first call")
    waits, most, idle = [], 0, 0
    for _ in range(200):
        began = time.monotonic()
        # Asks the database and Redis.
        assert installation.http.request("GET", f"{installation.url}/ready").status == 200
        waits.append(time.monotonic() - began)
        with transaction() as session:
            row = session.execute(
                text("""SELECT count(*) AS held,
                               count(*) FILTER (WHERE state = 'idle in transaction'
                                                AND state_change < clock_timestamp() - interval '1 second') AS idle
                        FROM pg_stat_activity WHERE datname = current_database()""")
            ).one()
        most, idle = max(most, row.held), max(idle, row.idle)
        time.sleep(0.05)
    assert attempts() > 0
    assert sorted(waits)[197] < 1
    assert idle == 0
    # Three workers, the API and this test.
    assert most <= 5 * (POOL + RUSH)
    rest(240)
    for worker in crowd:
        installation.kill(worker)
    expect_everybody_once(installation, PEOPLE)


@pytest.mark.faults
def test_an_exhausted_pool_is_said_and_passes(database: str, install: Install) -> None:
    installation = install(database_pool_size=str(POOL))
    installation.start_api()
    a_campaign_on(Channel.EMAIL, PEOPLE)
    with engine().connect() as blocking, ThreadPoolExecutor(30) as callers:
        # Whoever asks for the circuits of providers waits for this lock, with a connection in hand.
        blocking.execute(text("LOCK TABLE provider_circuits IN ACCESS EXCLUSIVE MODE"))
        stuck = [callers.submit(ask, installation, "/ready") for _ in range(30)]
        until(lambda: connections() >= POOL + RUSH, what="the end of the pool")
        # Whoever finds none is told so, and does not wait for ever.
        until(lambda: sum(each.done() for each in stuck) == len(stuck) - POOL - RUSH, what="the answers of the others")
        most = connections()
        blocking.rollback()
        answers = Counter(each.result() for each in stuck)
    assert answers == {200: POOL + RUSH, 503: len(stuck) - POOL - RUSH}
    assert most <= POOL + RUSH + 2  # of the API, and of this test
    until(lambda: ask(installation, "/ready") == 200, what="the API")
    worker = installation.start("tests.faults.plain_worker", "email")
    rest()
    installation.kill(worker)
    expect_everybody_once(installation, PEOPLE)


def ask(installation: Installation, path: str) -> int:
    """Return the status of an answer."""
    return int(installation.http.request("GET", installation.url + path, timeout=60).status)


def connections() -> int:
    """Count connections to the test's database."""
    with transaction() as session:
        query = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
        return int(session.scalar(text(query)) or 0)


def attempts() -> int:
    """Count calls under way."""
    with transaction() as session:
        return int(session.scalar(text("SELECT count(*) FROM attempts WHERE state = 'sending'")) or 0)
