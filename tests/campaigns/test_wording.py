"""Templates and playbooks as people change them."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy.orm import Session

from campaigns import playbook_verbs, wording
from campaigns.playbook_verbs import NewPlaybookIn, PlaybookIn
from campaigns.playbooks import install_defaults, open_due
from campaigns.rendering import Content
from campaigns.surveys.words import words_in
from outreach import audit, problems
from outreach.errors import Conflict, InvalidInput, InvalidTemplate
from outreach.models import Playbook, Segment
from outreach.vocabulary import Channel, NoticeClass, ProblemState
from tests.people import a_problem

NOW = datetime(2027, 3, 4, 12, tzinfo=UTC)


def save(session: Session, body: str, *, based_on: int | None = 1, key: str = "problem-known", **more: Any) -> int:
    content = Content(more.pop("channel", Channel.SMS), more.pop("subject", None), body, **more)
    return wording.save(session, key=key, changed=content, based_on=based_on, actor="ann", now=NOW)


def test_one_changed_piece_makes_a_version_that_keeps_all_others(session: Session) -> None:
    install_defaults(session)
    assert save(session, "Unplug the kettle, {{ customer.first_name }}.") == 2
    assert save(session, "Bitte ausstecken.", based_on=2, language="de") == 3
    found = {(row.channel, row.language): row for row in wording.pieces(session, "problem-known")}
    assert [*found] == [
        (Channel.EMAIL, "en"), (Channel.SMS, "de"), (Channel.SMS, "en"), (Channel.POSTCARD, "en"),
    ]  # fmt: skip
    assert found[Channel.SMS, "en"].body.startswith("Unplug")
    before = {row.channel: row.body for row in wording.pieces(session, "problem-known", 1)}
    assert before[Channel.POSTCARD] == found[Channel.POSTCARD, "en"].body
    assert [number for number, _, _ in wording.versions(session, "problem-known")] == [3, 2, 1]


def test_what_somebody_else_saved_meanwhile_is_not_overwritten(session: Session) -> None:
    install_defaults(session)
    save(session, "First.")
    with pytest.raises(Conflict, match="version 2"):
        save(session, "Second, from the version before.")
    with pytest.raises(Conflict):
        save(session, "A new one with a key that is taken.", based_on=None)
    assert save(session, "Mine.", key="mine", based_on=None) == 1


def test_words_that_could_never_be_sent_are_not_saved(session: Session) -> None:
    install_defaults(session)
    with pytest.raises(InvalidTemplate, match=r"customer\.nickname"):
        save(session, "Dear {{ customer.nickname }}")
    with pytest.raises(InvalidTemplate):
        save(session, "{% if customer.name %}never closed")
    with pytest.raises(InvalidInput, match="back"):
        save(session, "<p>front</p>", channel=Channel.POSTCARD)
    with pytest.raises(InvalidInput, match="20,000"):
        save(session, "a" * 20_001)
    assert wording.versions(session, "problem-known")[0][0] == 1


def test_the_words_of_surveys_and_programmes_can_be_shown() -> None:
    for subject, email, sms in words_in("en").values():
        assert wording.shown(Content(Channel.EMAIL, subject, email)).rendered.html
        assert wording.shown(Content(Channel.SMS, None, sms)).rendered.text


PLAN: dict[str, Any] = {
    "name": "Known", "notice_class": "service", "template_key": "problem-known", "ladder": [{"channel": "sms"}],
}  # fmt: skip


def change(session: Session, **given: Any) -> None:
    plan = PlaybookIn.model_validate(PLAN | given)
    playbook_verbs.change(session, key="known", given=plan, actor="ann", now=NOW)


def test_a_playbook_is_changed_and_the_audit_log_says_what(session: Session) -> None:
    install_defaults(session)
    change(session, check_in_days=5, check_in_template_key="check-in", ticket_action="note", ticket_comment=" Told. ")
    playbook = playbook_verbs.find(session, "known")
    assert (playbook.ladder, playbook.check_in_days, playbook.ticket_comment) == ([{"channel": "sms"}], 5, "Told.")
    entry = audit.entries(session, subject="playbook:known")[0][0]
    assert entry.detail["changed"] == [
        "check_in_days", "check_in_template_key", "ladder", "name", "ticket_action", "ticket_comment",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("given", "where"),
    [
        ({"template_key": "nothing"}, "template_key"),
        ({"notice_class": NoticeClass.SAFETY, "automatic": True}, "automatic"),
        ({"check_in_days": 3}, "check_in_template_key"),
        ({"ticket_action": "reply"}, "ticket_comment"),
        ({"ladder": [{"channel": "sms"}, {"channel": "sms"}]}, "ladder[1]"),
    ],
)
def test_a_playbook_that_could_not_work_is_refused(session: Session, given: dict[str, Any], where: str) -> None:
    install_defaults(session)
    with pytest.raises(InvalidInput) as refused:
        change(session, **given)
    assert refused.value.where == where


def make(session: Session, **given: Any) -> Playbook:
    plan = NewPlaybookIn.model_validate(PLAN | {"key": "watched", "trigger": "monitoring"} | given)
    return playbook_verbs.make(session, given=plan, actor="ann", now=NOW)


def test_a_new_playbook_acts_on_changes_from_then_on(session: Session) -> None:
    install_defaults(session)
    earlier, later = (a_problem(session, NOW) for _ in range(2))
    for problem in (earlier, later):
        problem.state = ProblemState.KNOWN
        session.add(Segment(key=problem.key, name="scope", problem_id=problem.id, current_version=1, refreshed_at=NOW))
    problems.monitor(session, problem=earlier, text="Fixed?", author="ann", now=NOW - timedelta(hours=1))
    playbook = make(session)
    assert [row.key for row in playbook_verbs.listed(session)] == ["known", "watched", "resolved"]
    problems.monitor(session, problem=later, text="Fixed?", author="ann", now=NOW + timedelta(hours=1))
    (campaign,) = open_due(session, now=NOW + timedelta(hours=1))
    assert (campaign.problem_id, campaign.kind, campaign.playbook_id) == (later.id, "update", playbook.id)
    assert audit.entries(session, subject="playbook:watched")[0][0].action == "playbook.make"


@pytest.mark.parametrize(
    ("given", "where"),
    [
        ({"key": "known"}, "key"),
        ({"key": "new"}, "key"),
        ({"trigger": "closed"}, "trigger"),
        ({"trigger": "known"}, "active"),
        ({"template_key": "nothing"}, "template_key"),
    ],
)
def test_a_new_playbook_that_could_not_work_is_refused(session: Session, given: dict[str, Any], where: str) -> None:
    install_defaults(session)
    with pytest.raises(InvalidInput) as refused:
        make(session, **given)
    assert refused.value.where == where


def test_one_playbook_follows_another_and_leaves_what_went_before(session: Session) -> None:
    install_defaults(session)
    other = make(session, trigger="known", active=False)
    change(session, active=False)
    playbook_verbs.change(
        session, key="watched", given=PlaybookIn.model_validate(PLAN), actor="ann", now=NOW + timedelta(days=1)
    )
    assert (other.active, other.since) == (True, NOW + timedelta(days=1))
    with pytest.raises(InvalidInput, match="Switch that one off"):
        change(session)


def test_a_playbook_needs_words_for_each_of_its_channels(session: Session) -> None:
    install_defaults(session)
    save(session, "Only a text.", key="short", based_on=None)
    with pytest.raises(InvalidInput, match="no words for email"):
        change(session, template_key="short", ladder=[{"channel": "sms"}, {"channel": "email"}])
