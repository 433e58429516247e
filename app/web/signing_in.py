"""Signing in and out."""

from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request
from fastapi.responses import HTMLResponse, Response

from app.web.forms import Mistake, SentForm, safe_path, see_other
from app.web.layout import bare_page
from outreach import clock, operators
from outreach.doors import (
    COOKIE,
    SessionDep,
    check_same_origin,
    clear_session_cookie,
    public,
    requires,
    set_session_cookie,
)
from outreach.permissions import Actor, Permission

router = APIRouter(default_response_class=HTMLResponse, include_in_schema=False)
Anybody = Annotated[Actor, Depends(requires(Permission.SESSION_OWN))]
Next = Annotated[str, Query(alias="next", max_length=2000)]

WRONG = "Address or password is wrong, or there were too many tries; wait a few minutes."


@router.get("/sign-in", dependencies=[Depends(public("this is how one signs in"))])
def sign_in_page(request: Request, next_path: Next = "/") -> Response:
    """Ask for address and password."""
    return bare_page(request, "sign_in.html", now=None, next_path=safe_path(next_path), email="")


@router.post("/sign-in", dependencies=[Depends(public("this is how one signs in"))])
def sign_in(request: Request, session: SessionDep, sent: SentForm) -> Response:
    """Open a session and go where the person wanted to."""
    check_same_origin(request)  # nobody else's page may sign a browser in to an account of theirs
    now, email, next_path = clock.now(session), sent.text("email"), safe_path(sent.text("next"))
    password = next((value for key, value in sent.pairs if key == "password"), "")
    operator = operators.authenticate(session, email=email[:254], password=password[:1024], now=now)
    if operator is None:
        return bare_page(
            request, "sign_in.html", now=None, status=401, next_path=next_path, email=email, mistake=Mistake(WRONG)
        )
    opened = operators.open_session(session, operator=operator, now=now, replaces=request.cookies.get(COOKIE))
    response = see_other(next_path)
    set_session_cookie(response, opened)
    return response


@router.post("/sign-out")
def sign_out(request: Request, session: SessionDep, actor: Anybody) -> Response:
    """End this session."""
    token = request.cookies.get(COOKIE)
    if actor.operator_id is not None and token:
        operators.close_session(session, token=token, actor=actor, now=clock.now(session))
    response = see_other("/sign-in")
    clear_session_cookie(response)
    return response
