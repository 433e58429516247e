"""Health: the score is what its signals say, a missing signal weighs nothing, a drop and a silence open work."""

from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.orm import Session

from campaigns.health import reactions, rules
from campaigns.health.looking import health_of, overview
from campaigns.health.scoring import rescore
from campaigns.programmes import verbs
from campaigns.programmes.sweeps import sweep
from outreach.db import transaction
from outreach.errors import Conflict, InvalidInput, NotFound
from outreach.vocabulary import ProgrammeKind
from tests.campaigns.programmes.people import at, customers, days, message, segment

NOW = datetime(2027, 6, 1, 12, tzinfo=UTC)


def tickets(session: Session, customer: int, number: int, opened_at: datetime) -> None:
    session.execute(
        text("""INSERT INTO tickets (desk, external_id, customer_id, opened_at)
                SELECT 'z', :customer || '-' || cast(:at AS text) || '-' || i, :customer, :at
                FROM generate_series(1, cast(:number AS int)) AS i"""),
        {"customer": customer, "number": number, "at": opened_at},
    )


def tasks(session: Session) -> list[tuple[Any, ...]]:
    return [
        tuple(row) for row in session.execute(text("SELECT customer_id, cause, owner FROM account_tasks ORDER BY 1, 2"))
    ]


def test_a_missing_signal_gives_its_weight_to_the_others(database: str) -> None:
    with transaction() as session:
        customers(session, 1, NOW)  # one order, 17 days old, and nothing else
        tickets(session, 1, 2, NOW - days(1))
    sweep(at(NOW))
    with transaction() as session:
        found = health_of(session, external_id="c-1")
    orders, few = 1 - 17 / 365, 1 - 2 / 5
    assert set(found.signals) == {"tickets", "orders"}
    assert found.score == round(100 * (20 * few + 10 * orders) / 30)
    assert sum(part["points"] for part in found.signals.values()) == pytest.approx(found.score, abs=0.6)
    assert found.last_sign_at == NOW - days(1)
    assert [each["score"] for each in found.trend] == [found.score]


def test_only_those_about_whom_something_changed_are_asked_again(database: str) -> None:
    with transaction() as session:
        customers(session, 50, NOW)
    assert sweep(at(NOW))["news"] == 50
    assert sweep(at(NOW + days(1)))["news"] == 0
    with transaction() as session:
        tickets(session, 7, 1, NOW + days(1))
    assert sweep(at(NOW + days(1))) == {"news": 1, "enrolled": 0, "due": 0, "pushed": 0, "scored": 0}
    assert sweep(at(NOW + days(8.5)))["scored"] == 50  # time alone changes scores too, once a week


def test_a_drop_opens_one_task_for_the_owner_and_a_silence_another(database: str) -> None:
    with transaction() as session:
        customers(session, 2, NOW)
    sweep(at(NOW))
    with transaction() as session:
        tickets(session, 1, 6, NOW + days(3))
    for day in (3, 4, 5):
        sweep(at(NOW + days(day)))
    with transaction() as session:
        assert tasks(session) == [(1, "drop", "owner-1")]
        assert overview(session)[1][0]["customer"] == "c-1"
    for day in range(10, 200, 10):
        sweep(at(NOW + days(day)))
    with transaction() as session:
        found = tasks(session)
        assert {(1, "silence", "owner-1"), (2, "silence", "owner-2")} <= set(found)
        assert len([each for each in found if each[1] == "silence"]) == 2
        number = session.scalar(text("SELECT id FROM account_tasks WHERE cause = 'silence' AND customer_id = 2"))
        assert reactions.finish(session, task_id=number or 0, actor="ann", now=NOW).done_by == "ann"
        with pytest.raises(Conflict):
            reactions.finish(session, task_id=number or 0, actor="ann", now=NOW)


def test_a_drop_enters_the_customer_into_the_programme_of_the_rules(database: str) -> None:
    with transaction() as session:
        customers(session, 3, NOW)
        segment(session, "none", NOW, "false")
        made = verbs.make(
            session, key="win-back", name="W", kind=ProgrammeKind.CHECK_IN, segment="none", actor="a", now=NOW,
            definition={"steps": [message()], "exits": {"leaves_segment": False}},
        )  # fmt: skip
        verbs.activate(session, programme=made, actor="a", now=NOW)
        rules.change(session, given={"programme": "win-back"}, actor="a", now=NOW)
    sweep(at(NOW))
    with transaction() as session:
        tickets(session, 2, 6, NOW + days(1))
    sweep(at(NOW + days(1)))
    with transaction() as session:
        assert list(session.scalars(text("SELECT customer_id FROM enrolments"))) == [2]


def test_an_open_problem_counts_until_it_is_resolved(database: str) -> None:
    with transaction() as session:
        customers(session, 1, NOW)
        session.execute(
            text("INSERT INTO problems (id, key, title, state, severity) VALUES (1, 'P-1', 'Broken', 'known', 'high')")
        )
        scope = segment(session, "scope", NOW, "true")
        session.execute(text("UPDATE segments SET problem_id = 1 WHERE id = :id"), {"id": scope})
    sweep(at(NOW))
    with transaction() as session:
        assert health_of(session, external_id="c-1").signals["problems"]["value"] == 0
        session.execute(text("UPDATE problems SET state = 'resolved'"))
    sweep(at(NOW))
    with transaction() as session:
        assert health_of(session, external_id="c-1").signals["problems"]["value"] == 1


def test_wrong_rules_are_refused_and_right_ones_change_the_bands(database: str) -> None:
    with transaction() as session:
        customers(session, 1, NOW)
        for wrong in ({"weights": {"mood": 3}}, {"weights": {"orders": 0}}, {"good_from": 10, "fair_from": 20}):
            with pytest.raises(InvalidInput):
                rules.change(session, given=wrong, actor="a", now=NOW)
        rules.change(session, given={"weights": {"orders": 5}, "good_from": 99}, actor="a", now=NOW)
        rescore(session, customers=[1], now=NOW)
        assert health_of(session, external_id="c-1").band == "fair"
        with pytest.raises(NotFound):
            health_of(session, external_id="nobody")
