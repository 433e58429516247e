"""Writing a survey down: its kind, its questions in several languages, until when it takes answers."""

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request
from fastapi.responses import HTMLResponse, Response
from sqlalchemy import select
from sqlalchemy.orm import Session

from app.web.forms import Mistake, Sent, SentForm, attempt, read, see_other
from app.web.layout import page
from app.web.remembered import forget
from campaigns.surveys import writing
from campaigns.surveys.questions import MOST_QUESTIONS, standard_questions
from campaigns.surveys.schemas import SurveyIn
from outreach import clock
from outreach.doors import SessionDep, requires
from outreach.models import Template
from outreach.permissions import Actor, Permission
from outreach.vocabulary import SurveyKind

router = APIRouter(default_response_class=HTMLResponse, include_in_schema=False)
Writer = Annotated[Actor, Depends(requires(Permission.CAMPAIGNS_WRITE))]

KIND_MEANS = {
    SurveyKind.CSAT: "satisfaction, 1 to 5",
    SurveyKind.NPS: "recommendation, 0 to 10",
    SurveyKind.CES: "effort, 1 to 7",
    SurveyKind.CUSTOM: "questions of one's own",
}


@router.get("/surveys/new")
def new_survey(request: Request, session: SessionDep, actor: Writer) -> Response:
    """Show the form of a new survey."""
    return _editor(request, session, actor, Sent(), [])


@router.post("/surveys/new/edit")
def restructure(request: Request, session: SessionDep, actor: Writer, sent: SentForm) -> Response:
    """Add a question or take one away."""
    questions = _questions(sent)
    verb, _, place = sent.text("do").partition(":")
    if verb == "add" and place in ("score", "choice", "words") and len(questions) < MOST_QUESTIONS:
        questions.append({"kind": place, "text": {"en": ""}, "low": 1, "high": 5, "choices": [], "required": False})
    elif verb == "remove" and place.isdecimal() and int(place[:3]) < len(questions):
        questions.pop(int(place[:3]))
    if "HX-Request" not in request.headers:
        return _editor(request, session, actor, sent, questions)
    return page(request, session, actor, "surveys/questions.html", questions=questions, sent=sent)


@router.post("/surveys/new")
def make(request: Request, session: SessionDep, actor: Writer, sent: SentForm) -> Response:
    """Write a survey down."""
    made = ""
    with attempt(session) as tried:
        given: dict[str, Any] = {**sent.fields("key", "name", "kind", "template_key")}
        if closes_at := sent.moment("closes_at"):
            given["closes_at"] = closes_at
        kind = SurveyKind(given["kind"]) if given.get("kind") in set(SurveyKind) else SurveyKind.CUSTOM
        own = _keyed(_questions(sent))
        given["questions"] = [each.model_dump(mode="json") for each in standard_questions(kind)] + own if own else []
        wanted = read(SurveyIn, given)
        made = writing.make(session, **wanted.model_dump(), actor=actor.name, now=clock.now(session)).key
    if tried.mistake:
        return _editor(request, session, actor, sent, _questions(sent), tried.mistake)
    forget("surveys")
    return see_other(f"/surveys/{made}?said=made")


def _questions(sent: Sent) -> list[dict[str, Any]]:
    found = []
    for number in range(MOST_QUESTIONS):
        at = f"question.{number}"
        if not (kind := sent.text(f"{at}:kind")):
            break
        texts = {"en": sent.text(f"{at}:text")}
        for line in sent.text(f"{at}:languages").splitlines():
            language, _, words = line.partition(":")
            if words.strip():
                texts[language.strip().lower()] = words.strip()
        found.append(
            {
                "kind": kind,
                "text": texts,
                "low": _whole(sent.text(f"{at}:low"), 1),
                "high": _whole(sent.text(f"{at}:high"), 5),
                "choices": [each.strip() for each in sent.text(f"{at}:choices").splitlines() if each.strip()],
                "required": bool(sent.text(f"{at}:required")),
            }
        )
    return found


def _keyed(questions: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{"key": f"q{number}", **question} for number, question in enumerate(questions, 1)]


def _whole(text: str, otherwise: int) -> int:
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 4 else otherwise


def _editor(
    request: Request,
    session: Session,
    actor: Actor,
    sent: Sent,
    questions: list[dict[str, Any]],
    mistake: Mistake | None = None,
) -> Response:
    keys = session.scalars(select(Template.key).distinct().order_by(Template.key)).all()
    return page(
        request, session, actor, "surveys/new.html", status=422 if mistake else 200, mistake=mistake, sent=sent,
        questions=questions, kinds=KIND_MEANS, template_keys=keys,
    )  # fmt: skip
