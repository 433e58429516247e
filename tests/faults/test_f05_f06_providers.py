"""F5, F6: answers that get lost, errors before and after the acceptance, storms of 429."""

import pytest
from sqlalchemy import text

from outreach.db import transaction
from outreach.vocabulary import Channel
from tests.faults.conftest import Install
from tests.faults.judge import a_campaign_on, expect_everybody_once, rest
from tests.installation import Installation

PEOPLE = 40


def send(installation: Installation, channel: Channel, people: int = PEOPLE) -> None:
    """Start a worker on a new campaign and wait for its end."""
    a_campaign_on(channel, people)
    worker = installation.start("tests.faults.plain_worker", channel.value)
    rest()
    installation.kill(worker)


@pytest.mark.parametrize("share", [pytest.param(0.1, marks=pytest.mark.faults), 1.0])
def test_answers_lost_after_the_acceptance_are_settled_by_webhooks(
    database: str, install: Install, share: float
) -> None:
    installation = install(
        {"sendgrid": {"accept_then_drop": share}}, sendgrid_email_activity="false", reconcile_grace_seconds="600"
    )
    installation.serve_api()
    send(installation, Channel.EMAIL)
    expect_everybody_once(installation, PEOPLE)
    with transaction() as session:
        unclear = session.scalar(text("SELECT count(*) FROM attempts WHERE state = 'unknown' OR detail IS NOT NULL"))
    assert (unclear or 0) > 0


@pytest.mark.parametrize(
    "channel", [Channel.EMAIL, *(pytest.param(c, marks=pytest.mark.faults) for c in (Channel.SMS, Channel.POSTCARD))]
)
def test_errors_before_and_after_the_acceptance_tell_everybody_once(
    database: str, install: Install, channel: Channel
) -> None:
    knobs = {"error_after_accept": 0.2, "error_before_accept": 0.2, "wrong_json": 0.1}
    installation = install(dict.fromkeys(("sendgrid", "twilio", "lob"), knobs))
    send(installation, channel)
    expect_everybody_once(installation, PEOPLE)


def test_nobody_tries_again_before_the_provider_allows_it(database: str, install: Install) -> None:
    installation = install({"sendgrid": {"rate_limit": {"first": 1}, "retry_after_seconds": 8}})
    send(installation, Channel.EMAIL, 5)
    expect_everybody_once(installation, 5)
    with transaction() as session:
        gaps = session.scalars(
            text("""SELECT extract(epoch FROM b.started_at - a.finished_at) FROM attempts a
                    JOIN attempts b ON b.id = (SELECT min(id) FROM attempts c WHERE c.id > a.id)
                    WHERE a.status_code = 429""")
        ).all()
    # Five people are one call; our own first pause would be 5 seconds.
    assert len(gaps) == 1
    assert gaps[0] >= 8


@pytest.mark.faults
def test_a_storm_of_429_is_waited_out_by_every_message(database: str, install: Install) -> None:
    wait = 7  # longer than our own first pause of 5 seconds
    installation = install(
        {"sendgrid": {"rate_limit": {"first": 9}, "retry_after_seconds": wait, "latency_ms": 100}},
        email_messages_per_call="2",
    )
    a_campaign_on(Channel.EMAIL, PEOPLE)
    crowd = [installation.start("tests.faults.plain_worker", "email") for _ in range(3)]
    rest(120)
    for worker in crowd:
        installation.kill(worker)
    expect_everybody_once(installation, PEOPLE)
    with transaction() as session:
        gaps = session.scalars(
            text("""SELECT extract(epoch FROM min(b.started_at) - a.finished_at)
                    FROM attempts a CROSS JOIN unnest(a.message_ids) AS who(id)
                    JOIN attempts b ON b.id > a.id AND who.id = ANY(b.message_ids)
                    WHERE a.status_code = 429 GROUP BY a.id, who.id"""),
        ).all()
        # A rate limit is no trouble of the provider's: nobody rests for it.
        assert not session.scalar(text("SELECT count(*) FROM provider_circuits"))
    assert len(gaps) >= 18
    assert min(gaps) >= wait


def test_a_search_that_lags_behind_is_not_asked_before_the_grace(database: str, install: Install) -> None:
    # It lags for longer than the lease: only the grace keeps us from asking too early.
    installation = install(
        {"sendgrid": {"accept_then_drop": {"first": 4}, "search_delay_seconds": 4, "webhooks": {"lose": 1.0}}},
        reconcile_grace_seconds="6",
    )
    send(installation, Channel.EMAIL)
    expect_everybody_once(installation, PEOPLE)
