"""From an audience to providers and back, with the sandbox as the judge of what was really accepted."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import select, text

from campaigns import ledger, suppressions
from campaigns.dispatch import dispatch
from campaigns.envelopes import sender_for
from campaigns.fallbacks import fall_back
from campaigns.lifecycle import find, open_campaign
from campaigns.playbooks import STANDARD_LADDER
from campaigns.sweeps import plan_all
from outreach import clock
from outreach.db import transaction
from outreach.models import Campaign, Suppression
from outreach.vocabulary import CampaignKind, Channel, NoticeClass, SuppressionReason
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


@pytest.mark.parametrize(("last", "code"), [("0002", "21211"), ("0007", "21614")])
def test_a_number_that_twilio_refuses_for_good_is_barred_until_the_ban_is_lifted(
    installation: Installation, last: str, code: str
) -> None:
    """The sandbox refuses numbers that end in 0002 with 21211, in 0007 with 21614."""
    number = f"+1202555{last}"
    with transaction() as session:
        first = a_campaign(session, 10, clock.now(session)).id
        session.execute(text("UPDATE customers SET phone = :number WHERE external_id = 'c-10'"), {"number": number})
    plan_all(first)
    send_everything(installation)
    assert messages_of_c10(first) == [("sms", "rejected"), ("postcard", "accepted")]
    with transaction() as session:
        ban = session.scalars(select(Suppression)).one()
        assert (ban.channel, ban.address, ban.source) == (Channel.SMS, number, "twilio")
        assert ban.reason is SuppressionReason.UNUSABLE_NUMBER
        detail = session.scalar(text("SELECT delivery_detail FROM messages WHERE address = :at"), {"at": number})
        assert detail.startswith(code)
        barred, _ = suppressions.listed(session, reason=SuppressionReason.UNUSABLE_NUMBER)
        assert [row.address for row in barred] == [number]

    second = another_campaign(first)
    assert messages_of_c10(second) == [("postcard", "queued")]
    with transaction() as session:
        suppressions.lift(session, suppression_id=ban.id, why="a new contract", actor="ann", now=clock.now(session))
    assert messages_of_c10(another_campaign(first)) == [("sms", "queued")]


def another_campaign(like: int) -> int:
    """Plan a campaign to the same people, and return its id."""
    with transaction() as session:
        now, before = clock.now(session), session.get_one(Campaign, like)
        campaign_id = open_campaign(
            session, name="Again", kind=CampaignKind.UPDATE, notice_class=NoticeClass.SAFETY,
            template_key="problem-update", ladder=STANDARD_LADDER, segment_id=before.segment_id,
            problem_id=before.problem_id, author="test", approved=True, now=now,
        ).id  # fmt: skip
    plan_all(campaign_id)
    return campaign_id


def messages_of_c10(campaign_id: int) -> list[tuple[str, str]]:
    """What one customer was sent, by channel and state."""
    with transaction() as session:
        rows = session.execute(
            text("""SELECT m.channel, m.send_state FROM messages m JOIN customers k ON k.id = m.customer_id
                    WHERE k.external_id = 'c-10' AND m.campaign_id = :id ORDER BY m.id"""),
            {"id": campaign_id},
        )
        return [(row.channel, row.send_state) for row in rows]


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
