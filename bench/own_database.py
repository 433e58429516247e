"""A database that belongs to one bench: an embedded server, thrown away afterwards, as durable as in production."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from outreach import embedded
from outreach.db import forget_engine
from outreach.schema import migrate
from outreach.settings import get_settings


@contextmanager
def own_database() -> Iterator[str]:
    """Yield the URL of a migrated, empty database which the settings point to meanwhile."""
    home = Path(tempfile.mkdtemp(prefix="outreach-bench-"))
    home.chmod(0o711)
    before = os.environ.get("OUTREACH_DATABASE_URL")
    try:
        os.environ["OUTREACH_DATABASE_URL"] = embedded.start_postgres(home)
        get_settings.cache_clear()
        forget_engine()
        migrate()
        yield os.environ["OUTREACH_DATABASE_URL"]
    finally:
        forget_engine()
        os.environ.pop("OUTREACH_DATABASE_URL", None)
        if before is not None:
            os.environ["OUTREACH_DATABASE_URL"] = before
        get_settings.cache_clear()
        embedded.destroy(home)
        shutil.rmtree(home, ignore_errors=True)
