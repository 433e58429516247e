"""The JSON routes for the people and programs that work here."""

from typing import Annotated

from fastapi import APIRouter, Depends, status
from sqlalchemy import select

from outreach import clock, operators
from outreach.doors import PageDep, SessionDep, requires
from outreach.models import ApiKey, Operator
from outreach.pagination import Listing, fetch_page
from outreach.permissions import Actor, Permission
from outreach.schemas import ApiKeyIn, ApiKeyOut, NewApiKeyOut, OperatorIn, OperatorOut, RoleIn

router = APIRouter(prefix="/api")

Manager = Annotated[Actor, Depends(requires(Permission.OPERATORS_MANAGE))]


@router.get("/operators", tags=["operators"])
def list_operators(session: SessionDep, _: Manager, page: PageDep) -> Listing[OperatorOut]:
    """List operators, newest first."""
    rows, following = fetch_page(session, select(Operator), Operator.id, page)
    return Listing(items=[OperatorOut.model_validate(row) for row in rows], next=following)


@router.post("/operators", tags=["operators"], status_code=status.HTTP_201_CREATED)
def create_operator(session: SessionDep, actor: Manager, body: OperatorIn) -> OperatorOut:
    """Add an operator."""
    operator = operators.create_operator(
        session,
        email=body.email,
        name=body.name,
        role=body.role,
        password=body.password.get_secret_value(),
        actor=actor,
        now=clock.now(session),
    )
    return OperatorOut.model_validate(operator)


@router.put("/operators/{email}/role", tags=["operators"])
def change_role(session: SessionDep, actor: Manager, email: str, body: RoleIn) -> OperatorOut:
    """Give an operator another role; their sessions end."""
    operator = operators.find_operator(session, email)
    operators.change_role(session, operator=operator, role=body.role, actor=actor, now=clock.now(session))
    return OperatorOut.model_validate(operator)


@router.post("/operators/{email}/disable", tags=["operators"])
def disable_operator(session: SessionDep, actor: Manager, email: str) -> OperatorOut:
    """Shut an operator out; their sessions end."""
    operator = operators.find_operator(session, email)
    operators.disable_operator(session, operator=operator, actor=actor, now=clock.now(session))
    return OperatorOut.model_validate(operator)


@router.get("/api-keys", tags=["api keys"])
def list_api_keys(session: SessionDep, _: Manager, page: PageDep) -> Listing[ApiKeyOut]:
    """List API keys, newest first, without their secrets."""
    rows, following = fetch_page(session, select(ApiKey), ApiKey.id, page)
    return Listing(items=[ApiKeyOut.model_validate(row) for row in rows], next=following)


@router.post("/api-keys", tags=["api keys"], status_code=status.HTTP_201_CREATED)
def create_api_key(session: SessionDep, actor: Manager, body: ApiKeyIn) -> NewApiKeyOut:
    """Make an API key; the answer is the only place where it is ever shown."""
    row, key = operators.create_api_key(
        session,
        name=body.name,
        permissions=body.permissions,
        expires_at=body.expires_at,
        actor=actor,
        now=clock.now(session),
    )
    session.refresh(row)
    return NewApiKeyOut(**ApiKeyOut.model_validate(row).model_dump(), key=key)


@router.delete("/api-keys/{prefix}", tags=["api keys"])
def revoke_api_key(session: SessionDep, actor: Manager, prefix: str) -> ApiKeyOut:
    """End an API key."""
    row = operators.revoke_api_key(session, prefix=prefix, actor=actor, now=clock.now(session))
    return ApiKeyOut.model_validate(row)
