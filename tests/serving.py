"""The application served from the test's own process, which has it loaded already: a new process takes seconds."""

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import uvicorn


@contextmanager
def listening(application: Any, port: int = 0) -> Iterator[str]:
    """Serve one ASGI application over real HTTP on a port of its own; yields its URL."""
    listener = socket.create_server(("127.0.0.1", port))
    # Pages that are watched hold their streams open; nobody waits for them at the end.
    config = uvicorn.Config(application, log_config=None, lifespan="off", ws="none", timeout_graceful_shutdown=1)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join()
        listener.close()


@contextmanager
def serving(port: int = 0) -> Iterator[str]:
    """Serve the application as it runs in production; yields its URL."""
    from app.main import create_app

    with listening(create_app(), port) as url:
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
