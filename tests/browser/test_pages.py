"""Every page as it meets people: with assistive technology, on a phone, by keyboard, and with hostile words in it."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.orm import Session

from campaigns.sweeps import plan_all
from outreach import clock
from outreach.db import transaction
from outreach.permissions import Permission
from outreach.vocabulary import Role
from tests.browser.conftest import PASSWORD, an_operator, sign_in
from tests.browser.soundness import at_rest, faults_of, wrong_doors
from tests.people import a_campaign
from tests.serving import serving

HOSTILE = (
    '<script>window.ran=1</script>',
    '"><img src=x onerror="window.ran=1">',
    "'-window.ran--'",
    '</textarea><svg onload="window.ran=1">',
    "javascript:window.ran=1",
    "{{ 7 * 7 }}{% include '/etc/passwd' %}",
    '" hx-get="/sign-out" hx-trigger="load" x="',
)  # fmt: skip
HOSTILE_TEXT = " ".join(HOSTILE)
PAGES = {
    "/problems": Permission.PROBLEMS_READ,
    "/problems?tab=all": Permission.PROBLEMS_READ,
    "/problems/new": Permission.PROBLEMS_WRITE,
    "/problems/P-1": Permission.PROBLEMS_READ,
    "/problems/P-1/growth": Permission.PROBLEMS_READ,
    "/problems/P-1/scope": Permission.SEGMENTS_READ,
    "/problems/P-1/scope/proposals": Permission.SEGMENTS_READ,
    "/problems/P-1/campaigns/new": Permission.CAMPAIGNS_WRITE,
    "/campaigns": Permission.CAMPAIGNS_READ,
    "/campaigns/C-1": Permission.CAMPAIGNS_READ,
    "/campaigns/C-1/launch": Permission.CAMPAIGNS_READ,
    "/campaigns/C-1/launch/checks": Permission.CAMPAIGNS_READ,
    "/campaigns/C-1/launch/plans": Permission.CAMPAIGNS_READ,
    "/campaigns/C-1/account": Permission.CAMPAIGNS_READ,
    "/campaigns/C-1/people?state=owed": Permission.CUSTOMERS_READ,
    "/inbox": Permission.CUSTOMERS_READ,
    "/inbox?view=all": Permission.CUSTOMERS_READ,
    "/inbox/1": Permission.CUSTOMERS_READ,
    "/customers": Permission.CUSTOMERS_READ,
    "/customers?q=c-": Permission.CUSTOMERS_READ,
    "/customers/c-1": Permission.CUSTOMERS_READ,
}
FRAGMENTS = ("/growth", "/proposals", "/checks", "/plans")
WHOLE = [path for path in PAGES if not path.endswith(FRAGMENTS)]


@pytest.fixture
def installed(database: str) -> Iterator[str]:
    """A company with a campaign under way, whose customers, tickets and providers write hostile words."""
    with transaction() as session:
        campaign = a_campaign(session, 40, clock.now(session))
        campaign_id = campaign.id
        scope = """{"affected": {"all": [{"field": "customer.country", "op": "equals", "value": "US"}]}}"""
        session.execute(
            text("""INSERT INTO segment_versions (segment_id, version, definition, sentence, author)
                    SELECT id, 1, cast(:scope AS jsonb), :words, 'test' FROM segments"""),
            {"scope": scope, "words": HOSTILE_TEXT},
        )
        session.execute(text("UPDATE segments SET built_version = 1, totals = '{\"likely\": 40}'"))
        session.execute(text("UPDATE problems SET title = :words, summary = :words, workaround = :words"),
                        {"words": HOSTILE_TEXT})  # fmt: skip
        session.execute(text("UPDATE customers SET name = :words, city = :words"), {"words": HOSTILE_TEXT})
        session.execute(
            text("""INSERT INTO tickets (desk, external_id, problem_id, customer_id, subject, body, opened_at)
                    SELECT 'generic', 't-' || c.id || :words, p.id, c.id, :words, :words, now()
                    FROM customers c, problems p WHERE c.id <= 12"""),
            {"words": HOSTILE_TEXT},
        )
        session.execute(
            text("""INSERT INTO responses (channel, sender, text, intent, customer_id, problem_id, campaign_id)
                    SELECT 'email', :words, :words, 'question', c.id, p.id, :campaign_id
                    FROM customers c, problems p WHERE c.id <= 3"""),
            {"words": HOSTILE_TEXT, "campaign_id": campaign_id},
        )
    plan_all(campaign_id)
    with transaction() as session:
        session.execute(text("UPDATE messages SET delivery = 'bounced', delivery_detail = :words"),
                        {"words": HOSTILE_TEXT})  # fmt: skip
        others_write(session)
    for role in Role:
        an_operator(f"{role}@example.com", role)
    with serving() as url:
        yield url


def others_write(session: Session) -> None:
    """Let operators, providers and rules write hostile words about the customers, too."""
    for statement in (
        """INSERT INTO operator_answers (id, response_id, customer_id, channel, address, subject, text, written_by,
                                         written_at, due_at, detail, state)
           SELECT gen_random_uuid(), id, customer_id, 'email', :words, :words, :words, :words, now(), now(), :words,
                  'rejected' FROM responses""",
        """INSERT INTO consents (customer_id, channel, allowed, acted_at, source, wording)
           SELECT id, 'postcard', false, now(), :words, :words FROM customers WHERE id <= 3""",
        """INSERT INTO audience_changes (segment_id, customer_id, to_grade, reason, version, at)
           SELECT segment_id, customer_id, 'likely', :words, 1, now() FROM audience_members""",
        """INSERT INTO delivery_events (message_id, key, kind, at, provider, detail)
           SELECT id, 'b', 'bounced', now(), 'sendgrid', :words FROM messages""",
        "UPDATE messages SET sent_at = now()",
        "UPDATE customers SET attributes = jsonb_build_object(cast(:words AS text), cast(:words AS text))",
    ):
        session.execute(text(statement), {"words": HOSTILE_TEXT} if ":words" in statement else {})


def test_every_page_is_sound(installed: str, open_page: Callable[..., Any]) -> None:
    """In both themes, with assistive technology, on a phone, and with hostile words in every field."""
    page = open_page()
    found = faults_of(page, installed, ["/sign-in"])
    sign_in(page, installed, "approver@example.com")
    found += faults_of(page, installed, WHOLE)
    assert found == []
    assert [line for line in page.told if "Content Security Policy" in line] == []


def test_what_others_wrote_does_not_run_in_a_message_shown_by_itself(
    installed: str, open_page: Callable[..., Any]
) -> None:
    page = open_page()
    sign_in(page, installed, "approver@example.com")
    for path in ("/campaigns/C-1/message/1/email", "/campaigns/C-1/message/1/front"):
        assert page.goto(installed + path).status == 200
        at_rest(page)
        assert page.evaluate("window.ran") is None, path
        assert page.url == installed + path


def test_a_problem_is_reported_by_keyboard_alone(installed: str, open_page: Callable[..., Any]) -> None:
    page = open_page()
    sign_in(page, installed, "author@example.com")
    page.goto(f"{installed}/problems")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the content"
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    assert "Report a problem" in page.evaluate("document.activeElement.textContent")
    page.keyboard.press("Enter")
    page.wait_for_url("**/problems/new")
    page.locator("input:focus").wait_for()  # the first field has the focus once the page is there
    page.keyboard.type("The kettle whistles")
    page.keyboard.press("Enter")
    page.get_by_role("heading", name="The kettle whistles").wait_for()


def test_each_role_opens_its_pages_and_no_others(installed: str) -> None:
    assert wrong_doors(installed, PAGES) == []


def test_signing_in_leads_back_and_never_elsewhere(installed: str, open_page: Callable[..., Any]) -> None:
    page = open_page()
    page.goto(f"{installed}/campaigns/C-1/account")
    page.get_by_label("Email address").fill("viewer@example.com")
    page.get_by_label("Password").fill("wrong")
    page.get_by_role("button", name="Sign in").click()
    assert page.get_by_role("alert").inner_text().startswith("Address or password is wrong")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url("**/campaigns/C-1/account")
    page.goto(f"{installed}/sign-in?next=//evil.example")
    assert page.locator("[name=next]").input_value() == "/"
