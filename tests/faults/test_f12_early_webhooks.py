"""F12: the provider's webhook is there before our receipt is written, or instead of it."""

from pathlib import Path

from sqlalchemy import text

from outreach.db import transaction
from outreach.vocabulary import Channel
from tests.faults.conftest import Install
from tests.faults.judge import a_campaign_on, expect_everybody_once, open_messages, rest
from tests.installation import until

PEOPLE = 20


def test_a_webhook_before_the_receipt_finds_its_message(database: str, install: Install, tmp_path: Path) -> None:
    # No search, and a grace that nobody lives to see: only the webhooks can settle what the crash left open.
    installation = install(sendgrid_email_activity="false", reconcile_grace_seconds="600", lease_seconds="60")
    installation.serve_api()
    trigger = tmp_path / "before_receipts_commit"
    trigger.touch()
    a_campaign_on(Channel.EMAIL, PEOPLE)
    worker = installation.start(
        "tests.faults.plain_worker", "email", OUTREACH_CRASH_AT=f"before_receipts_commit:{trigger}"
    )
    until(lambda: open_messages() == 0, what="an end of every message")
    installation.kill(worker)
    with transaction() as session:
        states = session.execute(text("SELECT state, count(*) FROM inbound_events GROUP BY state")).all()
        session.execute(text("UPDATE chunks SET leased_until = clock_timestamp() - interval '1 second'"))
    assert not trigger.exists()
    assert {row.state for row in states} == {"applied"}
    worker = installation.start("tests.faults.plain_worker", "email")
    rest()
    installation.kill(worker)
    expect_everybody_once(installation, PEOPLE)
