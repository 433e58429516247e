"""The application, built once, and one HTTP server for the tests of a whole run."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import Any
from urllib.parse import urlsplit

from fastapi import FastAPI

from bench.serving import listening
from outreach.settings import get_settings


@lru_cache
def _built_for(scheme: str) -> FastAPI:
    from app.main import create_app

    return create_app()


def application_at_hand() -> FastAPI:
    """Return the application as it runs in production: it keeps nothing of a test, and its routes take seconds."""
    return _built_for(urlsplit(get_settings().public_url).scheme)


@contextmanager
def serving(port: int = 0) -> Iterator[str]:
    """Serve it on a port of its own; yields its URL."""
    with listening(application_at_hand(), port) as url:
        yield url


class Stage:
    """One server for the whole run, since to end one takes a fifth of a second: each test has its application in it."""

    def __init__(self) -> None:
        self.url = ""
        self._application: Any = None
        self._inside = 0

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self._inside += 1
        try:
            await self._application(scope, receive, send)
        finally:
            self._inside -= 1

    @contextmanager
    def showing(self, application: Any) -> Iterator[str]:
        """Serve this application until the end of the block; nothing that it still has to do meets the next one."""
        self._application = application
        yield self.url
        deadline = time.monotonic() + 20
        while self._inside:
            assert time.monotonic() < deadline, f"{self._inside} requests have not ended"
            time.sleep(0.002)
        self._application = None
