"""Delivers webhooks back to Outreach: delayed, batched, signed per attempt, retried with back-off, faulty on demand."""

import asyncio
import json
import logging
from collections import Counter
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import urllib3

from sandbox.faults import Faults
from sandbox.settings import SandboxSettings
from sandbox.signatures import Sign, unsigned

log = logging.getLogger("sandbox.webhooks")
LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})
FIRST_RETRY_SECONDS = 0.25
LONGEST_RETRY_SECONDS = 10.0
REORDER_SECONDS = 0.5
LARGEST_BATCH = 100
BATCH_SECONDS = 0.2


@dataclass(frozen=True)
class Webhook:
    """One call to Outreach; `about` names the message or event for the log."""

    provider: str
    url: str
    body: bytes
    content_type: str
    sign: Sign = unsigned
    about: str = ""


class Courier:
    """Delivers webhooks from a few threads; `pending` counts those that still wait or travel."""

    def __init__(self, settings: SandboxSettings, faults: Faults) -> None:
        self.pending = 0
        self.totals: Counter[str] = Counter()
        self._settings = settings
        self._faults = faults
        self._threads = ThreadPoolExecutor(settings.webhook_connections, thread_name_prefix="webhook")
        self._pool = urllib3.PoolManager(
            maxsize=settings.webhook_connections, retries=False, timeout=urllib3.Timeout(connect=5, read=15)
        )
        self._closed = False
        self._timers: set[asyncio.TimerHandle] = set()

    def send(self, webhook: Webhook, after: float = 0) -> None:
        """Deliver a webhook after some seconds; the knobs may lose, double, delay or reorder it."""
        for extra in self.fates(webhook.provider, webhook.about):
            self.later(after + extra, partial(self.start, webhook))

    def later(self, seconds: float, act: Callable[[], None]) -> None:
        """Do something later on; it counts as pending until it is done or forgotten."""

        def due() -> None:
            self._timers.discard(timer)
            self.pending -= 1
            act()

        self.pending += 1
        timer = asyncio.get_running_loop().call_later(seconds, due)
        self._timers.add(timer)

    def forget(self) -> None:
        """Drop everything that waits; what travels arrives."""
        for timer in self._timers:
            timer.cancel()
        self.pending -= len(self._timers)
        self._timers.clear()

    def fates(self, provider: str, about: str) -> list[float]:
        """Return one delay in seconds per copy that shall arrive: none when it gets lost, two when doubled."""
        if self._faults.strikes_webhook(provider, "lose", about):
            self.totals["lost"] += 1
            return []
        copies = 2 if self._faults.strikes_webhook(provider, "duplicate", about) else 1
        delays = []
        for _ in range(copies):
            delay = self._faults.of(provider).webhooks.delay_seconds
            if self._faults.strikes_webhook(provider, "reorder", about):
                delay += REORDER_SECONDS * self._faults.spread(f"{provider}.reorder")
            delays.append(delay)
        return delays

    def close(self) -> None:
        """Stop retrying and wait for the calls under way."""
        self._closed = True
        self._threads.shutdown(wait=True, cancel_futures=True)
        self._pool.clear()

    def start(self, webhook: Webhook, attempt: int = 1) -> None:
        """Deliver a webhook now; what is not taken is tried again later."""
        if self._closed:
            return
        bad = self._faults.strikes_webhook(webhook.provider, "bad_signature", webhook.about)
        # A signature of other bytes is the forgery that receivers must notice.
        headers = webhook.sign(webhook.body + b"0" if bad else webhook.body)
        self.pending += 1
        call = asyncio.get_running_loop().run_in_executor(self._threads, self._post, webhook, headers)
        call.add_done_callback(partial(self._finish, webhook, attempt))

    def _post(self, webhook: Webhook, headers: Mapping[str, str]) -> str:
        target = reachable(webhook.url, self._settings.webhooks_to)
        sent = {"Content-Type": webhook.content_type, "User-Agent": "outreach-sandbox", **headers}
        try:
            answer = self._pool.request("POST", target, body=webhook.body, headers=sent, redirect=False)
        except (urllib3.exceptions.HTTPError, ValueError) as error:
            return type(error).__name__
        return str(answer.status)

    def _finish(self, webhook: Webhook, attempt: int, done: asyncio.Future[str]) -> None:
        self.pending -= 1
        if done.cancelled() or self._closed:
            return
        outcome = done.result()
        if outcome.startswith("2"):
            self.totals["delivered"] += 1
        elif attempt >= self._settings.webhook_attempts:
            self.totals["given_up"] += 1
            log.warning("gave up a %s webhook after %d attempts: %s", webhook.provider, attempt, outcome)
        else:
            self.totals["retried"] += 1
            self.totals[f"answered_{outcome}"] += 1
            pause = min(LONGEST_RETRY_SECONDS, FIRST_RETRY_SECONDS * 2 ** (attempt - 1))
            self.later(pause, partial(self.start, webhook, attempt + 1))


class EventBatch:
    """Gathers events into one JSON array: sent when it holds 100 events or after 0.2 seconds."""

    def __init__(self, courier: Courier, provider: str, url: str, sign: Sign) -> None:
        self._courier = courier
        self._provider = provider
        self._url = url
        self._sign = sign
        self._waiting: list[Mapping[str, Any]] = []
        self._timer: asyncio.TimerHandle | None = None

    def add(self, event: Mapping[str, Any], after: float, about: str) -> None:
        """Put an event into the batch that is open `after` seconds from now."""
        for extra in self._courier.fates(self._provider, about):
            self._courier.later(after + extra, partial(self._gather, event))

    def forget(self) -> None:
        """Drop the events that wait for their batch to fill."""
        self._take()

    def _gather(self, event: Mapping[str, Any]) -> None:
        self._waiting.append(event)
        self._courier.pending += 1
        if len(self._waiting) >= LARGEST_BATCH:
            self._flush()
        elif self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(BATCH_SECONDS, self._flush)

    def _flush(self) -> None:
        body = json.dumps(self._take()).encode()
        self._courier.start(Webhook(self._provider, self._url, body, "application/json", self._sign, "batch"))

    def _take(self) -> list[Mapping[str, Any]]:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        events, self._waiting = self._waiting, []
        self._courier.pending -= len(events)
        return events


def reachable(url: str, webhooks_to: str) -> str:
    """Return where to call for `url`: loopback as it is, anything else at the address of Outreach.

    Addresses come out of requests (StatusCallback, List-Unsubscribe); the sandbox never calls a foreign host.
    """
    asked, ours = urlsplit(url), urlsplit(webhooks_to)
    if asked.scheme in {"http", "https"} and (asked.hostname in LOOPBACK or asked.netloc == ours.netloc):
        return url
    return urlunsplit((ours.scheme, ours.netloc, asked.path, asked.query, ""))
