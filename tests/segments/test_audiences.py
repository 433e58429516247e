from datetime import datetime, timedelta

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from outreach.errors import InvalidRule, NotFound
from outreach.models import AudienceChange, AudienceMember
from outreach.settings import get_settings
from outreach.vocabulary import Channel, Grade
from segments import audiences, rules

SUCH = [
    {"field": "product.external_id", "op": "equals", "value": "KIT"},
    {"field": "lot", "op": "equals", "value": "A7"},
]
SCOPE = rules.parse_definition(
    {
        "affected": {"related": "tickets", "where": {"field": "problem.key", "op": "equals", "value": "P-1"}},
        "likely": {"related": "order_items", "where": {"all": [*SUCH, {"field": "delivered_at", "op": "is_present"}]}},
        "incoming": {
            "related": "order_items",
            "where": {"all": [*SUCH, {"field": "delivered_at", "op": "is_missing"}]},
        },
        "cleared": {
            "related": "order_items",
            "quantifier": "all",
            "among": {"all": SUCH},
            "where": {"field": "quantity_returned", "op": "at_least", "value": {"field": "quantity"}},
        },
    }
)


def members(session: Session, segment_id: int) -> dict[int, AudienceMember]:
    found = (
        select(AudienceMember).where(AudienceMember.segment_id == segment_id).execution_options(populate_existing=True)
    )
    return {member.customer_id: member for member in session.scalars(found)}


def test_the_strongest_grade_wins_and_cleared_overrides(session: Session, company, now: datetime) -> None:
    kit, problem = company.product("KIT"), company.problem()
    wrote, holds, waits, returned, other = (company.customer() for _ in range(5))
    item = company.item(wrote, kit, lot="A7", delivered_at=now)
    ticket = company.ticket(wrote, problem)
    company.item(holds, kit, lot="A7", delivered_at=now)
    second = company.item(holds, kit, lot="A7")
    company.item(waits, kit, lot="A7")
    back = company.item(returned, kit, lot="A7", delivered_at=now, quantity_returned=1)
    company.item(other, kit, lot="A8", delivered_at=now)
    version = audiences.save(session, key="scope", name="Scope", definition=SCOPE, author="me", problem_id=problem.id)
    result = audiences.refresh(session, segment_id=version.segment_id, now=now)
    found = members(session, version.segment_id)
    assert {key: member.grade for key, member in found.items()} == {
        wrote.id: Grade.AFFECTED,
        holds.id: Grade.LIKELY,
        waits.id: Grade.INCOMING,
        returned.id: Grade.CLEARED,
    }
    assert found[wrote.id].evidence_items == [item.id]
    assert found[wrote.id].evidence_tickets == [ticket.id]
    assert found[holds.id].evidence_items[-1] == second.id
    assert len(found[holds.id].evidence_items) == 2
    assert found[returned.id].evidence_items == [back.id]
    assert (result.entered, result.left, result.changed) == (4, 0, 0)
    assert result.counts == audiences.counts(session, segment_id=version.segment_id) == dict.fromkeys(Grade, 1)


def test_the_ledger_tells_the_audience_of_any_moment(session: Session, company, now: datetime) -> None:
    kit, problem = company.product("KIT"), company.problem()
    customer = company.customer()
    item = company.item(customer, kit, lot="A7")
    segment = audiences.save(
        session, key="s", name="s", definition=SCOPE, author="me", problem_id=problem.id
    ).segment_id
    steps = [now + timedelta(days=day) for day in range(5)]
    audiences.refresh(session, segment_id=segment, now=steps[0])
    item.delivered_at = steps[1]
    session.flush()
    assert audiences.refresh(session, segment_id=segment, now=steps[1]).changed == 1
    item.quantity_returned = 1
    session.flush()
    audiences.refresh(session, segment_id=segment, now=steps[2], only_customers=[customer.id])
    item.lot = "B1"
    session.flush()
    assert audiences.refresh(session, segment_id=segment, now=steps[3]).left == 1
    assert members(session, segment)[customer.id].left_at == steps[3]
    item.lot, item.quantity_returned = "A7", 0
    session.flush()
    assert audiences.refresh(session, segment_id=segment, now=steps[4]).entered == 1
    assert members(session, segment)[customer.id].entered_at == steps[4]
    seen = [[m.grade for m in audiences.as_of(session, segment_id=segment, at=step)] for step in steps]
    assert seen == [[Grade.INCOMING], [Grade.LIKELY], [Grade.CLEARED], [], [Grade.LIKELY]]
    assert (
        session.scalars(select(AudienceChange.reason).where(AudienceChange.segment_id == segment)).all()
        == ["sweep"] * 5
    )


def test_a_refresh_that_finds_nothing_new_writes_nothing(session: Session, company, now: datetime) -> None:
    company.item(company.customer(), company.product("KIT"), lot="A7")
    segment = audiences.save(session, key="s", name="s", definition=SCOPE, author="me").segment_id
    audiences.refresh(session, segment_id=segment, now=now)
    again = audiences.refresh(session, segment_id=segment, now=now + timedelta(days=1))
    assert (again.entered, again.left, again.changed, again.evidence) == (0, 0, 0, 0)


