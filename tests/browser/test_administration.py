"""The pages of setting up and looking after an installation, as people with a browser meet them."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from outreach.db import transaction
from outreach.models import Customer, SegmentVersion, Suppression, Template
from outreach.permissions import Permission
from outreach.vocabulary import Role
from tests.browser.administration import an_unknown_message, look_after
from tests.browser.conftest import an_operator, sign_in
from tests.browser.soundness import faults_of, wrong_doors
from tests.browser.test_pages import HOSTILE_TEXT, installed  # noqa: F401
from tests.serving import serving

PAGES = {
    "/first-steps": Permission.SESSION_OWN,
    "/import": Permission.IMPORTS_RUN,
    "/segments?scopes=yes": Permission.SEGMENTS_READ,
    "/segments/new": Permission.SEGMENTS_WRITE,
    "/segments/scope-P-1": Permission.SEGMENTS_READ,
    "/segments/scope-P-1/rule": Permission.SEGMENTS_READ,
    "/templates": Permission.CAMPAIGNS_READ,
    "/templates/new": Permission.CAMPAIGNS_WRITE,
    "/templates/problem-known": Permission.CAMPAIGNS_READ,
    "/templates/problem-known/edit?channel=email": Permission.CAMPAIGNS_WRITE,
    "/templates/problem-known/edit?channel=postcard": Permission.CAMPAIGNS_WRITE,
    "/playbooks": Permission.CAMPAIGNS_READ,
    "/playbooks/new": Permission.CAMPAIGNS_APPROVE,
    "/playbooks/resolved": Permission.CAMPAIGNS_READ,
    "/connectors": Permission.WEBHOOKS_READ,
    "/connectors/new?kind=jira": Permission.CONNECTORS_MANAGE,
    "/connectors/care": Permission.WEBHOOKS_READ,
    "/events?source=desk-care": Permission.WEBHOOKS_READ,
    "/events/1": Permission.WEBHOOKS_READ,
    "/webhooks-out": Permission.WEBHOOKS_READ,
    "/webhooks-out/new": Permission.CONNECTORS_MANAGE,
    "/webhooks-out/1": Permission.WEBHOOKS_READ,
    "/operators": Permission.OPERATORS_MANAGE,
    "/operators/new": Permission.OPERATORS_MANAGE,
    "/operators/author@example.com": Permission.OPERATORS_MANAGE,
    "/api-keys": Permission.OPERATORS_MANAGE,
    "/api-keys/new": Permission.OPERATORS_MANAGE,
    "/suppressions": Permission.CUSTOMERS_READ,
    "/suppressions/new": Permission.CUSTOMERS_WRITE,
    "/suppressions/61": Permission.CUSTOMERS_READ,
    "/audit": Permission.AUDIT_READ,
    "/audit/1": Permission.AUDIT_READ,
    "/system": Permission.CAMPAIGNS_READ,
}


@pytest.fixture
def looked_after(installed: str) -> str:  # noqa: F811
    """The company of the other pages, with something on each of these."""
    with transaction() as session:
        look_after(session, HOSTILE_TEXT)
        an_unknown_message(session)
    return installed


@pytest.fixture
def empty(database: str) -> Iterator[str]:
    """An installation in which there is one person and nothing else."""
    an_operator("admin@example.com", Role.ADMIN)
    with serving() as url:
        yield url


def test_every_page_is_sound(looked_after: str, open_page: Callable[..., Any]) -> None:
    """In both themes, with assistive technology, on a phone, and with hostile words in every field."""
    page = open_page()
    sign_in(page, looked_after, "admin@example.com")
    assert faults_of(page, looked_after, PAGES) == []
    assert [line for line in page.told if "Content Security Policy" in line] == []


def test_each_role_opens_its_pages_and_no_others(looked_after: str) -> None:
    assert wrong_doors(looked_after, PAGES) == []


def test_words_are_edited_with_their_mistakes_named_and_saved_as_a_version(
    looked_after: str, open_page: Callable[..., Any]
) -> None:
    page = open_page()
    sign_in(page, looked_after, "author@example.com", then="/templates/problem-known/edit?channel=sms")
    page.get_by_label("Text").fill("Dear {{ customer.nickname }}, the kettle is unsafe.")
    page.get_by_text("customer.nickname").last.wait_for()
    page.get_by_role("button", name="Save as version 2").click()
    assert "nickname" in page.get_by_role("alert").last.inner_text()
    page.get_by_label("Text").fill("Dear {{ customer.first_name }}, unplug the kettle.")
    page.get_by_text("Dear Maria, unplug the kettle.").wait_for()
    page.get_by_role("button", name="Save as version 2").click()
    page.wait_for_url("**/templates/problem-known?said=saved")
    with transaction() as session:
        rows = session.scalars(select(Template).where(Template.key == "problem-known", Template.version == 2)).all()
        assert {row.channel.value: row.author for row in rows} == dict.fromkeys(
            ("email", "sms", "postcard"), "author@example.com"
        )


def test_a_segment_is_made_by_pointing_at_conditions(looked_after: str, open_page: Callable[..., Any]) -> None:
    page = open_page()
    sign_in(page, looked_after, "author@example.com", then="/segments/new")
    page.get_by_label("Name").fill("People in the States")
    page.get_by_label("Key").fill("in-the-states")
    # A line so slow that she has chosen before the script is there, and that the numbers are asked for before the form
    # is there again: neither may call off the other.
    page.route("**/scope.js*", lambda route: (page.wait_for_timeout(1000), route.continue_()))
    page.route("**/edit", lambda route: (page.wait_for_timeout(600), route.continue_()))
    page.get_by_role("button", name="Say who is in it").click()
    page.get_by_label("Field").first.select_option("customer.country")
    page.get_by_label("Value").first.fill("US")
    page.locator("#preview .big", has_text="40").wait_for()
    page.get_by_role("button", name="Make the segment").click()
    page.get_by_role("heading", name="People in the States").wait_for()
    with transaction() as session:
        (version,) = session.scalars(select(SegmentVersion).where(SegmentVersion.author == "author@example.com"))
        assert version.definition["affected"]["all"][0]["value"] == "US"


def test_a_mapping_is_tried_on_a_stored_event_before_it_holds(looked_after: str, open_page: Callable[..., Any]) -> None:
    page = open_page()
    sign_in(page, looked_after, "admin@example.com", then="/connectors/care")
    page.get_by_role("button", name="Try it").click()
    page.locator("#tried").get_by_text("neither a webhook-id header nor an id").wait_for()
    page.get_by_label("Our actors").fill("outreach\nrobot")
    page.get_by_role("button", name="Put it in force").click()
    page.get_by_text("The mapping holds for every event").wait_for()
    assert page.get_by_label("Our actors").input_value() == "outreach\nrobot"


def test_an_empty_installation_leads_to_the_first_problem(
    empty: str, open_page: Callable[..., Any], tmp_path: Path
) -> None:
    page = open_page()
    sign_in(page, empty, "admin@example.com")
    page.wait_for_url("**/first-steps")
    page.get_by_role("link", name="Import").last.click()
    file = tmp_path / "customers.csv"
    file.write_text("customer_id,name,email\n1,Ann,ann@example.com\n2,Bob,not-an-address\n,Nobody,\n")
    page.get_by_label("File").set_input_files(str(file))
    page.get_by_role("button", name="Import it").click()
    page.get_by_text("An email address must have an @-sign.").wait_for()
    with transaction() as session:
        assert [row.email for row in session.scalars(select(Customer).order_by(Customer.id))] == [
            "ann@example.com", None,
        ]  # fmt: skip
    page.goto(f"{empty}/first-steps")
    page.get_by_role("link", name="Report a problem").click()
    page.get_by_label("What is wrong").fill("The kettle whistles")
    page.get_by_role("button", name="Report it").click()
    page.goto(empty)
    page.wait_for_url("**/problems")


def test_an_address_is_barred_and_freed_with_a_reason(empty: str, open_page: Callable[..., Any]) -> None:
    page = open_page()
    sign_in(page, empty, "admin@example.com", then="/suppressions/new")
    page.get_by_label("Address").fill("Ann@Example.com")
    page.get_by_label("Why").fill("She asked on the telephone")
    page.get_by_role("button", name="Bar it").click()
    page.get_by_role("link", name="ann@example.com").click()
    page.get_by_text("Lift it").click()
    page.get_by_label("Why").fill("It was her sister")
    page.get_by_role("button", name="Lift the ban").click()
    page.get_by_text("Lifted.").wait_for()
    with transaction() as session:
        assert session.scalars(select(Suppression)).one().lifted_by == "admin@example.com"
