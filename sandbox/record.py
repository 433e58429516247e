"""What was accepted, written to disk before the answer goes out; and the sandbox's own objects across restarts.

One writer thread owns the SQLite connection. It commits everything that waits in one transaction with
`synchronous=FULL`, so many requests share one fsync and none is answered before it.
"""

import asyncio
import json
import queue
import sqlite3
import threading
import time
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SCHEMA = """
CREATE TABLE IF NOT EXISTS requests (
    id TEXT PRIMARY KEY, provider TEXT NOT NULL, at REAL NOT NULL, path TEXT NOT NULL, body TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS accepted (
    seq INTEGER PRIMARY KEY, provider TEXT NOT NULL, message_id TEXT, recipient TEXT NOT NULL, sender TEXT,
    provider_id TEXT NOT NULL, request_id TEXT NOT NULL, position INTEGER NOT NULL, at REAL NOT NULL
);
CREATE INDEX IF NOT EXISTS accepted_recipient ON accepted (recipient);
CREATE INDEX IF NOT EXISTS accepted_message ON accepted (message_id);
CREATE TABLE IF NOT EXISTS objects (
    kind TEXT NOT NULL, id TEXT NOT NULL, payload TEXT NOT NULL, PRIMARY KEY (kind, id)
);
"""
INSERT_ACCEPTED = (
    "INSERT INTO accepted (provider, message_id, recipient, sender, provider_id, request_id, position, at)"
    " VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
)
MAX_BATCH = 500


@dataclass(frozen=True)
class Accepted:
    """One message that a provider took; `position` is its personalization within the request."""

    message_id: str | None
    recipient: str
    sender: str | None
    provider_id: str
    position: int = 0


@dataclass(frozen=True)
class Stored:
    """One accepted message as read back, with the request it came in."""

    provider: str
    message_id: str | None
    recipient: str
    sender: str | None
    provider_id: str
    position: int
    at: float
    request: Any


Statement = tuple[str, Sequence[Sequence[Any]]]
Job = tuple[list[Statement], Future[None]]


