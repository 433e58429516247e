"""Whoever answers for a campaign hears by email what it needs, once, and also when the provider was away at first."""

from sqlalchemy import text

from campaigns import lifecycle, thresholds
from campaigns.envelopes import Sender
from campaigns.owners import send_letters, tell_owner
from campaigns.providers.base import Outcome
from campaigns.stalls import look_after
from outreach import clock
from outreach.db import transaction
from outreach.settings import get_settings
from outreach.vocabulary import CampaignState, Channel
from tests.campaigns.test_controls_sending import RecordingProvider, campaign_of, provider, run_sql, send

__all__ = ["provider"]  # the fixture


def operators(*names: tuple[str, str]) -> None:
    """Let these people work here: email and role."""
    for email, role in names:
        run_sql(
            f"INSERT INTO operators (email, name, role, password_hash) VALUES ('{email}', '{email}', '{role}', 'none')"
        )


def letters(provider: RecordingProvider) -> list[tuple[str, str]]:
    """Send what is due to owners; returns all that they got so far."""
    provider.sent.clear()
    send_letters(Sender(Channel.EMAIL, provider, get_settings()))
    return [(each.to, each.subject) for each in provider.sent]


def test_a_campaign_of_no_problem_that_pauses_itself_tells_who_opened_and_who_approved_it(
    provider: RecordingProvider,
) -> None:
    operators(("ada@example.com", "author"), ("ben@example.com", "approver"), ("eve@example.com", "admin"))
    key = campaign_of(220)
    send(provider)
    run_sql("UPDATE campaigns SET problem_id = NULL, created_by = 'ada@example.com', approved_by = 'ben@example.com'")
    run_sql("""UPDATE messages SET delivery = 'failed', delivery_rank = 61
               WHERE id IN (SELECT id FROM messages ORDER BY id LIMIT 23)""")
    with transaction() as session:
        assert thresholds.watch(session, now=clock.now(session)) == [key]
        assert "23 of 220 messages (10.5 %) could not be delivered" in str(lifecycle.find(session, key).state_reason)
    told = letters(provider)
    assert {to for to, _ in told} == {"ada@example.com", "ben@example.com"}
    assert all(subject.startswith(f"{key} has paused itself: 23 of 220 messages") for _, subject in told)
    assert f"/campaigns/{key}" in provider.sent[0].text
    assert letters(provider) == []


def test_where_nobody_is_known_everybody_who_may_approve_hears_it_once(provider: RecordingProvider) -> None:
    operators(("ada@example.com", "author"), ("ben@example.com", "approver"), ("eve@example.com", "admin"))
    run_sql("UPDATE operators SET disabled_at = now() WHERE email = 'eve@example.com'")
    key = campaign_of(5)
    run_sql("UPDATE chunks SET due_at = due_at - interval '1 hour'")
    for _ in range(2):
        with transaction() as session:
            look_after(session, now=clock.now(session))
        run_sql("UPDATE campaigns SET state_reason = NULL")  # it moved again, and stands still again
    assert letters(provider) == [("ben@example.com", letter_about(key))]


def letter_about(key: str) -> str:
    """The subject of the letter about a campaign that stands still."""
    with transaction() as session:
        said = session.scalar(text("SELECT said FROM owner_letters WHERE campaign_key = :key"), {"key": key})
    return str(said)


def test_a_letter_that_nobody_took_is_tried_again_later(provider: RecordingProvider) -> None:
    operators(("ben@example.com", "approver"))
    key = campaign_of(5)
    with transaction() as session:
        tell_owner(session, lifecycle.find(session, key), "Look at it.", clock.now(session))
        assert lifecycle.find(session, key).state is CampaignState.RUNNING
    provider.outcome = Outcome.REFUSED
    assert len(letters(provider)) == 1
    provider.outcome = Outcome.ACCEPTED
    assert letters(provider) == []  # not yet
    run_sql("UPDATE owner_letters SET due_at = due_at - interval '6 minutes'")
    assert letters(provider) == [("ben@example.com", "Look at it.")]
