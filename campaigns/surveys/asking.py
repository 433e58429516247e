"""A survey in a message and its way back: links that only preselect, the page, the digit of a text message."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import select, text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from campaigns.surveys.phrases import phrase
from campaigns.surveys.questions import (
    Question,
    checked_questions,
    is_bare_number,
    read_answers,
    score_in_text,
)
from outreach.errors import Conflict, NotFound
from outreach.models import (
    Campaign,
    Customer,
    Message,
    ProgrammeCampaign,
    Survey,
    SurveyAnswer,
    SurveyAsk,
)
from outreach.security import sign_link
from outreach.settings import get_settings
from outreach.vocabulary import CampaignKind, Channel, SurveyState

LINK_LIFETIME = timedelta(days=365)
# A digit that comes later answers nothing any more.
PENDING = timedelta(days=14)


@dataclass(frozen=True, slots=True)
class Asked:
    """The survey of a campaign, ready to be put into messages."""

    questions: list[Question]

    def words(self, language: str | None) -> dict[str, Any]:
        """Return what a template may say of the survey."""
        return survey_words(self.questions, language)

    def links(self, message_id: UUID, expires_at: datetime) -> dict[str, str]:
        """Return the links of one message: its page as `survey`, and per score `score_5`, which only preselects."""
        return survey_links(self.questions, page_of(message_id, expires_at))


def survey_words(questions: list[Question], language: str | None) -> dict[str, Any]:
    """Return the words of a survey's first question in a language, and the ends of its scale."""
    first = questions[0]
    return {"question": first.words_in(language), "low": str(first.low), "high": str(first.high)}


def survey_links(questions: list[Question], page: str) -> dict[str, str]:
    """Return the links to a page, as templates name them."""
    first = questions[0]
    scores = range(first.low, first.high + 1) if first.kind == "score" else ()
    return {"survey": page, **{f"score_{score}": f"{page}?score={score}" for score in scores}}


def page_of(message_id: UUID, expires_at: datetime) -> str:
    """Return the address of the page on which the receiver of one message answers."""
    token = sign_link("survey", str(message_id), expires_at=expires_at)
    return f"{get_settings().public_url.rstrip('/')}/survey/{token}"


def of_campaign(session: Session, campaign: Campaign) -> Asked | None:
    """Return the survey that a campaign puts; none for the others."""
    if campaign.kind is not CampaignKind.SURVEY:
        return None
    survey = session.scalar(
        select(Survey)
        .join(ProgrammeCampaign, ProgrammeCampaign.survey_id == Survey.id)
        .where(ProgrammeCampaign.campaign_id == campaign.id)
    )
    return Asked(questions_of(survey)) if survey else None


def questions_of(survey: Survey) -> list[Question]:
    """Return the questions of a stored survey."""
    return checked_questions(survey.kind, survey.questions)


def asked_in(session: Session, message_id: UUID) -> tuple[SurveyAsk, Survey, Message, Customer]:
    """Return what one message asked; raises `NotFound` when it asked nothing, or its receiver was erased."""
    row = session.execute(
        select(SurveyAsk, Survey, Message, Customer)
        .join(Survey, Survey.id == SurveyAsk.survey_id)
        .join(Message, Message.notice_id == SurveyAsk.notice_id)
        .join(Customer, Customer.id == SurveyAsk.customer_id)
        .where(Message.id == message_id)
    ).one_or_none()
    if row is None or row[3].erased_at is not None:
        raise NotFound("This survey is not there any more. Thank you all the same.")
    return row[0], row[1], row[2], row[3]


def check_open(survey: Survey, now: datetime) -> None:
    """Raise `Conflict` when a survey takes no answers any more."""
    if survey.state is SurveyState.CLOSED or (survey.closes_at is not None and survey.closes_at <= now):
        raise Conflict("This survey has been closed. Thank you all the same.")


def answer_page(
    session: Session, *, message_id: UUID, given: Mapping[str, str], suspected_bot: bool, now: datetime
) -> SurveyAsk:
    """Record the form of the page; sent again it corrects the answer, it never counts twice.

    Raises `InvalidInput` for a score off the scale, `Conflict` when the survey is closed.
    """
    ask, survey, message, customer = asked_in(session, message_id)
    check_open(survey, now)
    answers = read_answers(questions_of(survey), given)
    _write(session, ask, message, answers, language=customer.locale, suspected_bot=suspected_bot, now=now)
    return ask


