"""Small real servers that behave badly on demand: what an adapter meets in the field."""

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

HANGS_SECONDS = 8.0


@dataclass
class Call:
    """One request as it came in."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


@dataclass
class Wire:
    """A server's behaviour and its memory."""

    url: str
    behaviour: str = "accept"
    calls: list[Call] = field(default_factory=list)
    connections: int = 0
    slow_seconds: float = 0.15
    # (status, headers, body) per behaviour that answers
    answers: dict[str, tuple[int, dict[str, str], bytes]] = field(default_factory=dict)
    refuse_where: bytes | None = None  # refuse for good the calls whose body holds this


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wire: Wire

    def setup(self) -> None:
        self.wire.connections += 1
        super().setup()

    def _serve(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        wire = self.wire
        wire.calls.append(Call(self.command, self.path, {k.lower(): v for k, v in self.headers.items()}, body))
        behaviour = wire.behaviour
        if wire.refuse_where and wire.refuse_where in body:
            behaviour = "reject"
        if behaviour == "drop":
            self.close_connection = True
            self.connection.close()
            return
        if behaviour == "hang":
            time.sleep(HANGS_SECONDS)
            self.close_connection = True
            return
        if behaviour == "slow":
            time.sleep(wire.slow_seconds)
            behaviour = "accept"
        status, headers, answer = wire.answers[behaviour]
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    do_GET = _serve  # noqa: N815 - the name that the standard library calls
    do_POST = _serve  # noqa: N815 - as above

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def handle_error(self, *_: Any) -> None:
        """A dropped connection is what the test asked for."""


@contextmanager
def http_server(answers: dict[str, tuple[int, dict[str, str], bytes]]) -> Iterator[Wire]:
    """Serve on a free loopback port."""
    wire = Wire("", answers=answers)
    handler = type("Handler", (_Handler,), {"wire": wire})
    server = _Server(("127.0.0.1", 0), handler)
    wire.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield wire
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def as_json(value: Any) -> bytes:
    """Encode a body."""
    return json.dumps(value).encode()
