"""`outreach inbound …` and `outreach webhook …`: what came in and could not be applied, and who is told of what."""

from typing import Annotated

import typer
from sqlalchemy import select

from app.printing import AsJson, print_fields, print_rows, terminal_actor
from outreach import audit, clock
from outreach.db import transaction
from outreach.models import InboundEvent, OutgoingDelivery
from outreach.vocabulary import InboundState, OutgoingState
from webhooks import inbox, outgoing, subscriptions
from webhooks.schemas import DeliveryOut, InboundEventOut, SubscriberOut

inbound_commands = typer.Typer(no_args_is_help=True, help="Events of providers and help desks that came in.")
outgoing_commands = typer.Typer(no_args_is_help=True, help="Other systems that are told what happens.")

Number = Annotated[int, typer.Argument(min=1, help="The number that the list shows.")]
Most = Annotated[int, typer.Option(min=1, max=1000, help="How many, newest first.")]


@inbound_commands.command("list")
def list_inbound(
    state: Annotated[InboundState | None, typer.Option(help="Only those; dead and orphan need a person.")] = None,
    most: Most = 50,
    as_json: AsJson = False,
) -> None:
    """List stored events and why they are not applied."""
    query = select(InboundEvent).order_by(InboundEvent.id.desc()).limit(most)
    with transaction() as session:
        found = session.scalars(query if state is None else query.where(InboundEvent.state == state))
        rows = [InboundEventOut.model_validate(row).model_dump() for row in found]
    print_rows(rows, ("id", "source", "state", "received_at", "tries", "error"), as_json=as_json)


@inbound_commands.command("counts")
def count_inbound(as_json: AsJson = False) -> None:
    """Count stored events by state."""
    with transaction() as session:
        print_fields(inbox.counts(session), as_json=as_json)


@inbound_commands.command("replay")
def replay_inbound(
    number: Annotated[int | None, typer.Argument(min=1, help="One event; unset: all that are dead.")] = None,
    as_json: AsJson = False,
) -> None:
    """Apply dead or orphaned events again."""
    with transaction() as session:
        dead = select(InboundEvent.id).where(InboundEvent.state == InboundState.DEAD)
        numbers = [number] if number is not None else list(session.scalars(dead))
        for one in numbers:
            inbox.replay(session, event_id=one)
        audit.record(
            session, actor=terminal_actor().name, action="inbound_event.replay",
            subject=f"inbound_event:{number}" if number else "inbound_event:dead", detail={"events": len(numbers)},
            now=clock.now(session),
        )  # fmt: skip
    print_fields({"replayed": len(numbers)}, as_json=as_json)


@outgoing_commands.command("list")
def list_subscribers(as_json: AsJson = False) -> None:
    """List who is told of what."""
    with transaction() as session:
        rows = [SubscriberOut.model_validate(row).model_dump() for row in subscriptions.listed(session)]
    print_rows(rows, ("id", "name", "url", "events", "disabled_because"), as_json=as_json)


@outgoing_commands.command("add")
def add_subscriber(
    url: Annotated[str, typer.Argument(help="Where the events are posted to.")],
    event: Annotated[list[str], typer.Option(help="Give it once per event; * stands for all of them.")],
    name: Annotated[str, typer.Option(help="Which system it is.")] = "",
    as_json: AsJson = False,
) -> None:
    """Add a subscriber and print its secret, which cannot be shown again."""
    with transaction() as session:
        row, secret = subscriptions.subscribe(
            session, name=name or url, url=url, events=event, actor=terminal_actor(), now=clock.now(session)
        )
        shown = {"id": row.id, "url": row.url, "events": row.events, "secret": secret}
    print_fields(shown, as_json=as_json)


@outgoing_commands.command("rotate")
def rotate_secret(number: Number, as_json: AsJson = False) -> None:
    """Give a new secret; the one before signs as well for 24 hours."""
    with transaction() as session:
        row = subscriptions.find(session, number)
        secret = subscriptions.rotate(session, subscriber=row, actor=terminal_actor(), now=clock.now(session))
    print_fields({"id": number, "secret": secret}, as_json=as_json)


@outgoing_commands.command("remove")
def remove_subscriber(number: Number, as_json: AsJson = False) -> None:
    """Remove a subscriber and what it is still owed."""
    with transaction() as session:
        row = subscriptions.find(session, number)
        subscriptions.remove(session, subscriber=row, actor=terminal_actor(), now=clock.now(session))
    print_fields({"removed": number}, as_json=as_json)


@outgoing_commands.command("test")
def try_subscriber(number: Number, as_json: AsJson = False) -> None:
    """Send a test event now and print what came back."""
    with transaction() as session:
        row = subscriptions.find(session, number)
        delivery = outgoing.test(session, subscriber=row, actor=terminal_actor(), now=clock.now(session)).id
    outgoing.tell(budget_seconds=20)
    with transaction() as session:
        made = DeliveryOut.model_validate(session.get_one(OutgoingDelivery, delivery)).model_dump()
    print_fields({"state": made["state"].value, **(made["attempts"][-1] if made["attempts"] else {})}, as_json=as_json)
    if made["state"] is not OutgoingState.DELIVERED:
        raise typer.Exit(1)


@outgoing_commands.command("deliveries")
def list_deliveries(number: Number, most: Most = 50, as_json: AsJson = False) -> None:
    """List what a subscriber was and is owed, newest first."""
    query = select(OutgoingDelivery).where(OutgoingDelivery.subscriber_id == number)
    with transaction() as session:
        subscriptions.find(session, number)
        found = session.scalars(query.order_by(OutgoingDelivery.id.desc()).limit(most))
        rows = [DeliveryOut.model_validate(row).model_dump() for row in found]
    print_rows(rows, ("id", "event_id", "state", "tries", "next_try_at", "done_at"), as_json=as_json)


@outgoing_commands.command("replay")
def replay_delivery(number: Number, as_json: AsJson = False) -> None:
    """Send one event again, delivered or not."""
    with transaction() as session:
        subscriptions.replay(session, delivery_id=number, actor=terminal_actor(), now=clock.now(session))
    print_fields({"replayed": number}, as_json=as_json)