def test_someone_cleared_who_was_never_in_scope_is_not_in_the_audience(
    session: Session, company, now: datetime
) -> None:
    kit = company.product("KIT")
    definition = rules.parse_definition(
        {
            "likely": {"related": "order_items", "where": {"field": "lot", "op": "equals", "value": "A7"}},
            "cleared": {"field": "customer.attributes.fixed", "type": "boolean", "op": "equals", "value": True},
        }
    )
    fixed, held = company.customer(attributes={"fixed": True}), company.customer()
    item = company.item(held, kit, lot="A7")
    segment = audiences.save(session, key="s", name="s", definition=definition, author="me").segment_id
    audiences.refresh(session, segment_id=segment, now=now)
    assert set(members(session, segment)) == {held.id}
    item.lot = "B"
    held.attributes = {"fixed": True}
    session.flush()
    audiences.refresh(session, segment_id=segment, now=now)
    found = members(session, segment)
    assert found[held.id].grade == Grade.CLEARED
    assert found[held.id].left_at is None
    assert fixed.id not in found


def test_an_erased_customer_leaves(session: Session, company, now: datetime) -> None:
    customer = company.customer()
    company.item(customer, company.product("KIT"), lot="A7")
    segment = audiences.save(session, key="s", name="s", definition=SCOPE, author="me").segment_id
    assert audiences.refresh(session, segment_id=segment, now=now).entered == 1
    customer.erased_at = now
    session.flush()
    assert audiences.refresh(session, segment_id=segment, now=now).left == 1


def test_preview_counts_reach_and_rows_without_a_customer(
    session: Session, company, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OUTREACH_SMS_COST_CENTS", "7")
    get_settings.cache_clear()
    kit = company.product("KIT")
    good, silent = company.customer(phone="+15550100001"), company.customer(email=None, phone="555")
    for customer in (good, silent, None, None):
        company.item(customer, kit, lot="A7", delivered_at=now)
    preview = audiences.preview(session, definition=SCOPE, now=now)
    assert preview.counts[Grade.LIKELY] == preview.total == 2
    reach = {reach.channel: reach for reach in preview.reach}
    assert (reach[Channel.EMAIL].reachable, reach[Channel.EMAIL].no_address) == (1, 1)
    assert (reach[Channel.SMS].reachable, reach[Channel.SMS].invalid) == (1, 1)
    assert reach[Channel.POSTCARD].no_address == 2
    assert (reach[Channel.SMS].cost_cents, reach[Channel.POSTCARD].cost_cents) == (7, 0)
    assert preview.unreachable == 1
    assert [(w.related, w.rows, w.orders) for w in preview.without_customer if w.rows] == [("order_items", 2, 2)]
    assert {sample.customer_id for sample in preview.sample} == {good.id, silent.id}
    assert all(len(sample.evidence_items) == 1 for sample in preview.sample)


def test_preview_names_the_overlap_with_other_open_problems(session: Session, company, now: datetime) -> None:
    customer, problem = company.customer(), company.problem("P-9")
    company.item(customer, company.product("KIT"), lot="A7", delivered_at=now)
    segment = audiences.save(
        session, key="s", name="s", definition=SCOPE, author="me", problem_id=problem.id
    ).segment_id
    audiences.refresh(session, segment_id=segment, now=now)
    assert audiences.preview(session, definition=SCOPE, now=now).overlap == {"P-9": 1}
    assert audiences.preview(session, definition=SCOPE, now=now, exclude_problem=problem.id).overlap == {}


def test_explain_shows_which_conditions_held_with_the_rows(session: Session, company, now: datetime) -> None:
    customer = company.customer()
    item = company.item(customer, company.product("KIT"), lot="A7")
    explanation = audiences.explain(session, definition=SCOPE, customer_id=customer.id, now=now)
    assert explanation.grade == Grade.INCOMING
    assert not explanation.rules[Grade.LIKELY].held
    assert [part.held for part in explanation.rules[Grade.LIKELY].parts] == [True, True, False]
    assert explanation.rules[Grade.INCOMING].rows[0]["id"] == item.id
    with pytest.raises(NotFound):
        audiences.explain(session, definition=SCOPE, customer_id=0, now=now)


def test_a_circle_of_segments_is_refused_with_its_path(session: Session, company, now: datetime) -> None:
    plain = rules.parse_definition({"field": "customer.country", "op": "equals", "value": "BR"})
    audiences.save(session, key="a", name="a", definition=plain, author="me")
    for key, other in (("b", "a"), ("c", "b")):
        inner = rules.parse_definition({"member_of": other})
        audiences.save(session, key=key, name=key, definition=inner, author="me")
    with pytest.raises(InvalidRule, match="a → c → b → a"):
        audiences.save(session, key="a", name="a", definition=rules.parse_definition({"member_of": "c"}), author="me")
    with pytest.raises(InvalidRule, match="no segment 'zzz'"):
        audiences.save(session, key="d", name="d", definition=rules.parse_definition({"member_of": "zzz"}), author="me")


def test_members_of_another_segment_are_found(session: Session, company, now: datetime) -> None:
    here, there = company.customer(country="BR"), company.customer(country="PT")
    plain = rules.parse_definition({"field": "customer.country", "op": "equals", "value": "BR"})
    first = audiences.save(session, key="a", name="a", definition=plain, author="me").segment_id
    audiences.refresh(session, segment_id=first, now=now)
    outside = rules.parse_definition({"not": {"member_of": "a"}})
    second = audiences.save(session, key="b", name="b", definition=outside, author="me").segment_id
    audiences.refresh(session, segment_id=second, now=now)
    assert set(members(session, first)) == {here.id}
    assert set(members(session, second)) == {there.id}
