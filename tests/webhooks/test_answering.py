"""What operators write back: sent once, to whoever may be written to, and what became of it."""

from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote
from uuid import UUID, uuid4

import pytest
from sqlalchemy import select, text
from sqlalchemy.orm import Session

from campaigns import stops
from campaigns.envelopes import forget_senders
from outreach import clock
from outreach.db import transaction
from outreach.errors import Conflict, InvalidInput
from outreach.models import Consent, OperatorAnswer, Response, Suppression
from outreach.settings import get_settings
from outreach.vocabulary import Channel, EventKind, SendState, SuppressionReason
from tests.campaigns.test_standing_in import Two, two
from tests.installation import Installation, until
from tests.webhooks.test_replies import barred, desk, says, told
from webhooks import answer_sending, answering, deliveries, triage
from webhooks.deliveries import EventSet
from webhooks.providers.base import ParsedEvent
from webhooks.tasks import apply_inbox

assert desk  # the fixture of a connected desk
assert two  # the fixture of two providers of email


def answer(session: Session, response: Response, words: str = "We are on it.", **more: Any) -> OperatorAnswer:
    return answering.answer(
        session, response_id=response.id, answer_id=more.pop("answer_id", uuid4()), words=words, by="anna",
        now=clock.now(session), **more,
    )  # fmt: skip


def test_pressing_twice_is_one_answer_and_it_settles_the_reply(session: Session) -> None:
    found = says(session, "When will it be mended?", told(session)[1])
    chosen = uuid4()
    first = answer(session, found, answer_id=chosen)
    again = answer(session, found, "something else", answer_id=chosen)
    assert (first.id, again.text, found.handled_by) == (chosen, "We are on it.", "anna")
    other = says(session, "And when?", sender="+12025550188")
    with pytest.raises(Conflict, match="another reply"):
        answer(session, other, answer_id=chosen)


def test_whoever_said_stop_is_not_answered_and_whoever_asked_later_is(session: Session) -> None:
    messages = told(session)
    stopped = says(session, "STOP", messages[1])
    with pytest.raises(Conflict, match="barred"):
        answer(session, stopped)
    refused = says(session, "When?", messages[2])
    session.add(Consent(customer_id=refused.customer_id, channel=Channel.SMS, allowed=False, source="page",
                        acted_at=refused.received_at + timedelta(seconds=1)))  # fmt: skip
    session.flush()
    with pytest.raises(Conflict, match="does not want"):
        answer(session, refused)
    session.execute(text("UPDATE consents SET acted_at = acted_at - interval '1 hour' WHERE source = 'page'"))
    assert answer(session, refused).state is SendState.QUEUED
    assert session.scalars(select(Suppression.reason)).all() == ["stop"]


def test_an_answer_that_cannot_be_sent_is_refused_with_the_reason(session: Session) -> None:
    found = says(session, "When?", told(session)[1])
    for words, why in (("  \n ", "Write something"), ("x" * 1601, "at most 1,600")):
        with pytest.raises(InvalidInput, match=why):
            answer(session, found, words)
    answer(session, found, "fine\0\r\nindeed")
    assert session.scalars(select(OperatorAnswer.text)).all() == ["fine\nindeed"]


def an_event(answer_id: UUID, kind: EventKind, bars: SuppressionReason | None = None) -> EventSet:
    event = ParsedEvent(answer_id, None, f"{kind}", kind, None, f"said {kind}", bars, None, False, {})
    return EventSet("twilio", [event])


def test_events_of_answers_count_by_rank_and_a_bounce_asks_for_a_person_once(session: Session) -> None:
    found = says(session, "When?", told(session)[1])
    row = answer(session, found)
    bounced = an_event(row.id, EventKind.BOUNCED, SuppressionReason.HARD_BOUNCE)
    for sets in ([an_event(row.id, EventKind.DELIVERED)], [bounced], [an_event(row.id, EventKind.SENT)]):
        assert deliveries.apply_events(session, sets).unknown == [[]]
    session.refresh(row)
    session.refresh(found)
    assert (row.state, row.delivery, row.detail) == (SendState.ACCEPTED, EventKind.BOUNCED, "said bounced")
    assert found.handled_at is None
    assert barred(session) == {("sms", row.address)}
    triage.correct(session, response_id=found.id, by="anna", now=clock.now(session), handled=True)
    deliveries.apply_events(session, [bounced])
    session.refresh(found)
    assert found.handled_by == "anna"
    assert deliveries.apply_events(session, [an_event(uuid4(), EventKind.SENT)]).unknown == [[0]]


def test_the_kill_switch_holds_answers_too(database: str) -> None:
    with transaction() as session:
        told(session)
        found = answer(session, says(session, "When?", sender="+12025550188")).id
        stops.stop(session, channel=Channel.SMS, actor="anna", now=clock.now(session))
    assert answer_sending.send_due() == 0
    assert state_of(found) == (SendState.QUEUED, None)


