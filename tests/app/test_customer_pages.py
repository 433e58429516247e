"""The pages customers open from a message, over the real API: what they do, and what only looking at them does not."""

import re
import threading
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID, uuid4

import pytest
from sqlalchemy import func, select, text

from app.web import customer_pages
from app.web.rate_limit import RateLimit
from campaigns.context import Recipient, contexts, customer_words
from campaigns.envelopes import sender_for
from campaigns.playbooks import install_defaults
from campaigns.providers.base import EmailEnvelope, SmsEnvelope
from campaigns.verification import verification_code
from outreach import clock
from outreach.db import transaction
from outreach.models import Base, Campaign, Consent, Customer, Response, Suppression, Template
from outreach.security import sign_link
from outreach.vocabulary import Channel, Intent, NoticeClass
from tests.people import a_campaign
from tests.webhooks.notices import sent_messages

HTML = {"accept": "text/html"}
BUTTON = {"content_type": "application/x-www-form-urlencoded", **HTML}


@pytest.fixture
def message(database: str) -> UUID:
    with transaction() as session:
        return sent_messages(session, 1)[0]


@pytest.fixture(autouse=True)
def _fresh_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(customer_pages, "verify_limit", RateLimit(burst=10, seconds=600))


def link(purpose: str, message_id: UUID, days: int = 30) -> str:
    with transaction() as session:
        ends = clock.now(session) + timedelta(days=days)
    return f"/{purpose}/{sign_link(purpose, str(message_id), expires_at=ends)}"


def snapshot() -> dict[str, Any]:
    with transaction() as session:
        query = "SELECT coalesce(sum(hashtext(t::text)::bigint), 0) FROM {} t"
        return {table: session.execute(text(query.format(table))).scalar_one() for table in Base.metadata.tables}


def barred() -> list[str]:
    with transaction() as session:
        return list(session.scalars(select(Suppression.address).where(Suppression.lifted_at.is_(None))))


def answers() -> list[tuple[Intent, str]]:
    with transaction() as session:
        return [(row.intent, row.text) for row in session.scalars(select(Response).order_by(Response.id))]


def links_of(api_url: str) -> Iterator[str]:
    """Yield every link of every default message, rendered for real, as a mail scanner would find them."""
    with transaction() as session:
        now: datetime = clock.now(session)
        campaign: Campaign = a_campaign(session, 3, now)
        install_defaults(session)
        customer = session.scalars(select(Customer).where(Customer.email.is_not(None))).first()
        assert customer is not None
        row = {column.key: getattr(customer, column.key) for column in Customer.__table__.columns}
        message_id = sent_messages(session, 1)[0]
        for channel in (Channel.EMAIL, Channel.SMS):
            keys = session.execute(select(Template.key, Template.version).where(Template.channel == channel)).all()
            for key, version in sorted({(each.key, each.version) for each in keys}):
                recipient = Recipient(message_id, "ann@example.com", customer_words(row), "likely", [], [], [])
                variables = contexts(session, campaign=campaign, recipients=[recipient], now=now)[message_id]
                sender = sender_for(channel)
                made = sender.envelope(
                    recipient, variables, sender.content(session, key, version), None, NoticeClass.SERVICE
                )
                assert isinstance(made, EmailEnvelope | SmsEnvelope), f"{key}: {made}"
                words = made.body if isinstance(made, SmsEnvelope) else f"{made.html} {made.text} {made.headers}"
                for found in re.findall(r"https?://[^\s\"'<>)]+", words):
                    yield found.replace("&amp;", "&")


def test_a_scanner_that_follows_every_link_of_every_message_twice_changes_nothing(api_server: Any) -> None:
    """F27: GET, HEAD and OPTIONS of each link, twice: no opt-out, no answer, no consent."""
    found = {urlsplit(each) for each in links_of(api_server.url)}
    ours = {f"{each.path}?{each.query}" for each in found if "127.0.0.1" in each.netloc}
    assert len({each.split("/")[1].partition("?")[0] for each in ours}) >= 3  # unsubscribe, answer, verify
    for each in [*ours, *(f"{one}&choice=still_broken" for one in ours if one.startswith("/answer"))]:
        before = snapshot()
        for _ in range(2):
            for method, expected in (("GET", 200), ("HEAD", 200), ("OPTIONS", 405)):
                answer = api_server.ask(method, each, **HTML)
                assert answer.status == expected, (method, each, answer.data)
                for inside in re.findall(r'href="(/[^"]+)"', answer.data.decode()):
                    assert api_server.ask("GET", inside, **HTML).status == 200
        assert snapshot() == before


