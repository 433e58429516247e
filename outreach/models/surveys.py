"""Surveys: their questions, whom we asked, and what they answered. Scores are kept raw; figures are views of them."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import ForeignKey, Index, SmallInteger, UniqueConstraint, Uuid
from sqlalchemy.dialects.postgresql import JSONB

from outreach.models.base import Base, Mapped, bigint_key, created, mapped_column, word
from outreach.vocabulary import Channel, SurveyKind, SurveyState


class Survey(Base):
    """Questions in several languages (`campaigns.surveys.questions.Question` as JSON), the first one is the score."""

    __tablename__ = "surveys"

    id: Mapped[int] = bigint_key()
    key: Mapped[str] = mapped_column(unique=True)
    name: Mapped[str]
    kind: Mapped[SurveyKind] = word(SurveyKind)
    state: Mapped[SurveyState] = word(SurveyState, default=SurveyState.OPEN, server_default="open")
    questions: Mapped[list[Any]] = mapped_column(JSONB)
    template_key: Mapped[str]
    closes_at: Mapped[datetime | None]
    created_by: Mapped[str]
    created_at: Mapped[datetime] = created()


class SurveyAsk(Base):
    """One survey put to one customer, by one notice; it is pending until `answered_at`.

    `suspected_bot`: the answer came from a program (it filled the field that people do not see); it does not count.
    """

    __tablename__ = "survey_asks"

    id: Mapped[int] = bigint_key()
    survey_id: Mapped[int] = mapped_column(ForeignKey("surveys.id"))
    customer_id: Mapped[int]
    notice_id: Mapped[int] = mapped_column(unique=True)
    campaign_id: Mapped[int]
    problem_id: Mapped[int | None]
    asked_at: Mapped[datetime]
    answered_at: Mapped[datetime | None]
    suspected_bot: Mapped[bool] = mapped_column(server_default="false", default=False)

    __table_args__ = (
        Index("ix_survey_asks_customer_id", "customer_id", "asked_at"),
        Index("ix_survey_asks_survey_id", "survey_id", "asked_at"),
    )


class SurveyAnswer(Base):
    """The answer to one question; answering again corrects it."""

    __tablename__ = "survey_answers"

    id: Mapped[int] = bigint_key()
    ask_id: Mapped[int] = mapped_column(ForeignKey("survey_asks.id", ondelete="CASCADE"))
    survey_id: Mapped[int]
    customer_id: Mapped[int]
    message_id: Mapped[UUID | None] = mapped_column(Uuid)
    question: Mapped[str]
    score: Mapped[int | None] = mapped_column(SmallInteger)
    words: Mapped[str | None]
    channel: Mapped[Channel] = word(Channel)
    language: Mapped[str]
    answered_at: Mapped[datetime]

    __table_args__ = (
        UniqueConstraint("ask_id", "question"),
        Index("ix_survey_answers_customer_id", "customer_id", "answered_at"),
        Index("ix_survey_answers_survey_id", "survey_id", "answered_at"),
    )
