"""What the last look and the controls do while messages go out; a fake provider records what it was handed."""

import threading
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from uuid import UUID

import pytest
from sqlalchemy import text

from campaigns import editing, fallbacks, ledger, lifecycle, stops, thresholds, unknowns
from campaigns.dispatch import dispatch
from campaigns.envelopes import Sender
from campaigns.planning import plan_slice
from campaigns.playbooks import install_defaults
from campaigns.providers.base import EmailEnvelope, LookUp, Outcome, Receipt, Search
from outreach import clock
from outreach.db import transaction
from outreach.errors import Conflict
from outreach.models import Campaign, Template
from outreach.settings import get_settings
from outreach.vocabulary import CampaignState, Channel, NoticeClass
from tests.people import a_campaign


class RecordingProvider:
    """Accepts every email and keeps it; `before` runs at each call, `outcome` says what is answered."""

    name, channel, messages_per_call, window = "recording", Channel.EMAIL, 50, 10

    def __init__(self) -> None:
        self.sent: list[EmailEnvelope] = []
        self.before: Callable[[], None] = lambda: None
        self.outcome = Outcome.ACCEPTED
        self._lock = threading.Lock()

    def send(self, envelopes: Sequence[EmailEnvelope], *, deadline: float) -> list[Receipt]:
        with self._lock:
            self.before()
            self.sent.extend(envelopes)
        return [Receipt(envelope.message_id, self.outcome) for envelope in envelopes]

    def look_up(self, message_id: UUID, to: str, since: datetime, body: str | None = None) -> LookUp:
        return LookUp(Search.UNABLE)

    def check(self) -> list[str]:
        return []

    def close(self) -> None:
        pass


@pytest.fixture
def provider(database: str) -> RecordingProvider:
    return RecordingProvider()


def send(provider: RecordingProvider) -> None:
    """Send everything that is due."""
    dispatch(channel=Channel.EMAIL, sender=Sender(Channel.EMAIL, provider, get_settings()), owner="test")


def campaign_of(number: int, notice_class: NoticeClass = NoticeClass.SERVICE, *, change: str = "") -> str:
    """Open and plan a running campaign by email only; returns its key."""
    with transaction() as session:
        now = clock.now(session)
        campaign = a_campaign(session, number, now)
        campaign.ladder, campaign.notice_class, campaign.waves = [{"channel": "email"}], notice_class, []
        session.execute(text("UPDATE customers SET email = external_id || '@example.com'"))
        if change:
            session.execute(text(change))
        session.flush()
        plan_slice(session, campaign=campaign, now=now)
        campaign.planned_through = 1
        return campaign.key


def account_of(key: str) -> ledger.Account:
    """Settle what is over and return the account, which must add up."""
    with transaction() as session:
        fallbacks.fall_back(session, now=clock.now(session))
    with transaction() as session:
        account = ledger.verify(session, campaign=lifecycle.find(session, key))
    assert account.discrepancies == []
    return account


def run_sql(statement: str) -> None:
    """Change something from outside, in a transaction of its own."""
    with transaction() as session:
        session.execute(text(statement))


def test_who_was_cleared_after_planning_is_not_told(provider: RecordingProvider) -> None:
    key = campaign_of(12)
    run_sql("""UPDATE audience_members SET grade = 'cleared'
               WHERE customer_id IN (SELECT id FROM customers WHERE external_id IN ('c-3', 'c-4'))""")
    send(provider)
    assert len(provider.sent) == 10
    assert account_of(key).skipped == {"cleared": 2}


def test_a_notice_too_late_to_help_is_not_sent(provider: RecordingProvider) -> None:
    key = campaign_of(12)
    run_sql("UPDATE campaigns SET not_after = now() - interval '1 second'")
    send(provider)
    assert provider.sent == []
    assert account_of(key).skipped == {"expired": 12}


def test_a_cap_reached_after_planning_holds_at_the_gate(provider: RecordingProvider) -> None:
    first = campaign_of(5, NoticeClass.SUCCESS)
    with transaction() as session:
        again = [
            lifecycle.open_campaign(
                session, name="Again", kind=campaign.kind, notice_class=NoticeClass.SUCCESS,
                template_key="problem-known", ladder=[{"channel": "email"}], segment_id=campaign.segment_id or 0,
                problem_id=campaign.problem_id, author="test", approved=True, now=clock.now(session),
            ).key
            for campaign in [lifecycle.find(session, first)] * 4
        ]  # fmt: skip
        for key in again:
            plan_slice(session, campaign=lifecycle.find(session, key), now=clock.now(session))
    send(provider)
    assert len(provider.sent) == 15  # three in a day
    assert sum(account_of(key).skipped.get("capped", 0) for key in (first, *again)) == 10