def test_one_click_unsubscribe_needs_no_page_no_cookie_and_no_redirect(api_server: Any, message: UUID) -> None:
    """RFC 8058; again and again it stays one opt-out."""
    address = link("unsubscribe", message)
    for _ in range(2):
        answer = api_server.ask(
            "POST", address, body=b"List-Unsubscribe=One-Click", content_type=BUTTON["content_type"]
        )
        assert answer.status == 200
        assert "Set-Cookie" not in answer.headers
    assert barred() == ["ann.1@example.com"]
    assert [intent for intent, _ in answers()] == [Intent.STOP]
    with transaction() as session:
        assert session.scalars(select(Consent.allowed)).all() == [False]


def test_what_she_chooses_holds_by_channel_and_class(api_server: Any, message: UUID) -> None:
    address = link("preferences", message)
    page = api_server.ask("GET", address, **HTML).data.decode()
    assert page.count('type="checkbox"') == 10  # email and text messages, five classes each
    assert page.count(" checked>") == 9  # silence is a no only for offers by text message
    assert "ann.1@example.com" not in page
    boxes = "allow=email%3Asafety&allow=email%3Aservice&allow=sms%3Asafety&allow=nonsense&allow=email%3Anone"
    saved = api_server.ask("POST", address, body=boxes.encode(), **BUTTON)
    assert saved.status == 200
    assert saved.data.decode().count(" checked>") == 3
    with transaction() as session:
        rows = session.execute(select(Consent.channel, Consent.notice_class, Consent.allowed, Consent.source)).all()
    assert len(rows) == 6
    assert {(row.allowed, row.source) for row in rows} == {(False, "preferences")}
    before = snapshot()
    api_server.ask("POST", address, body=boxes.encode(), **BUTTON)
    assert snapshot() == before  # the same choice again is no act


def test_ticking_a_box_of_a_stopped_channel_opens_it_for_that_class_alone(api_server: Any, message: UUID) -> None:
    api_server.ask("POST", link("unsubscribe", message), body=b"", **BUTTON)
    address = link("preferences", message)
    assert "You stopped these" in api_server.ask("GET", address, **HTML).data.decode()
    page = api_server.ask("POST", address, body=b"allow=email%3Aservice&allow=sms%3Asafety", **BUTTON).data.decode()
    assert barred() == []
    assert re.findall(r'value="(email:\w+)" checked', page) == ["email:service"]


