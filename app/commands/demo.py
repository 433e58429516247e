"""`outreach demo`: the main job, on this machine, with stand-ins for the providers and the help desk."""

import os
import secrets
import shutil
import sys
from pathlib import Path
from typing import Annotated

import orjson
import typer

from app import machine
from app.demo import Doors, Story
from app.demo_screen import Screen
from app.leftovers import stop_leftovers
from app.printing import terminal_actor
from outreach import clock, embedded, operators
from outreach.db import transaction
from outreach.permissions import permissions_of
from outreach.settings import get_settings
from outreach.vocabulary import Role

OPERATOR = "manager@example.com"


# The demo never touches a real database, queue, provider or desk, whatever the settings name.
_OWN_SETTINGS = {
    "OUTREACH_DATABASE_URL": "",
    "OUTREACH_REDIS_URL": "",
    "OUTREACH_SECRET_KEY": "",
    "OUTREACH_PUBLIC_URL": "",
    "OUTREACH_EMAIL_PROVIDER": "sendgrid",
    "OUTREACH_EMAIL_FROM": "care@example.com",
    "OUTREACH_EMAIL_REPLY_DOMAIN": "reply.example.com",
    "OUTREACH_DEMO": "true",
    "OUTREACH_TICK_SECONDS": "0.5",
    "OUTREACH_ORGANISATION": "Ember & Co.",
    "OUTREACH_POSTAL_ADDRESS": "12 Harbour Street, Portland, OR 97205",
    "OUTREACH_LOG_LEVEL": "WARNING",
}


def demo(
    leave: Annotated[bool, typer.Option("--exit", help="End after the story instead of staying up.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object as the last line.")] = False,
) -> None:
    """Play the main job from the first ticket to the last check-in; each run starts from nothing."""
    screen = Screen()
    root = get_settings().home.expanduser().resolve() / "demo"
    with embedded.hold(root):
        data = root / "data"
        _forget_last_run(data)
        os.environ.update(_OWN_SETTINGS | {"OUTREACH_HOME": str(data)})
        get_settings.cache_clear()
        with machine.running(sandbox=True, report=screen.say) as running:
            password = secrets.token_urlsafe(12)
            author_key, approver_key = _people(password)
            doors = Doors(running.url, running.sandbox_url or "", author_key, approver_key)
            result = Story(doors, running, screen, data / "story").play()
            if as_json:
                sys.stdout.write(orjson.dumps(result).decode() + "\n")
                sys.stdout.flush()
            if not leave:
                _stay(screen, running, password)
    if result["unaccounted"] or result["duplicates"]:
        raise typer.Exit(1)


def _forget_last_run(data: Path) -> None:
    """Stop what a killed run left behind, and delete its data."""
    if data.exists():
        stop_leftovers(data)
        embedded.destroy(data)
        shutil.rmtree(data, ignore_errors=True)


def _people(password: str) -> tuple[str, str]:
    """Create the operator who may look around, and the API keys of the story's two managers."""
    actor = terminal_actor()
    with transaction() as session:
        now = clock.now(session)
        operators.create_operator(
            session,
            email=OPERATOR,
            name="Demo manager",
            role=Role.ADMIN,
            password=password,
            actor=actor,
            now=now,
        )
        keys = [
            operators.create_api_key(session, name=name, permissions=permissions_of(Role.ADMIN), actor=actor, now=now)[
                1
            ]
            for name in ("first manager", "second manager")
        ]
    return keys[0], keys[1]


def _stay(screen: Screen, running: machine.Machine, password: str) -> None:
    screen.say("")
    screen.say(f"Outreach runs at {running.url} until Ctrl-C. The operator is {OPERATOR}, password {password}")
    running.supervisor.watch()
