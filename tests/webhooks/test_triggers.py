"""What a help desk's events set in motion, whatever their order and however often they come."""

import base64
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import event as sqlalchemy_event
from sqlalchemy import func, select, text
from sqlalchemy.orm import Session

from outreach import clock, problems
from outreach.models import Customer, DeskAction, InboundEvent, Problem, ProblemUpdate, Ticket
from outreach.vocabulary import InboundState, ProblemState
from webhooks import inbox, triggers
from webhooks.connectors import KINDS, Desk
from webhooks.desks.base import DeskEvent, DeskEventKind, DeskProblem, DeskState, DeskTicket

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
GENERIC = Desk("generic", "generic", "Desk", KINDS["generic"].adapter.Mapping())
ZENDESK = Desk("zendesk", "zendesk", "Zendesk", KINDS["zendesk"].adapter.Mapping())


def problem_event(kind: str, *, at: datetime | None = None, key: str = "", **said: Any) -> DeskEvent:
    return DeskEvent(
        key or f"{kind}-{at}", DeskEventKind(f"problem_{kind}"), at, None, DeskProblem("77", title="No step 4", **said)
    )


def ticket_event(reference: str, *, at: datetime | None = None, **said: Any) -> DeskEvent:
    kind = DeskEventKind.TICKET_UPDATED
    return DeskEvent(f"{reference}-{at}", kind, at, DeskTicket(reference, **said))


def the_problem(session: Session) -> Problem:
    return session.scalars(select(Problem).execution_options(populate_existing=True)).one()


def updates(session: Session) -> list[str | None]:
    rows = session.scalars(select(ProblemUpdate).order_by(ProblemUpdate.id))
    return [row.to_state.value if row.to_state else None for row in rows]


def test_a_problem_goes_through_its_life_at_the_desk(session: Session) -> None:
    for kind in ("known", "workaround", "resolved", "reopened"):
        event = problem_event(kind, workaround="Boil once" if kind == "workaround" else None)
        triggers.apply(session, desk=GENERIC, events=[event])
    assert updates(session) == ["investigating", "known", None, "resolved", "known"]
    assert the_problem(session).workaround == "Boil once"


def test_the_same_event_twice_does_nothing(session: Session) -> None:
    known = problem_event("known", at=NOON, key="e1")
    workaround = problem_event("workaround", at=NOON + timedelta(minutes=1), key="e2", workaround="Boil once")
    for event in (known, known, workaround, workaround, workaround):
        triggers.apply(session, desk=GENERIC, events=[event])
    assert updates(session) == ["investigating", "known", None]


def test_an_older_event_that_comes_late_does_nothing(session: Session) -> None:
    later = problem_event("resolved", at=NOON + timedelta(hours=1), fix="New sheet")
    triggers.apply(session, desk=GENERIC, events=[problem_event("known", at=NOON)])
    triggers.apply(session, desk=GENERIC, events=[later])
    triggers.apply(session, desk=GENERIC, events=[problem_event("reopened", at=NOON + timedelta(minutes=30))])
    assert the_problem(session).state is ProblemState.RESOLVED


def test_a_ticket_keeps_its_newest_word_in_any_order(session: Session) -> None:
    session.add(Customer(external_id="c-1", name="Ann", email="ann@example.com"))
    session.flush()
    told = [
        ticket_event("1", at=NOON, status="new", subject="It leaks", requester_email=" Ann@Example.com"),
        ticket_event("1", at=NOON + timedelta(minutes=1), status="open", priority="high"),
        ticket_event("1", at=NOON + timedelta(minutes=2), status="solved", solved_at=NOON + timedelta(minutes=2)),
        ticket_event("1", at=NOON + timedelta(minutes=3), status="open"),
    ]
    for place in (3, 0, 2, 1):
        triggers.apply(session, desk=GENERIC, events=[told[place]])
    kept = session.scalars(select(Ticket)).one()
    assert (kept.status, kept.priority, kept.subject, kept.solved_at) == ("open", "high", "It leaks", None)
    assert kept.customer_id is not None
    session.delete(kept)
    session.flush()
    triggers.apply(session, desk=GENERIC, events=[told[2], told[0], told[3], told[1]])
    again = session.scalars(select(Ticket)).one()
    assert (again.status, again.priority, again.solved_at) == ("open", "high", None)


def test_a_shared_address_names_nobody_and_a_foreign_reference_is_not_ours(session: Session) -> None:
    session.add_all([Customer(external_id=f"c-{n}", name="A", email="both@example.com") for n in (1, 2)])
    session.add(Customer(external_id="360", name="Zoe", email="zoe@example.com"))
    session.flush()
    event = ticket_event("1", requester_email="both@example.com", requester_reference="360")
    triggers.apply(session, desk=ZENDESK, events=[event])
    assert session.scalars(select(Ticket)).one().customer_id is None
    triggers.apply(session, desk=GENERIC, events=[event])
    ours = session.scalars(select(Ticket).where(Ticket.desk == "generic")).one()
    assert ours.customer_id == session.scalars(select(Customer.id).where(Customer.external_id == "360")).one()


def state(words: str, *, at: datetime | None = None) -> DeskState:
    return DeskState("77", at, None, DeskProblem("77", title="No step 4"), frozenset(words.split()))


