"""Sending at the command line: where a campaign stands, its account, and what nobody knows; wrong input included."""

from uuid import UUID

import pytest
from sqlalchemy import text

from campaigns.planning import plan_slice
from outreach import clock
from outreach.db import transaction
from tests.app.test_cli import Terminal, terminal
from tests.people import a_campaign

__all__ = ["terminal"]  # the fixture


def planned(people: int = 10) -> None:
    """Plan a running campaign C-1."""
    with transaction() as session:
        now = clock.now(session)
        campaign = a_campaign(session, people, now)
        plan_slice(session, campaign=campaign, now=now)
        campaign.planned_through = 1


def in_doubt() -> UUID:
    """Leave one message of the campaign in doubt; returns its id."""
    with transaction() as session:
        message_id: UUID = session.scalars(text("SELECT id FROM messages ORDER BY id LIMIT 1")).one()
        session.execute(
            text("""WITH called AS (
                        INSERT INTO attempts (chunk_id, fence, provider, message_ids, state, leased_until)
                        SELECT chunk_id, 1, 'sendgrid', ARRAY[id], 'unknown', now() FROM messages WHERE id = :id
                        RETURNING id)
                    UPDATE messages SET send_state = 'unknown', attempt_id = called.id, sent_at = now(), cost = 100,
                           provider = 'sendgrid'
                    FROM called WHERE messages.id = :id"""),
            {"id": message_id},
        )
        return message_id


def test_the_status_counts_messages_by_channel_with_their_costs(terminal: Terminal) -> None:
    planned()
    in_doubt()
    done = terminal.run("campaign", "status", "C-1")
    assert done.returncode == 0
    assert "8 queued, 1 unknown" in done.stdout
    assert "0.1" in done.stdout
    found = terminal.result("campaign", "status", "C-1")
    assert (found["state"], found["messages"]["email"]) == ("running", {"queued": 8, "unknown": 1})
    assert found["costs"] == {"email": {"messages": 1, "cents": 0.1}}


@pytest.mark.parametrize(
    ("decision", "state"), [("accepted", "accepted"), ("send-again", "queued"), ("give-up", "dead")]
)
def test_what_is_unknown_is_listed_and_settled_once(terminal: Terminal, decision: str, state: str) -> None:
    planned()
    message_id = in_doubt()
    (listed,) = terminal.result("unknown", "list")
    assert (listed["message_id"], listed["campaign"], listed["provider"]) == (str(message_id), "C-1", "sendgrid")
    assert terminal.run("unknown", "resolve", str(message_id), decision).returncode == 0
    again = terminal.run("unknown", "resolve", str(message_id), decision)
    assert (again.returncode, again.stderr) == (
        1, f"outreach: Message {message_id} is {state}; only an unknown one needs a decision.\n",
    )  # fmt: skip
    assert terminal.result("unknown", "list") == []


def test_a_test_send_goes_to_an_address_of_ones_own_and_is_no_part_of_the_campaign(terminal: Terminal) -> None:
    planned(3)
    test = ("campaign", "test", "C-1", "--channel", "email")
    done = terminal.run(*test, "--to", "deliver@simulator.example.com", "--customer", "c-2")
    assert (done.returncode, done.stderr) == (
        0, "email to deliver@simulator.example.com: accepted: a simulated recipient\n",
    )  # fmt: skip
    assert terminal.result("campaign", "status", "C-1")["messages"] == {"email": {"queued": 3}}
    for words, said in (
        ((*test, "--to", "nobody"), "'nobody' is not an email address"),
        ((*test, "--to", "me@example.com", "--customer", "c-99"), "There is no customer 'c-99'."),
        (("campaign", "test", "C-1", "--channel", "postcard", "--to", "x"), "Postcards are not sent as a test"),
        # The provider has no key here, so that nothing can go.
        ((*test, "--to", "me@example.com"), "email to me@example.com: refused"),
    ):
        done = terminal.run(*words)
        assert (done.returncode, said in done.stderr) == (1, True), done.stderr


def test_the_account_ends_with_1_when_a_row_does_not_add_up(terminal: Terminal) -> None:
    planned()
    assert terminal.run("ledger", "verify", "C-1").returncode == 0
    with transaction() as session:
        session.execute(text("DELETE FROM notices WHERE id = (SELECT min(id) FROM notices)"))
    done = terminal.run("ledger", "verify", "C-1")
    assert done.returncode == 1
    assert "Traceback" not in done.stdout + done.stderr


@pytest.mark.parametrize(
    ("words", "status", "said"),
    [
        (("campaign", "status", "C-9"), 1, "There is no campaign C-9."),
        (("campaign", "pause", "C-9"), 1, "There is no campaign C-9."),
        (("campaign", "resume", "C-1"), 1, "Campaign C-1 is running; you can resume it when it is paused."),
        (("campaign", "approve", "C-1"), 1, "you can approve it when it is waiting_approval"),
        (("campaign", "edit", "C-1", "--version", "99"), 1, "Version 99 of problem-known has no words for email"),
        (("campaign", "cancel"), 2, "Missing argument 'key'"),
        (("campaign", "plan", "C-1", "--budget-cents", "many"), 2, "--budget-cents"),
        (("campaign", "stop-all", "--channel", "fax"), 2, "'fax' is not one of"),
        (("campaign", "resume-all"), 1, "There is no stop of exactly this scope."),
        (("ledger", "verify", "C-9"), 1, "There is no campaign C-9."),
        (("unknown", "resolve", "abc", "accepted"), 2, "valid UUID"),
        (("unknown", "resolve", str(UUID(int=0)), "perhaps"), 2, "'perhaps' is not one of"),
        (("unknown", "resolve", str(UUID(int=0)), "accepted"), 1, f"There is no message {UUID(int=0)}."),
        (("unknown", "list", "--limit", "0"), 2, "--limit"),
    ],
)
def test_wrong_input_is_answered_in_words(terminal: Terminal, words: tuple[str, ...], status: int, said: str) -> None:
    planned(3)
    done = terminal.run(*words)
    shown = " ".join((done.stdout + done.stderr).replace("│", " ").split())
    assert done.returncode == status
    assert said in shown
    assert "Traceback" not in shown
