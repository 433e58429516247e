"""The first run: a new installation leads through what it needs before the first notice can go out."""

from typing import Annotated

from fastapi import APIRouter, Depends, Request
from fastapi.responses import HTMLResponse, Response

from app import first_steps
from app.web.forms import see_other
from app.web.layout import page
from app.web.remembered import remembered
from outreach.doors import SessionDep, requires
from outreach.permissions import Actor, Permission

router = APIRouter(default_response_class=HTMLResponse, include_in_schema=False)
Anybody = Annotated[Actor, Depends(requires(Permission.SESSION_OWN))]


@router.get("/")
def start(session: SessionDep, _: Anybody) -> Response:
    """Lead to the board, or to the first steps while there is nothing to show on it."""
    return see_other("/problems" if first_steps.begun(session) else "/first-steps")


@router.get("/first-steps")
def show(request: Request, session: SessionDep, actor: Anybody) -> Response:
    """Show what is done and what is to be done."""
    steps = remembered(("first steps",), lambda: first_steps.first_steps(session))
    needed = [step for step in steps if step.needed]
    return page(
        request, session, actor, "first_run/steps.html", steps=steps, done=sum(step.done for step in needed),
        all=len(needed),
    )  # fmt: skip
