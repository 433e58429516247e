"""The customer's page in a browser: found, read, consent written down, handed out, erased."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select, text

from outreach import clock
from outreach.db import transaction
from outreach.models import AuditEntry, Consent
from outreach.vocabulary import Channel, Role
from tests.browser.conftest import an_operator, sign_in
from tests.serving import serving
from tests.webhooks.test_replies import says, told


@pytest.fixture
def installed(database: str) -> Iterator[str]:
    """Five customers were told; one asks, and one has a reference with a slash."""
    with transaction() as session:
        messages = told(session, channel="email")
        says(session, "When will the new instructions come?", messages[1], channel=Channel.EMAIL)
        session.execute(
            text("""INSERT INTO audience_changes (segment_id, customer_id, to_grade, reason, version, at)
                    SELECT segment_id, customer_id, grade, 'holds lot A7', 1, :now FROM audience_members"""),
            {"now": clock.now(session)},
        )
        session.execute(
            text("""INSERT INTO delivery_events (message_id, key, kind, at, provider)
                    SELECT id, 'd', 'delivered', now(), 'sendgrid' FROM messages""")
        )
        session.execute(text("UPDATE customers SET external_id = 'north/5 & co' WHERE external_id = 'c-5'"))
    an_operator("ada@example.com", Role.AUTHOR)
    an_operator("ben@example.com", Role.APPROVER)
    with serving() as url:
        yield url


def test_a_customer_is_found_and_everything_about_her_is_in_one_place(
    installed: str, open_page: Callable[..., Any]
) -> None:
    page = open_page()
    sign_in(page, installed, "ada@example.com", then="/customers")
    page.get_by_role("searchbox").fill("ann number1")
    page.keyboard.press("Enter")
    page.get_by_role("link", name="Ann Number1").click()
    page.get_by_role("heading", name="Ann Number1", level=1).wait_for()
    timeline = page.locator(".timeline").inner_text()
    for said in ("When will the new instructions come?", "holds lot A7", "Delivered", "Ordered", "C-1"):
        assert said in timeline, said
    safety = page.get_by_role("row").filter(has_text="Promotion")
    assert safety.locator("td").all_inner_texts() == ["Yes", "No consent", "Yes"]
    assert page.get_by_text("Export or erase").count() == 0
    page.get_by_text("Write down consent").click()
    page.get_by_label("How they said so").fill("By telephone")
    page.get_by_role("button", name="Write it down").click()
    page.get_by_text("Written down.").wait_for()
    row = page.get_by_role("row").filter(has_text="Safety")
    assert row.locator("td").all_inner_texts() == ["No consent", "Yes", "Yes"]
    with transaction() as session:
        assert session.scalars(select(Consent.wording)).all() == ["By telephone"]
    page.goto(f"{installed}/customers?q=north/5 %26 co")
    page.get_by_role("link", name="Ann Number5").click()
    page.get_by_role("heading", name="Ann Number5", level=1).wait_for()
    assert page.told == []


def test_everything_is_handed_out_and_erased_by_whoever_may(
    installed: str, open_page: Callable[..., Any], tmp_path: Path
) -> None:
    page = open_page()
    sign_in(page, installed, "ben@example.com", then="/customers/c-1")
    page.get_by_text("Export or erase").click()
    with page.expect_download() as download:
        page.get_by_role("button", name="Export").click()
    download.value.save_as(tmp_path / "export.json")
    told_about = json.loads((tmp_path / "export.json").read_text())
    assert told_about["customers"][0]["name"] == "Ann Number1"
    page.reload()
    page.get_by_text("Export or erase").click()
    page.get_by_label("Type the reference to erase them").fill("c-2")
    page.get_by_role("button", name="Erase this person").click()
    page.get_by_role("alert").filter(has_text="Nothing was erased").wait_for()
    page.get_by_label("Type the reference to erase them").fill("c-1")
    page.get_by_role("button", name="Erase this person").click()
    page.get_by_text("Erased. What is left cannot be traced to a person.").wait_for()
    body = page.locator("main").inner_text()
    assert "Ann Number1" not in body
    assert "When will the new instructions come?" not in body
    with transaction() as session:
        acts = session.scalars(select(AuditEntry.action).where(AuditEntry.subject == "customer:c-1")).all()
    assert sorted(acts) == ["customer.erase", "customer.export"]


def test_an_empty_installation_says_where_customers_come_from(database: str, open_page: Callable[..., Any]) -> None:
    an_operator("ada@example.com", Role.AUTHOR)
    page = open_page()
    with serving() as url:
        sign_in(page, url, "ada@example.com", then="/customers")
        page.get_by_text("No customers yet").wait_for()
        page.goto(f"{url}/inbox")
        page.get_by_text("Nothing waits").wait_for()
