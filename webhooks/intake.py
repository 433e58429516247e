"""Keeping what knocked, before anybody answers 2xx: a durable row each, and PostgreSQL alone.

Nothing is parsed and nobody is woken: a broken Redis can neither lose an event nor delay the answer. The sweep
finds what was kept within seconds.
"""

import asyncio
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from weakref import WeakKeyDictionary

import orjson
from sqlalchemy import text
from starlette.concurrency import run_in_threadpool

from outreach.db import committing
from outreach.errors import Unavailable
from outreach.models.base import compress

# What of the headers is kept: what parsing needs, no secrets and no signatures.
KEPT_HEADERS = (
    *("content-type", "webhook-id", "x-zendesk-webhook-id", "x-zendesk-webhook-invocation-id"),
    *("x-atlassian-webhook-identifier", "x-zammad-delivery"),
)
LONGEST_KEY = 200

MOST_TOGETHER = 64
STORING = 2  # while one commit is written to the disk, the next one is made ready

_KEEP = text("""
INSERT INTO inbound_events (source, key, headers, body, body_bytes)
VALUES (:source, :key, cast(:headers AS jsonb), :body, :body_bytes)
ON CONFLICT (source, key) DO NOTHING
""")


@dataclass(frozen=True, slots=True)
class Knock:
    """A verified event as it came: whose it is, its own key if it has one, headers, query string and bytes."""

    source: str
    key: str | None
    headers: Mapping[str, str]
    query: str
    body: bytes

    def row(self) -> dict[str, object]:
        """Return what is stored of it."""
        kept = {name: value for name in KEPT_HEADERS if (value := self.headers.get(name)) is not None}
        return {
            "source": self.source,
            "key": key_of(self.key, self.query, self.body),
            "headers": orjson.dumps({**kept, "query": self.query}).decode().replace("\\u0000", ""),
            "body": compress(self.body),
            "body_bytes": len(self.body),
        }


async def keep(knock: Knock) -> None:
    """Keep a verified event, once per source and key, and return when it is durable.

    Without a natural key the bytes themselves, with their query string, are the key. Raises `Unavailable` when the
    database did not take it, so that the sender tries again.
    """
    loop = asyncio.get_running_loop()
    if (keeper := _keepers.get(loop)) is None:
        keeper = _keepers[loop] = _Keeper()
    await keeper.keep(knock)


class _Keeper:
    """Stores for one event loop; what comes in while one transaction commits shares the next one."""

    def __init__(self) -> None:
        self._waiting: list[tuple[Knock, asyncio.Future[None]]] = []
        self._working: set[asyncio.Task[None]] = set()

    async def keep(self, knock: Knock) -> None:
        """Return once it is stored; raises what went wrong with this one."""
        ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((knock, ended))
        if len(self._working) < STORING:
            self._working.add(asyncio.create_task(self._store_all()))
        await ended

    async def _store_all(self) -> None:
        try:
            while self._waiting:
                together, self._waiting = self._waiting[:MOST_TOGETHER], self._waiting[MOST_TOGETHER:]
                await self._store(together)
        finally:
            # Here, not once the task is done: whoever knocks between the two would find it working and wait for nobody.
            self._working.discard(asyncio.current_task())

    async def _store(self, together: Sequence[tuple[Knock, "asyncio.Future[None]"]]) -> None:
        error: Exception | None = None
        try:
            await run_in_threadpool(store, [knock for knock, _ in together])
        except Exception as failed:  # noqa: BLE001 - handed to those who wait
            error = failed
        if error is not None and len(together) > 1 and not isinstance(error, Unavailable):
            for one in together:  # one that cannot be stored does not stop the others
                await self._store([one])
            return
        for _, ended in together:
            if ended.done():
                continue  # its sender hung up
            if error is None:
                ended.set_result(None)
            else:
                ended.set_exception(error)


_keepers: WeakKeyDictionary[asyncio.AbstractEventLoop, _Keeper] = WeakKeyDictionary()


def store(knocks: Sequence[Knock]) -> int:
    """Store verified events with one commit, once per source and key; returns how many were new.

    Raises `Unavailable` when the database did not take them.
    """
    with committing() as connection:
        # Many go in one pipeline, which ends, and so commits, once.
        return connection.execute(_KEEP, [knock.row() for knock in knocks]).rowcount


def key_of(key: str | None, query: str, body: bytes) -> str:
    """Return what makes an event the same one: its own key, or the digest of what came."""
    if key is not None and 0 < len(key) <= LONGEST_KEY and key.isprintable():
        return key
    digest = hashlib.sha256(query.encode("utf-8", "replace") + b"\n")
    if key is not None:
        digest.update(key.encode("utf-8", "replace"))
    digest.update(body)
    return digest.hexdigest()
