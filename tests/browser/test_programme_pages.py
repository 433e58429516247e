"""The pages of programmes, surveys and health as they meet people: assistive technology, a phone, each role."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from sqlalchemy import text

from campaigns.programmes import verbs
from campaigns.programmes.sweeps import sweep
from campaigns.surveys import writing
from outreach import clock
from outreach.db import transaction
from outreach.permissions import Permission
from outreach.vocabulary import ProgrammeKind, Role, SurveyKind
from tests.browser.conftest import an_operator, sign_in
from tests.browser.soundness import faults_of, wrong_doors
from tests.browser.test_pages import HOSTILE_TEXT
from tests.campaigns.programmes.people import at, customers, days, delivered, message, segment, survey
from tests.serving import serving

PAGES = {
    "/programmes": Permission.CAMPAIGNS_READ,
    "/programmes/new": Permission.CAMPAIGNS_WRITE,
    "/programmes/new?kind=after-resolution": Permission.CAMPAIGNS_WRITE,
    "/programmes/p": Permission.CAMPAIGNS_READ,
    "/programmes/p/edit": Permission.CAMPAIGNS_WRITE,
    "/programmes/p/people?version=1&step=0": Permission.CUSTOMERS_READ,
    "/programmes/p/steps": Permission.CAMPAIGNS_READ,
    "/programmes/p/coming": Permission.CAMPAIGNS_READ,
    "/surveys": Permission.CAMPAIGNS_READ,
    "/surveys/new": Permission.CAMPAIGNS_WRITE,
    "/surveys/s?by=segment": Permission.CAMPAIGNS_READ,
    "/surveys/s/preview": Permission.CAMPAIGNS_READ,
    "/customer-health": Permission.CUSTOMERS_READ,
    "/customer-health/drops": Permission.CUSTOMERS_READ,
    "/customer-health/tasks": Permission.CUSTOMERS_READ,
    "/customer-health/rules": Permission.CUSTOMERS_READ,
    "/customer-health/of/c-1": Permission.CUSTOMERS_READ,
}
WHOLE = [path for path in PAGES if not path.endswith(("/steps", "/coming"))]


@pytest.fixture
def lively(database: str) -> Iterator[str]:
    """A programme under way whose survey was answered, and a score that fell; everybody writes hostile words."""
    with transaction() as session:
        now = clock.now(session)
        start = now - days(80)
        customers(session, 60, start)
        segment(session, "all", start)
        writing.make(session, key="s", name=HOSTILE_TEXT[:200], kind=SurveyKind.NPS, actor="test", now=start)
        definition = {
            "schedule": {"rrule": "FREQ=DAILY;INTERVAL=33", "hours": "0-23", "business_days": False},
            "steps": [survey("s"), {"do": "wait", "days": 2}, {"do": "condition", "happened": "answered"}, message()],
        }
        made = verbs.make(
            session, key="p", name=HOSTILE_TEXT[:200], kind=ProgrammeKind.CHECK_IN, segment="all", actor="test",
            now=start, definition=definition,
        )  # fmt: skip
        verbs.activate(session, programme=made, actor="test", now=start)
    for day in range(0, 81, 2):
        sweep(at(start + days(day)))
        with transaction() as session:
            delivered(session, start + days(day))
    with transaction() as session:
        session.execute(
            text("""WITH answered AS (
                        UPDATE survey_asks SET answered_at = asked_at WHERE customer_id % 3 > 0 RETURNING *)
                    INSERT INTO survey_answers (ask_id, survey_id, customer_id, question, score, words, channel,
                                                language, answered_at)
                    SELECT id, survey_id, customer_id, 'score', (customer_id * 7 + id) % 11, NULL, 'email', 'en',
                           asked_at FROM answered
                    UNION ALL SELECT id, survey_id, customer_id, 'comment', NULL, :words, 'email', 'en', asked_at
                    FROM answered WHERE customer_id % 2 = 0"""),
            {"words": HOSTILE_TEXT},
        )
        session.execute(
            text("""INSERT INTO tickets (desk, external_id, customer_id, subject, opened_at)
                    SELECT 'generic', 't-' || c.id || '-' || n, c.id, 'It drips', cast(:now AS timestamptz)
                    FROM customers c, generate_series(1, 5) n WHERE c.id % 4 = 1"""),
            {"now": now - days(1)},
        )
        session.execute(text("INSERT INTO customer_news (customer_id) SELECT id FROM customers"))
        session.execute(text("UPDATE customers SET name = :words WHERE id % 5 = 0"), {"words": HOSTILE_TEXT})
    sweep(at(now))
    for role in Role:
        an_operator(f"{role}@example.com", role)
    with serving() as url:
        yield url


def test_every_page_is_sound(lively: str, open_page: Callable[..., Any]) -> None:
    """In both themes, with assistive technology, on a phone, and with hostile words in every field."""
    page = open_page()
    sign_in(page, lively, "approver@example.com")
    assert faults_of(page, lively, WHOLE) == []
    assert page.told == []


def test_each_role_opens_its_pages_and_no_others(lively: str) -> None:
    assert wrong_doors(lively, PAGES) == []
