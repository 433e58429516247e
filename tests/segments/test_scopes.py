from datetime import datetime

from sqlalchemy.orm import Session

from outreach.models import Response
from outreach.vocabulary import Channel, Grade, Intent, ProblemState
from segments import audiences, rules, scopes, sweeps

LOT = rules.parse_rule({"field": "lot", "op": "equals", "value": "A7"})


def graded(session: Session, segment_id: int) -> dict[int, Grade]:
    return {member.customer_id: member.grade for member in audiences.page(session, segment_id=segment_id)}


def test_the_standard_scope_grades_by_where_the_item_is(session: Session, company, now: datetime) -> None:
    kit, problem = company.product("KIT"), company.problem()
    wrote, holds, waits, sent_back, partly, cancelled, not_me, mixed, other = (company.customer() for _ in range(9))
    company.ticket(wrote, problem)
    company.item(holds, kit, lot="A7", delivered_at=now)
    company.item(waits, kit, lot="A7", shipped_at=now)
    company.item(sent_back, kit, lot="A7", delivered_at=now, quantity=2, quantity_returned=2)
    company.item(partly, kit, lot="A7", delivered_at=now, quantity=2, quantity_returned=1)
    company.item(cancelled, kit, lot="A7", cancelled_at=now)
    company.item(not_me, kit, lot="A7", delivered_at=now)
    company.add(
        Response(
            channel=Channel.SMS,
            sender="x",
            text="not me",
            intent=Intent.NOT_ME,
            customer_id=not_me.id,
            problem_id=problem.id,
        )
    )
    company.item(mixed, kit, lot="A7", delivered_at=now, quantity_returned=1)
    company.item(mixed, kit, lot="A7")
    company.item(other, kit, lot="A8", delivered_at=now)
    definition = scopes.scope_for(session, problem_id=problem.id, such=LOT)
    version = scopes.accept(session, problem_id=problem.id, definition=definition, author="me", now=now)
    assert graded(session, version.segment_id) == {
        wrote.id: Grade.AFFECTED,
        holds.id: Grade.LIKELY,
        waits.id: Grade.INCOMING,
        sent_back.id: Grade.CLEARED,
        partly.id: Grade.LIKELY,
        not_me.id: Grade.CLEARED,
        mixed.id: Grade.INCOMING,
    }


def test_someone_incoming_whose_order_is_cancelled_is_cleared(session: Session, company, now: datetime) -> None:
    problem, customer = company.problem(), company.customer()
    item = company.item(customer, company.product("KIT"), lot="A7")
    definition = scopes.scope_for(session, problem_id=problem.id, such=LOT)
    version = scopes.accept(session, problem_id=problem.id, definition=definition, author="me", now=now)
    assert graded(session, version.segment_id) == {customer.id: Grade.INCOMING}
    item.cancelled_at = now
    session.flush()
    audiences.refresh(session, segment_id=version.segment_id, now=now)
    assert graded(session, version.segment_id) == {customer.id: Grade.CLEARED}


def test_discovery_finds_the_lot_that_the_writers_share(session: Session, company, now: datetime) -> None:
    kit, mug, problem = company.product("KIT"), company.product("MUG"), company.problem()
    for number in range(120):
        customer = company.customer()
        lot = "A7" if number < 20 else f"B{number % 4}"
        company.item(customer, kit if number % 2 or number < 20 else mug, lot=lot, delivered_at=now)
        if number < 12:
            company.ticket(customer, problem)
    best = scopes.discover(session, problem_id=problem.id, now=now)[0]
    assert best.contrast.cases_inside == 12
    assert best.contrast.inside == 20
    assert best.contrast.low > 1
    version = scopes.accept(session, problem_id=problem.id, proposal=best, author="me", now=now)
    counts = audiences.counts(session, segment_id=version.segment_id)
    assert (counts[Grade.AFFECTED], counts[Grade.LIKELY]) == (12, 8)


