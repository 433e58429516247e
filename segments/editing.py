"""A preview runs while its rule is being edited: a newer one cancels the older, on whichever machine it runs."""

from collections.abc import Iterator
from contextlib import contextmanager

from psycopg.errors import QueryCanceled
from sqlalchemy import text
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session

from outreach.errors import Conflict, Unavailable

_LOCK = 7312
# Only backends that hold the lock of this edit, and so run its preview in this very transaction, are cancelled.
_CANCEL = text(
    """
    SELECT count(pg_cancel_backend(pid)) FROM pg_locks
    WHERE locktype = 'advisory' AND granted AND classid = :lock
      AND objid::bigint = (hashtext(:edit)::bigint & 4294967295)
      AND objsubid = 2 AND pid <> pg_backend_pid()
      AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
    """
)


def take_over(session: Session, *, edit: str) -> int:
    """Cancel the previews of this edit that still run, and take their place; return how many there were."""
    cancelled: int = session.execute(_CANCEL, {"lock": _LOCK, "edit": edit}).scalar_one()
    session.execute(text("SELECT pg_advisory_xact_lock_shared(:lock, hashtext(:edit))"), {"lock": _LOCK, "edit": edit})
    return cancelled


@contextmanager
def cancellable() -> Iterator[None]:
    """Say what a cancelled preview means: a newer edit took over (`Conflict`), or it took too long (`Unavailable`)."""
    try:
        yield
    except OperationalError as error:
        if not isinstance(error.orig, QueryCanceled):
            raise
        if "user request" in str(error.orig):
            raise Conflict("A newer edit of this rule is being previewed.") from error
        raise Unavailable(
            "This rule takes too long to preview; narrow it down by a product, a lot or a window."
        ) from error