def test_an_answer_is_recorded_once_however_often_the_button_is_pressed(api_server: Any, message: UUID) -> None:
    """Bad inputs 56: fifty at once."""
    address = link("answer", message)
    statuses: list[int] = []

    def press() -> None:
        statuses.append(api_server.ask("POST", address, body=b"choice=still_broken&words=it+leaks", **BUTTON).status)

    threads = [threading.Thread(target=press) for _ in range(50)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert statuses == [200] * 50
    assert answers() == [(Intent.STILL_BROKEN, "No, it is still broken. it leaks")]


@pytest.mark.parametrize("body", [b"", b"choice=11", b"choice=-1", b"choice=5+", b"words=+++", b"choice=" + b"x" * 41])
def test_an_answer_without_a_choice_is_asked_again(api_server: Any, message: UUID, body: bytes) -> None:
    """Bad inputs 55."""
    answer = api_server.ask("POST", link("answer", message), body=body, **BUTTON)
    assert answer.status == 422
    assert answer.headers["Content-Type"].startswith("text/html")
    assert answers() == []


def test_words_of_their_own_are_understood_and_shown_as_text(api_server: Any, message: UUID) -> None:
    answer = api_server.ask("POST", link("answer", message), body=b"words=%3Cscript%3E+please+call+me%3F", **BUTTON)
    assert answer.status == 200
    assert answers() == [(Intent.QUESTION, "<script> please call me?")]


@pytest.mark.parametrize("purpose", ["unsubscribe", "preferences", "answer"])
def test_broken_expired_and_foreign_links_are_pages_that_say_what_to_do(
    api_server: Any, message: UUID, purpose: str
) -> None:
    """Bad inputs 53."""
    good = link(purpose, message)
    token = good.rsplit("/", 1)[1]
    other = link("answer" if purpose != "answer" else "unsubscribe", message).rsplit("/", 1)[1]
    flipped = token[:-6] + ("A" if token[-6] != "A" else "B") + token[-5:]
    bad = [token[:-3], flipped, other, link(purpose, message, days=-1).rsplit("/", 1)[1], "x", "%00", "é", "a" * 700]
    bad.append(link(purpose, uuid4()).rsplit("/", 1)[1])
    before = snapshot()
    for method in ("GET", "POST"):
        for each in bad:
            answer = api_server.ask(
                method, f"/{purpose}/{each}", body=b"choice=solved" if method == "POST" else None, **BUTTON
            )
            assert answer.status in (401, 404), (method, each, answer.status)
            assert answer.headers["Content-Type"].startswith("text/html")
            assert "Open the link from our message again" in answer.data.decode() or answer.status == 404
    assert snapshot() == before


def test_an_erased_customer_and_a_withdrawn_message_get_no_question(api_server: Any, message: UUID) -> None:
    """Bad inputs 58."""
    address = link("answer", message)
    with transaction() as session:
        session.execute(text("UPDATE campaigns SET state = 'cancelled'"))
    assert api_server.ask("POST", address, body=b"choice=solved", **BUTTON).status == 410
    with transaction() as session:
        session.execute(text("UPDATE campaigns SET state = 'running'"))
        session.execute(text("UPDATE customers SET erased_at = now()"))
    assert api_server.ask("GET", address, **HTML).status == 410
    assert api_server.ask("POST", link("preferences", message), body=b"", **BUTTON).status == 404
    assert answers() == []


def test_a_code_is_confirmed_with_its_date_and_a_wrong_one_is_not(api_server: Any, message: UUID) -> None:
    code = verification_code(message)
    yes = api_server.ask("POST", "/verify", body=f"code={code.lower().replace('-', '+')}".encode(), **BUTTON)
    assert "Yes. This code stands in a message that we sent" in yes.data.decode()
    wrong = code[:-1] + ("0" if code[-1] != "0" else "1")
    no = api_server.ask("POST", "/verify", body=f"code={wrong}".encode(), **BUTTON)
    assert "We know no message with this code" in no.data.decode()


def test_codes_cannot_be_guessed_quickly(api_server: Any, database: str) -> None:
    statuses = [api_server.ask("POST", "/verify", body=b"code=0000-0000-0000", **BUTTON).status for _ in range(14)]
    assert statuses == [200] * 10 + [429] * 4
    slow = api_server.ask("POST", "/verify", body=b"code=0", **BUTTON)
    assert slow.headers["Retry-After"] == "60"


def test_the_limit_counts_networks_refills_and_forgets_the_oldest() -> None:
    now = [0.0]
    limit = RateLimit(burst=2, seconds=10, most=3, clock=lambda: now[0])
    assert [limit.allows("2001:db8::1"), limit.allows("2001:db8::2"), limit.allows("2001:db8::3")] == [
        True,
        True,
        False,
    ]
    assert limit.allows("192.0.2.1")
    now[0] = 10
    assert [limit.allows("2001:db8::9"), limit.allows("2001:db8::9")] == [True, False]
    for other in ("192.0.2.2", "192.0.2.3", "192.0.2.4"):
        assert limit.allows(other)
    assert limit.allows("2001:db8::9")  # forgotten


def test_pages_work_without_scripts_and_name_nobody(api_server: Any, message: UUID) -> None:
    for purpose in ("unsubscribe", "preferences", "answer"):
        page = api_server.ask("GET", link(purpose, message), **HTML)
        words = page.data.decode()
        assert "<script" not in words
        assert "style=" not in words
        assert "Ann 1" not in words
        assert page.headers["Referrer-Policy"] == "no-referrer"
        assert "Set-Cookie" not in page.headers
    with transaction() as session:
        assert session.scalar(select(func.count()).select_from(Response)) == 0
