"""One HTTP server for the tests of a whole run."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


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
