"""The circuit breaker: when a provider rests, who tries it again, and that nobody is marked failed meanwhile."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import pytest
from sqlalchemy import text

from campaigns import circuits
from campaigns.dispatch import Dispatched, dispatch
from campaigns.envelopes import Sender
from campaigns.providers.base import EmailEnvelope, Outcome, Receipt
from campaigns.stalls import look_after
from outreach import clock
from outreach.db import transaction
from outreach.settings import get_settings
from outreach.vocabulary import Channel, NoticeClass
from tests.campaigns.test_controls_sending import RecordingProvider, campaign_of, run_sql

PEOPLE = 60


@pytest.fixture
def provider(database: str, monkeypatch: pytest.MonkeyPatch) -> RecordingProvider:
    """A provider with one message per call, whose circuit opens after three failures."""
    monkeypatch.setenv("OUTREACH_CIRCUIT_FAILURES", "3")
    monkeypatch.setenv("OUTREACH_CIRCUIT_SECONDS", "100")
    get_settings.cache_clear()
    made = RecordingProvider()
    made.messages_per_call, made.window = 1, 4
    return made


def send(provider: RecordingProvider, *, urgent_only: bool = False) -> Dispatched:
    """Send what is due; retries wait for nothing."""
    run_sql("UPDATE chunks SET due_at = clock_timestamp() - interval '1 second' WHERE state = 'ready'")
    sender = Sender(Channel.EMAIL, provider, get_settings())
    return dispatch(channel=Channel.EMAIL, sender=sender, owner="test", urgent_only=urgent_only)


def states() -> Counter[str]:
    """Count messages by state."""
    with transaction() as session:
        return Counter(session.scalars(text("SELECT send_state FROM messages")))


def rests() -> list[tuple[str, int]]:
    """Return the open circuits and how often they were tried in vain."""
    with transaction() as session:
        return [(r.provider, r.failed_tries) for r in session.execute(text("SELECT * FROM provider_circuits"))]


def the_rest_is_over() -> None:
    """Let the time come at which somebody may try again."""
    run_sql("UPDATE provider_circuits SET retry_at = clock_timestamp() - interval '1 second'")


def test_a_provider_that_fails_rests_and_its_chunks_wait(provider: RecordingProvider) -> None:
    campaign_of(PEOPLE)
    provider.outcome = Outcome.UNKNOWN
    send(provider)
    assert rests() == [("recording", 0)]
    # Two windows were under way; everybody else waits in the queue, and nobody failed.
    handed = len(provider.sent)
    assert handed <= 8
    assert states() == {"unknown": handed, "queued": states()["queued"]}
    assert send(provider).chunks == 0
    assert len(provider.sent) == handed


def test_one_message_finds_out_and_the_wait_doubles_until_it_is_taken(provider: RecordingProvider) -> None:
    campaign_of(PEOPLE)
    provider.outcome = Outcome.REFUSED
    send(provider)
    for tries in (1, 2, 3):
        provider.sent.clear()
        the_rest_is_over()
        send(provider)
        assert len(provider.sent) == 1
        assert rests() == [("recording", tries)]
    with transaction() as session:
        wait = session.scalar(text("SELECT extract(epoch FROM retry_at - clock_timestamp()) FROM provider_circuits"))
    assert wait == pytest.approx(600, abs=5)  # 100, 200, 400, and never more than ten minutes
    provider.outcome = Outcome.ACCEPTED
    the_rest_is_over()
    send(provider)
    assert rests() == []
    send(provider)
    assert states() == {"accepted": states()["accepted"]}


def test_nobody_is_given_up_however_long_the_provider_is_away(provider: RecordingProvider) -> None:
    campaign_of(2)
    provider.outcome = Outcome.REFUSED
    send(provider)
    run_sql("""INSERT INTO provider_circuits (provider, channel, opened_at, retry_at)
               VALUES ('recording', 'email', clock_timestamp(), clock_timestamp()) ON CONFLICT DO NOTHING""")
    for _ in range(15):
        the_rest_is_over()
        send(provider)
    assert set(states()) == {"queued"}
    with transaction() as session:
        assert session.scalar(text("SELECT max(tries) FROM chunks")) == 1
    provider.outcome = Outcome.ACCEPTED
    for _ in range(3):
        the_rest_is_over()
        send(provider)
    assert set(states()) == {"accepted"}


def test_a_chunk_given_back_while_its_provider_rests_is_no_suspect(provider: RecordingProvider) -> None:
    campaign_of(1)
    run_sql("UPDATE chunks SET fence = 7, given_back = 7")
    send(provider)
    assert states() == {"accepted": 1}


def test_one_worker_tries_and_the_others_wait(provider: RecordingProvider) -> None:
    campaign_of(PEOPLE)
    run_sql("""INSERT INTO provider_circuits (provider, channel, opened_at, retry_at)
               VALUES ('recording', 'email', clock_timestamp(), clock_timestamp())""")
    second = RecordingProvider()
    outcomes: list[Dispatched] = []
    provider.before = lambda: outcomes.append(send(second))
    send(provider)
    assert (len(provider.sent), len(second.sent)) == (1, 0)
    # Two that had claimed at the very same moment: the row decides.
    run_sql("""INSERT INTO provider_circuits (provider, channel, opened_at, retry_at)
               VALUES ('recording', 'email', clock_timestamp(), clock_timestamp())""")
    with transaction() as session:
        taken = [circuits.take_probe(session, provider="recording", lease_seconds=9) for _ in range(2)]
    assert taken == [True, False]


def test_some_failures_among_many_successes_open_nothing(
    provider: RecordingProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OUTREACH_CIRCUIT_FAILURES", "10")  # the windows fail whole, four calls at a time
    get_settings.cache_clear()
    campaign_of(PEOPLE)
    dice = iter(range(10_000))

    def now_and_then() -> None:
        provider.outcome = Outcome.UNKNOWN if next(dice) % 4 == 0 else Outcome.ACCEPTED

    provider.before = now_and_then
    send(provider)
    assert rests() == []
    assert states()["unknown"] > 3


def test_a_rate_limit_is_no_failure(provider: RecordingProvider) -> None:
    campaign_of(PEOPLE)
    sent = provider.send

    def limited(envelopes: Sequence[EmailEnvelope], *, deadline: float) -> list[Receipt]:
        return [replace(r, outcome=Outcome.REFUSED, status_code=429) for r in sent(envelopes, deadline=deadline)]

    provider.send = limited  # type: ignore[method-assign]
    send(provider)
    assert rests() == []


def test_an_urgent_worker_takes_safety_and_leaves_the_rest(provider: RecordingProvider) -> None:
    campaign_of(5)
    assert send(provider, urgent_only=True).chunks == 0
    run_sql(f"UPDATE campaigns SET notice_class = '{NoticeClass.SAFETY}'")
    assert send(provider, urgent_only=True).outcomes == {"accepted": 5}


def test_a_campaign_whose_provider_rests_says_that_it_is_stuck(provider: RecordingProvider) -> None:
    campaign_of(PEOPLE)
    provider.outcome = Outcome.REFUSED
    send(provider)
    run_sql("UPDATE chunks SET due_at = due_at - interval '1 hour' WHERE state = 'ready'")
    with transaction() as session:
        look_after(session, now=clock.now(session))
        assert "stuck" in str(session.scalar(text("SELECT state_reason FROM campaigns")))
