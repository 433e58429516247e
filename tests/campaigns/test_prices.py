"""What is expected before a launch and what was really spent: by segments, by size, at the prices of the day."""

from collections.abc import Sequence
from typing import Any

import pytest
from sqlalchemy import text

from campaigns import funnel, lifecycle
from campaigns.channel_plan import costs
from campaigns.dispatch import dispatch
from campaigns.envelopes import Sender
from campaigns.forecast import forecast
from campaigns.planning import plan_slice
from campaigns.prices import expected_cents
from campaigns.providers.base import Outcome, Receipt
from outreach import clock
from outreach.db import transaction
from outreach.models import Template
from outreach.settings import get_settings
from outreach.vocabulary import Channel
from tests.campaigns.test_controls_sending import RecordingProvider, run_sql
from tests.campaigns.test_postcards import page
from tests.people import a_campaign

SHORT = "Hello {{ customer.first_name }}, look at our page."
LONG = "Hello {{ customer.first_name }}. " + "Please keep the filter in its box. " * 6  # two segments


class Counter(RecordingProvider):
    """Accepts everything on one channel; `outcome_of` may say otherwise of one message."""

    messages_per_call, window = 1, 8

    def __init__(self, channel: Channel) -> None:
        super().__init__()
        self.channel = channel  # type: ignore[misc]
        self.refuses_first = False

    def send(self, envelopes: Sequence[Any], *, deadline: float) -> list[Receipt]:
        receipts = super().send(envelopes, deadline=deadline)
        if self.refuses_first:
            self.refuses_first = False
            receipts[0] = Receipt(receipts[0].message_id, Outcome.REJECTED, detail="no")
        return receipts


def plan(channel: Channel, body: str, people: int = 10, *, back: str | None = None) -> str:
    """Plan a running campaign on one channel with these words; returns its key."""
    with transaction() as session:
        now = clock.now(session)
        campaign = a_campaign(session, people, now)
        session.add(Template(key="own", version=1, channel=channel, language="en", body=body, back=back, author="test"))
        session.execute(text("UPDATE customers SET phone = '+1202555' || lpad((1000 + id)::text, 4, '0')"))
        campaign.ladder, campaign.waves = [{"channel": channel.value}], []
        campaign.template_key, campaign.template_version = "own", 1
        session.flush()
        plan_slice(session, campaign=campaign, now=now)
        return campaign.key


def send(provider: Counter) -> None:
    """Send what is due."""
    dispatch(channel=provider.channel, sender=Sender(provider.channel, provider, get_settings()), owner="test")


def spent(key: str) -> tuple[dict[str, dict[str, float]], float]:
    """Return the costs by channel, and the sum that the campaign's page shows."""
    with transaction() as session:
        campaign = lifecycle.find(session, key)
        return costs(session, campaign=campaign), funnel.figures(session, campaign=campaign).spent_cents


def foreseen(key: str) -> tuple[float, int]:
    """Return what one message and the whole campaign are expected to cost, in cents."""
    with transaction() as session:
        campaign = lifecycle.find(session, key)
        (step,) = forecast(session, campaign=campaign).steps
        return expected_cents(session, campaign=campaign, now=clock.now(session))[step.channel], step.cost_cents


@pytest.mark.parametrize(("body", "segments"), [(SHORT, 1), (LONG, 2)])
def test_a_text_message_costs_by_its_segments(database: str, body: str, segments: int) -> None:
    key = plan(Channel.SMS, body)
    assert foreseen(key) == (segments, 10 * segments)
    send(Counter(Channel.SMS))
    assert spent(key) == ({"sms": {"messages": 10, "cents": 10.0 * segments}}, 10.0 * segments)


@pytest.mark.parametrize(("size", "cents"), [((6.25, 4.25), 90), ((9.25, 6.25), 110), ((11.25, 6.25), 135)])
def test_a_postcard_costs_by_its_size(
    database: str, monkeypatch: pytest.MonkeyPatch, size: tuple[float, float], cents: int
) -> None:
    monkeypatch.setenv("OUTREACH_POSTCARD_FROM", "Example|1 Example Street|Springfield|IL|62701|US")
    get_settings.cache_clear()
    key = plan(Channel.POSTCARD, page(*size), back=page(*size))
    assert foreseen(key) == (cents, 10 * cents)
    send(Counter(Channel.POSTCARD))
    assert spent(key) == ({"postcard": {"messages": 10, "cents": 10.0 * cents}}, 10.0 * cents)
    run_sql("UPDATE messages SET reason = 'withdrawn' WHERE id = (SELECT min(id::text)::uuid FROM messages)")
    assert spent(key)[0]["postcard"] == {"messages": 9, "cents": 9.0 * cents}


def test_what_was_spent_stays_when_prices_change_and_what_was_refused_costs_nothing(
    database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = plan(Channel.SMS, SHORT)
    provider = Counter(Channel.SMS)
    provider.refuses_first = True
    send(provider)
    monkeypatch.setenv("OUTREACH_SMS_COST_CENTS", "500")
    get_settings.cache_clear()
    assert spent(key) == ({"sms": {"messages": 9, "cents": 9.0}}, 9.0)
