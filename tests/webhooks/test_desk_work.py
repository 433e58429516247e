"""What we owe the desks: once each, in their order, later when a desk asks for it, to a person when it refuses."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select, text

from outreach import clock, problems
from outreach.db import transaction
from outreach.models import Connector, Customer, DeskAction, Playbook, Problem, Response, Ticket
from outreach.vocabulary import Channel, Intent, ProblemState
from tests.people import a_campaign
from tests.sandbox.receiver import Receiver
from tests.sandbox.running import SECRETS, Sandbox
from webhooks import connectors, desk_work, linked_tickets, triggers


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    receiver = Receiver()
    sandbox = Sandbox(tmp_path_factory.mktemp("desk"), receiver)
    yield sandbox
    sandbox.stop()
    receiver.close()


@pytest.fixture
def desk(running: Sandbox, database: str, monkeypatch: pytest.MonkeyPatch) -> Sandbox:
    """A Zammad that is connected as `care`, on an empty database."""
    monkeypatch.setenv("OUTREACH_DESK_ORIGINS", running.url)
    running.reset()
    with transaction() as session:
        connectors.create(
            session, key="care", kind="zammad", name="Care", now=clock.now(session), account="agent@example.com",
            base_url=f"{running.url}/zammad", api_secret=SECRETS["desks_token"], link_back=True,
        )  # fmt: skip
    return running


def owe(action: str, own_key: str, **payload: Any) -> None:
    with transaction() as session:
        triggers.owe(session, connectors.find(session, "care"), [(action, own_key, payload)])


def due_now() -> None:
    with transaction() as session:
        session.execute(text("UPDATE desk_actions SET next_try_at = now() WHERE done_at IS NULL"))
        session.execute(text("UPDATE connectors SET busy_until = NULL"))


OPEN = {"subject": "Still broken", "body": "It leaks", "requester_email": "ann@example.com"}


def comments(desk: Sandbox) -> list[str]:
    return [c["body"] for one in desk.get("/_sandbox/tickets")["tickets"] for c in one["_comments"]]


def test_an_action_is_done_once_and_a_comment_waits_for_its_ticket(desk: Sandbox) -> None:
    owe("comment", "response:2", after="response:1", body="and it hisses")
    assert desk_work.work() == {"refused": 1}
    due_now()
    with transaction() as session:
        session.execute(text("UPDATE desk_actions SET tries = 0"))
    owe("open_ticket", "response:1", **OPEN, problem_reference=None)
    owe("open_ticket", "response:1", **OPEN, problem_reference=None)
    assert desk_work.work() == {"done": 2}
    assert desk_work.work() == {}
    assert comments(desk) == ["It leaks", "and it hisses"]


def test_a_desk_that_asks_for_time_gets_it_for_all_its_actions(desk: Sandbox) -> None:
    desk.post("/_sandbox/faults", {"desk": {"rate_limit": {"first": 1}, "retry_after_seconds": 600}})
    owe("open_ticket", "response:1", **OPEN)
    owe("open_ticket", "response:2", **OPEN)
    assert desk_work.work() == {"later": 1}
    with transaction() as session:
        row = session.scalars(select(Connector)).one()
        first, second = session.scalars(select(DeskAction).order_by(DeskAction.id)).all()
        assert row.busy_until is not None
        assert row.busy_until > clock.wall() + timedelta(minutes=9)
        assert first.next_try_at > clock.wall() + timedelta(minutes=9)
        assert (second.tries, "429" in (row.last_error or "")) == (0, True)
    due_now()
    assert desk_work.work() == {"done": 2}


def test_what_was_done_before_the_answer_got_lost_is_not_done_again(desk: Sandbox) -> None:
    desk.post("/_sandbox/faults", {"desk": {"accept_then_drop": {"first": 1}}})
    owe("open_ticket", "response:1", **OPEN)
    assert desk_work.work() == {"later": 1}
    due_now()
    assert desk_work.work() == {"done": 1}
    assert len(desk.get("/_sandbox/tickets")["tickets"]) == 1


def test_what_the_desk_refuses_goes_to_a_person(desk: Sandbox) -> None:
    with transaction() as session:
        response = Response(channel=Channel.SMS, sender="+1", text="2", intent=Intent.STILL_BROKEN,
                            handled_at=clock.now(session), handled_by="outreach")  # fmt: skip
        session.add(response)
        session.flush()
        number = response.id
    owe("comment", "response:1", reference="999999", body="x", response_id=number)
    assert desk_work.work() == {"refused": 1}
    due_now()
    assert desk_work.work() == {}
    with transaction() as session:
        assert session.get_one(Response, number).handled_at is None
        assert "404" in (session.scalars(select(DeskAction.error)).one() or "")


def test_a_wrong_token_is_tried_again_once_it_is_mended(desk: Sandbox) -> None:
    with transaction() as session:
        connectors.change(session.scalars(select(Connector)).one(), api_secret="wrong")
    owe("open_ticket", "response:1", **OPEN)
    assert desk_work.work() == {"later": 1}
    with transaction() as session:
        connectors.change(session.scalars(select(Connector)).one(), api_secret=SECRETS["desks_token"])
    due_now()
    assert desk_work.work() == {"done": 1}


def test_many_unnamed_requesters_are_read_by_one_list(desk: Sandbox) -> None:
    many = [{"body": "x", "requester": {"email": f"p{n}@example.com"}} for n in range(60)]
    made = desk.post("/_sandbox/desk/tickets", {"tickets": many, "desks": []})["ids"]
    with transaction() as session:
        session.add(Customer(external_id="c-7", name="P", email="p7@example.com"))
    for reference in made:
        owe("fetch", f"fetch:care:{reference}", reference=reference)
    assert desk_work.work() == {"done": 60}
    with transaction() as session:
        kept = session.scalars(select(Ticket)).all()
        assert {one.external_id for one in kept} == set(made)
        assert [one.requester_email for one in kept if one.customer_id is not None] == ["p7@example.com"]


def test_a_step_waits_for_a_desk_that_is_down_and_is_believed_in_the_end(desk: Sandbox) -> None:
    number = desk.post("/_sandbox/desk/problems", {"title": "Step 4", "desks": []})["id"]
    with transaction() as session:
        connectors.change(session.scalars(select(Connector)).one(), base_url=None)
    event = {"reference": number, "kind": "problem_known", "key": "e", "at": None, "problem": {"reference": number}}
    owe("step", "step:care:e", **event)
    assert desk_work.work() == {"later": 1}
    with transaction() as session:
        session.execute(text("UPDATE connectors SET base_url = 'http://127.0.0.1:9'"))
        assert session.scalars(select(Problem)).all() == []
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OUTREACH_DESK_ORIGINS", "http://127.0.0.1:9")
        from outreach.settings import get_settings

        get_settings.cache_clear()
        for outcome in ({"later": 1}, {"later": 1}, {"done": 1}):
            due_now()
            assert desk_work.work() == outcome
    with transaction() as session:
        assert session.scalars(select(Problem)).one().state is ProblemState.KNOWN


def test_linked_tickets_hear_of_a_change_once_and_replies_wait_for_approval(desk: Sandbox) -> None:
    made = desk.post("/_sandbox/desk/tickets", {"body": "x", "requester": {"email": "a@example.com"}, "desks": []})[
        "id"
    ]
    with transaction() as session:
        now = clock.now(session)
        campaign = a_campaign(session, 1, now, approved=False)
        problem = session.scalars(select(Problem)).one()
        problem.desk, problem.desk_reference = "care", "4711"
        for reference, opened_at in ((made, now - timedelta(days=1)), ("late", now + timedelta(hours=1))):
            session.add(Ticket(desk="care", external_id=reference, problem_id=problem.id, opened_at=opened_at))
        update = problems.mark_known(session, problem=problem, author="anna", now=now)
        playbook = session.scalars(select(Playbook).where(Playbook.key == "known")).one()
        playbook.ticket_action, playbook.ticket_comment = "reply", "Known: {title}{fix}"
        campaign.opened_by, campaign.playbook_id = update.id, playbook.id
        title, number = problem.title, campaign.id

    def owed() -> list[str]:
        with transaction() as session:
            linked_tickets.owe(session)
            return list(session.scalars(select(DeskAction.action).where(DeskAction.key.like("update:%"))))

    assert owed() == []
    with transaction() as session:
        session.execute(text("UPDATE campaigns SET approved_at = now() WHERE id = :id"), {"id": number})
    assert owed() == owed() == ["comment"]
    done = desk_work.work()
    assert done["done"] == 1
    assert comments(desk) == ["x", f"Known: {title}"]
    with transaction() as session:
        link = session.scalars(select(DeskAction).where(DeskAction.key.like("link:%"))).one()
        assert link.payload["url"].endswith("/problems/P-1")
