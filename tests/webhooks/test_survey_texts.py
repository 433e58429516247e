"""A survey answered by text message, through the signed webhook of a running installation, to the recorded answer."""

from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from sqlalchemy import text

from campaigns.dispatch import dispatch
from campaigns.envelopes import sender_for
from campaigns.programmes import verbs
from campaigns.programmes.sweeps import sweep
from campaigns.surveys import writing
from outreach import clock
from outreach.db import transaction
from outreach.vocabulary import Channel, ProgrammeKind, SurveyKind
from tests.campaigns.programmes.people import at, customers, days, segment, survey
from tests.installation import Installation
from webhooks import answer_sending
from webhooks.tasks import apply_inbox

FIRST, SECOND = "+12025550141", "+12025550142"


@pytest.fixture
def installation(database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    running = Installation(tmp_path, monkeypatch, sms_hours="")
    running.serve_api()
    yield running
    running.stop()


def ask_by_text(installation: Installation) -> None:
    """Ask two customers how easy it was, by SMS; the second one reads Spanish."""
    with transaction() as session:
        now = clock.now(session)
        customers(session, 2, now)
        session.execute(text("UPDATE customers SET phone = '+120255501' || 40 + id"))
        session.execute(text("UPDATE customers SET locale = 'es-MX' WHERE external_id = 'c-2'"))
        segment(session, "all", now)
        writing.make(session, key="easy", name="Easy", kind=SurveyKind.CES, actor="test", now=now)
        made = verbs.make(
            session, key="ask", name="Ask", kind=ProgrammeKind.CHECK_IN, segment="all", actor="test", now=now,
            definition={"schedule": {"hours": "0-23", "business_days": False}, "steps": [survey("easy", "sms")]},
        )  # fmt: skip
        verbs.activate(session, programme=made, actor="test", now=now)
    for hours in range(0, 49, 6):
        sweep(at(now + days(hours / 24)))
    with transaction() as session:
        session.execute(text("UPDATE chunks SET due_at = :now"), {"now": now})
        session.execute(text("UPDATE survey_asks SET asked_at = :now"), {"now": now})
    dispatch(channel=Channel.SMS, sender=sender_for(Channel.SMS), owner="test")
    installation.wait_until_idle()
    apply_inbox()


def says(installation: Installation, number: str, words: str) -> None:
    installation.sandbox("reply", {"channel": "sms", "to": number, "text": words})
    installation.wait_until_idle()
    apply_inbox()
    answer_sending.send_due()
    installation.wait_until_idle()
    apply_inbox()


def texts_to(installation: Installation, number: str) -> list[str]:
    found = installation.sandbox(f"accepted?to={quote(number)}")["accepted"]
    return [str(each["request"]["Body"]) for each in reversed(found)]


def test_a_digit_answers_and_one_off_the_scale_is_told_the_scale_once(installation: Installation) -> None:
    ask_by_text(installation)
    assert [len(texts_to(installation, number)) for number in (FIRST, SECOND)] == [1, 1]
    says(installation, FIRST, "6 quick help")
    for _ in range(2):
        says(installation, SECOND, "9")
    said = texts_to(installation, SECOND)
    assert said[1:] == ["Por favor, responda con un número de 1 a 7."]
    says(installation, SECOND, "7")
    with transaction() as session:
        answers = session.execute(
            text("SELECT customer_id, question, score, words FROM survey_answers ORDER BY customer_id, question")
        ).all()
        waiting = session.execute(text("SELECT text FROM responses WHERE handled_at IS NULL")).scalars().all()
    assert [tuple(row) for row in answers] == [
        (1, "comment", None, "quick help"), (1, "score", 6, None), (2, "score", 7, None),
    ]  # fmt: skip
    assert waiting == ["9"]  # the second time a person looks
    assert len(texts_to(installation, SECOND)) == 2
