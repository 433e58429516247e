"""A provider that only counts: SendGrid, Twilio and Lob on one port, so lean that it is not what is measured.

`python -m bench.sink [--port N] [--latency-ms N]` prints its port. `GET /_counts` says what came in since `GET /_reset`
(`?every=N` keeps the moment of every Nth message); `GET /_latency?ms=N` sets how long each answer waits.
"""

import argparse
import asyncio
import json
import sys
import time
from typing import Any
from urllib.parse import parse_qs

import httptools
import uvloop

_SENDGRID = b"HTTP/1.1 202 Accepted\r\nX-Message-Id: sink-%d\r\nContent-Length: 0\r\n\r\n"
_TWILIO_BODY = (
    b'{"account_sid":"AC0","api_version":"2010-04-01","body":"","date_created":"Thu, 24 Aug 2023 05:01:45 +0000",'
    b'"date_sent":null,"date_updated":"Thu, 24 Aug 2023 05:01:45 +0000","direction":"outbound-api","error_code":null,'
    b'"error_message":null,"from":null,"num_media":"0","num_segments":"1","price":null,"price_unit":"USD",'
    b'"messaging_service_sid":null,"sid":"SM%032d","status":"queued","subresource_uris":{},"to":"","uri":"/x.json"}'
)


class Counts:
    """What came in since the last reset."""

    def __init__(self, every: int = 0) -> None:
        self.requests = self.messages = self.bytes = 0
        self.first = self.last = 0.0
        self.every, self.next_mark = every, every
        self.marks: list[float] = []

    def add(self, messages: int, size: int) -> int:
        """Count one request and return its number."""
        self.last = time.time()
        self.first = self.first or self.last
        self.requests += 1
        self.messages += messages
        self.bytes += size
        while self.every and self.messages >= self.next_mark:
            self.marks.append(self.last)
            self.next_mark += self.every
        return self.requests

    def shown(self) -> dict[str, Any]:
        """Return everything for `/_counts`; times are unix seconds."""
        return {
            "requests": self.requests,
            "messages": self.messages,
            "bytes": self.bytes,
            "first": self.first,
            "last": self.last,
            "marks": self.marks,
        }


class Sink:
    """What the connections share."""

    def __init__(self, latency_seconds: float) -> None:
        self.latency_seconds = latency_seconds
        self.counts = Counts()

    def control(self, target: bytes) -> bytes:
        """Answer one of our own questions."""
        path, _, query = target.decode().partition("?")
        values = {name: found[0] for name, found in parse_qs(query).items()}
        if path == "/_reset":
            self.counts = Counts(int(values.get("every", 0)))
        elif path == "/_latency":
            self.latency_seconds = float(values["ms"]) / 1000
        return _json(json.dumps(self.counts.shown()).encode(), b"200 OK")

    def answer(self, target: bytes, body: bytes) -> bytes:
        """Take one request as the provider would and return the whole answer."""
        if target.startswith(b"/v3/mail/send"):
            return _SENDGRID % self.counts.add(body.count(b'"custom_args"') or body.count(b'"to":'), len(body))
        number = self.counts.add(1, len(body))
        if target.startswith(b"/2010-04-01"):
            return _json(_TWILIO_BODY % number, b"201 Created")
        return _json(b'{"id":"psc_%d","object":"postcard"}' % number, b"200 OK")


def _json(body: bytes, status: bytes) -> bytes:
    head = b"HTTP/1.1 %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
    return head % (status, len(body)) + body


class Connection(asyncio.Protocol):
    """One kept-alive connection; requests on it are answered in order."""

    def __init__(self, sink: Sink) -> None:
        self._sink = sink
        self._parser = httptools.HttpRequestParser(self)
        self._target, self._parts = b"", list[bytes]()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Remember where answers go."""
        self._transport: asyncio.WriteTransport = transport  # type: ignore[assignment]

    def data_received(self, data: bytes) -> None:
        """Feed the parser; whoever speaks something else is cut off."""
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            self._transport.close()

    def on_message_begin(self) -> None:
        """Begin a request."""
        self._target, self._parts = b"", []

    def on_url(self, target: bytes) -> None:
        """Take (a part of) the target."""
        self._target += target

    def on_body(self, part: bytes) -> None:
        """Take a part of the body."""
        self._parts.append(part)

    def on_message_complete(self) -> None:
        """Answer, at once or after the latency."""
        if self._target.startswith(b"/_"):
            self._transport.write(self._sink.control(self._target))
            return
        answer = self._sink.answer(self._target, b"".join(self._parts))
        if self._sink.latency_seconds:
            asyncio.get_running_loop().call_later(self._sink.latency_seconds, self._transport.write, answer)
        else:
            self._transport.write(answer)


async def serve(port: int, latency_seconds: float) -> None:
    """Listen on the loopback address until the process is stopped; prints the port."""
    sink = Sink(latency_seconds)
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Connection(sink), "127.0.0.1", port, backlog=1024)
    sys.stdout.write(f"{server.sockets[0].getsockname()[1]}\n")
    sys.stdout.flush()
    await server.serve_forever()


if __name__ == "__main__":
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--port", type=int, default=0)
    arguments.add_argument("--latency-ms", type=float, default=0)
    given = arguments.parse_args()
    uvloop.run(serve(given.port, given.latency_ms / 1000))
