"""Playbooks: what happens by itself when a problem becomes known or is resolved, and with whose approval."""

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Query, Request
from fastapi.responses import HTMLResponse, Response
from sqlalchemy.orm import Session

from app.web.forms import Mistake, Sent, SentForm, attempt, read, see_other
from app.web.launch import read_ladder
from app.web.layout import page
from campaigns import playbook_verbs, wording
from campaigns.playbook_verbs import NewPlaybookIn, PlaybookIn
from outreach import clock
from outreach.doors import SessionDep, requires
from outreach.models import Playbook
from outreach.permissions import Actor, Permission
from outreach.vocabulary import NoticeClass

router = APIRouter(default_response_class=HTMLResponse, include_in_schema=False)
Reader = Annotated[Actor, Depends(requires(Permission.CAMPAIGNS_READ))]
Approver = Annotated[Actor, Depends(requires(Permission.CAMPAIGNS_APPROVE))]
Key = Annotated[str, Path(max_length=64)]

TICKET_ACTIONS = {
    "note": "write a note for the agents",
    "reply": "answer each customer at the desk, once the campaign is approved",
    "solve": "answer and solve each ticket, once the campaign is approved",
}
# What stands in the form besides the channels.
FIELDS = ("name", "notice_class", "template_key", "check_in_days", "check_in_template_key", "ticket_action",
          "ticket_comment")  # fmt: skip
TICKED = ("automatic", "active")


@router.get("/playbooks")
def board(request: Request, session: SessionDep, actor: Reader) -> Response:
    """List the playbooks."""
    rows = playbook_verbs.listed(session)
    return page(request, session, actor, "playbooks/board.html", rows=rows, ticket_actions=TICKET_ACTIONS)


@router.get("/playbooks/new")
def new(request: Request, session: SessionDep, actor: Approver) -> Response:
    """Show the form of a new playbook, for a change of problems that none acts on yet."""
    taken = {row.trigger for row in playbook_verbs.listed(session) if row.active}
    free = [trigger for trigger in playbook_verbs.KINDS if trigger not in taken]
    begun = [("trigger", free[0] if free else ""), ("active", "1" if free else ""), ("use_email", "1")]
    return _form(request, session, actor, None, Sent([*begun, ("notice_class", NoticeClass.SERVICE)]))


@router.post("/playbooks/new")
def make(request: Request, session: SessionDep, actor: Approver, sent: SentForm) -> Response:
    """Write a playbook down."""
    with attempt(session) as tried:
        plan = read(NewPlaybookIn, _given(sent) | sent.fields("key", "trigger"))
        playbook_verbs.make(session, given=plan, actor=actor.name, now=clock.now(session))
    if tried.mistake:
        return _form(request, session, actor, None, sent, mistake=tried.mistake)
    return see_other(f"/playbooks/{plan.key}?said=saved")


@router.get("/playbooks/{key}")
def show(
    request: Request, session: SessionDep, actor: Reader, key: Key, said: Annotated[str, Query(max_length=20)] = ""
) -> Response:
    """Show one playbook, as a form for whoever may change it."""
    words = "Saved. It holds for what happens from now on; open campaigns keep what they have." if said else ""
    playbook = playbook_verbs.find(session, key)
    return _form(request, session, actor, playbook, _as_form(playbook), said=words)


@router.post("/playbooks/{key}")
def change(request: Request, session: SessionDep, actor: Approver, key: Key, sent: SentForm) -> Response:
    """Change a playbook."""
    with attempt(session) as tried:
        plan = read(PlaybookIn, _given(sent))
        playbook_verbs.change(session, key=key, given=plan, actor=actor.name, now=clock.now(session))
    if tried.mistake:
        return _form(request, session, actor, playbook_verbs.find(session, key), sent, mistake=tried.mistake)
    return see_other(f"/playbooks/{key}?said=saved")


def _given(sent: Sent) -> dict[str, Any]:
    """Return what a form says of a playbook."""
    ticked = {name: bool(sent.text(name)) for name in TICKED}
    return {**sent.fields(*FIELDS), **ticked, "ladder": read_ladder(sent)}


def _form(
    request: Request,
    session: Session,
    actor: Actor,
    playbook: Playbook | None,
    form: Sent,
    *,
    said: str = "",
    mistake: Mistake | None = None,
) -> Response:
    return page(
        request, session, actor, "playbooks/playbook.html", status=422 if mistake else 200, playbook=playbook,
        form=form, template_keys=[line.key for line in wording.lines(session)], classes=tuple(NoticeClass),
        triggers=tuple(playbook_verbs.KINDS), ticket_actions=TICKET_ACTIONS, said=said, mistake=mistake,
    )  # fmt: skip


def _as_form(playbook: Playbook) -> Sent:
    """Return what stands in the form of a playbook that nobody has touched."""
    pairs = [(name, str(getattr(playbook, name) or "")) for name in FIELDS]
    pairs += [(name, "1" if getattr(playbook, name) else "") for name in TICKED]
    for place, step in enumerate(playbook.ladder, start=1):
        pairs += [(f"use_{step['channel']}", "1"), (f"place_{step['channel']}", str(place))]
        pairs += [(f"after_{step['channel']}", str(step.get("after_hours") or ""))]
    return Sent(pairs)
