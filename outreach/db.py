"""The one way to the database: an engine per process, and `transaction()`, the only place that commits."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from threading import Lock
from typing import Any

import orjson
import psycopg
from psycopg.types.array import ListBinaryDumper
from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.exc import DBAPIError, DontWrapMixin, OperationalError
from sqlalchemy.orm import Session

from outreach.embedded import recall
from outreach.errors import InvalidInput, Unavailable
from outreach.settings import get_settings

# Classes of SQLSTATE: 25 read-only, 53 out of resources (disk, connections), 57 and 58 shutting down or broken.
_NO_WRITES = frozenset({"25", "53", "57", "58"})


_MAKING = Lock()


class HalfCharacter(InvalidInput, DontWrapMixin):
    """A text within some JSON holds half of a surrogate pair; SQLAlchemy passes it on as it is."""


def database_url() -> str:
    """Return the URL in use: the setting, or that of the embedded server which runs on OUTREACH_HOME."""
    settings = get_settings()
    if settings.database_url:
        url = settings.database_url.get_secret_value()
    else:
        url = recall(settings.home).get("database_url", "")
    if not url:
        raise Unavailable(
            "No database: set OUTREACH_DATABASE_URL, or run `outreach up`, which brings an embedded PostgreSQL."
        )
    # `postgres://` and `postgresql://` are what people have at hand; the driver is psycopg 3.
    scheme, rest = url.split("://", 1)
    return f"postgresql+psycopg://{rest}" if scheme in {"postgres", "postgresql"} else url


def engine() -> Engine:
    """Return the engine of this process."""
    with _MAKING:  # two threads that ask first at the same moment get the same one
        return _engine()


@lru_cache
def _engine() -> Engine:
    settings = get_settings()
    return make_engine(database_url(), pool_size=settings.database_pool_size)


def make_engine(url: str, *, pool_size: int = 5) -> Engine:
    """Return an engine with our conventions: JSON by orjson, UTC, connections checked before use, binary lists."""
    made = create_engine(
        url,
        pool_size=pool_size,
        max_overflow=5,
        pool_pre_ping=True,
        pool_timeout=10,
        json_serializer=_as_json,
        json_deserializer=orjson.loads,
        connect_args={
            "connect_timeout": 5,
            "options": "-c timezone=UTC -c idle_in_transaction_session_timeout=60000",
        },
    )
    event.listen(made, "connect", _send_lists_as_binary)
    return made


def _send_lists_as_binary(connection: psycopg.Connection[Any], _: object) -> None:
    """A thousand ids take a seventh of the time: as text, each is searched for what would have to be quoted."""
    connection.adapters.register_dumper(list, ListBinaryDumper)


def _as_json(value: Any) -> str:
    try:
        return orjson.dumps(value).decode()
    except TypeError as error:
        if "surrogates" not in str(error):
            raise
        raise HalfCharacter("A text holds half a character (a lone surrogate), which cannot be stored.") from None


@contextmanager
def transaction(**options: Any) -> Iterator[Session]:
    """Open a session, commit when the block ends well, roll back when it does not, then wake whom it asked to.

    Raises `Unavailable` when the server cannot be reached.
    """
    try:
        with Session(engine(), expire_on_commit=False, **options) as session, session.begin():
            yield session
    except OperationalError as error:
        if error.connection_invalidated or "connection" in str(error.orig).lower():
            raise Unavailable("The database cannot be reached; try again in a moment.") from error
        raise


@contextmanager
def committing() -> Iterator[Connection]:
    """Give a connection on which every statement commits by itself: one round trip for one durable row.

    Raises `Unavailable` when the server cannot be reached or does not take writes (read-only, disk full).
    """
    try:
        with engine().connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            yield connection
    except DBAPIError as error:
        if isinstance(error, OperationalError) or str(getattr(error.orig, "sqlstate", ""))[:2] in _NO_WRITES:
            raise Unavailable("The database takes no writes now; try again in a moment.") from error
        raise


def forget_engine(*, after_fork: bool = False) -> None:
    """Drop this process's engine; after a fork its connections belong to the parent and stay open."""
    if _engine.cache_info().currsize:
        _engine().dispose(close=not after_fork)
    _engine.cache_clear()