@dataclass(frozen=True, slots=True)
class TextAnswer:
    """A text message that answered the pending question of a survey."""

    ask_id: int
    score: int
    words: str | None
    survey: str


_PENDING = text("""
SELECT a.id, m.id AS message_id FROM survey_asks a JOIN messages m ON m.notice_id = a.notice_id AND m.channel = 'sms'
WHERE a.customer_id = :customer_id AND a.answered_at IS NULL AND a.asked_at > :since
  AND m.send_state IN ('sending', 'accepted', 'unknown')
  AND NOT EXISTS (SELECT 1 FROM messages later WHERE later.customer_id = a.customer_id AND later.channel = 'sms'
                  AND later.notice_id IN (SELECT id FROM notices WHERE customer_id = a.customer_id)
                  AND later.send_state = 'accepted' AND later.sent_at > m.sent_at)
ORDER BY a.asked_at DESC LIMIT 1
""")


def answer_by_text(session: Session, customer_id: int, text: str, now: datetime) -> TextAnswer | None:
    """Record a text message as the answer to the survey that is pending; none when it is no answer to it.

    Only a number on the scale counts, alone or before words; nothing is pending once something else was sent there.
    """
    pending = session.execute(_PENDING, {"customer_id": customer_id, "since": now - PENDING}).one_or_none()
    if pending is None:
        return None
    ask, survey, message, customer = asked_in(session, pending.message_id)
    if survey.state is SurveyState.CLOSED or (survey.closes_at is not None and survey.closes_at <= now):
        return None
    questions = questions_of(survey)
    if questions[0].kind != "score" or (found := score_in_text(questions[0], text)) is None:
        return None
    score, words = found
    answers: dict[str, tuple[int | None, str | None]] = {questions[0].key: (score, None)}
    comment = next((question for question in questions if question.kind == "words"), None)
    if words and comment:
        answers[comment.key] = (None, words)
    _write(session, ask, message, answers, language=customer.locale, suspected_bot=False, now=now)
    return TextAnswer(ask.id, score, words, survey.key)


@dataclass(frozen=True, slots=True)
class OffScale:
    """A bare number that the pending question does not know, and the words that say which it does."""

    ask_id: int
    words: str


def off_the_scale(session: Session, customer_id: int, text: str, now: datetime) -> OffScale | None:
    """Return what to say to a text message that is a number and nothing else, off the scale of the pending question."""
    if not is_bare_number(text):
        return None
    pending = session.execute(_PENDING, {"customer_id": customer_id, "since": now - PENDING}).one_or_none()
    if pending is None:
        return None
    ask, survey, _, customer = asked_in(session, pending.message_id)
    first = questions_of(survey)[0]
    closed = survey.state is SurveyState.CLOSED or (survey.closes_at is not None and survey.closes_at <= now)
    if closed or first.kind != "score" or score_in_text(first, text) is not None:
        return None
    return OffScale(ask.id, phrase("off_scale", customer.locale).format(low=first.low, high=first.high))


def _write(
    session: Session,
    ask: SurveyAsk,
    message: Message,
    answers: Mapping[str, tuple[int | None, str | None]],
    *,
    language: str | None,
    suspected_bot: bool,
    now: datetime,
) -> None:
    # Two presses at once take turns; the second corrects the first.
    session.refresh(ask, with_for_update=True)
    for key, (score, words) in answers.items():
        given = insert(SurveyAnswer).values(
            ask_id=ask.id,
            survey_id=ask.survey_id,
            customer_id=ask.customer_id,
            message_id=message.id,
            question=key,
            score=score,
            words=words,
            channel=Channel(message.channel),
            language=(language or "en")[:20],
            answered_at=now,
        )
        session.execute(
            given.on_conflict_do_update(
                index_elements=["ask_id", "question"],
                set_={"score": given.excluded.score, "words": given.excluded.words, "answered_at": now},
            )
        )
    # A person who corrects what a program sent in her name counts again.
    ask.suspected_bot = suspected_bot
    ask.answered_at = ask.answered_at or now
    session.flush()
