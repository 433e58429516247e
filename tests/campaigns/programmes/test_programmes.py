"""Who is in a programme, what falls due, what is held back, and that nothing is said twice."""

from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.orm import Session

from campaigns import ledger
from campaigns.programmes import verbs
from campaigns.programmes.sweeps import sweep
from campaigns.surveys import writing
from outreach.db import transaction
from outreach.errors import Conflict, InvalidInput
from outreach.models import Campaign, Programme
from outreach.vocabulary import ProgrammeKind, SurveyKind
from tests.campaigns.programmes.people import at, customers, days, delivered, join, leave, message, segment, survey

START = datetime(2027, 3, 1, 12, tzinfo=UTC)
ACTOR = "test"


def programme(session: Session, definition: dict[str, Any], kind: ProgrammeKind = ProgrammeKind.CHECK_IN) -> Programme:
    made = verbs.make(
        session, key="p", name="P", kind=kind, definition=definition, actor=ACTOR, now=START,
        segment=None if definition.get("per") == "problem" else "all",
    )  # fmt: skip
    verbs.activate(session, programme=made, actor=ACTOR, now=START)
    return made


def run(start: datetime, until: datetime, *, every: float = 1 / 24) -> None:
    """Sweep and send from one moment to the other."""
    now = start
    while now <= until:
        sweep(at(now))
        with transaction() as session:
            delivered(session, now)
        now += days(every)


def dues(session: Session) -> dict[str, int]:
    rows = session.execute(
        text("""SELECT state || coalesce(': ' || reason, '') AS name, count(*) AS total FROM programme_dues
                GROUP BY 1""")
    )
    return {row.name: row.total for row in rows}


def test_a_check_in_comes_round_in_each_zone_within_its_hours_and_once(database: str) -> None:
    with transaction() as session:
        customers(session, 40, START)
        segment(session, "all", START)
        programme(session, {"schedule": {"rrule": "FREQ=WEEKLY", "spread_days": 3}, "steps": [message()]})
    run(START, START + days(12))
    with transaction() as session:
        sent = session.execute(
            text("""SELECT d.occurrence, d.customer_id, extract(hour FROM m.sent_at AT TIME ZONE d.zone) AS hour,
                           extract(isodow FROM m.sent_at AT TIME ZONE d.zone) AS day
                    FROM programme_dues d JOIN notices n ON n.occurrence = d.id
                    JOIN messages m ON m.notice_id = n.id""")
        ).all()
        accounts = [ledger.verify(session, campaign=each) for each in session.query(Campaign)]
    assert len({(row.occurrence, row.customer_id) for row in sent}) == len(sent) == 40
    assert all(9 <= row.hour <= 17 and row.day <= 5 for row in sent)
    assert all(account.adds_up for account in accounts), accounts


def test_a_week_of_downtime_sends_the_newest_only(database: str) -> None:
    with transaction() as session:
        customers(session, 20, START)
        segment(session, "all", START)
        programme(session, {"schedule": {"rrule": "FREQ=DAILY", "business_days": False}, "steps": [message()]})
    run(START, START + days(1.9))
    with transaction() as session:
        before = dues(session)["done"]
    run(START + days(9.5), START + days(10.5))
    with transaction() as session:
        found = dues(session)
        twice = session.execute(
            text("""SELECT count(*) FROM messages m JOIN customers c ON c.id = m.customer_id
                    GROUP BY c.id, cast(m.sent_at AT TIME ZONE c.time_zone AS date) HAVING count(*) > 1""")
        ).all()
    assert 10 <= before <= 40
    assert 20 * 5 <= found["skipped: missed"] <= 20 * 8
    assert before + 20 <= found["done"] <= before + 45
    assert twice == []


