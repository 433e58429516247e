"""What a ladder is expected to reach and to cost, and which one is proposed."""

import pytest
from sqlalchemy import text
from sqlalchemy.orm import Session

from campaigns.channel_plan import Group, Urgency, candidates, choose, costs, expected, propose
from campaigns.ladders import NEVER_HOURS, checked_ladder, ladder_of
from outreach.errors import InvalidInput
from outreach.vocabulary import Channel, NoticeClass
from tests.campaigns.test_controls_planning import EMAIL, NIGHT, POSTCARD, SMS, campaign_over

PRICES = {Channel.EMAIL: 0.1, Channel.SMS: 1.0, Channel.POSTCARD: 90.0}
BOTH = Group(100, {Channel.EMAIL: 0.8, Channel.SMS: 0.5})
POST_ONLY = Group(10, {Channel.POSTCARD: 0.9})


def test_a_later_step_is_paid_for_only_by_the_missed() -> None:
    found = expected([EMAIL, {"channel": "sms", "after_hours": 24}], [BOTH, POST_ONLY], PRICES)
    assert found.expected_reached == 90.0
    assert found.messages == {"email": 100.0, "sms": 20.0}
    assert found.expected_cost_cents == 30


def test_at_once_reaches_as_many_and_pays_for_both() -> None:
    found = expected([EMAIL, {"channel": "sms", "at_once": True}], [BOTH], PRICES)
    assert (found.expected_reached, found.expected_cost_cents) == (90.0, 110)


def test_the_proposal_reaches_most_within_the_budget() -> None:
    proposals = [expected(ladder, [BOTH, POST_ONLY], PRICES) for ladder in candidates(Urgency.NORMAL)]
    rich = choose(proposals, 120, 110, None, Urgency.NORMAL)
    assert [step["channel"] for step in rich.best.ladder] == ["email", "sms", "postcard"]
    assert (rich.best.expected_reached, rich.best.expected_share) == (99.0, 0.825)
    modest = choose(proposals, 120, 110, 100, Urgency.NORMAL)
    assert [step["channel"] for step in modest.best.ladder] == ["email", "sms"]
    poor = choose(proposals, 120, 110, 5, Urgency.NORMAL)
    assert not poor.within_budget
    assert poor.best.expected_cost_cents == min(proposal.expected_cost_cents for proposal in proposals)


def test_every_candidate_is_a_ladder_that_a_campaign_takes() -> None:
    for urgency in Urgency:
        for ladder in candidates(urgency):
            assert checked_ladder(ladder) == ladder


def test_history_of_an_address_outweighs_what_the_channel_does_for_others(session: Session) -> None:
    campaign = campaign_over(session, 10, EMAIL, SMS)
    before = propose(session, campaign=campaign, budget_cents=None, urgency=Urgency.NORMAL)
    session.execute(
        text("""WITH told AS (INSERT INTO notices (campaign_id, customer_id, occurrence, grade, state)
                    SELECT :id, c.id, number, 'likely', 'failed' FROM customers c, generate_series(1, 20) AS number
                    WHERE c.email IS NOT NULL RETURNING id, customer_id)
                INSERT INTO messages (notice_id, campaign_id, customer_id, channel, chunk_id, address, send_state,
                                      delivery_rank, delivery)
                SELECT told.id, :id, c.id, 'email', 0, c.email, 'accepted', 62, 'bounced'
                FROM told JOIN customers c ON c.id = told.customer_id"""),
        {"id": campaign.id},
    )
    after = propose(session, campaign=campaign, budget_cents=None, urgency=Urgency.NORMAL)
    email_only = [
        next(p for p in (plan.best, *plan.others) if [s["channel"] for s in p.ladder][:1] == ["email"])
        for plan in (before, after)
    ]
    assert email_only[1].expected_reached < email_only[0].expected_reached
    assert (before.people, before.reachable) == (10, 10)


def test_safety_goes_by_the_quick_channels_at_once(session: Session) -> None:
    campaign = campaign_over(session, 10, EMAIL, notice_class=NoticeClass.SAFETY)
    plan = propose(session, campaign=campaign, budget_cents=None, urgency=Urgency.LOW)
    assert plan.urgency is Urgency.AT_ONCE
    assert any(step.get("at_once") for step in plan.best.ladder)


def test_what_was_really_handed_over_is_what_it_cost(session: Session) -> None:
    campaign = campaign_over(session, 2, EMAIL, POSTCARD)
    session.execute(
        text("""INSERT INTO messages (notice_id, campaign_id, customer_id, channel, chunk_id, address, send_state)
                SELECT number, :id, number, CASE WHEN number > 8 THEN 'postcard' ELSE 'email' END, 0, 'x',
                       CASE WHEN number = 1 THEN 'suppressed' ELSE 'accepted' END
                FROM generate_series(1, 10) number"""),
        {"id": campaign.id, "now": NIGHT},
    )
    assert costs(session, campaign=campaign) == {
        "email": {"messages": 7, "cents": 0.7},
        "postcard": {"messages": 2, "cents": 180.0},
    }


def test_steps_at_once_share_a_group_and_its_patience() -> None:
    ladder = ladder_of([EMAIL, {"channel": "sms", "at_once": True}, {"channel": "postcard", "after_hours": 72}])
    assert (ladder.groups, ladder.patience) == ([0, 0, 1], [72, 72, NEVER_HOURS])


@pytest.mark.parametrize(
    "ladder",
    [[], [EMAIL, EMAIL], [{"channel": "fax"}], [{"channel": "email", "at_once": True}],
     [EMAIL, {"channel": "sms", "at_once": True, "after_hours": 2}], [EMAIL, {"channel": "sms", "after_hours": 0}]],
)  # fmt: skip
def test_a_ladder_that_makes_no_sense_is_refused(ladder: list[dict[str, object]]) -> None:
    with pytest.raises(InvalidInput):
        checked_ladder(ladder)


def test_one_step_never_waits() -> None:
    assert not ladder_of([SMS]).patient
