"""Alembic's entry: migrates the database that the settings name, or the connection it is given."""

from alembic import context
from sqlalchemy import Connection

from outreach.db import database_url, make_engine
from outreach.models import Base


def run(connection: Connection) -> None:
    """Run the migrations on one connection."""
    context.configure(
        connection=connection, target_metadata=Base.metadata, compare_type=True, compare_server_default=False
    )
    with context.begin_transaction():
        context.run_migrations()


given = context.config.attributes.get("connection")
if given is not None:
    run(given)
else:
    with make_engine(database_url()).connect() as fresh:
        run(fresh)
