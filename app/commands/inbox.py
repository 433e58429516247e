"""`outreach inbox …`: what customers answered and who deals with it."""

from typing import Annotated

import typer

from app.printing import AsJson, print_fields, print_rows, terminal_actor
from outreach import clock
from outreach.db import transaction
from outreach.vocabulary import Intent
from webhooks import conversations, triage
from webhooks.conversations import Filter, View
from webhooks.schemas import RowOut

commands = typer.Typer(no_args_is_help=True, help="Replies of customers that wait for somebody.")


@commands.command("list")
def list_replies(
    view: Annotated[View, typer.Option(help="Which of them.")] = View.WAITING,
    intent: Annotated[Intent | None, typer.Option(help="Only those that mean this.")] = None,
    problem: Annotated[str | None, typer.Option(help="Only those about this problem.")] = None,
    most: Annotated[int, typer.Option(min=1, max=1000, help="How many, newest first.")] = 50,
    as_json: AsJson = False,
) -> None:
    """List replies, newest first."""
    with transaction() as session:
        wanted = Filter(view, intent, problem)
        found, _ = conversations.rows(session, wanted, now=clock.now(session), limit=most)
        rows = [RowOut.model_validate(row).model_dump() for row in found]
    print_rows(rows, ("id", "received_at", "intent", "customer", "problem", "text"), as_json=as_json)


@commands.command("done")
def mark_handled(
    number: Annotated[int, typer.Argument(min=1, help="The number that the list shows.")], as_json: AsJson = False
) -> None:
    """Mark a reply as dealt with."""
    with transaction() as session:
        by, now = terminal_actor().name, clock.now(session)
        row = triage.correct(session, response_id=number, by=by, now=now, handled=True)
    print_fields({"id": number, "handled_by": row.handled_by}, as_json=as_json)
