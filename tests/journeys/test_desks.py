"""A help desk over the wire, both ways: its webhooks make a problem known, an answer becomes a ticket there."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import func, select, text

from campaigns.dispatch import dispatch
from campaigns.envelopes import sender_for
from campaigns.lifecycle import open_campaign
from campaigns.playbooks import install_defaults
from campaigns.sweeps import plan_all
from outreach import clock, operators
from outreach.db import transaction
from outreach.models import Customer, DeskAction, Problem, Response, Ticket
from outreach.permissions import Permission, person_at_the_terminal
from outreach.vocabulary import CampaignKind, Channel, Intent, NoticeClass, ProblemState
from tests.installation import Installation
from tests.people import an_audience
from webhooks.tasks import apply_inbox, poll_desks, work_at_desks

TINA = {"email": "tina@example.com", "name": "Tina"}


@pytest.fixture(params=["zendesk", "jira"])
def desk(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def installation(desk: str, database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Installation]:
    running = Installation(tmp_path, monkeypatch, "--desks", desk)
    # One desk only: the sandbox would show its tickets under each of its names.
    monkeypatch.setenv("OUTREACH_DESK_WEBHOOK_SECRET", "")
    if desk != "zendesk":
        monkeypatch.setenv("OUTREACH_ZENDESK_URL", "")
    running.refresh()
    running.serve_api()
    yield running
    running.stop()


def ask(running: Installation, method: str, path: str, body: Any) -> Any:
    with transaction() as session:
        maker = person_at_the_terminal("test")
        _, key = operators.create_api_key(
            session, name="test", permissions=tuple(Permission), actor=maker, now=clock.now(session)
        )
    headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
    sent = json.dumps(body).encode()
    answer = running.http.request(method, f"{running.url}{path}", body=sent, headers=headers)
    assert answer.status < 300, answer.data
    return answer.json()


def connect(running: Installation, desk: str) -> None:
    """Connect the desk as an administrator does; Zendesk comes by the settings."""
    if desk == "jira":
        kept = json.loads((running.home / "sandbox" / "secrets.json").read_text())
        body = {
            "key": "jira",
            "kind": "jira",
            "name": "Service Management",
            "base_url": f"{running.sandbox_url}/jira",
            "account": "agent@example.com",
            "api_secret": kept["desks_token"],
            "webhook_secrets": [kept["desks_secret"]],
            "options": {"project": "CARE"},
        }
        made = ask(running, "POST", "/api/connectors", body)
        assert (made["has_api_secret"], made["webhook_secrets"]) == (True, 1)
        assert kept["desks_token"] not in json.dumps(made)
    assert ask(running, "POST", f"/api/connectors/{desk}/check", {})["actor"]


def settle(running: Installation) -> None:
    """Let everything that is under way arrive and be worked on."""
    for _ in range(3):
        running.wait_until_idle()
        apply_inbox()
        work_at_desks()
    running.wait_until_idle()


def state() -> ProblemState:
    with transaction() as session:
        return session.scalars(select(Problem)).one().state


def tell_by_email(running: Installation) -> None:
    """Tell an audience of three of the problem."""
    with transaction() as session:
        now = clock.now(session)
        install_defaults(session)
        problem = session.scalars(select(Problem)).one()
        segment_id = an_audience(session, problem, 3, now)
        campaign = open_campaign(
            session, name="Step 4", kind=CampaignKind.KNOWN, notice_class=NoticeClass.SERVICE,
            template_key="problem-known", ladder=[{"channel": "email"}], segment_id=segment_id,
            problem_id=problem.id, author="test", approved=True, now=now,
        )  # fmt: skip
        campaign_id = campaign.id
    plan_all(campaign_id)
    dispatch(channel=Channel.EMAIL, sender=sender_for(Channel.EMAIL), owner="test")
    settle(running)


def test_a_desk_triggers_a_problem_and_an_answer_becomes_its_ticket(installation: Installation, desk: str) -> None:
    connect(installation, desk)
    with transaction() as session:
        session.add(Customer(external_id="c-t", name="Tina", email=TINA["email"]))
    ticket = {"subject": "No step 4", "body": "The sheet ends at step 3", "requester": TINA}
    reported = installation.sandbox("desk/tickets", ticket)["id"]
    number = installation.sandbox("desk/problems", {"title": "Step 4 is missing", "ticket_ids": [reported]})["id"]
    settle(installation)
    assert state() is ProblemState.INVESTIGATING
    installation.sandbox(f"desk/problems/{number}/known", {})
    settle(installation)
    assert state() is ProblemState.KNOWN
    with transaction() as session:
        kept = session.scalars(select(Ticket)).one()
        assert (kept.desk, kept.requester_email) == (desk, TINA["email"])
        assert (kept.customer_id is not None, kept.problem_id is not None) == (True, True)

    tell_by_email(installation)
    (message, *_) = installation.sandbox("accepted?provider=sendgrid&to=ann.1@example.com")["accepted"]
    for words in ("No, it is still broken.", "Still broken, what now?"):
        reply = {"channel": "email", "message_id": message["message_id"], "text": words}
        installation.sandbox("reply", reply)
        settle(installation)
    opened = [one for one in installation.sandbox("tickets")["tickets"] if one["subject"].startswith("Still broken")]
    assert len(opened) == 1
    assert str(opened[0]["problem_id"]) == number
    assert "Still broken, what now?" in json.dumps(opened[0]["_comments"])
    with transaction() as session:
        responses = session.scalars(select(Response).order_by(Response.id)).all()
        assert [one.intent for one in responses] == [Intent.STILL_BROKEN, Intent.STILL_BROKEN]
        assert session.scalar(select(func.count()).select_from(Ticket)) == 2

    note = {"action": "note", "comment": "Resolved at Outreach: {title}"}
    ask(installation, "PUT", "/api/playbooks/resolved/tickets", note)
    installation.sandbox(f"desk/problems/{number}/resolved", {})
    settle(installation)
    assert state() is ProblemState.RESOLVED
    settle(installation)
    everything = installation.sandbox("tickets")["tickets"]
    told = {str(one["id"]): [c for c in one["_comments"] if "Resolved at Outreach" in c["body"]] for one in everything}
    assert {identity for identity, said in told.items() if said} == {reported, str(opened[0]["id"])}
    assert [(one["public"], "Step 4 is missing" in one["body"]) for one in told[reported]] == [(False, True)]
    # All that we wrote came back as webhooks of the desk: nothing came of it.
    with transaction() as session:
        assert session.scalar(select(func.count()).select_from(Ticket)) == 2
        assert session.scalar(select(func.count()).select_from(Problem)) == 1
        assert session.scalar(select(func.count()).select_from(DeskAction).where(DeskAction.done_at.is_(None))) == 0
        assert session.scalar(text("SELECT count(*) FROM inbound_events WHERE state <> 'applied'")) == 0


def test_the_poll_fills_what_the_webhooks_missed(installation: Installation, desk: str) -> None:
    connect(installation, desk)
    lost = {"subject": "No step 4", "body": "The sheet ends at step 3", "requester": TINA, "desks": []}
    reported = installation.sandbox("desk/tickets", lost)["id"]
    number = installation.sandbox(
        "desk/problems", {"title": "Step 4 is missing", "ticket_ids": [reported], "desks": []}
    )["id"]
    installation.sandbox(f"desk/problems/{number}/known", {"desks": []})
    poll_desks()
    poll_desks()
    assert state() is ProblemState.KNOWN
    with transaction() as session:
        kept = session.scalars(select(Ticket)).one()
        assert (kept.requester_email, kept.problem_id is not None) == (TINA["email"], True)
        # Read once: the next look is minutes away, and starts where this one began.
        row = session.execute(
            text("SELECT read_until, next_poll_at FROM connectors WHERE key = :key"), {"key": desk}
        ).one()
        assert row.next_poll_at > row.read_until
