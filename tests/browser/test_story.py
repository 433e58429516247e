"""The whole job in a browser, by two people, against the sandbox: from the report to the check-in."""

import re
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from campaigns.dispatch import dispatch
from campaigns.envelopes import sender_for
from campaigns.playbooks import install_defaults
from campaigns.sweeps import sweep
from outreach import clock
from outreach.db import transaction
from outreach.vocabulary import Channel, Role
from segments.tasks import sweep_segments
from tests.browser.conftest import an_operator, sign_in
from tests.installation import Installation, until
from webhooks.tasks import apply_inbox, send_answers

PEOPLE, HOLDERS = 600, 150
_COMPANY = text("""
WITH product AS (INSERT INTO products (external_id, name) VALUES ('KETTLE', 'Kettle') RETURNING id),
people AS (
    INSERT INTO customers (external_id, name, email, time_zone)
    SELECT 'c-' || i, 'Ann Number' || i, 'ann.' || i || '@example.com', 'UTC' FROM generate_series(1, :people) i
    RETURNING id, external_id
), orders_made AS (
    INSERT INTO orders (external_id, customer_id, ordered_at, delivered_at)
    SELECT 'o-' || external_id, id, cast(:now AS timestamptz) - interval '20 days',
           cast(:now AS timestamptz) - interval '15 days' FROM people RETURNING id, customer_id, external_id
)
INSERT INTO order_items (external_id, order_id, product_id, customer_id, lot, ordered_at, delivered_at)
SELECT 'i-' || o.external_id, o.id, product.id, o.customer_id,
       CASE WHEN substr(o.external_id, 5)::int <= :holders THEN 'A7' ELSE 'B' || substr(o.external_id, 5)::int % 5 END,
       cast(:now AS timestamptz) - interval '20 days', cast(:now AS timestamptz) - interval '15 days'
FROM orders_made o, product
""")
_TICKETS = text("""
INSERT INTO tickets (desk, external_id, customer_id, problem_id, subject, opened_at)
SELECT 'generic', 't-' || c.id, c.id, p.id, 'Step 4 is missing', :now FROM customers c, problems p
WHERE substr(c.external_id, 3)::int <= 40
""")


@pytest.fixture
def installation(database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Installation]:
    running = Installation(tmp_path, monkeypatch)
    running.serve_api()
    yield running
    running.stop()


def push_on(installation: Installation) -> None:
    """Do what the workers do, until nothing is under way."""
    sweep_segments()
    for _ in range(2):
        sweep()
        for channel in Channel:
            dispatch(channel=channel, sender=sender_for(channel), owner="test")
        installation.wait_until_idle()
        apply_inbox()
    sweep()


def execute(statement: Any, **values: Any) -> None:
    with transaction() as session:
        session.execute(statement, {"now": clock.now(session), **values})