def test_a_capped_notice_that_may_wait_goes_on_in_a_chunk_of_its_own(
    provider: RecordingProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OUTREACH_CAP_ACTION", "defer")
    monkeypatch.setenv("OUTREACH_CAP_PER_DAY", "1")
    monkeypatch.setenv("OUTREACH_DEMO", "true")
    get_settings.cache_clear()
    first = campaign_of(5, NoticeClass.SUCCESS)
    send(provider)
    with transaction() as session:
        before = lifecycle.find(session, first)
        second = lifecycle.open_campaign(
            session, name="Again", kind=before.kind, notice_class=NoticeClass.SUCCESS, template_key="problem-known",
            ladder=[{"channel": "email"}], segment_id=before.segment_id or 0, problem_id=before.problem_id,
            author="test", approved=True, now=clock.now(session),
        )  # fmt: skip
        plan_slice(session, campaign=second, now=clock.now(session))
        key = second.key
    send(provider)
    assert len(provider.sent) == 5
    assert account_of(key).on_the_way == 5
    with transaction() as session:
        clock.advance(session, timedelta(hours=25))
    send(provider)
    assert len(provider.sent) == 10


@pytest.mark.parametrize("scope", ["everything", "channel", "campaign"])
def test_a_stop_takes_effect_within_the_windows_under_way_and_lifting_it_loses_nobody(
    provider: RecordingProvider, scope: str
) -> None:
    key = campaign_of(60)

    def stop_now() -> None:
        with transaction() as session:
            stops.stop(
                session, actor="test", now=clock.now(session), reason="wrong words",
                channel=Channel.EMAIL if scope == "channel" else None,
                campaign=lifecycle.find(session, key) if scope == "campaign" else None,
            )  # fmt: skip

    provider.before = stop_now
    send(provider)
    assert 10 <= len(provider.sent) <= 20  # the window itself and the one beside it
    send(provider)
    assert len(provider.sent) <= 20
    provider.before = lambda: None
    with transaction() as session:
        assert stops.lift(
            session, actor="test", now=clock.now(session), channel=Channel.EMAIL if scope == "channel" else None,
            campaign=lifecycle.find(session, key) if scope == "campaign" else None,
        )  # fmt: skip
        actions = session.scalars(text("SELECT action FROM audit_log WHERE action LIKE 'sending%' ORDER BY id")).all()
    assert actions == ["sending.stopped", "sending.resumed"]
    send(provider)
    assert len({envelope.to for envelope in provider.sent}) == len(provider.sent) == 60


def test_an_edit_reaches_whoever_was_not_written_to_and_nobody_gets_two_versions(provider: RecordingProvider) -> None:
    key = campaign_of(60)

    def edit_once() -> None:
        provider.before = lambda: None
        with transaction() as session:
            session.add(Template(key="problem-known", version=2, channel="email", language="en",
                                 subject="New words", body="New words.", author="test"))  # fmt: skip
            session.flush()
            campaign = session.get_one(Campaign, lifecycle.find(session, key).id)
            editing.edit(session, campaign=campaign, actor="test", now=clock.now(session))

    provider.before = edit_once
    send(provider)
    send(provider)
    versions = {envelope.to: envelope.subject == "New words" for envelope in provider.sent}
    assert len(provider.sent) == len(versions) == 60
    assert 40 <= sum(versions.values()) <= 50
    with transaction() as session:
        mixed = session.execute(
            text("""SELECT count(*) FROM (SELECT m.notice_id FROM messages m
            JOIN chunks k ON k.id = m.chunk_id GROUP BY 1 HAVING count(DISTINCT k.template_version) > 1) x""")
        ).scalar()
    assert mixed == 0


def test_safety_needs_a_second_person_and_its_new_words_need_one_again(database: str) -> None:
    with transaction() as session:
        install_defaults(session)
        now = clock.now(session)
        campaign = a_campaign(session, 3, now, approved=False)
        campaign.notice_class = NoticeClass.SAFETY
        with pytest.raises(Conflict, match="second person"):
            lifecycle.approve(session, campaign=campaign, actor="test", now=now)
        lifecycle.approve(session, campaign=campaign, actor="other", now=now)
        editing.edit(session, campaign=campaign, actor="other", now=now)
        assert campaign.state is CampaignState.WAITING_APPROVAL
        with pytest.raises(Conflict, match="second person"):
            lifecycle.approve(session, campaign=campaign, actor="other", now=now)
        # The plan waits, a third person changes its words: she is not the second one for what she wrote herself.
        editing.edit(session, campaign=campaign, actor="third", now=now)
        with pytest.raises(Conflict, match="second person"):
            lifecycle.approve(session, campaign=campaign, actor="third", now=now)


def test_a_large_campaign_needs_a_second_person_and_an_old_plan_lapses(
    database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OUTREACH_APPROVAL_SECOND_PERSON_ABOVE", "2")
    get_settings.cache_clear()
    with transaction() as session:
        now = clock.now(session)
        campaign = a_campaign(session, 3, now, approved=False)
        with pytest.raises(Conflict, match="more than 2 people"):
            lifecycle.approve(session, campaign=campaign, actor="test", now=now)
        later = now + timedelta(days=8)
        with pytest.raises(Conflict, match="waited too long"):
            lifecycle.approve(session, campaign=campaign, actor="other", now=later)
        assert [c.key for c in lifecycle.let_lapse(session, now=later)] == [campaign.key]
        assert campaign.state is CampaignState.CANCELLED


def test_too_many_bounces_pause_the_campaign_and_open_a_task(provider: RecordingProvider) -> None:
    key = campaign_of(220)
    send(provider)
    run_sql("""UPDATE messages SET delivery = 'bounced', delivery_rank = 62
               WHERE id IN (SELECT id FROM messages ORDER BY id LIMIT 11)""")
    with transaction() as session:
        assert thresholds.watch(session, now=clock.now(session)) == []  # five in a hundred is the limit
    run_sql(
        """UPDATE messages SET delivery = 'bounced', delivery_rank = 62
           WHERE id IN (SELECT id FROM messages ORDER BY id LIMIT 12)"""
    )
    with transaction() as session:
        now = clock.now(session) + timedelta(minutes=1)
        assert thresholds.watch(session, now=now) == [key]
        campaign = lifecycle.find(session, key)
        assert campaign.state is CampaignState.PAUSED
        assert "12 of 220 messages (5.5 %) bounced" in (campaign.state_reason or "")
        assert session.scalar(text("SELECT count(*) FROM department_tasks WHERE title LIKE '%has paused itself%'")) == 1
        lifecycle.resume(session, campaign=campaign, actor="test", now=now + timedelta(seconds=1))
        # A person has looked: what was sent before no longer counts.
        assert thresholds.watch(session, now=now + timedelta(minutes=2)) == []


@pytest.mark.parametrize(
    ("decision", "state"),
    [("accepted", "accepted"), ("send-again", "queued"), ("give-up", "dead")],
)
def test_a_person_settles_an_unknown_outcome(provider: RecordingProvider, decision: str, state: str) -> None:
    key = campaign_of(3)
    provider.outcome = Outcome.UNKNOWN
    send(provider)
    with transaction() as session:
        found = unknowns.list_unknown(session)
        assert [(one.campaign, one.notice_class, one.channel) for one in found] == [(key, "service", "email")] * 3
        chosen = found[0].message_id
        unknowns.resolve(
            session, message_id=chosen, decision=unknowns.Decision(decision), actor="test", now=clock.now(session)
        )
    with transaction() as session:
        assert session.scalar(text("SELECT send_state FROM messages WHERE id = :id"), {"id": chosen}) == state
        assert len(unknowns.list_unknown(session)) == 2
        with pytest.raises(Conflict):
            unknowns.resolve(
                session, message_id=chosen, decision=unknowns.Decision.GIVE_UP, actor="test", now=clock.now(session)
            )
    assert account_of(key).audience == 3


def test_a_chunk_outside_its_hours_is_never_taken(provider: RecordingProvider) -> None:
    campaign_of(5)
    run_sql("UPDATE chunks SET zones = 'America/Chicago', closes_at = clock_timestamp() - interval '1 minute'")
    send(provider)
    assert provider.sent == []