def test_who_leaves_the_segment_hears_nothing_more_and_may_not_come_back(database: str) -> None:
    with transaction() as session:
        customers(session, 20, START)
        group = segment(session, "all", START)
        programme(
            session,
            {"steps": [message("tip"), {"do": "wait", "days": 3}, message("tip")]},
            ProgrammeKind.TIPS,
        )
    run(START, START + days(2))
    with transaction() as session:
        assert session.scalar(text("SELECT count(*) FROM messages")) == 20
        leave(session, group, START + days(2), "c.id <= 5")
    run(START + days(2), START + days(2.5))
    with transaction() as session:
        join(session, group, START + days(2.5), "c.id <= 5")
    run(START + days(2.5), START + days(8))
    with transaction() as session:
        assert session.scalar(text("SELECT count(*) FROM messages")) == 20 + 15
        assert session.scalar(text("SELECT count(*) FROM enrolments")) == 20
        reasons = session.execute(text("SELECT exit_reason, count(*) FROM enrolments GROUP BY 1")).all()
    assert dict(map(tuple, reasons)) == {"left_segment": 5, "finished": 15}


def test_an_item_each_has_its_own_reminder_that_names_it(database: str) -> None:
    with transaction() as session:
        customers(session, 3, START)
        session.execute(
            text("""INSERT INTO order_items (external_id, order_id, product_id, customer_id, delivered_at)
                    SELECT 'second', order_id, product_id, customer_id, delivered_at FROM order_items
                    WHERE customer_id = 1""")
        )
        segment(session, "all", START)
        programme(
            session,
            {"per": "item", "anchor": {"of": "delivery"}, "schedule": {"rrule": "FREQ=MONTHLY"},
             "steps": [message("maintenance-due", notice_class="service")]},
            ProgrammeKind.MAINTENANCE_REMINDER,
        )  # fmt: skip
    run(START, START + days(33))
    with transaction() as session:
        rows = session.execute(
            text("""SELECT d.customer_id, d.subject_id, count(*) AS times,
                           bool_and(n.evidence_items = ARRAY[d.subject_id]) AS named
                    FROM programme_dues d JOIN notices n ON n.occurrence = d.id GROUP BY 1, 2""")
        ).all()
    assert len(rows) == 4
    assert all(row.times in (1, 2) and row.named for row in rows)


def test_an_open_problem_holds_back_tips_and_lets_maintenance_go_on(database: str) -> None:
    with transaction() as session:
        customers(session, 4, START)
        segment(session, "all", START)
        session.execute(
            text("INSERT INTO problems (id, key, title, state, severity) VALUES (1, 'P-1', 'Broken', 'known', 'low')")
        )
        scope = segment(session, "scope", START, "c.id <= 2")
        session.execute(text("UPDATE segments SET problem_id = 1 WHERE id = :id"), {"id": scope})
        programme(session, {"steps": [message("tip")]}, ProgrammeKind.TIPS)
    run(START, START + days(2))
    with transaction() as session:
        told = set(session.scalars(text("SELECT customer_id FROM messages")))
        session.execute(text("UPDATE problems SET state = 'resolved', resolved_at = :now"), {"now": START + days(2)})
    assert told == {3, 4}
    run(START + days(2), START + days(4))
    with transaction() as session:
        assert set(session.scalars(text("SELECT customer_id FROM messages"))) == {1, 2, 3, 4}


def test_nobody_is_asked_twice_in_the_window_and_no_answer_is_reminded(database: str) -> None:
    with transaction() as session:
        customers(session, 4, START)
        segment(session, "all", START)
        writing.make(session, key="csat", name="CSAT", kind=SurveyKind.CSAT, actor=ACTOR, now=START)
        programme(
            session,
            {"schedule": {"rrule": "FREQ=WEEKLY", "business_days": False},
             "steps": [survey("csat"), {"do": "wait", "days": 2}, message("tip", unless_answered=True)]},
        )  # fmt: skip
    run(START, START + days(8.2))
    with transaction() as session:
        session.execute(
            text("UPDATE survey_asks SET answered_at = asked_at + interval '1 hour' WHERE customer_id <= 2")
        )
    run(START + days(8.3), START + days(20))
    with transaction() as session:
        asks = session.execute(text("SELECT customer_id, count(*) FROM survey_asks GROUP BY 1")).all()
        reasons = session.execute(
            text("SELECT customer_id, reason FROM notices WHERE state = 'skipped' AND reason <> 'capped'")
        ).all()
    assert [row.count for row in asks] == [1, 1, 1, 1]
    assert {row.customer_id for row in reasons if row.reason == "answered"} == {1, 2}
    assert {row.customer_id for row in reasons if row.reason == "asked_recently"} == {1, 2, 3, 4}


