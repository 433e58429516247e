"""Bring a database to the newest schema."""

from pathlib import Path

from alembic import command
from alembic.config import Config
from sqlalchemy import Engine, text

from outreach.db import engine


def migration_config() -> Config:
    """Return Alembic's configuration; there is no ini file."""
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    return config


def migrate(target: Engine | None = None) -> None:
    """Apply all missing migrations; two processes at once wait for each other."""
    config = migration_config()
    with (target or engine()).begin() as connection:
        connection.execute(text("SELECT pg_advisory_xact_lock(7301)"))
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
