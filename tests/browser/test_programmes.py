"""Programmes, surveys and customer health in a real browser: built by pointing and clicking, answered by a customer."""

import re
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import text

from campaigns.context import Recipient, contexts
from campaigns.envelopes import sender_for
from campaigns.programmes import verbs
from campaigns.programmes.sweeps import sweep
from campaigns.surveys import writing
from outreach import clock
from outreach.db import transaction
from outreach.models import Campaign
from outreach.vocabulary import Channel, ProgrammeKind, Role, SurveyKind
from tests.browser.conftest import an_operator, sign_in
from tests.campaigns.programmes.people import at, customers, delivered, segment, survey
from tests.serving import serving

PEOPLE = 40


@pytest.fixture
def company(database: str) -> Iterator[str]:
    """A company with forty customers in twenty zones, a segment of all of them, a survey, an author, an approver."""
    with transaction() as session:
        now = clock.now(session)
        customers(session, PEOPLE, now)
        segment(session, "owners", now)
        writing.make(session, key="easy", name="Was it easy?", kind=SurveyKind.CES, actor="test", now=now)
    for role in (Role.AUTHOR, Role.APPROVER):
        an_operator(f"{role}@example.com", role)
    with serving() as url:
        yield url


def live_through(days: int) -> None:
    """Do what the workers do every six hours of so many days."""
    with transaction() as session:
        now = clock.now(session)
    for step in range(4 * days + 1):
        moment = now + timedelta(hours=6 * step)
        sweep(at(moment))
        with transaction() as session:
            delivered(session, moment)


def test_a_programme_is_built_looked_at_started_and_followed(company: str, open_page: Callable[..., Any]) -> None:
    ada, ben = open_page(), open_page()
    sign_in(ada, company, "author@example.com", then="/programmes")
    ada.get_by_role("link", name="New programme").first.click()
    ada.get_by_label("Name", exact=True).fill("How is the pump?")
    ada.get_by_label("Key").fill("pump")

    # What it would do follows while she builds it.
    ada.get_by_text("Choose a segment").wait_for()
    ada.get_by_label("Segment", exact=True).select_option("owners")
    ada.locator("#preview .big").filter(has_text=f"{PEOPLE} of {PEOPLE} members").wait_for()
    ada.get_by_label("How often").select_option("days")
    ada.locator("#tree .wide-row").first.get_by_text("days", exact=True).wait_for()
    ada.get_by_label("Every how many").fill("3")
    ada.get_by_label("From which hour of the day").select_option("0")
    ada.get_by_label("Until which hour of the day").select_option("23")
    ada.get_by_label("on working days of her country only").uncheck()
    ada.get_by_text("Every 3 days, counted from the day she enters").wait_for()

    # Steps are added, moved and taken away. On a slow line the form comes after what it would do was asked for again.
    ada.route("**/edit", lambda route: (ada.wait_for_timeout(600), route.continue_()))
    for step in ("Wait", "Survey", "Condition"):
        ada.get_by_label("Every how many").fill("3")
        ada.get_by_role("button", name=step, exact=True).click()
        ada.locator(f"#tree .step-{step.lower()}").wait_for()
        assert ada.locator("#preview [name=do]").count() == 0
    ada.get_by_role("button", name="Remove step 4").click()
    ada.locator(".step-condition").wait_for(state="detached")
    ada.get_by_label("Days to wait").fill("1")
    ada.get_by_role("button", name="another channel").first.click()
    ada.get_by_label("Next channel").select_option("sms")
    ada.get_by_text("Step 3: ").wait_for()  # no survey was chosen yet
    ada.get_by_label("Survey", exact=True).select_option("easy")
    ada.locator("#preview").get_by_text(re.compile(r"1\d\d steps fall due")).wait_for()
    ada.get_by_role("button", name="Write it down as a draft").click()
    ada.get_by_text("Written down as a draft.").wait_for()
    assert ada.get_by_text("It waits for somebody who may start programmes.").is_visible()
    assert ada.get_by_role("button", name="Start").count() == 0

    # Ben looks at it and starts it; people enter, and the page follows.
    sign_in(ben, company, "approver@example.com", then="/programmes/pump")
    ben.locator("aside .big").filter(has_text=f"{PEOPLE} of {PEOPLE} members").wait_for()
    ben.get_by_role("button", name="Start").click()
    ben.get_by_role("dialog").get_by_role("button", name="Start").click()
    ben.get_by_text("Started.").wait_for()
    live_through(8)
    first = ben.locator(".step").first
    first.get_by_text(re.compile(r"delivered [3-9]\d")).wait_for()
    assert "Say how-is-it-going by email, then SMS after 48 hours" in first.inner_text()
    ben.locator(".step-waiting a").last.click()
    ben.get_by_role("heading", name=re.compile("Ask the survey easy")).wait_for()

    # An edit is a new version; Ada may not make one of what runs.
    ben.goto(f"{company}/programmes/pump/edit")
    with ben.expect_response(lambda answer: "spread_days=2" in (answer.request.post_data or "")):
        ben.get_by_label("Spread over days").fill("2")
    ben.get_by_role("button", name="Save as the next version").click()
    ben.get_by_text("Version 2, in force").wait_for()
    assert ada.goto(f"{company}/programmes/pump/edit").status == 200
    ada.get_by_role("button", name="Save as the next version").click()
    ada.get_by_role("heading", name="You may not do this").or_(ada.get_by_text("whoever may approve")).first.wait_for()
    ben.get_by_role("button", name="Pause").click()
    ben.get_by_role("dialog").get_by_role("button", name="Pause").click()
    ben.get_by_text("Nothing more is said until it goes on.").first.wait_for()
    ben.get_by_role("button", name="Go on").click()
    ben.get_by_text("It goes on.").wait_for()
    assert ben.told == []


