"""The processes of an installation: `up` runs them all on one machine, the others one each."""

import os
import sys
from typing import Annotated

import typer
import uvicorn

from app import machine
from app.checked_settings import check_settings
from app.printing import say
from campaigns.playbooks import install_defaults
from outreach.collecting import without_collecting
from outreach.db import transaction
from outreach.logs import configure_logging
from outreach.queue import QUEUES
from outreach.schema import migrate as migrate_database
from outreach.security import check_secret_key
from outreach.settings import get_settings


def up(
    sandbox: Annotated[bool, typer.Option(help="Stand-in providers instead of real ones; nothing leaves.")] = False,
    quiet: Annotated[bool, typer.Option(help="Keep the processes' output in OUTREACH_HOME/logs only.")] = False,
) -> None:
    """Run everything on this machine until Ctrl-C, with an embedded PostgreSQL and Redis unless servers are set."""
    with machine.running(sandbox=sandbox, report=say, echo=None if quiet else sys.stderr) as found:
        say(f"Outreach runs at {found.url}" + (f", the sandbox at {found.sandbox_url}" if found.sandbox_url else ""))
        status = found.supervisor.watch()
    raise typer.Exit(status)


def api() -> None:
    """Serve the API and the pages."""
    check_secret_key()
    check_settings()
    configure_logging()
    settings = get_settings()
    with without_collecting():
        from app.main import create_app  # the other commands start faster without the routes

        application = create_app()
    uvicorn.run(
        application,
        host=settings.api_host,
        port=settings.api_port,
        log_level="warning",
        access_log=False,
        server_header=False,
        lifespan="off",
        ws="none",
        timeout_graceful_shutdown=10,
    )


def worker(
    queues: Annotated[str, typer.Option(help="Parted by commas; lets machines specialise.")] = ",".join(QUEUES),
    concurrency: Annotated[int, typer.Option(min=1, max=64, help="Processes that work at the same time.")] = 2,
) -> None:
    """Send, read what came in and refresh audiences."""
    with without_collecting():
        from app.worker import run_worker  # the other commands start faster without Celery's tasks

    unknown = set(queues.split(",")) - set(QUEUES)
    if unknown:
        raise typer.BadParameter(f"there is no queue {', '.join(sorted(unknown))}; there are {', '.join(QUEUES)}")
    run_worker(queues=queues, concurrency=concurrency)


def beat() -> None:
    """Ring for the sweeps every few seconds; one per installation."""
    with without_collecting():
        from app.worker import run_beat  # as above

    run_beat()


def migrate() -> None:
    """Bring the database to the newest schema, with the playbooks and words that Outreach comes with."""
    migrate_database()
    with transaction() as session:
        install_defaults(session)
    say("The database is up to date.")


def sandbox(context: typer.Context) -> None:
    """Run the stand-in for providers and help desks; all options go to it, `--help` lists them."""
    argv = [sys.executable, "-m", "sandbox", *context.args]
    os.execv(argv[0], argv)  # noqa: S606 - no shell is wanted


def register(application: typer.Typer) -> None:
    """Add these commands."""
    for command in (up, api, worker, beat, migrate):
        application.command()(command)
    passing = {"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []}
    application.command(context_settings=passing)(sandbox)
