"""The people and programs that work here: operators with their roles, API keys with what they may do."""

import secrets
from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Depends, Path, Request
from fastapi.responses import HTMLResponse, Response
from pydantic import SecretStr
from sqlalchemy import select
from sqlalchemy.orm import Session

from app.web.forms import Mistake, Sent, SentForm, attempt, read, see_other
from app.web.layout import page
from outreach import clock, operators
from outreach.doors import PageDep, SessionDep, requires
from outreach.models import ApiKey, Operator
from outreach.pagination import fetch_page
from outreach.permissions import Actor, Permission, permissions_of
from outreach.schemas import ApiKeyIn, OperatorIn, RoleIn
from outreach.vocabulary import Role

router = APIRouter(default_response_class=HTMLResponse, include_in_schema=False)
Manager = Annotated[Actor, Depends(requires(Permission.OPERATORS_MANAGE))]
Email = Annotated[str, Path(max_length=254)]

SAID = {
    "role": "The new role holds from now on; they have to sign in again.",
    "disabled": "Shut out. The account stays, because the audit log names it.",
    "revoked": "The key is revoked; whoever uses it is refused from now on.",
}
ROLE_MEANS = {
    Role.VIEWER: "sees problems, scopes, campaigns and customers",
    Role.AUTHOR: "also reports problems, says whom they touch, writes and answers",
    Role.APPROVER: "also approves what goes out, imports, reads the audit log",
    Role.ADMIN: "also connects systems and manages people and keys",
}


@router.get("/operators")
def board(request: Request, session: SessionDep, actor: Manager, paging: PageDep, said: str = "") -> Response:
    """List who works here."""
    rows, following = fetch_page(session, select(Operator), Operator.id, paging)
    return page(
        request, session, actor, "operators/board.html", rows=rows, following=following, said=SAID.get(said[:20], ""),
    )  # fmt: skip


@router.get("/operators/new")
def new(request: Request, session: SessionDep, actor: Manager) -> Response:
    """Show the form to add somebody."""
    return _new_page(request, session, actor, Sent())


@router.post("/operators/new")
def add(request: Request, session: SessionDep, actor: Manager, sent: SentForm) -> Response:
    """Add an operator with a password that is made here and shown this once."""
    password = secrets.token_urlsafe(15)
    with attempt(session) as tried:
        given = read(OperatorIn, {**sent.fields("email", "name", "role"), "password": SecretStr(password)})
        operators.create_operator(
            session, email=given.email, name=given.name, role=given.role, password=password, actor=actor,
            now=clock.now(session),
        )  # fmt: skip
    if tried.mistake:
        return _new_page(request, session, actor, sent, tried.mistake)
    return page(request, session, actor, "operators/added.html", operator=given, password=password)


@router.get("/operators/{email}")
def show(request: Request, session: SessionDep, actor: Manager, email: Email) -> Response:
    """Show one operator."""
    return _one(request, session, actor, email)


@router.post("/operators/{email}/role")
def change_role(request: Request, session: SessionDep, actor: Manager, email: Email, sent: SentForm) -> Response:
    """Give an operator another role."""
    with attempt(session) as tried:
        given = read(RoleIn, sent.fields("role"))
        operator = operators.find_operator(session, email)
        operators.change_role(session, operator=operator, role=given.role, actor=actor, now=clock.now(session))
    if tried.mistake:
        return _one(request, session, actor, email, tried.mistake)
    return see_other("/operators?said=role")


@router.post("/operators/{email}/disable")
def disable(request: Request, session: SessionDep, actor: Manager, email: Email) -> Response:
    """Shut an operator out."""
    with attempt(session) as tried:
        operator = operators.find_operator(session, email)
        operators.disable_operator(session, operator=operator, actor=actor, now=clock.now(session))
    if tried.mistake:
        return _one(request, session, actor, email, tried.mistake)
    return see_other("/operators?said=disabled")


@router.get("/api-keys")
def list_keys(request: Request, session: SessionDep, actor: Manager, paging: PageDep, said: str = "") -> Response:
    """List API keys, without their secrets."""
    rows, following = fetch_page(session, select(ApiKey), ApiKey.id, paging)
    return page(
        request, session, actor, "operators/keys.html", rows=rows, following=following, said=SAID.get(said[:20], ""),
    )  # fmt: skip


@router.get("/api-keys/new")
def new_key(request: Request, session: SessionDep, actor: Manager) -> Response:
    """Show the form to make a key."""
    return _new_key_page(request, session, actor, Sent())


@router.post("/api-keys/new")
def make_key(request: Request, session: SessionDep, actor: Manager, sent: SentForm) -> Response:
    """Make an API key; the answer is the only page that ever shows it."""
    made = ""
    with attempt(session) as tried:
        expires_at: datetime | None = sent.moment("expires_at")
        given = read(
            ApiKeyIn,
            {"name": sent.text("name"), "permissions": sent.texts("permissions")}
            | ({"expires_at": expires_at} if expires_at else {}),
        )
        row, made = operators.create_api_key(
            session, name=given.name, permissions=given.permissions, expires_at=given.expires_at, actor=actor,
            now=clock.now(session),
        )  # fmt: skip
    if tried.mistake:
        return _new_key_page(request, session, actor, sent, tried.mistake)
    return page(request, session, actor, "operators/key_made.html", row=row, key=made)


@router.post("/api-keys/{prefix}/revoke")
def revoke_key(session: SessionDep, actor: Manager, prefix: Annotated[str, Path(max_length=64)]) -> Response:
    """End an API key."""
    operators.revoke_api_key(session, prefix=prefix, actor=actor, now=clock.now(session))
    return see_other("/api-keys?said=revoked")


def _new_page(request: Request, session: Session, actor: Actor, sent: Sent, mistake: Mistake | None = None) -> Response:
    grantable = [role for role in Role if permissions_of(role) <= actor.permissions]
    return page(
        request, session, actor, "operators/new.html", status=422 if mistake else 200, sent=sent, mistake=mistake,
        roles=[(role, ROLE_MEANS[role]) for role in grantable],
    )  # fmt: skip


def _one(request: Request, session: Session, actor: Actor, email: str, mistake: Mistake | None = None) -> Response:
    operator = operators.find_operator(session, email)
    grantable = [role for role in Role if permissions_of(role) <= actor.permissions]
    return page(
        request, session, actor, "operators/operator.html", status=422 if mistake else 200, mistake=mistake,
        operator=operator, roles=[(role, ROLE_MEANS[role]) for role in grantable],
        sessions=operators.open_sessions(session, operator),
    )  # fmt: skip


def _new_key_page(
    request: Request, session: Session, actor: Actor, sent: Sent, mistake: Mistake | None = None
) -> Response:
    return page(
        request, session, actor, "operators/new_key.html", status=422 if mistake else 200, sent=sent, mistake=mistake,
        permissions=[each for each in Permission if each in actor.permissions],
    )  # fmt: skip
