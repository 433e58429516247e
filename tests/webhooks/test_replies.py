"""What customers answer, and what follows from it: each once, whatever comes twice or is corrected."""

from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import func, select, text
from sqlalchemy.orm import Session

from outreach import clock, problems
from outreach.models import (
    AudienceMember,
    Consent,
    Customer,
    DepartmentTask,
    DeskAction,
    Problem,
    Response,
    Suppression,
    Ticket,
)
from outreach.settings import get_settings
from outreach.vocabulary import Channel, Grade, Intent, ProblemState
from segments import rules, scopes, sweeps
from tests.people import a_campaign
from webhooks import replies, triage
from webhooks.providers.base import ParsedReply
from webhooks.reply_effects import reopen_at


@pytest.fixture(autouse=True)
def desk(monkeypatch: pytest.MonkeyPatch) -> None:
    """A Zendesk that is connected; nobody calls it here."""
    monkeypatch.setenv("OUTREACH_ZENDESK_URL", "https://desk.example.com")
    monkeypatch.setenv("OUTREACH_ZENDESK_EMAIL", "agent@example.com")
    monkeypatch.setenv("OUTREACH_ZENDESK_API_TOKEN", "token")
    monkeypatch.setenv("OUTREACH_REOPEN_AFTER_COUNT", "2")
    get_settings.cache_clear()


def told(session: Session, number: int = 5, kind: str = "known", channel: str = "sms") -> dict[int, UUID]:
    """Tell so many customers of a problem; returns the message of each, by the number in her name."""
    campaign = a_campaign(session, number, clock.now(session))
    session.execute(text("UPDATE campaigns SET kind = :kind WHERE id = :id"), {"kind": kind, "id": campaign.id})
    session.execute(
        text("""WITH owed AS (
                    INSERT INTO notices (campaign_id, customer_id, grade, state)
                    SELECT :campaign, customer_id, grade, 'delivered' FROM audience_members RETURNING id, customer_id)
                INSERT INTO messages (notice_id, campaign_id, customer_id, channel, chunk_id, address, sent_at)
                SELECT o.id, :campaign, o.customer_id, cast(:channel AS text), 0,
                       CASE cast(:channel AS text) WHEN 'sms' THEN c.phone ELSE c.email END, now()
                FROM owed o JOIN customers c ON c.id = o.customer_id WHERE c.phone IS NOT NULL"""),
        {"campaign": campaign.id, "channel": channel},
    )
    rows = session.execute(
        text("""SELECT substr(c.external_id, 3)::int AS number, m.id
                FROM messages m JOIN customers c ON c.id = m.customer_id""")
    )
    return {row.number: row.id for row in rows}


def says(session: Session, words: str, message_id: UUID | None = None, **more: Any) -> Response:
    sender = more.pop("sender", None)
    if sender is None:
        sender = (
            session.scalar(text("SELECT address FROM messages WHERE id = :id"), {"id": message_id}) or "+12025559999"
        )
    reply = ParsedReply(
        key="k", channel=more.pop("channel", Channel.SMS), sender=sender, recipient="us", subject=None, text=words,
        message_id=message_id, **more,
    )  # fmt: skip
    found = replies.record(session, reply=reply, inbound_event_id=None)
    assert found is not None
    return found


def actions(session: Session) -> list[tuple[str, dict[str, Any]]]:
    rows = session.scalars(select(DeskAction).order_by(DeskAction.id).execution_options(populate_existing=True))
    return [(row.action, row.payload) for row in rows]


def barred(session: Session) -> set[tuple[str, str]]:
    rows = session.execute(text("SELECT channel, address FROM suppressions WHERE lifted_at IS NULL"))
    return {(row.channel, row.address) for row in rows}


def test_yes_is_an_answer_where_something_was_asked_and_start_where_nothing_was(session: Session) -> None:
    messages = told(session)
    assert says(session, "YES", messages[1]).intent is Intent.SOLVED
    assert says(session, "no", messages[2]).intent is Intent.STILL_BROKEN
    assert says(session, "1", messages[3]).intent is Intent.SOLVED
    session.execute(text("UPDATE campaigns SET kind = 'tips'"))
    assert says(session, "YES", messages[4]).intent is Intent.START


