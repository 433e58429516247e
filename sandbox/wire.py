"""What the four wires share: faults around an acceptance, dropped connections, body limits, basic auth."""

import asyncio
import base64
import binascii
import hmac
from collections.abc import Awaitable, Callable
from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from sandbox.faults import Faults

CLOSE = "sandbox.close"


class DroppableProtocol(HttpToolsProtocol):
    """HTTP on uvicorn, with a way for the application to close the connection without an answer."""

    def on_message_begin(self) -> None:
        """Offer the close of this connection to the application as an ASGI extension."""
        super().on_message_begin()
        self.scope["extensions"] = {CLOSE: {"close": self.transport.close}}


class Dropped(Response):
    """Answers nothing: the connection closes, as when a provider dies after it has accepted."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002 -- ASGI's signature
        """Close the connection and wait until uvicorn has noticed, so that it adds no answer of its own."""
        scope["extensions"][CLOSE]["close"]()
        while (await receive())["type"] != "http.disconnect":
            pass


async def with_faults(
    faults: Faults,
    provider: str,
    accept: Callable[[], Awaitable[tuple[Response, str]]],
    refusal: Callable[[int], Response],
) -> Response:
    """Run one creating call under the knobs of its provider.

    `accept` returns the answer and the message it is about; `refusal(status)` words a 429 or 500 as the provider does.
    """
    knobs = faults.of(provider)
    if knobs.latency_ms:
        await asyncio.sleep(knobs.latency_ms / 1000)
    if faults.strikes(provider, "rate_limit"):
        return refusal(429)
    if faults.strikes(provider, "error_before_accept"):
        return refusal(500)
    answer, about = await accept()
    if answer.status_code >= 300:
        return answer
    if faults.strikes(provider, "accept_then_drop", about):
        return Dropped()
    if faults.strikes(provider, "error_after_accept", about):
        return refusal(500)
    if faults.strikes(provider, "wrong_json", about):
        return Response("<html><body>Bad gateway</body></html>", answer.status_code, media_type="text/html")
    return answer


async def read_body(request: Request, limit: int) -> bytes | None:
    """Return the body, or None when it is larger than `limit` bytes."""
    body = bytearray()
    async for part in request.stream():
        body += part
        if len(body) > limit:
            return None
    return bytes(body)


def basic_credentials(request: Request) -> tuple[str, str] | None:
    """Return user and password of an RFC 7617 header, or None."""
    scheme, _, encoded = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        user, colon, password = base64.b64decode(encoded, validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        return None
    return (user, password) if colon else None


def same(given: str, wanted: str) -> bool:
    """Compare two secrets in constant time."""
    return hmac.compare_digest(given.encode(), wanted.encode())


async def control_body(request: Request) -> dict[str, Any]:
    """Return the JSON object of a control call; asking for its content type keeps foreign web pages out."""
    if request.headers.get("content-type", "").partition(";")[0].strip() != "application/json":
        raise HTTPException(415, "control calls take application/json")
    try:
        body = await request.json()
    except ValueError as error:
        raise HTTPException(400, f"the body is not JSON: {error}") from error
    if not isinstance(body, dict):
        raise HTTPException(400, "the body must be a JSON object")
    return body
