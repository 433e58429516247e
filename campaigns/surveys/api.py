"""The JSON routes of surveys: write, close, look, results, comments."""

import dataclasses
from typing import Annotated

from fastapi import APIRouter, Depends, Path, Query, status
from pydantic import AwareDatetime
from sqlalchemy import select

from campaigns.surveys import results as counting
from campaigns.surveys import writing
from campaigns.surveys.schemas import CommentOut, MessageOut, ResultsOut, SurveyIn, SurveyOut, SurveyPreviewOut
from outreach import clock
from outreach.doors import PageDep, SessionDep, requires
from outreach.models import Survey
from outreach.pagination import Listing, fetch_page
from outreach.permissions import Actor, Permission

router = APIRouter(prefix="/api/surveys", tags=["surveys"])
reads = [Depends(requires(Permission.CAMPAIGNS_READ))]
reads_people = [Depends(requires(Permission.CUSTOMERS_READ))]
Writer = Annotated[Actor, Depends(requires(Permission.CAMPAIGNS_WRITE))]
Key = Annotated[str, Path(max_length=64)]


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
