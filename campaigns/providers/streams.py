"""Many calls at once over kept-alive connections, one event loop thread per adapter.

For what is sent by the million: a thread and a client library per call cost more than the call. The same rules as in
`transport`: nothing is ever retried or redirected, and every failure says whether the request may have left.
"""

import asyncio
import ssl
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any, Generic, TypeVar
from urllib.parse import urlsplit

import httptools

from campaigns.providers.base import Receipt
from campaigns.providers.lanes import HasMessageId, Lanes, Shared
from campaigns.providers.pace import Pace
from campaigns.providers.transport import (
    CONNECT_SECONDS,
    MAX_ANSWER_BYTES,
    Answer,
    DeadlinePassedError,
    MaybeSentError,
    NotSentError,
)

E = TypeVar("E", bound=HasMessageId)


def request_head(base_url: str, path: str, headers: Mapping[str, str]) -> bytes:
    """Return everything of a POST that is the same for all, up to the value of Content-Length.

    A setting that holds a line break must not become two headers: what cannot be printed becomes a question mark.
    """
    parts = urlsplit(base_url.rstrip("/"))
    named = {"Host": parts.netloc.rpartition("@")[2], **headers, "User-Agent": "outreach"}
    lines = [f"POST {parts.path}{path} HTTP/1.1", *(f"{name}: {value}" for name, value in named.items())]
    plain = ("".join(letter if " " <= letter <= "~" else "?" for letter in line) for line in lines)
    return ("\r\n".join(plain) + "\r\nContent-Length: ").encode()


def request(head: bytes, body: bytes) -> bytes:
    """Return the bytes of one request."""
    return b"%s%d\r\n\r\n%s" % (head, len(body), body)


class Stream(asyncio.Protocol):
    """One connection with at most one request under way."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._waiting: asyncio.Future[Answer] | None = None
        self.usable = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Be ready for requests."""
        self._transport: asyncio.Transport = transport  # type: ignore[assignment]
        self.usable = True

    async def call(self, request: bytes, seconds: float) -> Answer:
        """Send one request; raises MaybeSentError where its answer did not come whole and in time."""
        self._parser = httptools.HttpResponseParser(self)
        self._headers: dict[str, str] = {}
        self._parts: list[bytes] = []
        self._size = 0
        self._waiting = self._loop.create_future()
        timer = self._loop.call_later(seconds, self._fail, "no answer in time")
        self._transport.write(request)
        try:
            return await self._waiting
        finally:
            timer.cancel()
            self._waiting = None

    def close(self) -> None:
        """Let the connection go."""
        self.usable = False
        self._transport.abort()

    def data_received(self, data: bytes) -> None:
        """Feed the parser; an answer that nobody asked for, or that is no HTTP, ends the connection."""
        if self._waiting is None:
            self.close()
            return
        self._size += len(data)
        if self._size > MAX_ANSWER_BYTES:
            self._fail("the answer was too long")
            return
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade, UnicodeDecodeError):
            self._fail("the answer could not be read")

    def eof_received(self) -> None:
        """Close with the other side; an answer without a length would end here and is not taken for whole."""
        self._fail("connection lost during the call (closed)")

    def connection_lost(self, error: Exception | None) -> None:
        """Tell whoever waits."""
        self._fail(f"connection lost during the call ({type(error).__name__ if error else 'closed'})")

    def on_header(self, name: bytes, value: bytes) -> None:
        """Keep one header."""
        self._headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_body(self, part: bytes) -> None:
        """Keep a part of the body."""
        self._parts.append(part)

    def on_message_complete(self) -> None:
        """Hand the answer over."""
        status = self._parser.get_status_code()
        if status < 200 or self._waiting is None:  # 100 Continue and the like come before the answer
            self._headers, self._parts = {}, []
            return
        if not self._parser.should_keep_alive():
            self.close()
        if not self._waiting.done():
            self._waiting.set_result(Answer(status, self._headers, b"".join(self._parts)))

    def _fail(self, why: str) -> None:
        self.close()
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_exception(MaybeSentError(why))


