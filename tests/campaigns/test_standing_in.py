"""SendGrid fails, a mail server stands in: everybody is told, nobody by both, and what is unclear goes to neither."""

import email as email_package
import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from sqlalchemy import text

from campaigns import standing_in, trial_sends
from campaigns.envelopes import forget_senders
from outreach.db import transaction
from outreach.settings import get_settings
from outreach.vocabulary import Channel
from tests.campaigns.providers.cases import SENDGRID
from tests.campaigns.providers.test_smtp import Server, running
from tests.campaigns.providers.wire import Wire, http_server
from tests.campaigns.test_controls_sending import campaign_of, run_sql

PEOPLE = 90


class Mailbox(Server):
    """A mail server that takes everything, whatever the address."""

    async def handle_RCPT(self, server, session, envelope, address, options):  # type: ignore[no-untyped-def]
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server, session, envelope):  # type: ignore[no-untyped-def]
        self.messages.append(envelope.content)
        return "250 OK"


@dataclass
class Two:
    """Both providers as they are seen from outside."""

    sendgrid: Wire
    mailbox: Mailbox

    def by_mail(self) -> list[str]:
        """The ids of the messages that the mail server took."""
        found = [email_package.message_from_bytes(message)["X-Outreach-Message"] for message in self.mailbox.messages]
        return [str(each) for each in found]

    def by_sendgrid(self, since: int = 0) -> list[str]:
        """The ids of the messages in SendGrid's calls from number `since`."""
        people = [
            person for call in self.sendgrid.calls[since:] for person in json.loads(call.body)["personalizations"]
        ]
        return [person["custom_args"]["message_id"] for person in people]


@pytest.fixture
def two(database: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Two]:
    """A SendGrid that can be told to fail, and a mail server behind it."""
    mailbox = Mailbox()
    with http_server(SENDGRID.answers) as wire, running(mailbox) as port:
        for name, value in {
            "sendgrid_url": wire.url, "sendgrid_api_key": "SG.x", "email_second_provider": "smtp",
            "smtp_url": f"smtp://127.0.0.1:{port}", "email_messages_per_call": "5", "circuit_seconds": "100",
            "provider_connections": "2", "reconcile_grace_seconds": "0",
        }.items():  # fmt: skip
            monkeypatch.setenv(f"OUTREACH_{name.upper()}", value)
        get_settings.cache_clear()
        forget_senders()
        yield Two(wire, mailbox)
        forget_senders()


def send() -> None:
    """Send what is due; retries wait for nothing."""
    run_sql("UPDATE chunks SET due_at = clock_timestamp() - interval '1 second' WHERE state = 'ready'")
    standing_in.send_due(channel=Channel.EMAIL, owner="test")


def settle() -> Counter[str]:
    """Look up what is in doubt, as if its time had come."""
    run_sql("UPDATE attempts SET leased_until = clock_timestamp() - interval '1 second' WHERE state = 'unknown'")
    return standing_in.settle_doubts(channel=Channel.EMAIL)


def messages() -> Counter[tuple[str, str]]:
    """Count messages by state and by the provider that was called last."""
    with transaction() as session:
        rows = session.execute(text("SELECT send_state, provider FROM messages"))
        return Counter((row.send_state, row.provider) for row in rows)


def test_what_the_first_provably_did_not_take_goes_through_the_second(two: Two) -> None:
    campaign_of(PEOPLE)
    two.sendgrid.behaviour = "settings"  # the key was revoked: nothing is accepted
    for _ in range(4):
        send()
    assert messages() == {("accepted", "smtp"): PEOPLE}
    assert sorted(two.by_mail()) == sorted(set(two.by_mail()))
    assert len(two.by_mail()) == PEOPLE


def test_what_is_unclear_stays_with_the_first_and_is_never_given_to_the_second(two: Two) -> None:
    campaign_of(PEOPLE)
    two.sendgrid.behaviour = "error"
    for _ in range(4):
        send()
        settle()
    unclear = set(two.by_sendgrid())
    assert 0 < len(unclear) < PEOPLE
    assert set(two.by_mail()).isdisjoint(unclear)
    assert messages() == {("unknown", "sendgrid"): len(unclear), ("accepted", "smtp"): PEOPLE - len(unclear)}


def test_the_first_is_tried_with_one_message_and_then_sends_again(two: Two) -> None:
    campaign_of(PEOPLE)
    two.sendgrid.behaviour = "settings"
    for _ in range(4):
        send()
    before, calls = len(two.by_mail()), len(two.sendgrid.calls)
    two.sendgrid.behaviour = "accept"
    run_sql("UPDATE provider_circuits SET retry_at = clock_timestamp() - interval '1 second'")
    with transaction() as session:
        session.execute(text("UPDATE campaigns SET state = 'finished'"))
        session.execute(text("UPDATE problems SET key = 'P-old'"))
        session.execute(text("UPDATE segments SET key = 'scope-old'"))
        session.execute(text("UPDATE customers SET external_id = 'old-' || external_id"))
        session.execute(text("UPDATE orders SET external_id = 'old-' || external_id"))
    campaign_of(PEOPLE)
    for _ in range(2):
        send()
    assert len(two.by_mail()) == before
    assert len(json.loads(two.sendgrid.calls[calls].body)["personalizations"]) == 1
    assert len(set(two.by_sendgrid(calls))) == len(two.by_sendgrid(calls)) == PEOPLE
    assert messages() == {("accepted", "smtp"): PEOPLE, ("accepted", "sendgrid"): PEOPLE}


def test_a_rate_limit_moves_nobody_to_the_second(two: Two) -> None:
    campaign_of(PEOPLE)
    two.sendgrid.behaviour = "rate"
    for _ in range(3):
        send()
    assert two.by_mail() == []
    assert {state for state, _ in messages()} == {"queued"}


def test_a_provider_that_the_settings_no_longer_name_is_not_asked_of_another(
    two: Two, monkeypatch: pytest.MonkeyPatch
) -> None:
    campaign_of(PEOPLE)
    two.sendgrid.behaviour = "error"
    send()
    unclear = messages()["unknown", "sendgrid"]
    monkeypatch.setenv("OUTREACH_EMAIL_PROVIDER", "smtp")
    monkeypatch.setenv("OUTREACH_EMAIL_SECOND_PROVIDER", "")
    get_settings.cache_clear()
    forget_senders()
    assert settle() == {"still_unknown": unclear}


def test_a_test_send_goes_the_way_that_messages_go_now(two: Two) -> None:
    campaign_of(PEOPLE)
    run_sql("""INSERT INTO provider_circuits (provider, channel, opened_at, retry_at)
               VALUES ('sendgrid', 'email', now(), now() + interval '1 hour')""")
    with transaction() as session:
        customer_id = session.execute(text("SELECT min(id) FROM customers")).scalar_one()
    said = trial_sends.send_trial(
        "C-1", customer_id=customer_id, channel=Channel.EMAIL, address="us@example.com", actor="anna"
    )
    assert (said, len(two.by_mail()), two.sendgrid.calls) == ("accepted", 1, [])
