"""What the pages of looking after an installation are made of."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from urllib.parse import urlencode

import pytest
from sqlalchemy import text
from sqlalchemy.orm import Session

from app import first_steps, processes
from app.processes import Standing
from app.web import charts
from app.web.audit_log import page_of
from campaigns import circuits, sending_state
from campaigns.playbooks import install_defaults
from campaigns.sweeps import plan_all
from outreach import audit, clock, operators, storage
from outreach.db import transaction
from outreach.permissions import Permission, person_at_the_terminal
from outreach.settings import get_settings
from outreach.vocabulary import Channel, InboundState, Role
from segments import named
from tests.people import a_campaign, a_problem, an_audience
from webhooks import backlog, stored_events, subscriptions

NOW = datetime(2027, 3, 4, 12, tzinfo=UTC)
ACTOR = person_at_the_terminal("test")


def test_the_lanes_tell_what_is_due_and_since_when(database: str) -> None:
    with transaction() as session:
        campaign_id = a_campaign(session, 40, clock.now(session)).id
    plan_all(campaign_id)
    with transaction() as session:
        session.execute(text("UPDATE chunks SET due_at = due_at + interval '1 day' WHERE channel = 'sms'"))
        email, sms, postcard = sending_state.lanes(session, now=clock.now(session))
        assert (email.channel, email.due, email.later) == (Channel.EMAIL, 36, 0)
        assert email.oldest_due is not None
        assert (sms.due, sms.later, sms.oldest_due) == (0, 2, None)
        assert postcard.due == 2
        assert sending_state.calls(session) == []
        assert sending_state.stuck(session) == []


def test_calls_tell_what_providers_refuse(database: str) -> None:
    with transaction() as session:
        campaign_id = a_campaign(session, 10, clock.now(session)).id
    plan_all(campaign_id)
    with transaction() as session:
        session.execute(text("UPDATE chunks SET state = 'done', finished_at = now()"))
        session.execute(
            text("""INSERT INTO attempts (chunk_id, fence, provider, message_ids, state, leased_until, started_at,
                                          finished_at, status_code)
                    SELECT id, 1, 'sendgrid', '{}', v.state, now(), now() - interval '2 seconds', now(), code
                    FROM chunks, (VALUES ('accepted', 202), ('refused', 429), ('unknown', NULL)) v(state, code)
                    WHERE channel = 'email'""")
        )
        (found,) = sending_state.calls(session)
        assert (found.calls, found.failed, found.unknown, found.complaint) == (3, 1, 1, "HTTP 429")
        assert found.seconds == pytest.approx(2)


def test_storage_comes_from_statistics(session: Session) -> None:
    found = storage.storage(session, most=3)
    assert len(found.tables) == 3
    assert found.bytes > found.tables[0].bytes > 0
    assert found.connections <= found.most_connections


def test_events_of_a_desk_are_listed_and_applied_again(session: Session) -> None:
    session.execute(
        text("""INSERT INTO inbound_events (source, key, body, state, error)
                SELECT source, 'k' || i, '\\x00ff41', state, 'cannot be read'
                FROM (VALUES (1, 'desk-care', 'dead'), (2, 'desk-care', 'applied'), (3, 'sendgrid', 'orphan'))
                     v(i, source, state)""")
    )
    rows, following = stored_events.listed(session, source="desk-care")
    assert ([row.state for row in rows], following) == ([InboundState.APPLIED, InboundState.DEAD], None)
    assert stored_events.excerpt(rows[0]) == "\N{REPLACEMENT CHARACTER}\N{REPLACEMENT CHARACTER}A"
    troubles = {(each.source, each.state): each.number for each in backlog.backlog(session).trouble}
    assert troubles == {("desk-care", "dead"): 1, ("sendgrid", "orphan"): 1}
    assert stored_events.replay_dead(session, source="desk-care", actor="ann", now=NOW) == 1
    assert stored_events.replay_dead(session, source="desk-care", actor="ann", now=NOW) == 0
    assert backlog.backlog(session).events == 1
    assert audit.entries(session, action="inbound_event.")[0][0].subject == "inbound_event:desk-care"


def test_a_paused_subscriber_is_owed_nothing_until_it_is_enabled(session: Session) -> None:
    row, _ = subscriptions.subscribe(
        session, name="shop", url="https://93.184.215.14/hook", events=["*"], actor=ACTOR, now=NOW
    )
    session.execute(text("INSERT INTO outgoing_events (kind) VALUES ('problem.known')"))
    owed = text("INSERT INTO outgoing_deliveries (subscriber_id, event_id) SELECT :id, id FROM outgoing_events")
    session.execute(owed, {"id": row.id})
    subscriptions.pause(session, subscriber=row, actor=ACTOR, now=NOW)
    assert session.scalar(text("SELECT state FROM outgoing_deliveries")) == "failed"
    assert row.disabled_because == f"paused by {ACTOR.name}"
    subscriptions.pause(session, subscriber=row, actor=ACTOR, now=NOW + timedelta(days=1))
    assert row.disabled_at == NOW
    subscriptions.enable(session, subscriber=row, actor=ACTOR, now=NOW)
    assert row.disabled_at is None
    assert [entry.action for entry in audit.entries(session, action="subscriber.")[0]] == [
        "subscriber.enable", "subscriber.pause", "subscriber.subscribe",
    ]  # fmt: skip


def test_audit_entries_are_searched_by_how_they_begin_and_percent_means_itself(session: Session) -> None:
    for number, subject in enumerate(("problem:P-1", "problem:P-12", "problem:P%", "campaign:C-1")):
        audit.record(session, actor=f"person {number}", action="problem.mark_known", subject=subject, now=NOW)
    assert [row.subject for row in audit.entries(session, subject="problem:P-1")[0]] == ["problem:P-12", "problem:P-1"]
    assert [row.subject for row in audit.entries(session, subject="problem:P%")[0]] == ["problem:P%"]
    assert [row.subject for row in audit.entries(session, actor="person 3", action="problem")[0]] == ["campaign:C-1"]
    rows, following = audit.entries(session, limit=3)
    assert [row.subject for row in audit.entries(session, before=following)[0]] == ["problem:P-1"]
    assert len(rows) == 3


@pytest.mark.parametrize(
    ("subject", "page"),
    [("problem:P-1", "/problems/P-1"), ("C-7", "/campaigns/C-7"), ("operator:a@example.com", ""),
     ("problem:../../x", ""), ("nobody", ""), ("connector:care", "/connectors/care")],
)  # fmt: skip
def test_an_entry_leads_to_a_page_of_ours_only(subject: str, page: str) -> None:
    assert page_of(subject) == page


def test_members_come_with_the_things_that_put_them_there(session: Session) -> None:
    segment_id = an_audience(session, a_problem(session, NOW), 5, NOW)
    people, following = named.members(session, segment_id=segment_id, limit=2)
    assert [(each.number, each.evidence) for each in people] == [("c-1", ["Kettle, A7"]), ("c-2", ["Kettle, A7"])]
    rest, none = named.members(session, segment_id=segment_id, after=following or 0, limit=3)
    assert ([each.number for each in rest], none) == (["c-3", "c-4", "c-5"], None)
    assert named.members(session, segment_id=segment_id, grade="affected")[0] == []


def test_the_first_steps_are_read_from_what_is_there(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    def done() -> set[str]:
        get_settings.cache_clear()
        return {step.name for step in first_steps.first_steps(session) if step.done}

    assert not first_steps.begun(session)
    assert done() == set()
    an_audience(session, a_problem(session, NOW), 2, NOW)
    assert first_steps.begun(session)
    for name, value in (("SENDGRID_API_KEY", "SG.key"), ("POSTAL_ADDRESS", "1 Example Street")):
        monkeypatch.setenv(f"OUTREACH_{name}", value)
    for number in range(2):
        operators.create_operator(
            session, email=f"{number}@example.com", name="A", role=Role.ADMIN, password="four unrelated words",
            actor=ACTOR, now=NOW,
        )  # fmt: skip
    assert done() == {
        "A second pair of eyes", "A provider for email", "Who you are", "Customers and what they have",
        "The first problem",
    }  # fmt: skip


def test_what_is_missing_is_told_by_process_and_channel(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OUTREACH_REDIS_URL", "redis://127.0.0.1:9/0")
    monkeypatch.setenv("OUTREACH_EMAIL_PROVIDER", "pigeon")
    get_settings.cache_clear()
    found = {each.name: each for each in (*processes.processes(), *processes.providers())}
    assert (found["Redis"].standing, found["Workers"].standing) == (Standing.DOWN, Standing.DOWN)
    assert (found["Beat"].standing, found["email"].standing) == (Standing.LOOK, Standing.DOWN)
    assert "pigeon" in found["email"].said
    assert found["sms"].standing is Standing.LOOK


def test_a_bar_takes_sums_as_the_database_gives_them() -> None:
    assert 'width="750.0"' in charts.stacked([("delivered", Decimal(3)), ("way", 1)])
    assert 'width="500.0"' in charts.bar(Decimal(1), Decimal(2))


def test_a_resting_provider_is_said_with_what_it_answered(database: str) -> None:
    with transaction() as session:
        session.execute(
            text("""INSERT INTO provider_circuits (provider, channel, opened_at, retry_at, detail)
                    VALUES ('twilio', 'sms', now(), now() + interval '30 seconds', 'HTTP 503')""")
        )
        (found,) = circuits.resting(session)
        assert (found.provider, found.channel, found.detail) == ("twilio", Channel.SMS, "HTTP 503")


def test_a_playbook_is_made_on_its_page_by_an_approver(api_server: Any) -> None:
    with transaction() as session:
        install_defaults(session)
    sent = {"accept": "text/html", "content_type": "application/x-www-form-urlencoded"}
    given = {
        "name": "A fix is out", "key": "watched", "trigger": "monitoring", "notice_class": "service",
        "template_key": "problem-update", "use_email": "1", "active": "1",
    }  # fmt: skip

    def post(by: str, **other: str) -> Any:
        body = urlencode(given | other).encode()
        return api_server.ask("POST", "/playbooks/new", body=body, authorization=by, **sent)

    author = api_server.key(Permission.CAMPAIGNS_READ, Permission.CAMPAIGNS_WRITE)
    approver = api_server.key(Permission.CAMPAIGNS_READ, Permission.CAMPAIGNS_APPROVE)
    assert post(author).status == 403
    form = api_server.ask("GET", "/playbooks/new", authorization=approver, accept="text/html")
    assert '<option value="monitoring" selected>' in form.data.decode()
    refused = post(approver, trigger="known", key="other")
    assert (refused.status, "Switch that one off first" in refused.data.decode()) == (422, True)
    assert post(approver, name="").status == 422
    made = post(approver)
    assert (made.status, made.headers["Location"]) == (303, "/playbooks/watched?said=saved")
    assert "A fix is out" in api_server.ask("GET", "/playbooks", authorization=author, accept="text/html").data.decode()
