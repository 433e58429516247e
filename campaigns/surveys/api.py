"""The JSON routes of surveys: write, close, look, results, comments."""

import dataclasses
from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Query, status
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field
from sqlalchemy import select

from campaigns.surveys import results as counting
from campaigns.surveys import writing
from outreach import clock
from outreach.doors import PageDep, SessionDep, requires
from outreach.models import Survey
from outreach.pagination import Listing, fetch_page
from outreach.permissions import Actor, Permission
from outreach.vocabulary import SurveyKind, SurveyState

router = APIRouter(prefix="/api/surveys", tags=["surveys"])
reads = [Depends(requires(Permission.CAMPAIGNS_READ))]
reads_people = [Depends(requires(Permission.CUSTOMERS_READ))]
Writer = Annotated[Actor, Depends(requires(Permission.CAMPAIGNS_WRITE))]
Key = Annotated[str, Path(max_length=64)]


class SurveyIn(BaseModel):
    """A survey; without questions it has the standard ones of its kind."""

    model_config = ConfigDict(extra="forbid")

    key: Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
    name: Annotated[str, Field(min_length=1, max_length=200)]
    kind: SurveyKind
    questions: Annotated[list[dict[str, Any]], Field(max_length=20)] = []
    template_key: Annotated[str, Field(min_length=1, max_length=64)] | None = None
    closes_at: AwareDatetime | None = None


class SurveyOut(BaseModel):
    """One survey."""

    model_config = ConfigDict(from_attributes=True)

    key: str
    name: str
    kind: SurveyKind
    state: SurveyState
    questions: list[Any]
    template_key: str
    closes_at: datetime | None
    created_by: str
    created_at: datetime


class FigureOut(BaseModel):
    """A value with the ends of its interval (95 %)."""

    value: float
    low: float
    high: float


class FiguresOut(BaseModel):
    """CSAT in %, NPS, or the mean of CES as `headline`; `top_share` is the share of 5 to 7 for CES."""

    n: int
    headline: FigureOut | None
    top_share: FigureOut | None
    mean: float | None


class PartOut(BaseModel):
    """The figures of one group; `response_rate` is completed / delivered."""

    name: str
    asked: int
    delivered: int
    completed: int
    response_rate: float | None
    counts: dict[int, int]
    figures: FiguresOut


class ResultsOut(BaseModel):
    """What a survey found."""

    survey: str
    total: PartOut
    trend: list[PartOut]
    groups: list[PartOut]
    suspected_bots: int


class MessageOut(BaseModel):
    """What one channel will say."""

    subject: str | None
    text: str | None
    html: str | None


class SurveyPreviewOut(BaseModel):
    """What people will get; the page tries out and records nothing."""

    messages: dict[str, MessageOut]
    page: str


class CommentOut(BaseModel):
    """What somebody wrote, with her score."""

    id: int
    customer: str
    words: str
    question: str
    score: int | None
    channel: str
    language: str
    problem: str | None
    answered_at: datetime


@router.get("", dependencies=reads)
def list_surveys(session: SessionDep, page: PageDep) -> Listing[SurveyOut]:
    """List surveys, newest first."""
    rows, following = fetch_page(session, select(Survey), Survey.id, page)
    return Listing(items=[SurveyOut.model_validate(survey) for survey in rows], next=following)


@router.post("", status_code=status.HTTP_201_CREATED)
def make_survey(given: SurveyIn, session: SessionDep, actor: Writer) -> SurveyOut:
    """Write a survey down; a programme's step asks it."""
    survey = writing.make(session, **given.model_dump(), actor=actor.name, now=clock.now(session))
    return SurveyOut.model_validate(survey)


@router.get("/{key}", dependencies=reads)
def show_survey(key: Key, session: SessionDep) -> SurveyOut:
    """Show one survey."""
    return SurveyOut.model_validate(writing.find(session, key))


@router.post("/{key}/close")
def close_survey(key: Key, session: SessionDep, actor: Writer) -> SurveyOut:
    """Take no more answers and ask nobody any more."""
    survey = writing.find(session, key)
    session.refresh(survey, with_for_update=True)
    writing.close(session, survey=survey, actor=actor.name, now=clock.now(session))
    return SurveyOut.model_validate(survey)


@router.get("/{key}/preview", dependencies=reads)
def preview_survey(
    key: Key, session: SessionDep, language: Annotated[str, Query(pattern=r"^[a-z]{2,3}$")] = "en"
) -> SurveyPreviewOut:
    """Show what people will get, and a page to try the survey out."""
    found = writing.look(session, survey=writing.find(session, key), language=language)
    messages = {
        channel: MessageOut(subject=each.rendered.subject, text=each.rendered.text, html=each.rendered.html)
        for channel, each in found.messages.items()
    }
    return SurveyPreviewOut(messages=messages, page=found.page)


@router.get("/{key}/results", dependencies=reads)
def show_results(
    key: Key,
    session: SessionDep,
    by: counting.By | None = None,
    since: AwareDatetime | None = None,
    until: AwareDatetime | None = None,
) -> ResultsOut:
    """Show what a survey found, with intervals, month by month and by group."""
    found = counting.results(session, survey=writing.find(session, key), by=by, since=since, until=until)
    return ResultsOut.model_validate(dataclasses.asdict(found))


@router.get("/{key}/comments", dependencies=reads_people)
def show_comments(
    key: Key, session: SessionDep, page: PageDep, contains: Annotated[str, Query(max_length=200)] = ""
) -> Listing[CommentOut]:
    """Show what people wrote, newest first; `contains` searches whatever the case and accents."""
    rows = counting.comments(
        session, survey=writing.find(session, key), contains=contains, limit=page.limit + 1, before=page.after
    )
    items = [CommentOut.model_validate(row) for row in rows[: page.limit]]
    return Listing(items=items, next=items[-1].id if len(rows) > page.limit else None)
