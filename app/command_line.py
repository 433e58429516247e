"""All commands put together, and how they end."""

import sys
from importlib import import_module
from typing import Any

import typer
from pydantic import ValidationError

from app.printing import say
from outreach.errors import OutreachError

# Where each first word leads: a module of `app.commands` and what to take from it. A process that needs one of them
# does not read the others, which took half of its start.
_GROUPS = {
    "problem": ("problems", "commands"),
    "segment": ("segments", "commands"),
    "scope": ("segments", "scope_commands"),
    "campaign": ("sending", "commands"),  # those of `campaigns`, and more
    "ledger": ("campaigns", "ledger_commands"),
    "unknown": ("sending", "unknown_commands"),
    "programme": ("programmes", "commands"),
    "survey": ("surveys", "commands"),
    "health": ("health", "commands"),
    "operator": ("people", "operator_commands"),
    "key": ("people", "key_commands"),
    "inbox": ("inbox", "commands"),
    "customer": ("customers", "commands"),
    "inbound": ("webhooks", "inbound_commands"),
    "webhook": ("webhooks", "outgoing_commands"),
}
_SINGLE = {"demo": ("demo", "demo"), "import": ("imports", "import_command")}
_PROCESSES = ("up", "api", "worker", "beat", "migrate", "sandbox")


def application_for(word: str) -> typer.Typer:
    """Return what the first word of a command line asks for; all commands for any other word, such as --help."""
    application = typer.Typer(
        name="outreach",
        help="Proactive customer service: find everybody a problem touches and tell them before they have to ask.",
        no_args_is_help=True,
        add_completion=False,
        # A traceback is for the log of a process, not for a person at a terminal.
        pretty_exceptions_enable=False,
    )
    application.callback()(lambda: None)  # else one command alone would not want its name to be said
    everything = word not in {*_PROCESSES, *_SINGLE, *_GROUPS}
    if everything or word in _PROCESSES:
        _taken("processes", "register")(application)
    for name, place in _SINGLE.items():
        if everything or word == name:
            application.command(name)(_taken(*place))
    for name, place in _GROUPS.items():
        if everything or word == name:
            application.add_typer(_taken(*place), name=name)
    return application


def _taken(module: str, name: str) -> Any:
    return getattr(import_module(f"app.commands.{module}"), name)


def run() -> None:
    """Run one command; what went wrong is said in one line, with exit status 1."""
    try:
        application_for(next(iter(sys.argv[1:]), ""))()
    except OutreachError as error:
        place = f" ({error.where})" if error.where else ""
        say(f"outreach: {error.message}{place}")
        sys.exit(1)
    except ValidationError as error:
        for complaint in error.errors():
            names = ".".join(str(part) for part in complaint["loc"])
            say(f"outreach: OUTREACH_{names.upper()}: {complaint['msg']}")
        sys.exit(1)
