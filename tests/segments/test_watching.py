from datetime import datetime, timedelta

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from outreach.errors import Conflict
from outreach.models import Ticket
from segments import rules, scopes, watching


def lot(*values: str) -> rules.Rule:
    return rules.parse_rule({"field": "lot", "op": "one_of", "value": list(values)})


def test_tickets_outside_the_scope_are_said_with_what_would_cover_them(
    session: Session, company, now: datetime
) -> None:
    kit, problem = company.product("KIT"), company.problem()
    definition = scopes.scope_for(session, problem_id=problem.id, such=lot("A7"))
    scopes.accept(session, problem_id=problem.id, definition=definition, author="me", now=now)
    for number in range(150):
        customer = company.customer()
        which = "A7" if number < 10 else "B2" if number < 40 else f"C{number % 7}"
        company.item(customer, kit, lot=which, delivered_at=now)
        if number < 5 or 10 <= number < 35:
            company.ticket(customer, problem)
    found = watching.drift(session, problem_id=problem.id, now=now)
    assert found is not None
    assert (found["outside"], found["tickets"], found["would_cover"]) == (25, 30, 25)
    assert found["sentence"] == (
        "25 of the last 30 tickets fall outside the scope; "
        "adding customers who have an order item whose lot is B2 would cover 25."
    )


def test_a_part_of_the_scope_that_stays_silent_is_said(session: Session, company, now: datetime) -> None:
    problem = company.problem()
    definition = scopes.scope_for(session, problem_id=problem.id, such=lot("A7", "B2"))
    scopes.accept(session, problem_id=problem.id, definition=definition, author="me", now=now)
    for number in range(60):
        customer = company.customer()
        company.item(customer, lot="A7" if number < 30 else "B2", delivered_at=now)
        if number < 15:
            company.ticket(customer, problem)
    found = watching.drift(session, problem_id=problem.id, now=now)
    assert found is not None
    assert found["silent"] == [{"sentence": "whose lot is B2", "value": "B2", "people": 30}]


def test_a_scope_that_fits_its_tickets_has_not_drifted(session: Session, company, now: datetime) -> None:
    problem = company.problem()
    definition = scopes.scope_for(session, problem_id=problem.id, such=lot("A7"))
    scopes.accept(session, problem_id=problem.id, definition=definition, author="me", now=now)
    for _ in range(10):
        customer = company.customer()
        company.item(customer, lot="A7", delivered_at=now)
        company.ticket(customer, problem)
    assert watching.drift(session, problem_id=problem.id, now=now) is None


def test_fresh_tickets_with_a_common_cause_become_a_candidate_once(session: Session, company, now: datetime) -> None:
    kit, problem = company.product("KIT"), company.problem()
    for number in range(200):
        customer = company.customer()
        company.item(customer, kit, lot="A7" if number < 20 else f"B{number % 9}", delivered_at=now)
        if number < 12 or number % 40 == 0:
            company.ticket(customer, opened_at=now - timedelta(days=1))
    found = watching.propose_problems(session, now=now)
    assert [each.rule for each in found] == [
        {"related": "order_items", "where": {"field": "lot", "op": "equals", "value": "A7"}}
    ]
    assert len(found[0].ticket_ids) == 12
    assert watching.propose_problems(session, now=now) == []
    watching.settle(session, candidate_id=found[0].id, author="me", now=now, problem_id=problem.id)
    assert len(session.scalars(select(Ticket).where(Ticket.problem_id == problem.id)).all()) == 12
    with pytest.raises(Conflict):
        watching.settle(session, candidate_id=found[0].id, author="me", now=now)


def test_a_rejected_proposal_is_not_made_again(session: Session, company, now: datetime) -> None:
    kit, problem = company.product("KIT"), company.problem()
    for number in range(120):
        customer = company.customer()
        company.item(customer, kit, lot="A7" if number < 20 else f"B{number % 4}", delivered_at=now)
        if number < 12:
            company.ticket(customer, problem)
    first = scopes.discover(session, problem_id=problem.id, now=now)[0]
    scopes.reject(session, problem_id=problem.id, rule=first.rule, author="me", now=now)
    again = scopes.discover(session, problem_id=problem.id, now=now)
    assert first.sentence not in [proposal.sentence for proposal in again]
