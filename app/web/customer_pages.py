"""The pages that customers open from a message: unsubscribe, preferences, answer, "is this really from you?".

No login, no JavaScript, nothing personal in an address: a signed token names the message. Mail scanners follow
every link, so that GET and HEAD only show a page; only a POST acts. RFC 8058 one-click unsubscribe posts without a
page, a cookie or a redirect.
"""

from datetime import timedelta
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Form, Request, Response
from fastapi.responses import HTMLResponse
from sqlalchemy.orm import Session

from app.web import customer_answers
from app.web.customer_answers import ANSWERS
from app.web.customer_route import CustomerRoute, customer_page, failure_page
from app.web.rate_limit import RateLimit
from campaigns.verification import find_by_code
from outreach import clock
from outreach.doors import SessionDep, public
from outreach.errors import NotFound
from outreach.models import Campaign, Customer, Message, Problem
from outreach.security import read_link, sign_link
from outreach.vocabulary import CampaignState, Channel, NoticeClass

router = APIRouter(
    tags=["customer pages"], default_response_class=HTMLResponse, route_class=CustomerRoute, include_in_schema=False
)
by_token = [Depends(public("a signed token names one message and one purpose"))]
by_code = [Depends(public("says only whether a code is genuine, and a few times a minute"))]

PREFERENCES_LIFETIME = timedelta(days=30)
verify_limit = RateLimit(burst=10, seconds=6)

Choice = Annotated[str, Form(max_length=40)]
Words = Annotated[str, Form(max_length=5000)]


@router.head("/unsubscribe/{token}", dependencies=by_token)
@router.get("/unsubscribe/{token}", dependencies=by_token)
def unsubscribe_page(token: str, request: Request, session: SessionDep) -> Response:
    """Show what unsubscribing means, with a button."""
    message = _message(session, token, "unsubscribe")
    return _unsubscribe(request, session, message, done=False)


@router.post("/unsubscribe/{token}", dependencies=by_token)
def unsubscribe(token: str, request: Request, session: SessionDep) -> Response:
    """Bar the address of the message; doing it again changes nothing."""
    message = _message(session, token, "unsubscribe")
    customer_answers.unsubscribe(session, message)
    return _unsubscribe(request, session, message, done=True)


@router.head("/preferences/{token}", dependencies=by_token)
@router.get("/preferences/{token}", dependencies=by_token)
def preferences_page(token: str, request: Request, session: SessionDep) -> Response:
    """Show what she hears from us, by channel and class."""
    return _preferences(request, session, _message(session, token, "preferences"), saved=False)


@router.post("/preferences/{token}", dependencies=by_token)
def preferences(
    token: str, request: Request, session: SessionDep, allow: Annotated[list[str], Form(max_length=50)] = []  # noqa: B006
) -> Response:  # fmt: skip
    """Write down what she wants to hear: `allow` holds the ticked boxes, such as `email:service`."""
    message = _message(session, token, "preferences")
    customer = _customer(session, message)
    known = {f"{channel}:{kind}": (channel, kind) for channel in Channel for kind in NoticeClass}
    customer_answers.prefer(session, customer, {known[box] for box in allow if box in known})
    return _preferences(request, session, message, saved=True)


@router.head("/answer/{token}", dependencies=by_token)
@router.get("/answer/{token}", dependencies=by_token)
def answer_page(token: str, request: Request, session: SessionDep, choice: str = "") -> Response:
    """Show the question; `choice` of the link only preselects."""
    message = _message(session, token, "answer")
    return _closed(request, session, message) or _answer(request, session, message, choice=choice)


@router.post("/answer/{token}", dependencies=by_token)
def answer(
    token: str, request: Request, session: SessionDep, choice: Choice = "", words: Words = ""
) -> Response:  # fmt: skip
    """Record what the customer chose or wrote; the same answer twice is one answer."""
    message = _message(session, token, "answer")
    if (closed := _closed(request, session, message)) is not None:
        return closed
    if customer_answers.answer(session, message, choice=choice, words=words):
        return _answer(request, session, message, choice=choice, done=True)
    said = "Choose an answer, or write us a few words."
    return _answer(request, session, message, mistake=said, status=422)


@router.head("/verify", dependencies=by_code)
@router.get("/verify", dependencies=by_code)
def verify_page(request: Request) -> Response:
    """Ask for the code of a message."""
    return customer_page(request, "verify.html", asked=False, found=None)


@router.post("/verify", dependencies=by_code)
def verify(request: Request, session: SessionDep, code: Annotated[str, Form(max_length=40)] = "") -> Response:
    """Say whether a code stands in one of our messages, and when and about what we sent it."""
    if not verify_limit.allows(request.client.host if request.client else "unknown"):
        return failure_page(request, 429, "From your network came many codes within a minute.")
    message_id = find_by_code(session, code)
    message = session.get(Message, message_id) if message_id else None
    about = _problem(session, message) if message else None
    return customer_page(request, "verify.html", asked=True, found=message, about=about)


def _message(session: Session, token: str, purpose: str) -> Message:
    subject = read_link(token, purpose, clock.now(session))
    message = session.get(Message, UUID(subject))
    if message is None:
        raise NotFound("The message that this link belongs to is not kept any more.")
    return message


def _customer(session: Session, message: Message) -> Customer:
    customer = session.get(Customer, message.customer_id)
    if customer is None or customer.erased_at is not None:
        raise NotFound("We keep nothing about you any more, so there is nothing to choose: you will not hear from us.")
    return customer


def _problem(session: Session, message: Message) -> Problem | None:
    campaign = session.get(Campaign, message.campaign_id)
    return session.get(Problem, campaign.problem_id) if campaign and campaign.problem_id else None


def _closed(request: Request, session: Session, message: Message) -> Response | None:
    """Return the page that says so when nobody listens to answers any more."""
    customer, campaign = session.get(Customer, message.customer_id), session.get(Campaign, message.campaign_id)
    if customer is None or customer.erased_at is not None:
        return failure_page(request, 410, "We keep nothing about you any more, an answer would belong to nobody.")
    if campaign is None or campaign.state is CampaignState.CANCELLED:
        return failure_page(request, 410, "We withdrew the message that this question was in.")
    return None


def _unsubscribe(request: Request, session: Session, message: Message, *, done: bool) -> Response:
    expires = clock.now(session) + PREFERENCES_LIFETIME
    chooser = f"/preferences/{sign_link('preferences', str(message.id), expires_at=expires)}"
    return customer_page(request, "unsubscribe.html", channel=message.channel, done=done, chooser=chooser)


def _preferences(request: Request, session: Session, message: Message, *, saved: bool) -> Response:
    choices = customer_answers.choices(session, _customer(session, message))
    return customer_page(request, "preferences.html", choices=choices, saved=saved, words=customer_answers.CLASS_WORDS)


def _answer(
    request: Request, session: Session, message: Message, *, choice: str = "", done: bool = False,
    mistake: str = "", status: int = 200,
) -> Response:  # fmt: skip
    return customer_page(
        request, "answer.html", status, answers=ANSWERS, choice=choice, done=done, mistake=mistake,
        problem=_problem(session, message),
    )  # fmt: skip
