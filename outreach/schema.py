"""Bring a database to the newest schema."""

import time
from collections.abc import Callable
from pathlib import Path

import structlog
from alembic import command
from alembic.config import Config
from sqlalchemy import Engine, text
from sqlalchemy.exc import OperationalError

from outreach.db import engine

log = structlog.get_logger()

# A table that is in use is waited for so long: everybody else who wants it stands in line behind the migration.
LOCK_SECONDS = 2
PAUSE_SECONDS = 1.0
MOST_TRIES = 60
_IN_USE = frozenset({"40P01", "55P03"})  # a deadlock, a lock not granted in time


def migration_config() -> Config:
    """Return Alembic's configuration; there is no ini file."""
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    return config


def migrate(target: Engine | None = None) -> None:
    """Apply all missing migrations, or none; two processes at once wait for each other.

    Where the tables are in use it lets those at work go on, and tries again.
    """
    patiently(lambda config: command.upgrade(config, "head"), target or engine())


def patiently(change: Callable[[Config], None], target: Engine) -> None:
    """Change the schema in one transaction, as often as it takes to get all locks."""
    config = migration_config()
    for tries_left in reversed(range(MOST_TRIES)):
        try:
            with target.begin() as connection:
                connection.execute(text("SELECT pg_advisory_xact_lock(7301)"))
                connection.execute(text(f"SET LOCAL lock_timeout = '{LOCK_SECONDS}s'"))
                config.attributes["connection"] = connection
                change(config)
                return
        except OperationalError as error:
            if getattr(error.orig, "sqlstate", None) not in _IN_USE or not tries_left:
                raise
            log.info("the tables are in use, the migration tries again", tries_left=tries_left)
        time.sleep(PAUSE_SECONDS)
