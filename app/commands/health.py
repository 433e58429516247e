"""`outreach health …`: how customers fare."""

import dataclasses
from typing import Annotated

import typer
from sqlalchemy import select

from app.printing import AsJson, print_fields, print_json, print_rows, terminal_actor
from campaigns.health import looking, reactions
from outreach import clock
from outreach.db import transaction
from outreach.models import AccountTask, Customer

commands = typer.Typer(no_args_is_help=True, help="How customers fare, and what to do about it.")


@commands.command()
def show(customer: Annotated[str, typer.Argument(help="The customer's own key.")], as_json: AsJson = False) -> None:
    """Show one customer's score with its contributors and trend."""
    with transaction() as session:
        found = looking.health_of(session, external_id=customer)
    if as_json:
        print_json(found)
        return
    fields = {key: value for key, value in dataclasses.asdict(found).items() if key not in ("signals", "trend")}
    print_fields(fields, as_json=False)
    rows = [{"signal": name, **parts} for name, parts in found.signals.items()]
    print_rows(rows, ("signal", "value", "weight", "points"), as_json=False)


@commands.command()
def overview(as_json: AsJson = False) -> None:
    """Show how all customers fare, and who fares worst."""
    with transaction() as session:
        bands, lowest = looking.overview(session)
    if as_json:
        print_json({"bands": bands, "lowest": lowest})
        return
    print_fields(bands, as_json=False)
    print_rows(lowest, ("customer", "score", "band"), as_json=False)


@commands.command()
def tasks(as_json: AsJson = False) -> None:
    """List the open work for account owners."""
    query = select(AccountTask, Customer.external_id).join(Customer, Customer.id == AccountTask.customer_id)
    with transaction() as session:
        rows = [
            {"id": task.id, "customer": external_id, "cause": task.cause, "owner": task.owner, "title": task.title,
             "detail": task.detail, "opened_at": task.opened_at, "due_at": task.due_at}
            for task, external_id in session.execute(
                query.where(AccountTask.done_at.is_(None)).order_by(AccountTask.id)
            )
        ]  # fmt: skip
    print_rows(rows, ("id", "customer", "cause", "owner", "title", "due_at"), as_json=as_json)


@commands.command()
def done(task: Annotated[int, typer.Argument(min=1, help="The number of the task.")]) -> None:
    """Mark a task as done."""
    with transaction() as session:
        reactions.finish(session, task_id=task, actor=terminal_actor().name, now=clock.now(session))
