"""Customer health: the lowest scores, the biggest drops and the work they opened; one customer's score, explained."""

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Query, Request
from fastapi.responses import HTMLResponse, Response
from sqlalchemy import select
from sqlalchemy.orm import Session

from app.web.forms import Mistake, Sent, SentForm, attempt, see_other
from app.web.layout import page
from app.web.remembered import forget, remembered
from campaigns.health import looking, reactions, rules
from outreach import clock
from outreach.doors import PageDep, SessionDep, requires
from outreach.errors import NotFound
from outreach.models import AccountTask, Customer, Programme
from outreach.pagination import fetch_page
from outreach.permissions import Actor, Permission
from outreach.vocabulary import HealthBand, ProgrammeState

router = APIRouter(prefix="/customer-health", default_response_class=HTMLResponse, include_in_schema=False)
Reader = Annotated[Actor, Depends(requires(Permission.CUSTOMERS_READ))]
Writer = Annotated[Actor, Depends(requires(Permission.CUSTOMERS_WRITE))]
Approver = Annotated[Actor, Depends(requires(Permission.CAMPAIGNS_APPROVE))]
Number = Annotated[str, Path(max_length=200)]

SIGNALS = {
    "tickets": "Tickets of 90 days",
    "problems": "Open problems",
    "surveys": "Survey answers of 180 days",
    "usage": "Use of the last 30 days",
    "check_ins": "The last check-in answer",
    "orders": "The last order",
}
SAID = {"rules": "The rules are set; every score is worked out anew by and by.", "done": "Done."}


@router.get("")
def show_lowest(
    request: Request,
    session: SessionDep,
    actor: Reader,
    score: Annotated[int, Query(ge=-1, le=100)] = -1,
    after: Annotated[int, Query(ge=0, le=2**62)] = 0,
) -> Response:
    """List customers from the lowest score on."""
    owner = rules.rules_in_force(session).owner_attribute
    rows, following = looking.lowest(session, owner_attribute=owner, after=(score, after))
    return _list(request, session, actor, "lowest", rows=rows, following=following)


@router.get("/drops")
def show_drops(request: Request, session: SessionDep, actor: Reader) -> Response:
    """List whose score fell furthest."""
    found, now = rules.rules_in_force(session), clock.now(session)
    rows = remembered(
        ("drops",),
        lambda: looking.drops(session, owner_attribute=found.owner_attribute, days=found.drop_days, now=now),
    )
    return _list(request, session, actor, "drops", rows=rows, days=found.drop_days)


@router.get("/tasks")
def show_tasks(
    request: Request,
    session: SessionDep,
    actor: Reader,
    paging: PageDep,
    owner: Annotated[str, Query(max_length=200)] = "",
    said: Annotated[str, Query(max_length=20)] = "",
) -> Response:
    """List the work for the owners of accounts that is not done."""
    wanted = select(AccountTask).where(AccountTask.done_at.is_(None))
    if owner:
        wanted = wanted.where(AccountTask.owner == owner)
    tasks, following = fetch_page(session, wanted, AccountTask.id, paging)
    ids = [task.customer_id for task in tasks]
    known = {row.id: row for row in session.scalars(select(Customer).where(Customer.id.in_(ids)))}
    return _list(
        request, session, actor, "tasks", rows=[(task, known.get(task.customer_id)) for task in tasks], owner=owner,
        following=following, said=SAID.get(said, ""),
    )  # fmt: skip


@router.post("/tasks/{task_id}/done")
def finish(session: SessionDep, actor: Writer, task_id: Annotated[int, Path(ge=1, le=2**62)]) -> Response:
    """Mark a task as done; one that somebody else finished meanwhile stays as it is."""
    with attempt(session):
        reactions.finish(session, task_id=task_id, actor=actor.name, now=clock.now(session))
    return see_other("/customer-health/tasks?said=done")


@router.get("/rules")
def show_rules(request: Request, session: SessionDep, actor: Reader) -> Response:
    """Show what counts how much, and what follows."""
    return _rules_page(request, session, actor, rules.rules_in_force(session).model_dump())


@router.post("/rules")
def change_rules(request: Request, session: SessionDep, actor: Approver, sent: SentForm) -> Response:
    """Set what counts how much, and what follows."""
    given: dict[str, Any] = sent.fields(
        "good_from", "fair_from", "drop_points", "drop_days", "silence_days", "owner_attribute", "programme"
    )
    given["weights"] = {signal: sent.text(f"weight_{signal}", "0") or "0" for signal in SIGNALS}
    with attempt(session) as tried:
        rules.change(session, given=given, actor=actor.name, now=clock.now(session))
    if tried.mistake:
        return _rules_page(request, session, actor, given, mistake=tried.mistake, sent=sent)
    forget("bands")
    forget("drops")
    return see_other("/customer-health?said=rules")


@router.get("/of/{number:path}")
def show_one(request: Request, session: SessionDep, actor: Reader, number: Number) -> Response:
    """Show one customer's score, what made it, and how it moved."""
    customer = session.scalar(select(Customer).where(Customer.external_id == number, Customer.erased_at.is_(None)))
    if customer is None:
        raise NotFound(f"There is no customer {number}.")
    try:
        health = looking.health_of(session, external_id=number)
    except NotFound:
        health = None
    first, last = (health.trend[0]["day"], health.trend[-1]["day"]) if health and health.trend else (None, None)
    span = (last - first).days if first and last else 0
    points = [
        ((each["day"] - first).days / span, each["score"], each["score"], each["score"])
        for each in (health.trend if health and span else [])
    ]
    found = rules.rules_in_force(session)
    return page(
        request, session, actor, "health/customer.html", customer=customer, health=health, points=points, rules=found,
        signals=SIGNALS, tasks=looking.tasks_of(session, external_id=number),
        owner=customer.attributes.get(found.owner_attribute),
    )  # fmt: skip


def _list(request: Request, session: Session, actor: Actor, tab: str, **values: Any) -> Response:
    bands = remembered(("bands",), lambda: looking.bands(session))
    said = values.pop("said", "") or SAID.get(request.query_params.get("said", ""), "")
    defaults = {"following": None, "owner": "", "days": 0}
    return page(
        request, session, actor, "health/list.html", tab=tab, bands=bands, band_names=tuple(HealthBand),
        signals=SIGNALS, said=said, **{**defaults, **values},
    )  # fmt: skip


def _rules_page(
    request: Request,
    session: Session,
    actor: Actor,
    given: dict[str, Any],
    *,
    mistake: Mistake | None = None,
    sent: Sent | None = None,
) -> Response:
    running = select(Programme.key, Programme.name).where(Programme.state == ProgrammeState.ACTIVE)
    return page(
        request, session, actor, "health/rules.html", status=422 if mistake else 200, given=given, mistake=mistake,
        sent=sent, signals=SIGNALS, programmes=session.execute(running.order_by(Programme.id.desc()).limit(100)).all(),
    )  # fmt: skip
