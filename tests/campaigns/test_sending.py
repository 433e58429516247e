"""From an audience to providers and back, with the sandbox as the judge of what was really accepted."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import text

from campaigns import ledger
from campaigns.dispatch import dispatch
from campaigns.envelopes import sender_for
from campaigns.fallbacks import fall_back
from campaigns.lifecycle import find
from campaigns.sweeps import plan_all
from outreach import clock
from outreach.db import transaction
from outreach.vocabulary import Channel
from tests.installation import Installation
from tests.people import a_campaign
from webhooks.tasks import apply_inbox


@pytest.fixture
def installation(database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Installation]:
    running = Installation(tmp_path, monkeypatch)
    running.serve_api()
    yield running
    running.stop()


def send_everything(installation: Installation) -> None:
    """Dispatch, let the webhooks come back and apply them, until nothing is under way any more."""
    for _ in range(3):
        for channel in Channel:
            dispatch(channel=channel, sender=sender_for(channel), owner="test")
        installation.wait_until_idle()
        apply_inbox()
        with transaction() as session:
            fall_back(session, now=clock.now(session))


def test_everybody_is_told_once_on_the_first_channel_that_works(installation: Installation) -> None:
    with transaction() as session:
        campaign_id = a_campaign(session, 60, clock.now(session)).id
        session.execute(text("UPDATE customers SET email = 'bounce.7@example.com' WHERE external_id = 'c-7'"))
        session.execute(text("UPDATE customers SET phone = '+12025550001' WHERE external_id = 'c-10'"))
        session.execute(
            text("UPDATE customers SET email = 'bounce.8@example.com', phone = NULL, city = NULL"
                 " WHERE external_id = 'c-8'")
        )  # fmt: skip
        session.execute(text("UPDATE customers SET email = NULL, phone = NULL, city = NULL WHERE external_id = 'c-9'"))
    plan_all(campaign_id)
    send_everything(installation)
    with transaction() as session:
        account = ledger.verify(session, campaign=find(session, "C-1"))
        channels = dict(
            session.execute(
                text("SELECT channel, count(*) FROM messages WHERE delivery_rank = 50 GROUP BY channel")
            ).all()
        )
    assert account.discrepancies == []
    assert (account.audience, account.delivered, account.on_the_way) == (60, 58, 0)
    assert (account.skipped, account.failed) == ({"no_address": 1}, {"not_delivered": 1})
    # 60 people: 6 have no email, 3 of them no phone; 7 bounced to SMS, 10's number was unreachable.
    assert channels == {"email": 51, "sms": 3, "postcard": 4}
    counts = installation.sandbox("counts")
    assert counts["duplicates"] in (0, [])


def test_planning_again_adds_nothing_and_a_late_joiner_is_told_alone(installation: Installation) -> None:
    with transaction() as session:
        campaign_id = a_campaign(session, 5, clock.now(session)).id
    plan_all(campaign_id)
    plan_all(campaign_id)
    send_everything(installation)
    with transaction() as session:
        session.execute(
            text("INSERT INTO customers (external_id, name, email) VALUES ('joiner', 'Lee Late', 'lee@example.com')")
        )
        session.execute(
            text("""INSERT INTO audience_members (segment_id, customer_id, grade, version, entered_at, changed_at)
                    SELECT segment_id, (SELECT id FROM customers WHERE external_id = 'joiner'), 'incoming', 1,
                           now(), now() FROM campaigns""")
        )
        session.execute(
            text("""INSERT INTO audience_changes (segment_id, customer_id, to_grade, reason, version, at)
                    SELECT segment_id, (SELECT id FROM customers WHERE external_id = 'joiner'), 'incoming', 'test', 1,
                           now() FROM campaigns""")
        )
    plan_all(campaign_id)
    send_everything(installation)
    accepted = installation.sandbox("accepted?limit=100")["accepted"]
    assert len(accepted) == 6
    with transaction() as session:
        account = ledger.verify(session, campaign=find(session, "C-1"))
    assert account.adds_up
    assert account.delivered == 6
