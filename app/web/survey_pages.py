"""The page on which a customer answers a survey: a link preselects at the most, only a POST records.

Mail scanners follow every link, some with scripts; whatever opens a page changes nothing. A field that people do not
see tells programs that fill in forms; their answers are kept apart and count nowhere.
"""

from datetime import datetime
from pathlib import Path
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Request, Response
from fastapi.responses import HTMLResponse
from fastapi.templating import Jinja2Templates
from sqlalchemy import select

from campaigns.surveys import asking
from campaigns.surveys.questions import Question, read_answers
from outreach import clock
from outreach.doors import SessionDep, public
from outreach.errors import Conflict, InvalidInput, NotFound
from outreach.models import Survey
from outreach.security import read_link
from outreach.settings import get_settings

router = APIRouter(tags=["customer pages"], default_response_class=HTMLResponse, include_in_schema=False)
templates = Jinja2Templates(Path(__file__).parent / "templates")
by_token = [Depends(public("a signed token names one message and one purpose"))]
# The field that people do not see.
HONEYPOT = "website"
_LONGEST_FORM = 60


async def _form(request: Request) -> dict[str, list[str]]:
    """Return the fields of a form with all their values, so that two scores can be told from one."""
    found: dict[str, list[str]] = {}
    async with request.form(max_files=0, max_fields=_LONGEST_FORM) as form:
        for key, value in form.multi_items():
            if isinstance(value, str):
                found.setdefault(key, []).append(value)
    return found


FormDep = Annotated[dict[str, list[str]], Depends(_form)]


@router.get("/survey/{token}", dependencies=by_token)
def survey_page(token: str, request: Request, session: SessionDep, score: str = "") -> Response:
    """Show the questions; `score` of the link only preselects."""
    now = clock.now(session)
    try:
        _, survey, _, customer = asking.asked_in(session, _message_id(token, "survey", now))
        asking.check_open(survey, now)
    except (NotFound, Conflict) as error:
        return _page(request, notice=error.message, status=error.status)
    return _questions(request, asking.questions_of(survey), customer.locale, {"score": score})


@router.post("/survey/{token}", dependencies=by_token)
def answer_survey(token: str, request: Request, session: SessionDep, form: FormDep) -> Response:
    """Record what the customer chose; sent again it corrects the answer."""
    now = clock.now(session)
    message_id = _message_id(token, "survey", now)
    try:
        _, survey, _, customer = asking.asked_in(session, message_id)
        asking.check_open(survey, now)
    except (NotFound, Conflict) as error:
        return _page(request, notice=error.message, status=error.status)
    questions = asking.questions_of(survey)
    try:
        given = _single(form, questions)
        asking.answer_page(
            session, message_id=message_id, given=given, suspected_bot=any(form.get(HONEYPOT, [])), now=now
        )
    except InvalidInput as error:
        return _questions(request, questions, customer.locale, _first(form), mistake=error, status=422)
    return _page(request, done=True)


@router.get("/survey-test/{token}", dependencies=by_token)
def try_page(token: str, request: Request, session: SessionDep, score: str = "", language: str = "en") -> Response:
    """Show the page of a survey as customers will see it; it records nothing."""
    return _questions(request, _tried(token, session), language, {"score": score}, trial=True)


@router.post("/survey-test/{token}", dependencies=by_token)
def try_answer(token: str, request: Request, session: SessionDep, form: FormDep) -> Response:
    """Check an answer as the real page does, and record nothing."""
    questions = _tried(token, session)
    try:
        read_answers(questions, _single(form, questions))
    except InvalidInput as error:
        return _questions(request, questions, "en", _first(form), mistake=error, status=422, trial=True)
    return _page(request, done=True, trial=True)


def _tried(token: str, session: SessionDep) -> list[Question]:
    key = read_link(token, "survey-test", clock.now(session))
    survey = session.scalar(select(Survey).where(Survey.key == key))
    if survey is None:
        raise NotFound("There is no such survey.")
    return asking.questions_of(survey)


def _message_id(token: str, purpose: str, now: datetime) -> UUID:
    try:
        return UUID(read_link(token, purpose, now))
    except ValueError:
        raise NotFound("There is no such survey.") from None


def _single(form: dict[str, list[str]], questions: list[Question]) -> dict[str, str]:
    for question in questions:
        if len(form.get(question.key, [])) > 1:
            raise InvalidInput("Choose one answer only.", where=question.key)
    return _first(form)


def _first(form: dict[str, list[str]]) -> dict[str, str]:
    return {key: values[0] for key, values in form.items()}


def _questions(
    request: Request,
    questions: list[Question],
    language: str | None,
    given: dict[str, str],
    *,
    mistake: InvalidInput | None = None,
    status: int = 200,
    trial: bool = False,
) -> Response:
    first = questions[0].key
    shown = [
        {
            "key": question.key,
            "kind": question.kind,
            "text": question.words_in(language),
            "scores": [str(score) for score in range(question.low, question.high + 1)],
            "choices": question.choices,
            # The links of a message say score, whatever the key of the first question.
            "given": given.get(question.key) or (given.get("score", "") if question.key == first else ""),
        }
        for question in questions
    ]
    return _page(
        request,
        questions=shown,
        language=(language or "en").replace("_", "-").split("-")[0],
        mistake=mistake.message if mistake else None,
        honeypot=HONEYPOT,
        status=status,
        trial=trial,
    )


def _page(request: Request, *, status: int = 200, **values: object) -> Response:
    organisation = get_settings().organisation
    return templates.TemplateResponse(
        request, "customer/survey.html", {"organisation": organisation, **values}, status_code=status
    )
