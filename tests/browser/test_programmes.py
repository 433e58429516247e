"""Programmes, surveys and customer health in a real browser: built by pointing and clicking, answered by a customer."""

import re
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest

from campaigns.programmes.sweeps import sweep
from campaigns.surveys import writing
from outreach import clock
from outreach.db import transaction
from outreach.vocabulary import Role, SurveyKind
from tests.browser.conftest import an_operator, serving, sign_in
from tests.campaigns.programmes.people import at, customers, delivered, segment

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

    # Steps are added, moved and taken away.
    for step in ("Wait", "Survey", "Condition"):
        ada.get_by_role("button", name=step, exact=True).click()
        ada.locator(f".step-{step.lower()}").wait_for()
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
