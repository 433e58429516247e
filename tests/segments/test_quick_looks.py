"""While a rule is edited: exact for the few, estimated for the many, and never slow."""

from datetime import datetime

import pytest
from sqlalchemy import text
from sqlalchemy.orm import Session

from outreach.models import Customer
from outreach.vocabulary import Channel, Grade
from segments import audiences, quick_looks, rules
from segments.quick_looks import quick_look


def country(code: str) -> rules.Definition:
    return rules.parse_definition({"field": "customer.country", "op": "equals", "value": code})


@pytest.fixture
def many(session: Session, monkeypatch: pytest.MonkeyPatch) -> Session:
    monkeypatch.setattr(quick_looks, "COUNTED", 1_000)
    monkeypatch.setattr(quick_looks, "SAMPLED", 2_000)
    session.execute(
        text(
            "INSERT INTO customers (external_id, name, email, country)"
            " SELECT 'q' || i, 'Ann', 'q' || i || '@example.com',"
            " CASE WHEN i % 1000 = 0 THEN 'PT' WHEN i % 4 = 0 THEN 'BR' ELSE 'DE' END FROM generate_series(1, 8000) i"
        )
    )
    return session


def test_a_wide_question_is_estimated_within_its_margin(many: Session, now: datetime) -> None:
    look = quick_look(many, definition=country("BR"), now=now, against=None)
    exact = audiences.preview(many, definition=country("BR"), now=now)
    assert look.sampled == 2_000
    assert 0 < look.margin < 300
    assert abs(look.found.total - exact.total) <= 2 * look.margin
    by_email = next(each for each in look.found.reach if each.channel is Channel.EMAIL)
    assert by_email.reachable == look.found.total
    assert look.found.sample[0].grade is Grade.AFFECTED


def test_a_narrow_question_is_counted(many: Session, now: datetime) -> None:
    look = quick_look(many, definition=country("PT"), now=now, against=None)
    assert (look.sampled, look.found.total) == (0, 8)


def test_a_narrow_question_that_takes_too_long_is_estimated(
    many: Session, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(quick_looks, "PATIENCE_MS", 1)
    definition = rules.parse_definition(
        {"all": [{"field": f"customer.{name}", "op": "not_equals", "value": f"{word} {word}"}
                 for name in ("name", "email", "external_id") for word in "abcdefgh"]
         + [{"field": "customer.country", "op": "equals", "value": "PT"}]}
    )  # fmt: skip
    before = many.scalar(text("SELECT current_setting('statement_timeout')"))
    look = quick_look(many, definition=definition, now=now, against=None)
    assert look.sampled == 2_000
    assert look.margin > 0
    assert many.scalar(text("SELECT current_setting('statement_timeout')")) == before


def test_what_would_change_is_estimated_too(many: Session, now: datetime) -> None:
    segment = audiences.save(many, key="s", name="s", definition=country("DE"), author="me").segment_id
    audiences.refresh(many, segment_id=segment, now=now)
    look = quick_look(many, definition=country("BR"), now=now, against=segment)
    moves = {(move.was, move.becomes): move.number for move in look.moves}
    assert set(moves) == {(None, Grade.AFFECTED), (Grade.AFFECTED, None)}
    assert abs(moves[None, Grade.AFFECTED] - 1992) <= 2 * look.margin


def test_few_customers_are_all_counted(session: Session, now: datetime) -> None:
    session.add_all([Customer(external_id="b", country="BR"), Customer(external_id="p", country="PT")])
    session.flush()
    look = quick_look(session, definition=country("BR"), now=now, against=None)
    assert (look.sampled, look.margin, look.found.total) == (0, 0, 1)
