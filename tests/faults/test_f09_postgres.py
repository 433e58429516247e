"""F9: PostgreSQL is struck in the middle of a batch, and single connections are cut."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import text

from outreach import db
from outreach.db import make_engine, transaction
from outreach.errors import Unavailable
from outreach.schema import migrate
from outreach.settings import get_settings
from outreach.vocabulary import Channel
from tests.faults.conftest import Install
from tests.faults.judge import a_campaign_on, expect_everybody_once, open_messages, record_of, rest
from tests.faults.nemesis import OwnPostgres
from tests.installation import until

PEOPLE = 300
SLOW = {"sendgrid": {"latency_ms": 120}}


@pytest.fixture
def own_postgres(engines: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[OwnPostgres]:
    """A PostgreSQL that the test may break."""
    made = OwnPostgres(tmp_path / "own postgres")
    engine = make_engine(made.url)
    migrate(engine)
    engine.dispose()
    monkeypatch.setenv("OUTREACH_DATABASE_URL", made.url)
    monkeypatch.setenv("OUTREACH_REDIS_URL", engines["redis_url"])
    get_settings.cache_clear()
    db.forget_engine()
    yield made
    db.forget_engine()
    made.stop()


@pytest.mark.faults
def test_a_database_that_crashes_in_the_middle_loses_nothing(own_postgres: OwnPostgres, install: Install) -> None:
    installation = install(SLOW)
    installation.start_api()
    a_campaign_on(Channel.EMAIL, PEOPLE)
    worker = installation.start("tests.faults.plain_worker", "email")
    for part in (1, 2, 3):
        until(lambda part=part: sum(record_of(installation).values()) >= PEOPLE * part // 5, what=f"part {part}")  # type: ignore[misc]
        own_postgres.crash_and_restart()
    until(lambda: open_messages() >= 0, what="the database")
    rest(90)
    installation.wait_until_idle()
    until(lambda: deliveries() == PEOPLE, what="every delivery report")
    installation.kill(worker)
    expect_everybody_once(installation, PEOPLE)


def deliveries() -> int:
    """Count messages whose delivery was reported: a webhook answered 2xx is never lost, others come again."""
    try:
        with transaction() as session:
            return int(session.scalar(text("SELECT count(*) FROM messages WHERE delivery_rank = 50")) or 0)
    except Unavailable:
        return -1


@pytest.mark.faults
def test_cut_connections_lose_nothing(database: str, install: Install) -> None:
    # Many slow calls, so that there are some cuts before all are told.
    installation = install({"sendgrid": {"latency_ms": 500}}, email_messages_per_call="2")
    installation.start_api()
    a_campaign_on(Channel.EMAIL, PEOPLE)
    crowd = [installation.start("tests.faults.plain_worker", "email") for _ in range(2)]
    cuts = 0
    # -1, while it is our own look that was cut, is no end.
    while not 0 <= open_messages() <= PEOPLE // 10 or cuts < 4:
        with transaction() as session:
            cuts += len(
                session.execute(
                    text("""SELECT pg_terminate_backend(pid) FROM pg_stat_activity
                            WHERE datname = current_database() AND pid <> pg_backend_pid() ORDER BY random() LIMIT 2""")
                ).all()
            )
        time.sleep(0.25)
    rest(90)
    installation.wait_until_idle()
    until(lambda: deliveries() == PEOPLE, what="every delivery report")
    for worker in crowd:
        installation.kill(worker)
    expect_everybody_once(installation, PEOPLE)
