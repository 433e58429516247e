"""What one customer would be sent today, and why not, as the last look would judge."""

from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import event, text
from sqlalchemy.orm import Session

from campaigns import prospects
from outreach import clock, customer_search, timeline
from outreach.models import Customer
from outreach.settings import get_settings
from outreach.timeline import Place
from outreach.vocabulary import Channel, NoticeClass
from tests.people import a_problem, an_audience


def seen(session: Session, number: str = "c-1", **values: Any) -> dict[tuple[str, str], tuple[str | None, str | None]]:
    found = prospects.prospects(
        session, timeline.find_customer(session, number), now=values.get("now", clock.now(session))
    )
    return {
        (kind.value, each.channel.value): (each.why_not, each.detail) for kind, row in found.items() for each in row
    }


def test_each_reason_is_the_one_of_the_last_look(session: Session) -> None:
    now = clock.now(session)
    an_audience(session, a_problem(session, now), 20, now)
    everything = seen(session)
    assert everything["promotion", "sms"] == ("no_consent", None)
    assert {why for what, why in everything.items() if what != ("promotion", "sms")} == {(None, None)}
    session.execute(
        text("""INSERT INTO suppressions (channel, address, reason, source)
                SELECT 'email', email, 'hard_bounce', 'sendgrid' FROM customers WHERE external_id = 'c-1'""")
    )
    session.execute(
        text("""INSERT INTO consents (customer_id, channel, notice_class, allowed, acted_at, source)
                SELECT id, 'postcard', 'survey', false, now(), 'page' FROM customers WHERE external_id = 'c-1'""")
    )
    found = seen(session)
    assert found["safety", "email"] == ("suppressed", "hard_bounce")
    assert (found["survey", "postcard"], found["service", "postcard"]) == (("no_consent", None), (None, None))
    assert found["survey", "sms"] == (None, None)
    assert seen(session, "c-20")["service", "sms"] == ("no_address", None)
    session.execute(text("UPDATE customers SET erased_at = now() WHERE external_id = 'c-1'"))
    assert set(seen(session).values()) == {("suppressed", "erased")}


def test_quiet_hours_say_when_it_would_go(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OUTREACH_SMS_HOURS", "09:00-20:00")
    get_settings.cache_clear()
    now = clock.now(session)
    an_audience(session, a_problem(session, now), 1, now)
    session.execute(text("UPDATE customers SET time_zone = 'UTC'"))
    night = now.replace(hour=3, minute=0, second=0, microsecond=0)
    row = prospects.prospects(session, timeline.find_customer(session, "c-1"), now=night)
    by_class = {kind: next(each for each in found if each.channel is Channel.SMS) for kind, found in row.items()}
    assert by_class[NoticeClass.SERVICE].waits_until == night.replace(hour=9)
    assert by_class[NoticeClass.SAFETY].waits_until is None


def test_the_timeline_goes_on_page_by_page_without_gap_or_repetition(session: Session) -> None:
    now = clock.now(session)
    an_audience(session, a_problem(session, now), 2, now)
    customer = timeline.find_customer(session, "c-1")
    session.execute(
        text("""INSERT INTO usage_events (external_id, customer_id, name, occurred_at)
                SELECT 'u' || i, :id, 'login', cast(:now AS timestamptz) - interval '1 hour' * (i / 5)
                FROM generate_series(1, 33) i"""),
        {"id": customer.id, "now": now},
    )
    session.execute(
        text("""INSERT INTO audience_changes (segment_id, customer_id, to_grade, reason, version, at)
                SELECT id, :id, 'likely', 'holds lot A7', 1, :now FROM segments"""),
        {"id": customer.id, "now": now + timedelta(minutes=1)},
    )
    whole = timeline.happenings(session, customer, limit=200)
    pages, place = [], None
    while found := timeline.happenings(session, customer, limit=7, after=place):
        pages += found
        place = Place(found[-1].at, found[-1].kind, str(found[-1].reference))
    assert pages == whole
    assert len(whole) == 37
    assert any(entry.kind == "scope" and entry.detail == "likely: holds lot A7" for entry in whole)
    (scope,) = timeline.problems_of(session, customer)
    assert (scope.problem, scope.why) == ("P-1", "holds lot A7")


def test_customers_are_found_by_what_is_known_of_them(session: Session) -> None:
    now = clock.now(session)
    an_audience(session, a_problem(session, now), 20, now)
    session.execute(text("UPDATE customers SET name = '100%_Sure\\' WHERE external_id = 'c-9'"))
    for asked in ("c-5", "ANN.5@example.com", "+1 (202) 555-1005", "12025551005", "ann number5"):
        assert [one.external_id for one in customer_search.search(session, asked)] == ["c-5"], asked
    assert len(customer_search.search(session, "ann n")) == 19
    assert [one.external_id for one in customer_search.search(session, "100%_sure\\")] == ["c-9"]
    assert customer_search.search(session, "%") == customer_search.search(session, "  ") == []
    assert len(customer_search.search(session, "Ann", limit=3)) == 3


def test_any_word_of_a_name_finds_it_and_the_closest_come_first(session: Session) -> None:
    names = (
        "Anne Smithson",
        "Zoë O’Brien-Smith",
        "Smith, Bert",
        "Smithers Bank",
        "SØREN  MÜLLER",
        "Ann Lee",
        "山田　太郎",
    )
    session.add_all(Customer(external_id=f"c-{number}", name=name) for number, name in enumerate(names))
    session.add(Customer(external_id="smith", name=None))
    session.add(Customer(external_id="long", name="각" * 5000))
    session.flush()

    def found(asked: str) -> list[str]:
        return [one.name or one.external_id for one in customer_search.search(session, asked)]

    assert found("smith") == ["smith", "Smith, Bert", "Smithers Bank", "Zoë O’Brien-Smith", "Anne Smithson"]
    assert found("smith zoe") == found("o'brien") == ["Zoë O’Brien-Smith"]
    assert found("Müller Sor") == found("muller") == ["SØREN  MÜLLER"]
    assert found("lee ann") == ["Ann Lee"]
    assert found("太郎") == ["山田　太郎"]
    assert found("smith nobody") == found("' | zz:*") == found("\\ & !") == []


def test_a_word_of_a_name_is_found_by_index(session: Session) -> None:
    session.execute(
        text("""INSERT INTO customers (external_id, name)
                SELECT 'c-' || n, 'Ann Number' || n FROM generate_series(1, 2000) n""")
    )
    session.execute(text("ANALYZE customers"))
    plans: list[str] = []
    bind = session.connection()

    @event.listens_for(bind, "before_cursor_execute")
    def explain(_: Any, cursor: Any, statement: str, parameters: Any, *__: Any) -> None:
        if statement.startswith("SELECT customers"):
            cursor.execute(f"EXPLAIN {statement}", parameters)
            plans.append("\n".join(row[0] for row in cursor.fetchall()))

    assert [one.external_id for one in customer_search.search(session, "number77 ann")] == ["c-77"] + [
        f"c-{number}" for number in range(770, 780)
    ]
    event.remove(bind, "before_cursor_execute", explain)
    assert len(plans) == 5
    assert not any("Seq Scan" in plan for plan in plans), plans
