"""A programme in plain words: recurrences chosen and said, the form read back, what it would do before its start."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.orm import Session

from app.web import programme_forms as forms
from app.web.forms import Sent
from campaigns.programmes import outlook, sentences, verbs
from campaigns.programmes.repeats import Repeat, repeat_in_words, repeat_of, rule_of
from campaigns.programmes.steps import parse_definition
from campaigns.programmes.sweeps import sweep
from campaigns.surveys.phrases import PHRASES
from campaigns.surveys.words import install_words, words_in
from outreach import clock
from outreach.db import transaction
from outreach.errors import Conflict, InvalidInput, NotPermitted
from outreach.models import Segment, Template
from outreach.permissions import Actor, permissions_of
from outreach.vocabulary import Channel, ProgrammeKind, Role
from tests.campaigns.programmes.people import at, customers, message, segment

NOON = datetime(2027, 3, 1, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("rule", "words"),
    [(None, "once"), ("FREQ=DAILY", "every day"), ("FREQ=MONTHLY;INTERVAL=3", "every 3 months"),
     ("FREQ=WEEKLY;INTERVAL=2;BYDAY=MO,FR", "every 2 weeks on Monday and Friday"), ("FREQ=YEARLY", "every year"),
     ("FREQ=MONTHLY;BYDAY=1MO", "by the rule FREQ=MONTHLY;BYDAY=1MO")],
)  # fmt: skip
def test_a_recurrence_is_said_in_words_and_read_back(rule: str | None, words: str) -> None:
    repeat = repeat_of(rule)
    assert repeat_in_words(repeat) == words
    assert rule_of(repeat) == rule


@pytest.mark.parametrize("repeat", [Repeat("rule", rule="FREQ=HOURLY"), Repeat("months", 0), Repeat("fortnights")])
def test_what_is_no_recurrence_is_refused(repeat: Repeat) -> None:
    with pytest.raises(InvalidInput):
        rule_of(repeat)


def test_every_pattern_goes_through_the_form_and_comes_back_the_same() -> None:
    for kind, pattern in forms.PATTERNS.items():
        shown = forms.drawn(pattern)
        definition = parse_definition({**pattern, "steps": shown.definition["steps"]})
        assert parse_definition(forms.read(as_sent(shown))) == definition, kind
        assert sentences.schedule_sentence(definition).endswith("o'clock her time.")


def as_sent(shown: forms.Drawn) -> Sent:
    """Return what a browser sends for a form as it is drawn, from the definition with everything spelt out."""
    full = parse_definition({key: value for key, value in shown.definition.items() if key != "repeat"})
    schedule = full.schedule
    pairs = [
        ("per", full.per), ("anchor:of", full.anchor.of), ("schedule:unit", shown.repeat.unit),
        ("schedule:every", str(shown.repeat.every)), ("schedule:opens", shown.opens), ("schedule:closes", shown.closes),
        ("schedule:offset_days", str(schedule.offset_days)), ("schedule:spread_days", str(schedule.spread_days)),
        ("schedule:business_days", "1" if schedule.business_days else ""), ("exits:leaves_segment", "1"),
        ("hold_days", str(full.hold_days)), ("catch_up_days", str(full.catch_up_days)),
    ]  # fmt: skip
    for number, step in enumerate(full.steps):
        for name, value in step.model_dump(mode="json").items():
            if name == "channels":
                for place, rung in enumerate(value):
                    pairs.append((f"step.{number}:channel.{place}", rung["channel"]))
                    pairs.append((f"step.{number}:after.{place}", str(rung["after_hours"] or "")))
            elif value is not False:
                pairs.append((f"step.{number}:{name}", "1" if value is True else str(value)))
    return Sent(pairs)


def test_steps_are_moved_and_taken_away_and_conditions_follow_their_step() -> None:
    definition = {"steps": [
        {"do": "condition", "name": "a", "happened": "answered", "then": "c", "otherwise": "next"},
        {"do": "wait", "name": "b", "days": 1}, {**message(), "name": "c"},
    ]}  # fmt: skip
    moved = forms.change(definition, "down:1")
    assert [step["name"] for step in moved["steps"]] == ["a", "c", "b"]
    added = forms.change(moved, "add:survey")
    assert added["steps"][-1]["name"] == "step-1"
    removed = forms.change(added, "remove:1")
    assert (len(removed["steps"]), removed["steps"][0]["then"]) == (3, "next")
    for nonsense in ("remove:99", "up:0", "add:bomb", "down:-1", "x", ""):
        assert len(forms.change(removed, nonsense)["steps"]) == 3


def test_the_outlook_is_what_happens_when_it_is_started(database: str) -> None:
    definition = parse_definition(
        {"schedule": {"rrule": "FREQ=DAILY;INTERVAL=3", "spread_days": 2, "hours": "8-20"}, "steps": [message()]}
    )
    with transaction() as session:
        customers(session, 50, NOON)
        owners = session.get_one(Segment, segment(session, "all", NOON, "c.id <= 40"))
        before = outlook.outlook(session, definition=definition, segment=owners, now=NOON)
        assert (before.members, before.enters, before.about, len(before.people)) == (40, 40, False, 5)
        assert session.execute(text("SELECT count(*) FROM enrolments")).scalar_one() == 0
        made = verbs.make(
            session, key="p", name="P", kind=ProgrammeKind.CHECK_IN, segment="all", actor="t", now=NOON,
            definition=definition.model_dump(mode="json", exclude_none=True),
        )  # fmt: skip
        verbs.activate(session, programme=made, actor="t", now=NOON)
    sweep(at(NOON))
    with transaction() as session:
        programme = verbs.find(session, "p")
        owners = session.query(Segment).one()
        after = outlook.outlook(session, definition=definition, segment=owners, now=NOON, programme=programme)
        assert (after.enters, after.nobody_because) == (0, "Every member is in it already, or may not enter again.")
        assert after.days == before.days
        assert sum(after.days.values()) > 100


def test_a_large_segment_is_looked_at_by_sample(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outlook, "SAMPLE", 10)
    customers(session, 40, NOON)
    owners = session.get_one(Segment, segment(session, "all", NOON))
    found = outlook.outlook(session, definition=parse_definition({"steps": [message()]}), segment=owners, now=NOON)
    assert (found.about, found.enters) == (True, 40)


def test_an_author_may_edit_a_draft_but_not_what_runs(session: Session) -> None:
    now = clock.now(session)
    segment(session, "all", now)
    segment(session, "others", now)
    made = verbs.make(
        session, key="p", name="P", kind=ProgrammeKind.TIPS, segment="all", actor="t", now=now,
        definition={"steps": [message()]},
    )  # fmt: skip
    author, approver = (Actor("x", role, permissions_of(role)) for role in (Role.AUTHOR, Role.APPROVER))
    verbs.check_may_edit(made, author)
    edit: dict[str, Any] = {"programme": made, "definition": {"steps": [message()]}, "actor": "x", "now": now}
    verbs.edit(session, **edit, segment="others")
    verbs.activate(session, programme=made, actor="x", now=now)
    verbs.check_may_edit(made, approver)
    with pytest.raises(NotPermitted):
        verbs.check_may_edit(made, author)
    with pytest.raises(Conflict, match="fixed once"):
        verbs.edit(session, **edit, segment="all")
    with pytest.raises(InvalidInput, match="word of the pages"):
        verbs.make(session, key="new", name="P", kind=ProgrammeKind.TIPS, definition={}, actor="t", now=now)


def test_the_words_are_there_in_five_languages_and_what_an_operator_wrote_stays(session: Session) -> None:
    assert all(phrases.keys() == PHRASES["en"].keys() for phrases in PHRASES.values())
    session.add(
        Template(key="tip", version=1, channel=Channel.EMAIL, language="en", subject="x", body="mine", author="anna")
    )
    install_words(session)
    install_words(session)
    rows = session.execute(text("SELECT key, language, channel, author FROM templates")).all()
    assert len(rows) == 1 + (len(words_in("en")) - 1) * 5 * 2
    assert [row.author for row in rows if row.key == "tip"] == ["anna"]
    assert {row.language for row in rows if row.key == "survey-nps"} == {"en", "de", "fr", "es", "pt"}


def test_in_fourteen_days_the_first_day_is_today(session: Session) -> None:
    segment(session, "nobody", NOON, "false")
    owners = session.query(Segment).one()
    found = outlook.outlook(session, definition=parse_definition({"steps": [message()]}), segment=owners, now=NOON)
    assert list(found.days) == [NOON.date() + timedelta(days=ahead) for ahead in range(14)]
    assert found.nobody_because == "The segment has no members at the moment."
