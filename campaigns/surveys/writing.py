"""Write a survey down, close it, look at what people will see before they do."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from campaigns.envelopes import content_of
from campaigns.previews import Preview, example_context, preview
from campaigns.surveys.asking import questions_of, survey_links, survey_words
from campaigns.surveys.questions import checked_questions
from campaigns.surveys.words import install_words
from campaigns.wording import newest_version
from outreach import audit
from outreach.errors import Conflict, InvalidInput, NotFound
from outreach.models import Survey, Template
from outreach.security import sign_link
from outreach.settings import get_settings
from outreach.vocabulary import SurveyKind, SurveyState


def make(
    session: Session,
    *,
    key: str,
    name: str,
    kind: SurveyKind,
    actor: str,
    now: datetime,
    questions: Sequence[Any] = (),
    template_key: str | None = None,
    closes_at: datetime | None = None,
) -> Survey:
    """Write a survey down; without questions it has the standard ones of its kind. What was asked never changes."""
    if session.scalar(select(Survey.id).where(Survey.key == key)) is not None:
        raise Conflict(f"There is a survey {key} already; what was asked never changes, so take another key.")
    checked = checked_questions(kind, questions)
    install_words(session)
    template_key = template_key or ("survey" if kind is SurveyKind.CUSTOM else f"survey-{kind}")
    if session.scalar(select(Template.id).where(Template.key == template_key).limit(1)) is None:
        raise InvalidInput(f"There is no template {template_key}; write one first.", where="template_key")
    survey = Survey(
        key=key,
        name=name,
        kind=kind,
        questions=[question.model_dump(mode="json") for question in checked],
        template_key=template_key,
        closes_at=closes_at,
        created_by=actor,
        created_at=now,
    )
    session.add(survey)
    session.flush()
    audit.record(session, actor=actor, action="survey.made", subject=f"survey:{key}", detail={"kind": kind}, now=now)
    return survey


def find(session: Session, key: str) -> Survey:
    """Return the survey with this key; raises `NotFound`."""
    survey = session.scalar(select(Survey).where(Survey.key == key))
    if survey is None:
        raise NotFound(f"There is no survey {key}.")
    return survey


def close(session: Session, *, survey: Survey, actor: str, now: datetime) -> None:
    """Take no more answers and ask nobody any more."""
    if survey.state is SurveyState.CLOSED:
        raise Conflict(f"Survey {survey.key} is closed already.")
    survey.state = SurveyState.CLOSED
    audit.record(session, actor=actor, action="survey.closed", subject=f"survey:{survey.key}", now=now)


@dataclass(frozen=True, slots=True)
class SurveyPreview:
    """What people will get: the messages by channel, and the address of a page that tries out and records nothing."""

    messages: dict[str, Preview]
    page: str


def look(session: Session, *, survey: Survey, language: str = "en") -> SurveyPreview:
    """Render a survey's messages with example facts in a language."""
    page, context = trial_facts(survey, language)
    rows = session.scalars(
        select(Template)
        .where(Template.key == survey.template_key, Template.version == newest_words(session, survey))
        .order_by(Template.id)
    ).all()
    chosen: dict[str, Template] = {}
    for row in rows:
        if row.channel not in chosen or row.language == language:
            chosen[row.channel.value] = row
    return SurveyPreview({channel: preview(content_of(row), context) for channel, row in chosen.items()}, page)


def trial_facts(survey: Survey, language: str) -> tuple[str, dict[str, Any]]:
    """Return the page that tries a survey out, and example facts whose links lead there."""
    base = get_settings().public_url.rstrip("/")
    page = f"{base}/survey-test/{sign_link('survey-test', survey.key, expires_at=None)}"
    questions, context = questions_of(survey), example_context()
    context["links"] |= survey_links(questions, page)
    context["survey"] = survey_words(questions, language)
    return page, context


def newest_words(session: Session, survey: Survey) -> int:
    """Return the newest version of the words in which a survey is asked."""
    return newest_version(session, survey.template_key) or 1