class StreamLanes(Generic[E]):
    """Up to `connections` calls at once to one base address; several `run` share them, the earlier one first."""

    def __init__(self, provider: str, base_url: str, *, connections: int, timeout_seconds: float) -> None:
        parts = urlsplit(base_url.rstrip("/"))
        self._lanes: Lanes[E] = Lanes(provider, 1, timeout_seconds=timeout_seconds)
        self._host, self._secure = parts.hostname or "", parts.scheme == "https"
        self._port = parts.port or (443 if self._secure else 80)
        self._connections = max(1, connections)
        self._timeout_seconds = timeout_seconds
        self._context = ssl.create_default_context() if self._secure else None
        self._idle: deque[Stream] = deque()
        self._starting = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None

    def run(
        self,
        groups: Sequence[Sequence[E]],
        request_of: Callable[[Sequence[E]], bytes],
        receipts_of: Callable[[Sequence[E], Answer, int], list[Receipt]],
        *,
        deadline: float,
        pace: Pace | None = None,
        first: int = 0,
    ) -> list[list[Receipt]]:
        """Make one call per group, numbered from `first` on; returns the receipts of each, in the order of the groups.

        See `Lanes` for what spares the calls that have not started.
        """
        loop = self._running_loop()
        work = self._run(groups, request_of, receipts_of, deadline, pace, first)
        return asyncio.run_coroutine_threadsafe(work, loop).result()

    def close(self) -> None:
        """Let connections and thread go."""
        with self._starting:
            if self._loop is not None:
                loop, self._loop = self._loop, None
                asyncio.run_coroutine_threadsafe(self._close_all(), loop).result(CONNECT_SECONDS)
                loop.call_soon_threadsafe(loop.stop)
                self._thread.join()
                loop.close()
            self._lanes.close()

    def _running_loop(self) -> asyncio.AbstractEventLoop:
        with self._starting:
            if self._loop is None:
                self._loop = _new_loop()
                self._turns = asyncio.Semaphore(self._connections)
                self._thread = threading.Thread(target=self._loop.run_forever, name="streams", daemon=True)
                self._thread.start()
            return self._loop

    async def _run(
        self,
        groups: Sequence[Sequence[E]],
        request_of: Callable[[Sequence[E]], bytes],
        receipts_of: Callable[[Sequence[E], Answer, int], list[Receipt]],
        deadline: float,
        pace: Pace | None,
        first: int,
    ) -> list[list[Receipt]]:
        started = time.monotonic()
        results: list[list[Receipt]] = [[] for _ in groups]
        turn, shared = iter(range(len(groups))), Shared(deadline, self._timeout_seconds)

        async def lane() -> None:
            async with self._turns:
                stream: Stream | None = None
                for number in turn:
                    group = groups[number]
                    if not shared.may_begin():
                        results[number] = shared.refuse(group)
                        continue
                    try:
                        made = request_of(group)
                        if pace is not None and (wait := pace.turn(shared.begins_before)):
                            await asyncio.sleep(wait)
                        stream = await self._usable(stream, deadline)
                        answer = await stream.call(made, self._seconds(deadline))
                        results[number] = receipts_of(group, answer, first + number)
                    except Exception as error:  # noqa: BLE001 - each becomes a receipt
                        results[number] = self._lanes.receipts_of_trouble(error, group, first + number, shared)
                if stream is not None and stream.usable:
                    self._idle.append(stream)

        await asyncio.gather(*(lane() for _ in range(min(self._connections, len(groups)))))
        self._lanes.log(results, started)
        return results

    async def _usable(self, stream: Stream | None, deadline: float) -> Stream:
        """Return the lane's own stream, an idle one or a new one; raises NotSentError without a connection."""
        seconds = self._seconds(deadline)
        if stream is not None and stream.usable:
            return stream
        while self._idle:
            if (found := self._idle.pop()).usable:
                return found
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(min(CONNECT_SECONDS, seconds)):
                _, made = await loop.create_connection(
                    lambda: Stream(loop), self._host, self._port, ssl=self._context,
                    server_hostname=self._host if self._context else None,
                )  # fmt: skip
        except (OSError, ValueError) as error:  # TimeoutError, refusals, names and TLS: nothing was written yet
            raise NotSentError(f"no connection ({type(error).__name__})") from error
        return made

    def _seconds(self, deadline: float) -> float:
        seconds = min(self._timeout_seconds, deadline - time.monotonic())
        if seconds <= 0:
            raise DeadlinePassedError("the deadline passed before the call")
        return seconds

    async def _close_all(self) -> None:
        _abort(self._idle)
        self._idle.clear()
        await asyncio.sleep(0)  # lets the loop take note of the closed connections


def _abort(streams: Iterable[Stream]) -> None:
    for stream in streams:
        with suppress(RuntimeError):
            stream.close()


def _new_loop() -> asyncio.AbstractEventLoop:
    try:
        import uvloop  # comes with uvicorn where it exists
    except ImportError:
        return asyncio.new_event_loop()
    made: Any = uvloop.new_event_loop()
    return made  # type: ignore[no-any-return]