@pytest.fixture
def installation(database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    running = Installation(tmp_path, monkeypatch, reconcile_grace_seconds="0.1", lease_seconds="1")
    yield running
    running.stop()


def reached(installation: Installation, to: str) -> list[dict[str, Any]]:
    """Return what providers accepted for one address."""
    found: list[dict[str, Any]] = installation.sandbox(f"accepted?to={quote(to)}")["accepted"]
    return found


def state_of(answer_id: UUID) -> tuple[SendState, EventKind | None]:
    with transaction() as session:
        row = session.get_one(OperatorAnswer, answer_id)
        return row.state, row.delivery


def test_answers_go_out_once_by_the_channel_of_the_reply_and_are_followed(installation: Installation) -> None:
    installation.serve_api()
    with transaction() as session:
        messages = told(session, channel="email")
        by_email = answer(session, says(session, "When <b>exactly</b>?", messages[1], channel=Channel.EMAIL)).id
        by_sms = answer(session, says(session, "When?", sender="+12025550188")).id
        barred_later = answer(session, says(session, "When?", sender="+12025550189")).id
        session.add(Suppression(channel=Channel.SMS, address="+12025550189", reason="stop", source="reply"))
    assert answer_sending.send_due() == 2
    assert answer_sending.send_due() == 0
    until(lambda: apply_inbox() or state_of(by_email)[1] is EventKind.DELIVERED, what="the email's delivery")
    until(lambda: apply_inbox() or state_of(by_sms)[1] is EventKind.DELIVERED, what="the text's delivery")
    assert state_of(barred_later)[0] is SendState.SUPPRESSED
    with transaction() as session:
        waiting = set(session.scalars(select(Response.sender).where(Response.handled_at.is_(None))))
    assert waiting == {"+12025550189"}
    assert [len(reached(installation, to)) for to in ("ann.1@example.com", "+12025550188", "+12025550189")] == [1, 1, 0]


def test_an_answer_to_a_number_that_twilio_refuses_for_good_bars_it(installation: Installation) -> None:
    with transaction() as session:
        told(session)
        found = answer(session, says(session, "When?", sender="+12025550002")).id
    assert answer_sending.send_due() == 1
    assert state_of(found)[0] is SendState.REJECTED
    with transaction() as session:
        ban = session.scalars(select(Suppression)).one()
        assert (ban.address, ban.reason) == ("+12025550002", SuppressionReason.UNUSABLE_NUMBER)


def test_a_call_whose_answer_is_lost_is_looked_up_and_never_made_twice(installation: Installation) -> None:
    installation.sandbox("faults", {"twilio": {"accept_then_drop": True}})
    with transaction() as session:
        told(session)
        found = answer(session, says(session, "When?", sender="+12025550188")).id
    assert answer_sending.send_due() == 1
    assert state_of(found)[0] is SendState.UNKNOWN
    installation.sandbox("faults", {"twilio": {}})
    until(lambda: not answer_sending.send_due() and state_of(found)[0] is SendState.ACCEPTED, what="the look-up")
    assert len(reached(installation, "+12025550188")) == 1


def test_a_call_that_was_interrupted_before_it_reached_anybody_is_made_again(installation: Installation) -> None:
    with transaction() as session:
        told(session)
        found = answer(session, says(session, "When?", sender="+12025550188")).id
        session.execute(text("""UPDATE operator_answers SET state = 'sending', tries = 1, called_at = now(),
                                due_at = now() - interval '1 second'"""))  # fmt: skip
    until(lambda: answer_sending.send_due() == 1, what="the second call")
    assert state_of(found)[0] is SendState.ACCEPTED
    assert len(reached(installation, "+12025550188")) == 1


def an_email_answer() -> UUID:
    """Write an answer to a reply that came by email."""
    with transaction() as session:
        messages = told(session, channel="email")
        return answer(session, says(session, "When?", messages[1], channel=Channel.EMAIL)).id


def sendgrid_rests() -> None:
    """Open SendGrid's circuit for longer than a test takes."""
    with transaction() as session:
        session.execute(
            text("""INSERT INTO provider_circuits (provider, channel, opened_at, retry_at)
                    VALUES ('sendgrid', 'email', now(), now() + interval '1 hour')""")
        )


def provider_of(answer_id: UUID) -> str | None:
    with transaction() as session:
        return session.get_one(OperatorAnswer, answer_id).provider


def test_while_the_first_provider_rests_an_answer_goes_through_the_second(
    two: Two, monkeypatch: pytest.MonkeyPatch
) -> None:
    found, known = an_email_answer(), list[str | None]()
    take = two.mailbox.handle_DATA

    async def look_first(*given: Any) -> str:
        known.append(provider_of(found))
        return str(await take(*given))

    monkeypatch.setattr(two.mailbox, "handle_DATA", look_first)
    sendgrid_rests()
    assert answer_sending.send_due() == 1
    assert (two.by_mail(), two.by_sendgrid()) == ([str(found)], [])
    assert state_of(found)[0] is SendState.ACCEPTED
    # Already during the call: a process that dies in it leaves an answer that is looked up where it may be.
    assert known == ["smtp"]


@pytest.mark.parametrize(("provider", "asked", "state"), [
    ("sendgrid", True, SendState.QUEUED),  # which knows nothing of it: it goes again
    ("smtp", False, SendState.DEAD),  # a mail server cannot be asked
    ("gone", False, SendState.DEAD),  # in the settings no more: another provider cannot say that it was never sent
])  # fmt: skip
def test_an_answer_in_doubt_is_asked_about_where_it_was_called_for(
    two: Two, provider: str, asked: bool, state: SendState, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OUTREACH_SENDGRID_EMAIL_ACTIVITY", "true")
    get_settings.cache_clear()
    forget_senders()
    two.sendgrid.answers = two.sendgrid.answers | {"accept": (200, {}, b'{"messages": []}')}
    found = an_email_answer()
    with transaction() as session:
        session.execute(text("""UPDATE operator_answers SET state = 'unknown', tries = 1, called_at = now(),
            due_at = now() - interval '1 second', provider = :provider"""), {"provider": provider})  # fmt: skip
        stops.stop(session, channel=Channel.EMAIL, actor="anna", now=clock.now(session))  # it is not called again
    assert answer_sending.send_due() == 0
    assert [call.method for call in two.sendgrid.calls] == (["GET"] if asked else [])
    assert state_of(found)[0] is state
