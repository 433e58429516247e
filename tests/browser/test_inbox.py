"""The inbox in a browser: read, answer, correct, hand over, with the mouse and by keyboard."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from sqlalchemy import select, text

from outreach import clock
from outreach.db import transaction
from outreach.models import OperatorAnswer, Response
from outreach.vocabulary import Channel, Role
from tests.browser.conftest import an_operator, sign_in
from tests.serving import serving
from tests.webhooks.test_replies import says, told


@pytest.fixture
def installed(database: str) -> Iterator[str]:
    """Five customers were told; two ask, one stops, somebody unknown writes."""
    with transaction() as session:
        messages = told(session, channel="email")
        says(session, "When will the new instructions come?", messages[1], channel=Channel.EMAIL)
        says(session, "It is still broken, and nobody calls me back.", messages[2], channel=Channel.EMAIL)
        says(session, "STOP", messages[3], channel=Channel.EMAIL)
        says(session, "Who are you?", sender="+12025550188")
    an_operator("ada@example.com", Role.AUTHOR)
    an_operator("vic@example.com", Role.VIEWER)
    with serving() as url:
        yield url


def responses() -> dict[str, Response]:
    with transaction() as session:
        found = {row.text.split()[0]: row for row in session.scalars(select(Response))}
        session.expunge_all()
        return found


def test_a_reply_is_answered_corrected_and_put_aside(installed: str, open_page: Callable[..., Any]) -> None:
    page = open_page()
    sign_in(page, installed, "ada@example.com", then="/inbox")
    assert page.locator("nav .badge").inner_text() == "3"
    assert page.locator(".letter").count() == 3
    page.get_by_role("link", name="Handled").click()
    page.get_by_text("STOP", exact=True).wait_for()
    page.get_by_role("link", name="Waiting").click()
    page.get_by_role("link", name="Ann Number1").click()
    assert page.get_by_text("When will the new instructions come?").is_visible()
    page.get_by_label("Your answer").fill("On Friday.\nYours, Ada")
    page.get_by_role("button", name="Send", exact=True).click()
    page.get_by_text("Your answer is on its way.").wait_for()
    assert page.locator(".turn-answer").inner_text().endswith("On its way")
    page.get_by_label("What they mean").locator("xpath=ancestor::details").locator("summary").click()
    page.get_by_label("What they mean").select_option("still_broken")
    page.get_by_role("button", name="Correct it").click()
    page.get_by_text("Corrected.").wait_for()
    page.get_by_text("Put aside", exact=True).first.click()
    page.get_by_role("button", name="Tomorrow, 9:00").click()
    page.get_by_text("Put aside until then.").wait_for()
    page.goto(f"{installed}/inbox?view=snoozed")
    assert page.locator(".letter").count() == 1
    found = responses()["When"]
    assert (found.intent, found.snoozed_until is not None and found.snoozed_until.hour) == ("still_broken", 9)
    with transaction() as session:
        assert session.scalars(select(OperatorAnswer.text)).all() == ["On Friday.\nYours, Ada"]
    assert page.told == []


def test_somebody_unknown_gets_a_name_and_whoever_stopped_is_not_written_to(
    installed: str, open_page: Callable[..., Any]
) -> None:
    page = open_page()
    sign_in(page, installed, "ada@example.com", then="/inbox?view=unmatched")
    page.get_by_role("link", name="+12025550188").click()
    page.get_by_text("Meaning, customer, problem").click()
    page.get_by_label("Whose it is").fill("nobody")
    page.get_by_role("button", name="Correct it").click()
    page.locator("#hint-customer").filter(has_text="There is no customer").wait_for()
    page.get_by_label("Whose it is").fill("c-3")
    page.get_by_label("What it is about").select_option("P-1")
    page.get_by_role("button", name="Correct it").click()
    page.get_by_role("heading", name="Ann Number3", level=1).wait_for()
    page.goto(f"{installed}/inbox/{responses()['STOP'].id}")
    assert page.get_by_text("This address is barred from email").is_visible()
    assert page.get_by_label("Your answer").count() == 0


def test_the_inbox_is_worked_through_by_keyboard_alone(installed: str, open_page: Callable[..., Any]) -> None:
    page = open_page()
    sign_in(page, installed, "ada@example.com", then="/inbox")
    page.keyboard.press("?")
    page.get_by_role("dialog").get_by_text("Open the reply").wait_for()
    page.keyboard.press("Escape")
    for key in ("j", "j", "k", "j", "o"):
        page.keyboard.press(key)
    page.get_by_role("heading", name="Ann Number2", level=1).wait_for()
    page.keyboard.press("a")
    page.get_by_text("Assigned.").wait_for()
    page.keyboard.press("r")
    page.keyboard.type("je suis là: j, k and e are letters here")
    page.keyboard.press("Control+Enter")
    page.get_by_text("Your answer is on its way.").wait_for()
    page.keyboard.press("e")
    page.get_by_text("Back in the inbox.").wait_for()
    page.keyboard.press("e")
    page.get_by_text("Dealt with. Here is the next one.").wait_for()
    page.keyboard.press("u")
    page.get_by_role("heading", name="Inbox", level=1).wait_for()
    assert page.locator(".letter").count() == 2
    with transaction() as session:
        assert session.execute(text("SELECT count(*) FROM operator_answers")).scalar_one() == 1
        assert clock.now(session)


def test_whoever_may_only_read_sees_no_form(installed: str, open_page: Callable[..., Any]) -> None:
    page = open_page()
    sign_in(page, installed, "vic@example.com", then="/inbox")
    page.get_by_role("link", name="Ann Number1").click()
    page.get_by_text("When will the new instructions come?").wait_for()
    assert page.locator("main form").count() == 0