class Record:
    """The durable record; open one per process and close it at the end."""

    def __init__(self, home: Path) -> None:
        home.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._path = home / "record.sqlite3"
        self._jobs: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        with self._connect() as connection:
            connection.execute("PRAGMA journal_mode=WAL")
            connection.executescript(SCHEMA)
        connection.close()
        self._writer = threading.Thread(target=self._write, name="record", daemon=True)
        self._writer.start()

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self._path, isolation_level=None)
        connection.execute("PRAGMA synchronous=FULL")
        return connection

    async def accept(
        self,
        provider: str,
        path: str,
        request: Any,
        messages: Sequence[Accepted],
        objects: Sequence[tuple[str, str, Any]] = (),
    ) -> None:
        """Store one request and its messages (and objects born with it); returns after the commit."""
        now = time.time()
        request_id = f"{time.time_ns():x}-{messages[0].provider_id}"
        statements: list[Statement] = [
            ("INSERT INTO requests VALUES (?, ?, ?, ?, ?)", [(request_id, provider, now, path, json.dumps(request))]),
            (
                INSERT_ACCEPTED,
                [
                    (provider, m.message_id, m.recipient, m.sender, m.provider_id, request_id, m.position, now)
                    for m in messages
                ],
            ),
        ]
        if objects:
            statements.append(_put(objects))
        await asyncio.wrap_future(self._submit(statements))

    def put(self, kind: str, identity: str, payload: Any) -> Future[None]:
        """Store or replace one object; wait for the future when the caller is about to answer for it."""
        return self._submit([_put([(kind, identity, payload)])])

    def reset(self) -> Future[None]:
        """Forget everything."""
        return self._submit([(f"DELETE FROM {table}", [()]) for table in ("accepted", "requests", "objects")])

    def load(self, kind: str) -> dict[str, Any]:
        """Return the objects of one kind by their id."""
        rows = self._read("SELECT id, payload FROM objects WHERE kind = ? ORDER BY rowid", (kind,))
        return {identity: json.loads(payload) for identity, payload in rows}

    def accepted(
        self,
        *,
        provider: str | None = None,
        recipient: str | None = None,
        message_id: str | None = None,
        limit: int = 100,
    ) -> list[Stored]:
        """Return the newest accepted messages first."""
        wanted = {"a.provider": provider, "a.recipient": recipient, "a.message_id": message_id}
        given = {column: value for column, value in wanted.items() if value is not None}
        where = " AND ".join(f"{column} = ?" for column in given) or "1"
        rows = self._read(
            "SELECT a.provider, a.message_id, a.recipient, a.sender, a.provider_id, a.position, a.at, r.body"
            f" FROM accepted a JOIN requests r ON r.id = a.request_id WHERE {where} ORDER BY a.seq DESC LIMIT ?",
            (*given.values(), limit),
        )
        return [Stored(*(*row[:7], json.loads(row[7]))) for row in rows]

    def find(self, provider: str, column: str, values: Sequence[str]) -> list[Stored]:
        """Return the accepted messages of one provider whose `column` has one of these values."""
        if column not in {"message_id", "recipient", "provider_id"}:
            raise ValueError(f"{column} is not searched")
        rows = self._read(
            "SELECT a.provider, a.message_id, a.recipient, a.sender, a.provider_id, a.position, a.at, r.body"
            " FROM accepted a JOIN requests r ON r.id = a.request_id"
            f" WHERE a.provider = ? AND a.{column} IN ({', '.join('?' * len(values))}) ORDER BY a.seq DESC",
            (provider, *values),
        )
        return [Stored(*(*row[:7], json.loads(row[7]))) for row in rows]

    def counts(self) -> dict[str, Any]:
        """Count what was accepted; a duplicate is a second acceptance of one message id for one recipient."""
        by_provider = self._read("SELECT provider, count(*) FROM accepted GROUP BY provider ORDER BY provider", ())
        distinct = self._read(
            "SELECT provider, count(DISTINCT message_id) FROM accepted GROUP BY provider ORDER BY provider", ()
        )
        duplicates = self._read(
            "SELECT provider, recipient, message_id, count(*) FROM accepted WHERE message_id IS NOT NULL"
            " GROUP BY provider, recipient, message_id HAVING count(*) > 1 ORDER BY count(*) DESC",
            (),
        )
        names = ("provider", "to", "message_id", "count")
        return {
            "accepted": dict(by_provider),
            "distinct_message_ids": dict(distinct),
            "duplicates": sum(row[3] - 1 for row in duplicates),
            "duplicated": [dict(zip(names, row, strict=True)) for row in duplicates[:100]],
            "without_message_id": self._read("SELECT count(*) FROM accepted WHERE message_id IS NULL", ())[0][0],
        }

    def close(self) -> None:
        """Write what waits, then stop the writer."""
        self._jobs.put(None)
        self._writer.join()

    def _read(self, statement: str, values: Sequence[Any]) -> list[Any]:
        connection = self._connect()
        try:
            return connection.execute(statement, values).fetchall()
        finally:
            connection.close()

    def _submit(self, statements: list[Statement]) -> Future[None]:
        done: Future[None] = Future()
        self._jobs.put((statements, done))
        return done

    def _write(self) -> None:
        connection = self._connect()
        running = True
        while running:
            batch = [self._jobs.get()]
            while len(batch) < MAX_BATCH and not self._jobs.empty():
                batch.append(self._jobs.get())
            running = None not in batch
            _commit(connection, [job for job in batch if job is not None])
        connection.close()


def _put(objects: Sequence[tuple[str, str, Any]]) -> Statement:
    rows = [(kind, identity, json.dumps(payload)) for kind, identity, payload in objects]
    return (
        "INSERT INTO objects VALUES (?, ?, ?) ON CONFLICT (kind, id) DO UPDATE SET payload = excluded.payload",
        rows,
    )


def _commit(connection: sqlite3.Connection, jobs: list[Job]) -> None:
    """Commit the jobs together; when that fails, each alone, so that one bad job fails alone."""
    try:
        connection.execute("BEGIN IMMEDIATE")
        for statements, _ in jobs:
            for statement, rows in statements:
                connection.executemany(statement, rows)
        connection.execute("COMMIT")
    except (sqlite3.Error, UnicodeError, OverflowError) as error:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        if len(jobs) == 1:
            _settle(jobs[0][1], error)
        else:
            for job in jobs:
                _commit(connection, [job])
    else:
        for _, done in jobs:
            _settle(done, None)


def _settle(done: Future[None], error: Exception | None) -> None:
    """Tell the one who waits, unless the caller has gone meanwhile."""
    if done.set_running_or_notify_cancel():
        if error is None:
            done.set_result(None)
        else:
            done.set_exception(error)