def test_the_whole_job_from_the_report_to_the_check_in(
    installation: Installation, open_page: Callable[..., Any]
) -> None:
    with transaction() as session:
        install_defaults(session)
    execute(_COMPANY, people=PEOPLE, holders=HOLDERS)
    an_operator("ada@example.com", Role.AUTHOR)
    an_operator("ben@example.com", Role.APPROVER)
    ada, ben, url = open_page(), open_page(), installation.url

    # Ada reports it.
    sign_in(ada, url, "ada@example.com", then="/problems")
    assert ada.get_by_text("No problems yet").is_visible()
    ada.get_by_role("link", name="Report a problem").first.click()
    ada.get_by_label("What is wrong").fill("A line is missing in the instructions")
    ada.get_by_label("Department").fill("Publications")
    ada.get_by_role("button", name="Report it").click()
    ada.get_by_text("Reported. Next: say whom it touches.").wait_for()

    # People write about it; Outreach sees what they have in common; Ada takes the proposal.
    execute(_TICKETS)
    ada.goto(f"{url}/problems/P-1/scope")
    ada.get_by_role("button", name="Accept").first.click()
    ada.get_by_text("The scope is saved").wait_for()
    sweep_segments()

    # She sees in the builder whom it touches and why.
    ada.goto(f"{url}/problems/P-1/scope")
    ada.locator("#preview .big b").filter(has_text=re.compile(rf"^{HOLDERS}$")).wait_for()
    ada.get_by_role("button", name="Why is she in here?").first.click()
    ada.get_by_text("is in it:").first.wait_for()

    ada.goto(f"{url}/problems/P-1")
    ada.get_by_text("Mark known", exact=True).first.click()
    ada.locator("#known-workaround").fill("Boil it twice.")
    ada.locator("#known-next_update_by").fill("2030-01-01T10:00")
    ada.locator("form[action$='/mark/known'] button").click()
    ada.get_by_text("Marked known.").wait_for()
    push_on(installation)

    # She looks at what people would read, sends herself a test, and cannot approve.
    ada.goto(f"{url}/campaigns/C-1/launch")
    assert "Boil it twice." in ada.frame_locator("iframe[title='The email on a phone']").locator("body").inner_text()
    ada.get_by_text("It waits for somebody who may approve").wait_for()
    ada.get_by_text("Send yourself a test").click()
    ada.get_by_role("button", name="Send the test").click()
    ada.get_by_text("The test is on its way").wait_for()

    def tested() -> bool:
        ada.reload()
        return bool(ada.get_by_text("test by Email accepted").count())

    until(tested, what="the test")

    # She writes better words; the campaign takes them when somebody who may approve says so.
    ada.get_by_role("link", name="Write problem-known").click()
    ada.goto(f"{url}/templates/problem-known/edit?channel=sms")
    words = ada.get_by_label("Text")
    words.fill(words.input_value().rstrip() + " Thank you.")
    ada.get_by_role("button", name="Save as version 2").click()
    ada.wait_for_url("**/templates/problem-known?said=saved")

    # Ben approves; a wrong number sends nothing.
    sign_in(ben, url, "ben@example.com", then="/campaigns/C-1/launch")
    ben.get_by_role("button", name="Use version 2").click()
    ben.get_by_text("The campaign has the newest words.").wait_for()
    with transaction() as session:
        assert session.scalar(text("SELECT template_version FROM campaigns WHERE key = 'C-1'")) == 2
    ben.get_by_label("Type in how many people it goes to").fill("15")
    ben.get_by_role("button", name="Approve and send").click()
    ben.get_by_text(f"Type in how many people it goes to: {HOLDERS}. Nothing has been sent.").wait_for()
    ben.get_by_label("Type in how many people it goes to").fill(str(HOLDERS))
    ben.get_by_role("button", name="Approve and send").click()
    ben.get_by_text("Approved. The first messages go out within seconds.").wait_for()

    # The page follows by itself.
    push_on(installation)
    ben.get_by_text("Everybody is settled").wait_for()
    assert ben.locator(".funnel li").filter(has_text="Delivered").locator("b").inner_text() == str(HOLDERS)
    ben.get_by_role("link", name="The account").click()
    ben.get_by_text("It adds up").wait_for()

    # Somebody asks back; Ada answers in the inbox, and the answer arrives.
    asked = {"channel": "email", "to": "ann.7@example.com", "text": "When exactly do the new instructions come?"}
    installation.sandbox("reply", asked)
    installation.wait_until_idle()
    apply_inbox()
    ada.goto(f"{url}/inbox")
    ada.get_by_role("link", name="Ann Number7").click()
    ada.get_by_text("When exactly do the new instructions come?").wait_for()
    ada.get_by_label("Your answer").fill("Next Friday, by post.")
    ada.get_by_role("button", name="Send and mark handled").click()
    ada.get_by_text("Your answer is on its way.").wait_for()
    send_answers()
    installation.wait_until_idle()
    apply_inbox()
    ada.reload()
    assert "Delivered" in ada.locator(".turn-answer").inner_text()
    received = installation.sandbox("accepted?to=ann.7@example.com&limit=1")["accepted"][0]
    assert "Next Friday, by post." in str(received)
    ada.get_by_role("complementary").get_by_role("link", name="Ann Number7").click()
    ada.get_by_role("heading", name="What they would receive today").wait_for()
    story = ada.locator(".timeline").inner_text()
    assert all(words in story for words in ("Next Friday, by post.", "When exactly", "Ordered", "Delivered"))

    # Ada resolves it, Ben approves the news; days later everybody is asked how it is going.
    ada.goto(f"{url}/problems/P-1")
    ada.get_by_text("Resolve", exact=True).click()
    ada.locator("#resolve-fix").fill("New instructions are on their way.")
    ada.get_by_role("button", name="Mark resolved").click()
    ada.get_by_text("Marked resolved.").wait_for()
    push_on(installation)
    ben.goto(f"{url}/campaigns/C-2/launch")
    ben.get_by_label("Type in how many people it goes to").fill(str(HOLDERS))
    ben.get_by_role("button", name="Approve and send").click()
    ben.get_by_text("Approved.").wait_for()
    push_on(installation)
    with transaction() as session:
        clock.advance(session, timedelta(days=3, hours=1))
    push_on(installation)
    ada.goto(f"{url}/problems/P-1")
    row = ada.get_by_role("row").filter(has_text="Check-in")
    row.get_by_role("link", name="Check-in").click()
    ada.get_by_text("Success").wait_for()
    assert ada.locator(".funnel li").filter(has_text="In scope").locator("b").inner_text() == str(HOLDERS)
    assert ada.told == []
    # The one error that a console may show is the form that was refused.
    assert [line for line in ben.told if "422" not in line] == []
