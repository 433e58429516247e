"""Surveys: the list with its scores, one survey's results as charts, its comments, how it looks, a test of it."""

from typing import Annotated

from fastapi import APIRouter, BackgroundTasks, Depends, Path, Query, Request
from fastapi.responses import HTMLResponse, Response
from sqlalchemy import select
from sqlalchemy.orm import Session

from app.web import survey_editor
from app.web.forms import Mistake, Sent, SentForm, attempt, see_other
from app.web.launch import MESSAGE_POLICY
from app.web.layout import page
from app.web.remembered import forget, remembered
from campaigns import trial_sends
from campaigns.surveys import results as counting
from campaigns.surveys import trials, writing
from campaigns.surveys.asking import questions_of
from campaigns.surveys.results import By
from campaigns.surveys.statistics import DETRACTORS_TO, EASY_FROM, PROMOTERS_FROM, SATISFIED_FROM
from outreach import clock
from outreach.doors import PageDep, SessionDep, requires
from outreach.errors import InvalidInput, NotFound
from outreach.models import Survey
from outreach.pagination import fetch_page
from outreach.permissions import Actor, Permission
from outreach.vocabulary import Channel, SurveyKind

router = APIRouter(default_response_class=HTMLResponse, include_in_schema=False)
router.include_router(survey_editor.router)  # first: /surveys/new is no key
Reader = Annotated[Actor, Depends(requires(Permission.CAMPAIGNS_READ))]
Writer = Annotated[Actor, Depends(requires(Permission.CAMPAIGNS_WRITE))]
Key = Annotated[str, Path(max_length=64)]
Language = Annotated[str, Query(pattern=r"^[a-z]{2,3}$")]

COMMENTS = 20
SAID = {
    "made": "Written down. A step of a programme asks it.",
    "close": "Closed. It asks nobody any more and takes no answers.",
    "test": "The test is on its way; what became of it shows below in a moment.",
}
HEADLINES = {SurveyKind.CSAT: "Satisfied", SurveyKind.NPS: "NPS", SurveyKind.CES: "Ease", SurveyKind.CUSTOM: "Mean"}


def scale_of(survey: Survey) -> tuple[float, float]:
    """Return the ends of the scale on which the headline of a survey lies."""
    first = questions_of(survey)[0]
    return {SurveyKind.CSAT: (0.0, 100.0), SurveyKind.NPS: (-100.0, 100.0)}.get(survey.kind, (first.low, first.high))


def tone(survey: Survey, score: int) -> str:
    """Return the colour of one score: what counts as good, as bad, and between."""
    if survey.kind is SurveyKind.CUSTOM:
        return "way"
    good, bad = {
        SurveyKind.CSAT: (SATISFIED_FROM, 2),
        SurveyKind.NPS: (PROMOTERS_FROM, DETRACTORS_TO),
        SurveyKind.CES: (EASY_FROM, 3),
    }[survey.kind]
    return "good" if score >= good else "poor" if score <= bad else "fair"


def headline(survey: Survey, value: float) -> str:
    """Return the figure of a survey as people write it: 82 %, +34, 5.9."""
    if survey.kind is SurveyKind.CSAT:
        return f"{value:.0f} %"
    return f"{value:+.0f}" if survey.kind is SurveyKind.NPS else f"{value:.1f}"


@router.get("/surveys")
def board(request: Request, session: SessionDep, actor: Reader, paging: PageDep) -> Response:
    """List surveys, newest first, each with its score."""
    rows, following = fetch_page(session, select(Survey), Survey.id, paging)
    totals = remembered(
        ("surveys", tuple(row.id for row in rows)), lambda: counting.totals(session, surveys=rows), at_least=5
    )
    return page(
        request, session, actor, "surveys/board.html", rows=[(row, totals[row.id], scale_of(row)) for row in rows],
        following=following, headline=headline, names=HEADLINES,
    )  # fmt: skip


@router.get("/surveys/{key}")
def show(
    request: Request,
    session: SessionDep,
    actor: Reader,
    key: Key,
    by: By | None = None,
    contains: Annotated[str, Query(max_length=200)] = "",
    after: Annotated[int | None, Query(ge=1, le=2**62)] = None,
    said: Annotated[str, Query(max_length=20)] = "",
) -> Response:
    """Show what a survey found."""
    survey = writing.find(session, key)
    return _results_page(request, session, actor, survey, by, contains, after, said=SAID.get(said, ""))