def test_yes_from_somebody_who_stopped_begins_again(session: Session) -> None:
    messages = told(session)
    says(session, "STOP", messages[1])
    assert says(session, "YES", messages[1]).intent is Intent.START
    assert barred(session) == set()


def test_start_opens_only_the_address_it_came_from(session: Session) -> None:
    messages = told(session)
    own = session.scalar(text("SELECT address FROM messages WHERE id = :id"), {"id": messages[1]})
    says(session, "STOP", messages[1], sender="+12025550177")
    assert barred(session) == {("sms", str(own)), ("sms", "+12025550177")}
    says(session, "START", messages[1], sender="+12025550177")
    assert barred(session) == {("sms", str(own))}
    assert session.scalars(select(Consent.allowed).order_by(Consent.id)).all() == [False]
    says(session, "START", messages[1])
    assert barred(session) == set()
    assert session.scalars(select(Consent.allowed).order_by(Consent.id)).all() == [False, True]


def test_a_machine_is_recorded_and_nothing_follows(session: Session) -> None:
    messages = told(session, channel="email")
    found = says(session, "STOP. I am away until Monday, it is still broken", messages[1], automatic=True,
                 channel=Channel.EMAIL)  # fmt: skip
    away = says(session, "I am out of the office until Monday", messages[2], channel=Channel.EMAIL)
    assert {found.intent, away.intent} == {Intent.OUT_OF_OFFICE}
    assert found.handled_at is not None
    assert (actions(session), barred(session)) == ([], set())
    assert session.scalar(text("SELECT count(*) FROM messages WHERE replied_at IS NOT NULL")) == 0


def test_stop_in_quoted_text_stops_nothing(session: Session) -> None:
    messages = told(session, channel="email")
    quoted = "Thank you, that solved it.\n\nOn Mon, 1 Jan 2026 at 10:00, Shop <care@example.com> wrote:\n> STOP to end"
    assert says(session, quoted, messages[1], channel=Channel.EMAIL).intent is Intent.SOLVED
    assert barred(session) == set()


def test_a_second_reply_of_the_same_person_never_opens_a_second_ticket(session: Session) -> None:
    messages = told(session)
    first = says(session, "2 still broken", messages[1])
    says(session, "It still does not work!", messages[1])
    says(session, "When will it be mended?", messages[1])
    says(session, "2", messages[2])
    done = actions(session)
    assert [name for name, _ in done] == ["open_ticket", "comment", "comment", "open_ticket"]
    assert {payload.get("after") for name, payload in done if name == "comment"} == {f"response:{first.id}"}
    assert session.scalar(select(func.count()).select_from(DepartmentTask)) == 2


def test_what_she_says_goes_into_her_open_ticket(session: Session) -> None:
    messages = told(session)
    customer = session.scalars(select(Customer.id).where(Customer.external_id == "c-1")).one()
    problem = session.scalars(select(Problem)).one()
    session.add(Ticket(desk="zendesk", external_id="77", customer_id=customer, problem_id=problem.id,
                       opened_at=clock.now(session) - timedelta(days=1)))  # fmt: skip
    session.flush()
    says(session, "still broken", messages[1])
    assert [(name, payload["reference"]) for name, payload in actions(session)] == [("comment", "77")]
    # Called resolved, and it is not: that is a new case.
    problems.resolve(session, problem=problem, author="anna", now=clock.now(session))
    says(session, "still broken", messages[1])
    assert [name for name, _ in actions(session)] == ["comment", "open_ticket"]


def test_help_is_answered_once_a_day(session: Session) -> None:
    messages = told(session)
    for _ in range(3):
        assert says(session, "HELP", messages[1]).intent is Intent.HELP
    ((name, payload),) = actions(session)
    assert name == "open_ticket"
    assert "STOP" in payload["reply"]


def test_enough_people_still_waiting_reopen_a_resolved_problem(session: Session) -> None:
    messages = told(session)
    problem = session.scalars(select(Problem)).one()
    problems.mark_known(session, problem=problem, author="anna", now=clock.now(session))
    problems.resolve(session, problem=problem, author="anna", now=clock.now(session))
    says(session, "still broken", messages[1])
    says(session, "still broken", messages[1])
    assert problem.state is ProblemState.RESOLVED
    # Her newest word holds: she is helped after all, so that one more is not enough.
    says(session, "thanks, it works now", messages[1])
    says(session, "still broken", messages[2])
    assert problem.state is ProblemState.RESOLVED
    says(session, "still broken", messages[3])
    assert session.scalars(select(Problem.state)).one() is ProblemState.KNOWN


