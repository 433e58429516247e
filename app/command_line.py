"""All commands put together, and how they end."""

import sys

import typer
from pydantic import ValidationError

from app.commands import (
    campaigns,
    customers,
    demo,
    health,
    imports,
    inbox,
    people,
    problems,
    processes,
    programmes,
    segments,
    sending,
    surveys,
    webhooks,
)
from app.printing import say
from outreach.errors import OutreachError

application = typer.Typer(
    name="outreach",
    help="Proactive customer service: find everybody a problem touches and tell them before they have to ask.",
    no_args_is_help=True,
    add_completion=False,
    # A traceback is for the log of a process, not for a person at a terminal.
    pretty_exceptions_enable=False,
)
processes.register(application)
application.command()(demo.demo)
application.command("import")(imports.import_command)
application.add_typer(problems.commands, name="problem")
application.add_typer(segments.commands, name="segment")
application.add_typer(segments.scope_commands, name="scope")
application.add_typer(campaigns.commands, name="campaign")
application.add_typer(campaigns.ledger_commands, name="ledger")
application.add_typer(sending.unknown_commands, name="unknown")
application.add_typer(programmes.commands, name="programme")
application.add_typer(surveys.commands, name="survey")
application.add_typer(health.commands, name="health")
application.add_typer(people.operator_commands, name="operator")
application.add_typer(people.key_commands, name="key")
application.add_typer(inbox.commands, name="inbox")
application.add_typer(customers.commands, name="customer")
application.add_typer(webhooks.inbound_commands, name="inbound")
application.add_typer(webhooks.outgoing_commands, name="webhook")


def run() -> None:
    """Run one command; what went wrong is said in one line, with exit status 1."""
    try:
        application()
    except OutreachError as error:
        place = f" ({error.where})" if error.where else ""
        say(f"outreach: {error.message}{place}")
        sys.exit(1)
    except ValidationError as error:
        for complaint in error.errors():
            names = ".".join(str(part) for part in complaint["loc"])
            say(f"outreach: OUTREACH_{names.upper()}: {complaint['msg']}")
        sys.exit(1)
