"""`outreach customer …`: find a person, hand out everything about her, erase it."""

from pathlib import Path
from typing import Annotated

import orjson
import typer

from app.printing import AsJson, print_fields, print_rows, say, terminal_actor
from outreach import clock, customer_search, timeline
from outreach.db import transaction
from webhooks import personal_data

commands = typer.Typer(no_args_is_help=True, help="Single customers.")

Reference = Annotated[str, typer.Argument(help="Your reference of the customer.")]


@commands.command("find")
def find_customers(
    words: Annotated[str, typer.Argument(help="A reference, email address, number, or words of the name.")],
    as_json: AsJson = False,
) -> None:
    """Find customers."""
    with transaction() as session:
        found = customer_search.search(session, words)
        rows = [{"reference": one.external_id, "name": one.name, "email": one.email, "phone": one.phone}
                for one in found]  # fmt: skip
    print_rows(rows, ("reference", "name", "email", "phone"), as_json=as_json)


@commands.command("export")
def export_customer(reference: Reference, file: Annotated[Path, typer.Argument(help="Where to write it.")]) -> None:
    """Write everything that is kept about a customer to a JSON file."""
    with transaction() as session:
        customer = timeline.find_customer(session, reference)
        found = personal_data.export(session, customer=customer, by=terminal_actor().name, now=clock.now(session))
    file.write_bytes(orjson.dumps(found, option=orjson.OPT_INDENT_2))
    say(f"Written to {file}.")


@commands.command("erase")
def erase_customer(
    reference: Reference,
    confirmation: Annotated[str, typer.Option(prompt="Type the reference again to erase this person")],
    as_json: AsJson = False,
) -> None:
    """Erase everything about a customer, for good."""
    with transaction() as session:
        customer, now = timeline.find_customer(session, reference), clock.now(session)
        rows = personal_data.erase(
            session, customer=customer, confirmation=confirmation, by=terminal_actor().name, now=now
        )
    print_fields({"reference": reference} | rows, as_json=as_json)
