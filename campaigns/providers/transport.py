"""One pooled HTTP connection set to one provider, which knows whether a request may have left.

The SDKs' own transports open a connection per call or retry by themselves; a repeated call is a
customer told twice, so here nothing is ever retried or redirected.
"""

import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urlsplit

import urllib3
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.exceptions import (
    ConnectTimeoutError,
    HTTPError,
    LocationParseError,
    NewConnectionError,
    ReadTimeoutError,
)
from urllib3.response import BaseHTTPResponse

MAX_ANSWER_BYTES = 1_000_000
CONNECT_SECONDS = 5.0
_LOCAL_HOSTS = frozenset({"127.0.0.1", "::1", "localhost"})


class NotSentError(Exception):
    """The request provably never left; the next one would fare no better."""


class DeadlinePassedError(NotSentError):
    """The deadline came before the call."""


class MaybeSentError(Exception):
    """The request may have been received and acted upon."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What the provider answered; `headers` are keyed in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def retry_after_seconds(self) -> float | None:
        """The wait the provider asks for: Retry-After (seconds or date) or a rate-limit reset."""
        for name in ("retry-after", "ratelimit-reset", "x-ratelimit-reset", "x-rate-limit-reset"):
            seconds = _seconds(self.headers.get(name))
            if seconds is not None:
                return seconds
        return None


def _seconds(value: str | None) -> float | None:
    if not value:
        return None
    try:
        number = float(value)
    except ValueError:
        try:
            return max(0.0, (parsedate_to_datetime(value) - datetime.now(UTC)).total_seconds())
        except (ValueError, TypeError):
            return None
    if not 0 <= number < 1e11:  # also refuses NaN
        return None
    # SendGrid and Lob give the moment (unix seconds), the RFC a number of seconds.
    return max(0.0, number - time.time()) if number > 1e9 else number


class _PlainConnection(HTTPConnection):
    """A connection whose failures before the first byte all look alike."""

    def connect(self) -> None:
        try:
            super().connect()
        except OSError as error:  # a reset while the handshake is on its way
            raise NewConnectionError(self, type(error).__name__) from error


class _TlsConnection(HTTPSConnection):
    """As above, where TLS failures also belong: no request is written before the handshake is done."""

    def connect(self) -> None:
        try:
            super().connect()
        except OSError as error:  # ssl.SSLError is one
            raise NewConnectionError(self, f"TLS: {type(error).__name__}") from error


class _PlainPool(HTTPConnectionPool):
    ConnectionCls = _PlainConnection


class _TlsPool(HTTPSConnectionPool):
    ConnectionCls = _TlsConnection


class Transport:
    """Keep-alive calls to one base address; safe to share between threads."""

    def __init__(self, base_url: str, *, connections: int, timeout_seconds: float) -> None:
        self.base_url = base_url.rstrip("/")
        self._timeout_seconds = timeout_seconds
        self._pools = urllib3.PoolManager(num_pools=2, maxsize=connections, block=True, retries=False)
        self._pools.pool_classes_by_scheme = {"http": _PlainPool, "https": _TlsPool}

    def call(
        self,
        method: str,
        path: str,
        *,
        headers: Mapping[str, str],
        body: bytes | None = None,
        deadline: float | None = None,
    ) -> Answer:
        """Make one call; `path` may be absolute. Raises NotSentError or MaybeSentError, nothing else."""
        seconds = self._timeout_seconds
        if deadline is not None:
            seconds = min(seconds, deadline - time.monotonic())
            if seconds <= 0:
                raise DeadlinePassedError("the deadline passed before the call")
        url = path if path.startswith(("http://", "https://")) else self.base_url + path
        ends = time.monotonic() + seconds
        try:
            response = self._pools.request(
                method,
                url,
                body=body,
                headers=headers,
                timeout=urllib3.Timeout(connect=min(CONNECT_SECONDS, seconds), total=seconds),
                retries=False,
                redirect=False,
                preload_content=False,
            )
            return Answer(
                response.status,
                {name.lower(): value for name, value in response.headers.items()},
                _read(response, ends),
            )
        except (NewConnectionError, ConnectTimeoutError, LocationParseError) as error:
            raise NotSentError(f"no connection ({type(error).__name__})") from error
        except ReadTimeoutError as error:
            raise MaybeSentError("no answer in time") from error
        except (HTTPError, OSError) as error:
            raise MaybeSentError(f"connection lost during the call ({type(error).__name__})") from error

    def close(self) -> None:
        """Let the connections go."""
        self._pools.clear()


def _read(response: BaseHTTPResponse, ends: float) -> bytes:
    """Read the body up to a limit of size and time; the connection goes back to the pool when it is empty."""
    parts: list[bytes] = []
    size = 0
    for part in response.stream(65_536, decode_content=True):
        parts.append(part)
        size += len(part)
        if size > MAX_ANSWER_BYTES or time.monotonic() > ends:
            response.close()
            raise MaybeSentError("the answer was too long or too slow")
    response.release_conn()
    return b"".join(parts)


# Addresses and numbers of customers, and anything that looks like a key.
_PRIVATE = re.compile(r"[^\s<>\"']+@[^\s<>\"']+|\+?\d[\d\s().-]{5,}\d|\b[A-Za-z0-9_.-]{32,}\b")


def safe_detail(text: Any) -> str | None:
    """Return a provider's words fit to store and show: one line, short, without addresses, numbers or keys."""
    if not text:
        return None
    one_line = " ".join("".join(c if c.isprintable() else " " for c in str(text)[:1000]).split())
    return _PRIVATE.sub("[removed]", one_line)[:200] or None


def problems_with_url(name: str, url: str) -> list[str]:
    """Return what is wrong with a provider's base address."""
    try:
        parts = urlsplit(url)
        host = parts.hostname
    except ValueError:
        return [f"{name} is not an address: {url!r}."]
    if parts.scheme not in {"http", "https"} or not host:
        return [f"{name} must be a full address such as https://api.example.com, not {url!r}."]
    if parts.scheme == "http" and host not in _LOCAL_HOSTS:
        return [f"{name} must use https://: the key would travel in the clear to {host}."]
    if parts.username or parts.password:
        return [f"{name} must not carry a user name or password."]
    return []
