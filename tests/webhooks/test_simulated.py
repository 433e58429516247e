"""Simulated recipients: no provider hears of them, and what they always do comes back."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import select, text

from campaigns import ledger
from campaigns.dispatch import dispatch
from campaigns.envelopes import sender_for
from campaigns.lifecycle import find
from campaigns.providers.simulated import story_of
from campaigns.sweeps import plan_all
from outreach import clock
from outreach.db import transaction
from outreach.models import Message, Response, Suppression
from outreach.vocabulary import Channel, Intent
from tests.installation import Installation
from tests.people import a_campaign
from webhooks.tasks import apply_inbox


@pytest.fixture
def installation(database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Installation]:
    running = Installation(tmp_path, monkeypatch)
    yield running
    running.stop()


def test_simulated_recipients_deliver_bounce_complain_and_stop_without_a_call(installation: Installation) -> None:
    stories = ("deliver", "bounce", "complain", "stop+7")
    with transaction() as session:
        campaign_id = a_campaign(session, 6, clock.now(session)).id
        for number, story in enumerate(stories, 1):
            session.execute(
                text("UPDATE customers SET email = :email WHERE external_id = :id"),
                {"email": f"{story}@simulator.example.com", "id": f"c-{number}"},
            )
    plan_all(campaign_id)
    dispatch(channel=Channel.EMAIL, sender=sender_for(Channel.EMAIL), owner="test")
    apply_inbox()
    apply_inbox()
    accepted = installation.sandbox("accepted?limit=100")["accepted"]
    assert len(accepted) == 2  # the two real ones
    with transaction() as session:
        ranks = {
            row.address: row.delivery_rank for row in session.execute(select(Message.address, Message.delivery_rank))
        }
        bans = {row.address: row.reason for row in session.execute(select(Suppression.address, Suppression.reason))}
        said = [tuple(row) for row in session.execute(select(Response.sender, Response.intent))]
        account = ledger.verify(session, campaign=find(session, "C-1"))
    domain = "@simulator.example.com"
    assert {address.removesuffix(domain): rank for address, rank in ranks.items() if address.endswith(domain)} == {
        "deliver": 50, "bounce": 62, "complain": 50, "stop+7": 50,
    }  # fmt: skip
    assert {address.removesuffix(domain): reason.value for address, reason in bans.items()} == {
        "bounce": "hard_bounce", "complain": "complaint", "stop+7": "stop",
    }  # fmt: skip
    assert said == [(f"stop+7{domain}", Intent.STOP)]
    assert account.discrepancies == []


def test_only_the_reserved_addresses_are_simulated() -> None:
    assert story_of("bounce+20@simulator.example.com") == "bounce"
    assert story_of("+15005550009") == "stop"
    for real in ("bounce+21@simulator.example.com", "bounce@example.com", "+15005550000", None, 7):
        assert story_of(real) is None