@router.post("/surveys/{key}/close")
def close(request: Request, session: SessionDep, actor: Writer, key: Key) -> Response:
    """Take no more answers and ask nobody any more."""
    survey = writing.find(session, key)
    with attempt(session) as tried:
        session.refresh(survey, with_for_update=True)
        writing.close(session, survey=survey, actor=actor.name, now=clock.now(session))
    if tried.mistake:
        return _results_page(request, session, actor, writing.find(session, key), mistake=tried.mistake)
    forget("surveys")
    return see_other(f"/surveys/{key}?said=close")


@router.get("/surveys/{key}/preview")
def preview(
    request: Request,
    session: SessionDep,
    actor: Reader,
    key: Key,
    language: Language = "en",
    said: Annotated[str, Query(max_length=20)] = "",
) -> Response:
    """Show what people will get, and a page to try the survey out."""
    return _preview_page(request, session, actor, key, language, said=SAID.get(said, ""))


@router.get("/surveys/{key}/message")
def show_message(session: SessionDep, _: Reader, key: Key, language: Language = "en") -> Response:
    """Return the email of a survey, for a frame in which nothing runs."""
    found = writing.look(session, survey=writing.find(session, key), language=language).messages.get("email")
    if found is None:
        raise NotFound("This survey is not asked by email.")
    headers = {"Content-Security-Policy": MESSAGE_POLICY, "X-Frame-Options": "SAMEORIGIN"}
    return HTMLResponse(found.rendered.html or "", headers=headers)


@router.post("/surveys/{key}/test")
def send_test(
    request: Request, session: SessionDep, actor: Writer, key: Key, sent: SentForm, background: BackgroundTasks
) -> Response:
    """Send the survey to an address of our own; its links record nothing."""
    language = sent.text("language", "en")
    with attempt(session) as tried:
        if language not in _languages(writing.find(session, key)):
            raise InvalidInput("Choose one of the survey's languages.", where="language")
        if sent.text("channel") not in set(Channel):
            raise InvalidInput("Choose a channel.", where="channel")
        channel = Channel(sent.text("channel"))
        address = trial_sends.check_address(channel, sent.text("address"))
    if tried.mistake:
        shown = language if language in _languages(writing.find(session, key)) else "en"
        return _preview_page(request, session, actor, key, shown, mistake=tried.mistake, sent=sent)
    background.add_task(trials.send_trial, key, channel=channel, address=address, language=language, actor=actor.name)
    return see_other(f"/surveys/{key}/preview?language={language}&said=test")


def _languages(survey: Survey) -> list[str]:
    return sorted({language for question in questions_of(survey) for language in question.text})


def _preview_page(
    request: Request,
    session: Session,
    actor: Actor,
    key: str,
    language: str,
    *,
    said: str = "",
    mistake: Mistake | None = None,
    sent: Sent | None = None,
) -> Response:
    survey = writing.find(session, key)
    found = writing.look(session, survey=survey, language=language)
    return page(
        request, session, actor, "surveys/preview.html", status=422 if mistake else 200, survey=survey,
        messages=found.messages, trial_page=found.page, language=language, languages=_languages(survey), said=said,
        mistake=mistake, sent=sent or Sent(), trials=trial_sends.newest(session, trials.subject_of(key)),
    )  # fmt: skip


def _results_page(
    request: Request,
    session: Session,
    actor: Actor,
    survey: Survey,
    by: By | None = None,
    contains: str = "",
    after: int | None = None,
    *,
    said: str = "",
    mistake: Mistake | None = None,
) -> Response:
    found = remembered(("survey", survey.id, by), lambda: counting.results(session, survey=survey, by=by))
    comments = []
    if Permission.CUSTOMERS_READ in actor.permissions:
        comments = counting.comments(session, survey=survey, contains=contains, limit=COMMENTS + 1, before=after)
    first = questions_of(survey)[0]
    return page(
        request,
        session,
        actor,
        "surveys/survey.html",
        status=422 if mistake else 200,
        survey=survey,
        found=found,
        by=by,
        ways=tuple(By),
        scale=scale_of(survey),
        scores=[(score, tone(survey, score)) for score in range(first.low, first.high + 1)],
        has_score=first.kind == "score",
        headline=headline,
        name=HEADLINES[survey.kind],
        question=first.words_in("en"),
        comments=comments[:COMMENTS],
        following=comments[COMMENTS - 1]["id"] if len(comments) > COMMENTS else None,
        contains=contains,
        said=said,
        mistake=mistake,
    )
