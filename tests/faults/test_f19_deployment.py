"""F19: workers are replaced one by one in the middle of a campaign, while a migration changes the tables in use."""

import os
import signal
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from alembic import command
from alembic.script import ScriptDirectory
from sqlalchemy import text

from outreach.db import engine, transaction
from outreach.queue import celery_app
from outreach.schema import LOCK_SECONDS, migrate, migration_config, patiently
from outreach.vocabulary import Channel
from tests.faults.conftest import Install
from tests.faults.judge import a_campaign_on, expect_everybody_once, open_messages, record_of, rest
from tests.installation import Installation, until

ODD = "tests.faults.odd_process"
ROUNDS = 10

# What a release brings: columns with and without a default, an index and a check, on all that a sending worker, the
# API and the inbox read and write. Not in the order in which they lock these tables.
NEXT_RELEASE = '''
"""The next release"""

from alembic import op

revision = "next_release"
down_revision = {head!r}
branch_labels = None
depends_on = None

TABLES = ("delivery_events", "inbound_events", "messages", "notices", "attempts", "chunks", "campaigns", "customers")


def upgrade() -> None:
    for table in TABLES:
        op.execute(f"ALTER TABLE {{table}} ADD COLUMN since_next int NOT NULL DEFAULT 7, ADD COLUMN later text")
    op.execute("CREATE INDEX ix_messages_later ON messages (later) WHERE later IS NOT NULL")
    op.execute("ALTER TABLE chunks ADD CONSTRAINT ck_chunks_since_next CHECK (since_next > 0)")


def downgrade() -> None:
    for table in TABLES:
        op.execute(f"ALTER TABLE {{table}} DROP COLUMN since_next, DROP COLUMN later")
'''


@pytest.fixture
def next_release(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Give Alembic one revision more than there is."""
    config = migration_config()
    head = ScriptDirectory.from_config(config).get_current_head()
    versions = tmp_path / "next release"
    versions.mkdir()
    (versions / "next_release.py").write_text(NEXT_RELEASE.format(head=head))
    ours = config.get_main_option("script_location")
    config.set_main_option("path_separator", "newline")
    config.set_main_option("version_locations", f"{ours}/versions\n{versions}")
    monkeypatch.setattr("outreach.schema.migration_config", lambda: config)


def accepted(installation: Installation) -> int:
    """Return how many messages the provider has taken."""
    return sum(record_of(installation).values())


def a_new_worker(installation: Installation) -> subprocess.Popen[bytes]:
    """Start a worker and wait until it takes tasks."""
    ready = installation.log().count(" ready.")
    worker = installation.start_worker()
    until(lambda: installation.log().count(" ready.") > ready, seconds=60, what="the new worker")
    return worker


def replace(installation: Installation, old: subprocess.Popen[bytes]) -> subprocess.Popen[bytes]:
    """Put a new worker in the place of an old one, which ends in peace."""
    worker = a_new_worker(installation)
    os.kill(old.pid, signal.SIGTERM)
    assert old.wait(60) == 0
    return worker


def take_back() -> None:
    """Undo the newest migration, as one does when a release is taken back."""
    patiently(lambda config: command.downgrade(config, "-1"), engine())


def version() -> str:
    """Return the schema's."""
    with transaction() as session:
        return str(session.scalar(text("SELECT version_num FROM alembic_version")))


def test_a_migration_gives_way_to_those_who_use_the_table_and_comes_when_they_are_done(
    database: str, next_release: None
) -> None:
    with engine().connect() as at_work, ThreadPoolExecutor(1) as beside:
        at_work.execute(text("LOCK TABLE messages IN ROW EXCLUSIVE MODE"))
        migration = beside.submit(migrate)
        # Long enough for the migration to give up once; whoever comes behind it waits for no longer than that.
        ends = time.monotonic() + LOCK_SECONDS + 1.5
        while time.monotonic() < ends:
            began = time.monotonic()
            assert version() != "next_release"
            with transaction() as session:
                session.execute(text("SELECT count(*) FROM messages"))
            assert time.monotonic() - began < LOCK_SECONDS + 5
        assert not migration.done()
        at_work.rollback()
        migration.result(30)
    assert version() == "next_release"


@pytest.mark.faults
@pytest.mark.timeout(700)
def test_a_rolling_deployment_with_a_migration_loses_and_doubles_nothing(
    database: str, install: Install, next_release: None
) -> None:
    people = 14_000
    # Slow enough to be there for the migration, in few calls: a provider that is too busy would be what is measured.
    slowly = {"email_messages_per_call": "3", "provider_connections": "4"}
    installation = install({"sendgrid": {"latency_ms": 600}}, **slowly)
    installation.start_api()
    a_campaign_on(Channel.EMAIL, people)
    installation.start_beat()
    workers = [installation.start_worker(), installation.start_worker()]
    until(lambda: accepted(installation) >= people // 20, seconds=60, what="the first messages")
    workers[0] = replace(installation, workers[0])
    before = accepted(installation)
    assert before < people // 2
    # The old workers, the API and the provider's webhooks go on all the while, and after it. Back and forth, so that
    # the migration meets every kind of transaction.
    for _ in range(ROUNDS):
        migrate()
        take_back()
    migrate()
    assert version() == "next_release"
    until(lambda: accepted(installation) > before, what="progress of the old workers with the new schema")
    assert accepted(installation) < people, "the migration came after the work"
    for place in range(2):
        workers[place] = replace(installation, workers[place])
    rest(240)
    expect_everybody_once(installation, people)
    installation.wait_until_idle()
    # A webhook that met the migration was answered 503, and comes again.
    until(lambda: deliveries() == people, seconds=90, what="every delivery report")
    assert "unregistered task" not in installation.log()


@pytest.mark.faults
def test_a_bell_that_an_old_worker_does_not_know_kills_nobody_and_loses_nothing(
    database: str, install: Install
) -> None:
    people = 300
    installation = install({"sendgrid": {"latency_ms": 50}})
    a_campaign_on(Channel.EMAIL, people)
    # To this one the sending of email, and of what is urgent, came with a later release.
    unknown = "campaigns.dispatch_email,campaigns.dispatch_email_urgent"
    old = installation.start(ODD, "worker", "--concurrency", "2", ODD_UNKNOWN_TASKS=unknown)
    installation.start_beat()
    until(lambda: open_messages() == people, seconds=60, what="the plan, which the old worker knows")
    until(lambda: installation.log().count("unregistered task") >= 5, what="bells that it does not know")
    for _ in range(20):
        celery_app().send_task("campaigns.from_the_future", args=[1, "two"], kwargs={"three": 3})
    until(lambda: "campaigns.from_the_future" in installation.log(), what="a bell from the future")
    assert old.poll() is None
    assert not record_of(installation)
    # Both listen to the same queues; what one of them cannot do beat rings for again.
    a_new_worker(installation)
    rest(60)
    expect_everybody_once(installation, people)
    assert old.poll() is None
    os.kill(old.pid, signal.SIGTERM)
    assert old.wait(60) == 0


def deliveries() -> int:
    """Count messages whose delivery was reported."""
    with transaction() as session:
        return int(session.scalar(text("SELECT count(*) FROM messages WHERE delivery_rank = 50")) or 0)