def test_an_edit_leaves_what_has_begun_and_changes_what_comes(database: str) -> None:
    with transaction() as session:
        customers(session, 5, START)
        segment(session, "all", START)
        made = programme(
            session, {"steps": [message("tip"), {"do": "wait", "days": 5}, message("tip")]}, ProgrammeKind.TIPS
        )
    run(START, START + days(2))
    with transaction() as session:
        made = verbs.find(session, "p")
        verbs.edit(
            session,
            programme=made,
            definition={"steps": [message("getting-started")]},
            actor=ACTOR,
            now=START + days(2),
        )
        customers(session, 6, START, start=6)
        join(session, session.execute(text("SELECT id FROM segments")).scalar_one(), START + days(2), "c.id = 6")
    run(START + days(2), START + days(10))
    with transaction() as session:
        rows = session.execute(
            text("""SELECT m.customer_id, c.template_key, count(*)
                    FROM messages m JOIN campaigns c ON c.id = m.campaign_id GROUP BY 1, 2 ORDER BY 1""")
        ).all()
        shown = verbs.progress(session, programme=verbs.find(session, "p"))
    assert [tuple(row) for row in rows] == [(each, "tip", 2) for each in range(1, 6)] + [(6, "getting-started", 1)]
    assert (shown.enrolled, shown.left) == (0, {"finished": 6})
    assert [(step.version, step.step, step.notices) for step in shown.steps if step.notices] == [
        (1, 0, {"delivered": 5}), (1, 2, {"delivered": 5}), (2, 0, {"delivered": 1}),
    ]  # fmt: skip


def test_a_condition_goes_on_by_what_happened(database: str) -> None:
    with transaction() as session:
        customers(session, 4, START)
        segment(session, "all", START)
        programme(
            session,
            {"steps": [message("tip"), {"do": "wait", "days": 2},
                       {"do": "condition", "happened": "bought", "then": "end", "otherwise": "next"},
                       message("tip", name="again")]},
            ProgrammeKind.TIPS,
        )  # fmt: skip
    run(START, START + days(2))
    with transaction() as session:
        session.execute(
            text("INSERT INTO orders (external_id, customer_id, ordered_at) VALUES ('new', 1, :now)"),
            {"now": START + days(2)},
        )
    run(START + days(2), START + days(6))
    with transaction() as session:
        rows = session.execute(text("SELECT customer_id, count(*) FROM messages GROUP BY 1 ORDER BY 1")).all()
    assert [row.count for row in rows] == [1, 2, 2, 2]


@pytest.mark.parametrize(
    ("definition", "what"),
    [
        ({"steps": []}, "steps"),
        ({"steps": [{"do": "wait", "days": 1}]}, "definition"),
        ({"steps": [message(), {"do": "condition", "happened": "opened"}]}, "steps.1"),
        ({"steps": [message(name="a"), {"do": "condition", "happened": "clicked", "then": "a"}]}, "definition"),
        ({"steps": [message()], "schedule": {"rrule": "FREQ=HOURLY"}}, "schedule.rrule"),
        ({"steps": [message()], "is_admin": True}, "is_admin"),
        ({"steps": [message("no-such-template")]}, "steps.0"),
    ],
)
def test_a_wrong_plan_is_refused_with_its_place(database: str, definition: dict[str, Any], what: str) -> None:
    with transaction() as session:
        segment(session, "all", START)
    with transaction() as session, pytest.raises(InvalidInput) as refused:
        programme(session, definition)
    assert (refused.value.where or "").startswith(what)


def test_a_programme_is_activated_once(database: str) -> None:
    with transaction() as session:
        segment(session, "all", START)
        made = programme(session, {"steps": [message()]})
    with transaction() as session, pytest.raises(Conflict):
        verbs.activate(session, programme=session.get_one(Programme, made.id), actor=ACTOR, now=START)
