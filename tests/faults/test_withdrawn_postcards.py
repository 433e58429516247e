"""A campaign is cancelled while its postcards wait at the printer: they are taken back while that is possible."""

from collections import Counter

import pytest
from sqlalchemy import text

from campaigns import ledger, lifecycle
from campaigns.dispatch import dispatch
from campaigns.envelopes import Sender, sender_for
from campaigns.sweeps import plan_all
from campaigns.withdrawing import withdraw
from outreach import clock
from outreach.db import transaction
from outreach.vocabulary import Channel
from tests.faults.conftest import Install
from tests.faults.judge import a_campaign_on
from tests.installation import Installation, until
from webhooks.tasks import apply_inbox

PEOPLE = 8


def cancelled_after_sending() -> Sender:
    """Hand every postcard over, and cancel the campaign."""
    plan_all(a_campaign_on(Channel.POSTCARD, PEOPLE))
    sender = sender_for(Channel.POSTCARD)
    assert dispatch(channel=Channel.POSTCARD, sender=sender, owner="test").outcomes["accepted"] == PEOPLE
    with transaction() as session:
        lifecycle.cancel(session, campaign=lifecycle.find(session, "C-1"), actor="test", now=clock.now(session))
    return sender


def found(query: str) -> Counter[str | None]:
    """Count the values of a column."""
    with transaction() as session:
        return Counter(session.scalars(text(query)))


def reported() -> bool:
    """Apply what has come in; tells whether every card was reported as deleted."""
    apply_inbox()
    return found("SELECT delivery FROM messages") == {"failed": PEOPLE}


def account(installation: Installation) -> list[str]:
    """Return what does not add up."""
    with transaction() as session:
        return [str(found) for found in ledger.verify(session, campaign=lifecycle.find(session, "C-1")).discrepancies]


def test_cards_that_are_not_printed_are_taken_back_once(
    database: str, install: Install, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SANDBOX_LOB_WINDOW_SECONDS", "60")
    installation = install()
    installation.serve_api()
    sender = cancelled_after_sending()
    assert withdraw(sender) == PEOPLE
    assert found("SELECT state || ' ' || reason FROM notices") == {"skipped cancelled": PEOPLE}
    assert found("SELECT send_state || ' ' || reason FROM messages") == {"accepted withdrawn": PEOPLE}
    assert withdraw(sender) == 0
    # Lob reports it as well, which changes nothing of the account.
    until(reported, what="the webhooks")
    assert found("SELECT state || ' ' || reason FROM notices") == {"skipped cancelled": PEOPLE}
    assert account(installation) == []


def test_cards_that_are_printed_already_are_followed_as_ever(
    database: str, install: Install, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SANDBOX_LOB_WINDOW_SECONDS", "0")
    installation = install()
    sender = cancelled_after_sending()
    assert withdraw(sender) == 0
    assert found("SELECT send_state || ' ' || reason FROM messages") == {"accepted too_late_to_withdraw": PEOPLE}
    assert found("SELECT state FROM notices") == {"owed": PEOPLE}
    assert account(installation) == []


def test_a_printer_that_does_not_answer_is_asked_again_and_old_cards_are_not(
    database: str, install: Install, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SANDBOX_LOB_WINDOW_SECONDS", "60")
    installation = install()
    sender = cancelled_after_sending()
    with transaction() as session:
        session.execute(text("UPDATE messages SET sent_at = sent_at - interval '6 minutes' WHERE id IN ("
                             "SELECT id FROM messages ORDER BY id LIMIT 3)"))  # fmt: skip
    inner = sender.provider.inner  # type: ignore[attr-defined]
    address, inner._transport.base_url = inner._transport.base_url, "http://127.0.0.1:1"
    assert withdraw(sender) == 0
    assert found("SELECT reason FROM messages") == {None: PEOPLE}
    inner._transport.base_url = address
    assert withdraw(sender) == PEOPLE - 3
    assert account(installation) == []
