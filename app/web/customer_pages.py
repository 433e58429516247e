"""The pages that customers open from a message: unsubscribe, answer, "is this really from you?".

No login, no JavaScript, nothing personal in an address: a signed token names the message. Mail scanners follow
every link, so that GET only shows a page; only a POST acts. RFC 8058 one-click unsubscribe posts without a page.
"""

from pathlib import Path
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Form, Request, Response
from fastapi.responses import HTMLResponse
from fastapi.templating import Jinja2Templates
from sqlalchemy.orm import Session

from campaigns.verification import find_by_code
from outreach import clock
from outreach.doors import SessionDep, public
from outreach.models import Campaign, Message, Problem
from outreach.security import read_link
from outreach.settings import get_settings
from outreach.vocabulary import Intent
from webhooks import replies
from webhooks.intents import Understanding, understand

router = APIRouter(tags=["customer pages"], default_response_class=HTMLResponse)
templates = Jinja2Templates(Path(__file__).parent / "templates")
by_token = [Depends(public("a signed token names one message and one purpose"))]

ANSWERS = {
    "solved": (Intent.SOLVED, "Yes, it is solved"),
    "still_broken": (Intent.STILL_BROKEN, "No, it is still broken"),
    "not_me": (Intent.NOT_ME, "This does not concern me"),
}


@router.get("/unsubscribe/{token}", dependencies=by_token)
def unsubscribe_page(token: str, request: Request, session: SessionDep) -> Response:
    """Show what unsubscribing means, with a button."""
    message = _message(session, token, "unsubscribe")
    return _page(request, "unsubscribe.html", channel=message.channel, done=False)


@router.post("/unsubscribe/{token}", dependencies=by_token)
def unsubscribe(token: str, request: Request, session: SessionDep) -> Response:
    """Bar the address of the message; doing it again changes nothing."""
    message = _message(session, token, "unsubscribe")
    meaning = Understanding(Intent.STOP, False, None, "unsubscribe link")
    _keep_answer(session, message, "Unsubscribed by the link of the message.", meaning)
    return _page(request, "unsubscribe.html", channel=message.channel, done=True)


@router.get("/answer/{token}", dependencies=by_token)
def answer_page(token: str, request: Request, session: SessionDep, choice: str = "") -> Response:
    """Show the question; `choice` of the link only preselects."""
    message = _message(session, token, "answer")
    return _page(request, "answer.html", answers=ANSWERS, choice=choice, done=False, problem=_problem(session, message))


@router.post("/answer/{token}", dependencies=by_token)
def answer(
    token: str,
    request: Request,
    session: SessionDep,
    choice: Annotated[str, Form(max_length=40)] = "",
    words: Annotated[str, Form(max_length=5000)] = "",
) -> Response:
    """Record what the customer chose or wrote."""
    message = _message(session, token, "answer")
    if choice in ANSWERS:
        intent, label = ANSWERS[choice]
        _keep_answer(session, message, f"{label}. {words}".strip(), Understanding(intent, bool(words), None, "page"))
    elif words.strip():
        _keep_answer(session, message, words, understand(words, question_pending=True))
    else:
        return _page(
            request, "answer.html", answers=ANSWERS, choice="", done=False, problem=_problem(session, message),
            mistake="Choose an answer, or write us a few words.",
        )  # fmt: skip
    return _page(request, "answer.html", answers=ANSWERS, choice=choice, done=True, problem=_problem(session, message))


@router.get("/verify", dependencies=[Depends(public("says only whether a code is genuine"))])
def verify_page(request: Request) -> Response:
    """Ask for the code of a message."""
    return _page(request, "verify.html", asked=False, genuine=False)


@router.post("/verify", dependencies=[Depends(public("says only whether a code is genuine"))])
def verify(request: Request, session: SessionDep, code: Annotated[str, Form(max_length=40)] = "") -> Response:
    """Say whether a code stands in one of our messages."""
    genuine = find_by_code(session, code) is not None
    return _page(request, "verify.html", asked=True, genuine=genuine)


def _message(session: Session, token: str, purpose: str) -> Message:
    subject = read_link(token, purpose, clock.now(session))
    return session.get_one(Message, UUID(subject))


def _problem(session: Session, message: Message) -> Problem | None:
    campaign = session.get(Campaign, message.campaign_id)
    return session.get(Problem, campaign.problem_id) if campaign and campaign.problem_id else None


def _keep_answer(session: Session, message: Message, words: str, meaning: Understanding) -> None:
    replies.keep(
        session,
        channel=message.channel,
        sender=message.address,
        words=words,
        meaning=meaning,
        message_id=message.id,
        inbound_event_id=None,
        now=clock.now(session),
    )


def _page(request: Request, name: str, **values: object) -> Response:
    organisation = get_settings().organisation
    return templates.TemplateResponse(request, f"customer/{name}", {"organisation": organisation, **values})
