from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from outreach.db import transaction
from outreach.models import AudienceMember, Customer, CustomerChange, Order, Problem, Segment
from outreach.vocabulary import Grade, ProblemState
from segments import audiences, rules, sweeps
from segments.tasks import sweep_segments

LATE = rules.parse_definition(
    {
        "affected": {
            "related": "orders",
            "where": {
                "all": [
                    {"field": "delivered_at", "op": "is_missing"},
                    {"field": "promised_at", "op": "more_than_ago", "value": {"days": 20}},
                ]
            },
        }
    }
)
LOT = rules.parse_definition({"related": "order_items", "where": {"field": "lot", "op": "equals", "value": "A7"}})


def live(session: Session, segment_id: int) -> set[int]:
    return {member.customer_id for member in audiences.page(session, segment_id=segment_id)}


def test_statements_note_each_changed_customer_once(session: Session, company) -> None:
    customer = company.customer()
    company.item(customer, lot="A7")
    session.execute(CustomerChange.__table__.delete())
    session.execute(
        Order.__table__.insert().values([{"external_id": f"x{n}", "customer_id": customer.id} for n in range(50)])
    )
    session.execute(Order.__table__.update().where(Order.customer_id == customer.id).values(status="sent"))
    assert session.scalar(select(func.count()).select_from(CustomerChange)) == 2
    assert set(session.scalars(select(CustomerChange.customer_id))) == {customer.id}


def test_a_moved_ticket_notes_both_customers(session: Session, company) -> None:
    before, after = company.customer(), company.customer()
    ticket = company.ticket(before)
    session.execute(CustomerChange.__table__.delete())
    ticket.customer_id = after.id
    session.flush()
    assert set(session.scalars(select(CustomerChange.customer_id))) == {before.id, after.id}


def test_only_changed_customers_are_asked_again(session: Session, company, now: datetime) -> None:
    problem = company.problem(state=ProblemState.KNOWN)
    first, late = company.customer(), company.customer()
    company.item(first, lot="A7")
    segment = audiences.save(session, key="s", name="s", definition=LOT, author="me", problem_id=problem.id).segment_id
    sweeps.sweep(session, now=now)
    assert live(session, segment) == {first.id}
    assert sweeps.sweep(session, now=now) == {}
    company.item(late, lot="A7")
    found = sweeps.sweep(session, now=now + timedelta(seconds=2))
    assert (found["s"].entered, found["s"].counts[Grade.AFFECTED]) == (1, 2)
    assert live(session, segment) == {first.id, late.id}
    assert session.scalar(select(func.count()).select_from(CustomerChange)) == 0


def test_time_alone_brings_a_customer_in_at_the_boundary(session: Session, company, now: datetime) -> None:
    company.problem(state=ProblemState.KNOWN)
    soon, later, never = company.customer(), company.customer(), company.customer()
    company.order(soon, promised_at=now - timedelta(days=19))
    company.order(later, promised_at=now - timedelta(days=10))
    company.order(never, promised_at=now - timedelta(days=30), delivered_at=now)
    segment = audiences.save(session, key="late", name="late", definition=LATE, author="me").segment_id
    sweeps.sweep(session, now=now)
    stored = session.get_one(Segment, segment)
    assert live(session, segment) == set()
    assert stored.due_at == now + timedelta(days=1)
    assert "late" not in sweeps.sweep(session, now=now + timedelta(hours=1))
    moment = now + timedelta(days=1, seconds=1)
    stored.refreshed_at = now + timedelta(hours=23)  # so that the net under the triggers does not catch it first
    session.flush()
    assert sweeps.sweep(session, now=moment)["late"].entered == 1
    assert live(session, segment) == {soon.id}
    session.refresh(stored)
    assert stored.due_at == now + timedelta(days=10)


def test_a_reworded_rule_is_built_whole_and_never_mixed(session: Session, company, now: datetime) -> None:
    old, new = company.customer(), company.customer()
    company.item(old, lot="A7")
    company.item(new, lot="B2")
    segment = audiences.save(session, key="s", name="s", definition=LOT, author="me").segment_id
    sweeps.sweep(session, now=now)
    other = rules.parse_definition({"related": "order_items", "where": {"field": "lot", "op": "equals", "value": "B2"}})
    audiences.save(session, key="s", name="s", definition=other, author="me")
    # Even asked about one customer only, the whole audience moves to the new version.
    audiences.refresh(session, segment_id=segment, now=now, only_customers=[new.id])
    assert live(session, segment) == {new.id}


def test_a_cancelled_edit_keeps_the_old_audience(session: Session, company, now: datetime) -> None:
    old = company.customer()
    company.item(old, lot="A7")
    segment = audiences.save(session, key="s", name="s", definition=LOT, author="me").segment_id
    sweeps.sweep(session, now=now)
    other = rules.parse_definition({"field": "customer.country", "op": "equals", "value": "BR"})
    audiences.save(session, key="s", name="s", definition=other, author="me")
    assert audiences.cancel_edit(session, segment_id=segment) == 1
    sweeps.sweep(session, now=now)
    assert live(session, segment) == {old.id}


def test_membership_rules_follow_the_other_audience(session: Session, company, now: datetime) -> None:
    customer = company.customer()
    first = audiences.save(session, key="a", name="a", definition=LOT, author="me").segment_id
    inner = rules.parse_definition({"member_of": "a"})
    second = audiences.save(session, key="b", name="b", definition=inner, author="me").segment_id
    sweeps.sweep(session, now=now)
    company.item(customer, lot="A7")
    for _ in range(2):
        sweeps.sweep(session, now=now + timedelta(seconds=5))
    assert live(session, first) == live(session, second) == {customer.id}


def test_the_task_builds_and_follows_with_real_commits(database: str, now: datetime) -> None:
    with transaction() as session:
        problem = Problem(key="P-1", title="Late", state=ProblemState.KNOWN)
        customer = Customer(external_id="c")
        session.add_all([problem, customer])
        session.flush()
        audiences.save(session, key="s", name="s", definition=LATE, author="me", problem_id=problem.id)
        session.add(Order(external_id="o", customer_id=customer.id, promised_at=now - timedelta(days=400)))
    sweep_segments()
    sweep_segments()
    with transaction() as session:
        found: Any = session.scalars(select(AudienceMember)).all()
        assert [member.left_at for member in found] == [None]
