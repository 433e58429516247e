"""The JSON routes of customer health: scores with contributors and trend, the rules, the work for account owners."""

from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Query
from pydantic import BaseModel, ConfigDict
from sqlalchemy import select

from campaigns.health import reactions, rules
from campaigns.health.looking import Health, health_of, overview
from outreach import clock
from outreach.doors import PageDep, SessionDep, requires
from outreach.models import AccountTask, Customer
from outreach.pagination import Listing, fetch_page
from outreach.permissions import Actor, Permission
from outreach.vocabulary import HealthBand

router = APIRouter(prefix="/api/health-scores", tags=["health"])
reads = [Depends(requires(Permission.CUSTOMERS_READ))]


class HealthOut(BaseModel):
    """The health of one customer: each signal's value (0 to 1), weight and points of the score."""

    model_config = ConfigDict(from_attributes=True)

    customer: str
    score: int
    band: HealthBand
    signals: dict[str, Any]
    computed_at: datetime
    last_sign_at: datetime | None
    trend: list[dict[str, Any]]


class OverviewOut(BaseModel):
    """How all customers fare: by band, and the lowest scores."""

    bands: dict[str, int]
    lowest: list[dict[str, Any]]


class AccountTaskOut(BaseModel):
    """Work for whoever owns an account."""

    model_config = ConfigDict(from_attributes=True)

    id: int
    customer: str | None = None
    cause: str
    owner: str | None
    title: str
    detail: str
    opened_at: datetime
    due_at: datetime | None
    done_at: datetime | None
    done_by: str | None


@router.get("", dependencies=reads)
def show_overview(session: SessionDep, limit: Annotated[int, Query(ge=1, le=200)] = 50) -> OverviewOut:
    """Show how all customers fare, and who fares worst."""
    bands, lowest = overview(session, limit=limit)
    return OverviewOut(bands=bands, lowest=lowest)


@router.get("/rules", dependencies=reads)
def show_rules(session: SessionDep) -> rules.Rules:
    """Show the declared signals, their weights, and what follows."""
    return rules.rules_in_force(session)


@router.put("/rules")
def change_rules(
    given: rules.Rules, session: SessionDep, actor: Annotated[Actor, Depends(requires(Permission.CAMPAIGNS_APPROVE))]
) -> rules.Rules:
    """Set the rules."""
    return rules.change(session, given=given.model_dump(), actor=actor.name, now=clock.now(session))


@router.get("/tasks", dependencies=reads)
def list_tasks(
    session: SessionDep,
    page: PageDep,
    owner: Annotated[str | None, Query(max_length=200)] = None,
    open: bool = True,  # noqa: A002
) -> Listing[AccountTaskOut]:
    """List the work for account owners, newest first."""
    query = select(AccountTask)
    if open:
        query = query.where(AccountTask.done_at.is_(None))
    if owner is not None:
        query = query.where(AccountTask.owner == owner)
    rows, following = fetch_page(session, query, AccountTask.id, page)
    return Listing(items=[_task(session, task) for task in rows], next=following)


@router.post("/tasks/{task_id}/done")
def finish_task(
    task_id: Annotated[int, Path(ge=1, le=2**63 - 1)],
    session: SessionDep,
    actor: Annotated[Actor, Depends(requires(Permission.CUSTOMERS_WRITE))],
) -> AccountTaskOut:
    """Mark a task as done."""
    return _task(session, reactions.finish(session, task_id=task_id, actor=actor.name, now=clock.now(session)))


@router.get("/{customer}", dependencies=reads)
def show_health(customer: Annotated[str, Path(max_length=200)], session: SessionDep) -> HealthOut:
    """Show one customer's health with its contributors and trend."""
    found: Health = health_of(session, external_id=customer)
    return HealthOut.model_validate(found)


def _task(session: SessionDep, task: AccountTask) -> AccountTaskOut:
    customer = session.get(Customer, task.customer_id)
    shown = AccountTaskOut.model_validate(task)
    return shown.model_copy(update={"customer": customer.external_id if customer else None})