def test_a_step_is_checked_against_how_the_problem_stands_at_the_desk(session: Session) -> None:
    def come(kind: str, now_words: str) -> ProblemState:
        event = problem_event(kind, key=f"{kind} {now_words}")
        triggers.catch_up(session, desk=ZENDESK, states=[state(now_words)], event=event)
        return the_problem(session).state

    assert come("known", "open known_problem") is ProblemState.KNOWN
    # "Resolved" overtaken by "reopened": the desk says that it is open.
    assert come("resolved", "open known_problem") is ProblemState.KNOWN
    assert come("resolved", "solved known_problem") is ProblemState.RESOLVED
    assert come("known", "solved known_problem") is ProblemState.RESOLVED
    assert come("reopened", "open known_problem") is ProblemState.KNOWN
    assert updates(session) == ["investigating", "known", "resolved", "known"]


def test_the_poll_finds_what_webhooks_missed_and_does_not_undo_a_person(session: Session) -> None:
    def read(words: str) -> ProblemState:
        triggers.catch_up(session, desk=ZENDESK, states=[state(words, at=clock.now(session) + timedelta(minutes=1))])
        return the_problem(session).state

    triggers.catch_up(session, desk=ZENDESK, states=[state("solved known_problem"), state("open")])
    assert session.scalar(select(func.count()).select_from(Problem)) == 0
    assert read("open known_problem") is ProblemState.KNOWN
    assert read("solved") is ProblemState.RESOLVED
    assert read("open known_problem") is ProblemState.KNOWN
    problems.resolve(session, problem=the_problem(session), author="anna", now=clock.now(session))
    assert read("open known_problem") is ProblemState.RESOLVED


def test_an_old_state_that_the_poll_reads_again_changes_nothing(session: Session) -> None:
    triggers.apply(session, desk=ZENDESK, events=[problem_event("known", at=NOON)])
    problems.resolve(session, problem=the_problem(session), author="desk:zendesk", now=clock.now(session))
    long_ago = clock.now(session) - timedelta(hours=1)
    triggers.catch_up(session, desk=ZENDESK, states=[state("open known_problem", at=long_ago)])
    assert the_problem(session).state is ProblemState.RESOLVED


@pytest.fixture
def secret(monkeypatch: pytest.MonkeyPatch) -> str:
    found = "whsec_" + base64.b64encode(b"the desk's secret").decode()
    monkeypatch.setenv("OUTREACH_DESK_WEBHOOK_SECRET", found)
    return found


def stored(session: Session, number: int, body: Any, source: str = "desk-generic") -> None:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    session.add(InboundEvent(source=source, key=f"k{number}", headers={"webhook-id": f"k{number}"}, body=raw))


def test_thousands_of_ticket_events_are_applied_in_a_few_statements(session: Session, secret: str) -> None:
    session.execute(
        text("INSERT INTO customers (external_id, name, email) SELECT 'c-' || n, 'N', 'c' || n || '@example.com'"
             " FROM generate_series(1, 1000) n")
    )  # fmt: skip
    for number in range(3000):
        ticket = {"id": number % 1500, "status": "open", "requester": {"email": f"c{number % 1000}@example.com"}}
        stored(session, number, {"type": "ticket.updated", "ticket": {**ticket, "problem_id": "77"}})
    stored(session, 3000, b"{")
    session.flush()
    statements: list[str] = []
    listen = (session.get_bind().engine, "before_cursor_execute", lambda *given: statements.append(given[2]))
    sqlalchemy_event.listen(*listen)
    done = sum((inbox.apply_due(session) for _ in range(4)), start=inbox.apply_due(session))
    sqlalchemy_event.remove(*listen)
    assert (done[InboundState.APPLIED.value], done[InboundState.DEAD.value]) == (3000, 1)
    assert session.scalar(select(func.count()).select_from(Ticket).where(Ticket.customer_id.is_not(None))) == 1500
    assert session.scalar(select(func.count()).select_from(Problem)) == 1
    assert len(statements) < 100, "each event costs statements of its own"


def test_an_event_that_cannot_be_applied_does_not_stop_the_others(session: Session, secret: str) -> None:
    stored(session, 1, {"type": "ticket.created", "ticket": {"id": "1", "subject": "A"}})
    stored(session, 2, {"type": "problem.known"})
    stored(session, 3, {"type": "ticket.created", "ticket": {"id": "3", "body": "<script>{{ x }}</script>"}})
    stored(session, 4, {"type": "ticket.created", "ticket": {"id": "4"}}, source="desk-nobody")
    session.flush()
    done = inbox.apply_due(session)
    assert (done[InboundState.APPLIED.value], done[InboundState.DEAD.value]) == (2, 1)
    assert session.scalar(select(InboundEvent.error).where(InboundEvent.source == "desk-nobody")) is not None
    assert set(session.scalars(select(Ticket.external_id))) == {"1", "3"}


def test_an_unnamed_requester_is_asked_for_once_per_ticket(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    desk = Desk(
        "zendesk", "zendesk", "Zendesk", ZENDESK.mapping, base_url="https://desk.example.com", account="a@example.com",
        api_secret="token",
    )  # fmt: skip
    events = [ticket_event("1", at=NOON + timedelta(minutes=n), status="open") for n in range(50)]
    for event in events:
        triggers.apply(session, desk=desk, events=[event])
    triggers.apply(session, desk=desk, events=[problem_event("known", at=NOON, key="e1")] * 2)
    rows = session.execute(select(DeskAction.key, DeskAction.action).order_by(DeskAction.id)).all()
    assert [tuple(row) for row in rows] == [("fetch:zendesk:1", "fetch"), ("step:zendesk:e1", "step")]
    assert session.scalar(select(func.count()).select_from(Problem)) == 0