def test_the_threshold_is_a_number_of_people_and_a_share_of_those_who_were_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert (reopen_at(5), reopen_at(10_000)) == (2, 100)
    monkeypatch.setenv("OUTREACH_REOPEN_AFTER_SHARE", "0")
    get_settings.cache_clear()
    assert reopen_at(10_000) == 2


def test_without_a_desk_that_can_be_written_to_a_person_sees_the_answer(
    session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OUTREACH_ZENDESK_API_TOKEN")
    get_settings.cache_clear()
    messages = told(session)
    assert says(session, "still broken", messages[1]).handled_at is None
    assert actions(session) == []


def test_whoever_is_not_concerned_is_cleared_at_the_next_sweep(session: Session) -> None:
    messages = told(session)
    problem = session.scalars(select(Problem)).one()
    segment_id = session.scalars(select(AudienceMember.segment_id).distinct()).one()
    session.execute(text("DELETE FROM audience_members"))
    session.execute(text("UPDATE segments SET current_version = 0 WHERE id = :id"), {"id": segment_id})
    lot = rules.parse_rule({"field": "lot", "op": "equals", "value": "A7"})
    definition = scopes.scope_for(session, problem_id=problem.id, such=lot)
    scopes.save_scope(session, problem=problem, definition=definition, author="anna")
    sweeps.sweep(session, now=clock.now(session))

    def grades() -> dict[str, Grade]:
        rows = session.execute(
            select(Customer.external_id, AudienceMember.grade).join(Customer, Customer.id == AudienceMember.customer_id)
        )
        return {row.external_id: row.grade for row in rows}

    assert set(grades().values()) == {Grade.LIKELY}
    says(session, "I gave it away, this is not me any more.", messages[1])
    says(session, "I already fixed it myself", messages[2])
    says(session, "still broken", messages[3])
    sweeps.sweep(session, now=clock.now(session))
    found = grades()
    assert [found[f"c-{number}"] for number in (1, 2, 3, 4)] == [
        Grade.CLEARED,
        Grade.CLEARED,
        Grade.LIKELY,
        Grade.LIKELY,
    ]


def correct(session: Session, response: Response, **given: Any) -> Response:
    return triage.correct(session, response_id=response.id, by="anna", now=clock.now(session), **given)


def test_a_reply_from_nobody_known_waits_for_a_person_who_says_whose_it_is(session: Session) -> None:
    told(session)
    found = says(session, "It still does not work", sender="+12025550188")
    assert (found.customer_id, found.handled_at) == (None, None)
    assert actions(session) == []
    for _ in range(2):
        correct(session, found, customer="c-3", problem=session.scalars(select(Problem.key)).one(), handled=True)
    assert [name for name, _ in actions(session)] == ["open_ticket"]
    assert (found.handled_by, found.customer_id is not None) == ("anna", True)


def test_a_stop_that_was_none_is_taken_back_and_other_bans_stay(session: Session) -> None:
    messages = told(session)
    session.add(Suppression(channel=Channel.SMS, address="+12025550177", reason="stop", source="twilio"))
    session.flush()
    found = says(session, "Please stop the leak, it is urgent", messages[1], sender="+12025550177")
    assert (found.intent, found.handled_at) == (Intent.STOP, None)
    assert len(barred(session)) == 2
    correct(session, found, intent=Intent.STILL_BROKEN, handled=True)
    assert barred(session) == {("sms", "+12025550177")}
    assert session.scalar(select(func.count()).select_from(Consent)) == 0
    assert [name for name, _ in actions(session)] == ["open_ticket"]
    correct(session, found, intent=Intent.STOP)
    assert len(barred(session)) == 2


def test_a_reply_that_is_linked_to_a_ticket_opens_no_other(session: Session) -> None:
    told(session)
    session.add(Ticket(desk="zendesk", external_id="77"))
    session.flush()
    found = says(session, "It still does not work", sender="+12025550188")
    correct(session, found, customer="c-3", ticket=("zendesk", "77"), handled=True)
    assert found.ticket_id is not None
    assert actions(session) == []