def test_discovery_proposes_nothing_when_nothing_stands_out(session: Session, company, now: datetime) -> None:
    kit, problem = company.product("KIT"), company.problem()
    for number in range(60):
        customer = company.customer()
        company.item(customer, kit, lot=f"B{number % 4}", delivered_at=now)
        if number < 12:
            company.ticket(customer, problem)
    assert scopes.discover(session, problem_id=problem.id, now=now) == []


def test_the_sweep_gives_a_problem_the_scope_of_those_who_wrote(session: Session, company, now: datetime) -> None:
    problem = company.problem(state=ProblemState.KNOWN)
    closed = company.problem("P-2", state=ProblemState.CLOSED)
    writer, late = company.customer(), company.customer()
    company.ticket(writer, problem)
    company.ticket(writer, closed)
    sweeps.sweep(session, now=now)
    scope = audiences.scope_of(session, problem_id=problem.id)
    assert scope is not None
    assert graded(session, scope.id) == {writer.id: Grade.AFFECTED}
    company.ticket(late, problem)
    sweeps.sweep(session, now=now)
    assert set(graded(session, scope.id)) == {writer.id, late.id}
    assert audiences.scope_of(session, problem_id=closed.id) is None


def test_whoever_was_helped_is_cleared_and_who_has_another_such_item_is_not(
    session: Session, company, now: datetime
) -> None:
    problem = company.problem()
    replaced, remedied, one_of_two, untouched = (company.customer() for _ in range(4))
    company.item(replaced, lot="A7", delivered_at=now, attributes={"replaced": "2026-05-01"})
    company.item(remedied, lot="A7", delivered_at=now, attributes={"remedy": "software 4.2.1"})
    company.item(one_of_two, lot="A7", delivered_at=now, attributes={"remedy": True})
    company.item(one_of_two, lot="A7", delivered_at=now)
    company.item(untouched, lot="A7", delivered_at=now, attributes={"colour": "red"})
    such = rules.parse_rule({"field": "lot", "op": "equals", "value": "A7"})
    definition = scopes.scope_for(session, problem_id=problem.id, such=such)
    version = scopes.accept(session, problem_id=problem.id, definition=definition, author="me", now=now)
    assert graded(session, version.segment_id) == {
        replaced.id: Grade.CLEARED,
        remedied.id: Grade.CLEARED,
        one_of_two.id: Grade.LIKELY,
        untouched.id: Grade.LIKELY,
    }


def test_tickets_that_nobody_linked_count_when_they_have_the_words(session: Session, company, now: datetime) -> None:
    kit, problem, other = company.product("KIT"), company.problem(), company.problem("P-2")
    for number in range(160):
        customer = company.customer()
        company.item(customer, kit, lot="A7" if number < 20 else f"B{number % 8}", delivered_at=now)
        if number < 12:
            company.ticket(
                customer, subject="It is LEAKING again" if number % 2 else "Help", body="Goteja: vazão, água"
            )
        elif number < 40:
            company.ticket(customer, other, subject="leaking too, but that is another problem")
    assert scopes.discover(session, problem_id=problem.id, now=now) == []
    found = scopes.discover(session, problem_id=problem.id, now=now, words=["leaking", "agua"])
    assert found[0].sentence == "Customers who have an order item whose lot is A7"
    assert found[0].contrast.cases_inside == 12


def test_what_is_on_its_way_does_not_narrow_the_cause_to_what_has_arrived(
    session: Session, company, now: datetime
) -> None:
    kit, problem = company.product("KIT"), company.problem()
    for number in range(240):
        customer = company.customer()
        arrived = None if number % 4 == 3 else now
        company.item(customer, kit, lot="A7" if number < 60 else f"B{number % 8}", delivered_at=arrived)
        if number < 24 and arrived:
            company.ticket(customer, problem)
    best = scopes.discover(session, problem_id=problem.id, now=now)[0]
    assert best.sentence == "Customers who have an order item whose lot is A7"
    version = scopes.accept(session, problem_id=problem.id, proposal=best, author="me", now=now)
    grades = list(graded(session, version.segment_id).values())
    assert grades.count(Grade.INCOMING) == 15
