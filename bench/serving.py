"""The application served over real HTTP from this very process, which has it loaded already."""

import socket
import threading
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