def asked_by_email() -> str:
    """Let the programme `ask` put its survey to the first customer, and return the link of score 5 in her email."""
    with transaction() as session:
        now = clock.now(session)
        made = verbs.make(
            session, key="ask", name="Ask", kind=ProgrammeKind.CHECK_IN, segment="owners", actor="test", now=now,
            definition={"schedule": {"hours": "0-23", "business_days": False}, "steps": [survey("easy")]},
        )  # fmt: skip
        verbs.activate(session, programme=made, actor="test", now=now)
    live_through(2)
    with transaction() as session:
        session.execute(text("UPDATE survey_asks SET asked_at = :now"), {"now": now})
        message_id = session.execute(text("SELECT id FROM messages ORDER BY customer_id LIMIT 1")).scalar_one()
        campaign = session.query(Campaign).one()
        who = {"language": "en", "first_name": "Ann"}
        person = Recipient(message_id, "ann.1@example.com", who, "likely", [], [], [])
        facts = contexts(session, campaign=campaign, recipients=[person], now=now)[message_id]
        words = sender_for(Channel.EMAIL).content(session, campaign.template_key, campaign.template_version)["en"]
        html = words.render(facts).html or ""
    found = re.search(r'href="[^"]*(/survey/[^"?]+\?score=5)"', html)
    assert found is not None
    return found[1]


@pytest.mark.parametrize("scripts", [True, False])
def test_a_link_in_the_email_preselects_and_the_button_records(
    company: str, browser: Any, open_page: Callable[..., Any], scripts: bool
) -> None:
    link = asked_by_email()
    context = browser.new_context(java_script_enabled=scripts, viewport={"width": 375, "height": 800})
    customer = context.new_page()
    customer.goto(company + link)
    assert customer.get_by_role("radio", name="5", exact=True).is_checked()
    with transaction() as session:
        assert session.execute(text("SELECT count(*) FROM survey_answers")).scalar_one() == 0
    customer.get_by_role("radio", name="6", exact=True).check()
    customer.get_by_label("Anything you want to tell us?").fill("Quick <b>and</b> kind")
    customer.get_by_role("button", name="Send my answer").click()
    customer.get_by_text("Your answer is with us.").wait_for()
    context.close()

    manager = open_page()
    sign_in(manager, company, "approver@example.com", then="/surveys/easy")
    assert manager.locator(".figure").first.locator("dd").first.inner_text() == "6.0"
    manager.get_by_placeholder("Search").fill("KIND")
    manager.get_by_role("button", name="Search").click()
    manager.get_by_text("Quick <b>and</b> kind").wait_for()
    manager.get_by_placeholder("Search").fill("slow")
    manager.get_by_role("button", name="Search").click()
    manager.get_by_text("No comment has these words.").wait_for()


def test_a_survey_is_written_with_a_question_of_ones_own_and_tried_out(
    company: str, open_page: Callable[..., Any]
) -> None:
    page = open_page()
    sign_in(page, company, "author@example.com", then="/surveys/new")
    page.get_by_label("Name", exact=True).fill("Does it fit?")
    page.get_by_label("Key").fill("fit")
    page.get_by_role("radio", name=re.compile("satisfaction")).check()
    page.get_by_role("button", name="Choice").click()
    page.get_by_label("In English").fill("Which one?")
    page.get_by_label("In other languages").fill("de: Welche?")
    page.get_by_label("Answers to choose from").fill("small\nlarge")
    page.get_by_role("button", name="Write it down").click()
    page.get_by_text("Written down. A step of a programme asks it.").wait_for()
    page.get_by_role("link", name="Preview and test").click()
    page.get_by_role("link", name="German").click()
    page.get_by_text("Eine Frage von").first.wait_for()
    address = page.get_by_role("link", name="Try the page out").get_attribute("href")
    page.goto(company + re.sub(r"^https?://[^/]+", "", address))
    assert page.get_by_text("Welche?").is_visible()
    page.get_by_role("radio", name="4").check()
    page.get_by_role("button", name="Send my answer").click()
    page.get_by_text("nothing was recorded").wait_for()


def test_the_rules_of_health_are_checked_and_a_task_is_done(company: str, open_page: Callable[..., Any]) -> None:
    with transaction() as session:
        now = clock.now(session)
        session.execute(
            text("""INSERT INTO account_tasks (customer_id, cause, owner, title, opened_at, due_at)
                    SELECT id, 'silence', 'owner-1', 'Nothing heard', :now, :now FROM customers WHERE id <= 2"""),
            {"now": now},
        )
        session.execute(text("INSERT INTO customer_news (customer_id) SELECT id FROM customers"))
    sweep(at(now))
    page = open_page()
    sign_in(page, company, "approver@example.com", then="/customer-health/rules")
    page.get_by_label("Fair from").fill("80")
    page.get_by_role("button", name="Set the rules").click()
    page.get_by_text("fair starts below good").first.wait_for()
    page.get_by_label("Fair from").fill("30")
    page.get_by_role("button", name="Set the rules").click()
    page.get_by_text("The rules are set").wait_for()
    page.get_by_role("link", name="Open tasks").click()
    page.get_by_role("button", name="Done").first.wait_for()
    before = page.get_by_role("button", name="Done").count()
    page.get_by_role("button", name="Done").first.click()
    page.get_by_text("Done.", exact=True).wait_for()
    assert page.get_by_role("button", name="Done").count() == before - 1
    page.get_by_role("link", name="Lowest first").click()
    page.get_by_role("link", name="Ann Number").first.click()
    page.get_by_role("heading", name="What made it").wait_for()
