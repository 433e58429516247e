"""Words that name what some people do not have: nobody is told before it is mended, and the people are named."""

import pytest
from sqlalchemy import select, text
from sqlalchemy.orm import Session

from campaigns import editing, lifecycle, playbooks
from campaigns.forecast import forecast
from campaigns.missing_words import gaps
from campaigns.preflight import Verdict, checks
from outreach import clock, problems
from outreach.errors import Conflict
from outreach.models import Campaign, DepartmentTask, Playbook, Template
from outreach.vocabulary import CampaignState, Channel
from tests.people import a_campaign, a_problem, an_audience

# Those with a number divisible by 7 have no plan; one of them has no email either.
SOME_PLANS = """
UPDATE customers SET attributes = jsonb_build_object('plan', 'basic', 'my notes', NULL)
WHERE substr(external_id, 3)::int % 7 <> 0
"""


def with_words(session: Session, body: str, *, people: int = 30, subject: str = "News") -> Campaign:
    """Open a waiting campaign by email and SMS whose email says `body`."""
    campaign = a_campaign(session, people, clock.now(session), approved=False)
    campaign.ladder = [{"channel": "email"}, {"channel": "sms", "after_hours": 24}]
    write(session, body, version=1, subject=subject)
    campaign.template_key, campaign.template_version = "plain", 1
    session.execute(text(SOME_PLANS))
    session.flush()
    return campaign


def write(session: Session, body: str, *, version: int, subject: str = "News") -> None:
    """Save a version of the words, the same text for email and SMS without the attributes."""
    email = {"channel": Channel.EMAIL, "subject": subject, "body": body}
    for words in (email, {"channel": Channel.SMS, "subject": None, "body": "Hello {{ customer.name }}"}):
        session.add(Template(key="plain", version=version, language="en", author="test", **words))
    session.flush()


def test_people_without_what_the_words_name_block_the_launch_and_are_named(session: Session) -> None:
    campaign = with_words(session, "Your plan is {{ customer.attributes.plan }}.")
    (gap,) = gaps(session, campaign=campaign, now=clock.now(session))
    assert (gap.channel, gap.people, gap.numbers) == (Channel.EMAIL, 4, ("c-7", "c-14", "c-21", "c-28"))
    with pytest.raises(Conflict, match=r"customer\.attributes\.plan.* 4 people: c-7, c-14, c-21, c-28\."):
        lifecycle.approve(session, campaign=campaign, actor="boss", now=clock.now(session))
    assert campaign.state is CampaignState.WAITING_APPROVAL
    session.execute(text("UPDATE customers SET attributes = attributes || '{\"plan\": null}'"))
    lifecycle.approve(session, campaign=campaign, actor="boss", now=clock.now(session))
    assert campaign.state is CampaignState.RUNNING


@pytest.mark.parametrize(
    "body",
    [
        "{{ customer.attributes.plan | default: 'our' }} plan",
        "{% assign plan = customer.attributes.plan | default: '' %}{% if plan != '' %}{{ plan }}{% endif %}!",
        "{% for item in items %}{{ item.lot }}{% endfor %}!",
    ],
)
def test_words_that_do_without_block_nothing(session: Session, body: str) -> None:
    campaign = with_words(session, body)
    assert gaps(session, campaign=campaign, now=clock.now(session)) == []


def test_names_with_blanks_and_missing_evidence_are_found(session: Session) -> None:
    campaign = with_words(session, "{{ customer.attributes['my notes'] }} {{ items[0].lot }}")
    session.execute(
        text("""UPDATE audience_members SET evidence_items = '{}'
                WHERE customer_id = (SELECT id FROM customers WHERE external_id = 'c-1')""")
    )
    found = {gap.people for gap in gaps(session, campaign=campaign, now=clock.now(session))}
    assert found == {4, 1}


def test_a_name_that_nobody_has_concerns_everybody_and_few_are_listed(session: Session) -> None:
    campaign = with_words(session, "It is {{ problem.nonsense }}.", people=300)
    (gap,) = gaps(session, campaign=campaign, now=clock.now(session))
    assert (gap.people, len(gap.numbers)) == (270, 5)
    assert str(gap).endswith("This concerns 270 people, among them c-1, c-2, c-3, c-4, c-5.")


def test_the_launch_page_says_so_before_anybody_approves(session: Session) -> None:
    campaign = with_words(session, "{{ customer.attributes.plan }}", subject="Your plan")
    expected = forecast(session, campaign=campaign)
    found = checks(session, campaign=campaign, forecast=expected, now=clock.now(session))
    said = {check.name: check for check in found}["Words for email"]
    assert said.verdict is Verdict.BAD
    assert "c-7, c-14, c-21, c-28" in said.said


def test_new_words_with_a_gap_never_reach_a_running_campaign(session: Session) -> None:
    campaign = with_words(session, "All is said.")
    lifecycle.approve(session, campaign=campaign, actor="boss", now=clock.now(session))
    write(session, "Your plan is {{ customer.attributes.plan }}.", version=2)
    with pytest.raises(Conflict, match="c-7"):
        editing.edit(session, campaign=campaign, actor="boss", now=clock.now(session))


def test_an_automatic_playbook_with_a_gap_waits_for_a_person(session: Session) -> None:
    now = clock.now(session)
    playbooks.install_defaults(session)
    write(session, "Your plan is {{ customer.attributes.plan }}.", version=1)
    playbook = session.scalars(select(Playbook).where(Playbook.key == "known")).one()
    playbook.template_key, playbook.automatic, playbook.ladder = "plain", True, [{"channel": "email"}]
    problem = a_problem(session, now)
    an_audience(session, problem, 10, now)
    problems.mark_known(session, problem=problem, author="test", now=now)
    (campaign,) = playbooks.open_due(session, now=now)
    assert (campaign.state, campaign.approved_by) == (CampaignState.WAITING_APPROVAL, None)
    assert "customer.attributes.plan" in str(campaign.state_reason)
    assert "did not start by itself" in session.scalars(select(DepartmentTask.title)).one()
