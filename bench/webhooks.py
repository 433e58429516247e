"""SendGrid's events taken in and applied, beside the raw limits and the naive endpoint, in one run.

Intake: events per second through the product's door, a bare endpoint that verifies and inserts, one that does
nothing, and the naive one, which applies while the sender waits. Apply: the worker's task beside a bare COPY and merge
of the same rows, and beside the naive one. Last, the time of an answer at half load while 100,000 events wait.
"""

import os
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Any

import orjson
import psycopg
from sqlalchemy import text

from bench import webhook_doors
from bench.own_database import own_database
from bench.webhook_load import Keys, bodies, door, latencies, seconds_for
from outreach.db import transaction
from outreach.settings import get_settings
from webhooks.tasks import apply_inbox

MESSAGES = {"small": 100_000, "full": 1_000_000}
POSTS = {100: 600, 1000: 100}  # of a round, by events per post
NAIVE_POSTS = {100: 8, 1000: 2}
APPLIED = 100_000  # events of a round of applying, and those that wait while answers are timed
BARE_BATCH = 10_000
ROUNDS = 3
PORT = 8343
MUST_BARE, MUST_NAIVE, MUST_APPLY_NAIVE, MUST_MERGE, MUST_P99 = 0.7, 150.0, 50.0, 0.7, 50.0

_MESSAGES = text("""
WITH campaign AS (
    INSERT INTO campaigns (key, name, kind, notice_class, state, template_key, template_version, ladder, grades,
                           created_by)
    VALUES ('C-1', 'bench', 'known', 'service', 'running', 'known', 1, '[{"channel": "email"}]', '["likely"]', 'bench')
    RETURNING id
), people AS (
    INSERT INTO customers (external_id, name, email)
    SELECT 'c-' || i, 'Ann ' || i, 'c' || i || '@example.com' FROM generate_series(1, :number) AS i
    RETURNING id, email
), owed AS (
    INSERT INTO notices (campaign_id, customer_id, grade, state)
    SELECT campaign.id, people.id, 'likely', 'owed' FROM people, campaign RETURNING id, campaign_id, customer_id
)
INSERT INTO messages (notice_id, campaign_id, customer_id, channel, chunk_id, address, send_state, provider, sent_at)
SELECT owed.id, owed.campaign_id, owed.customer_id, 'email', owed.id / 1000, people.email, 'accepted', 'sendgrid', now()
FROM owed JOIN people ON people.id = owed.customer_id
""")

_MERGE = """
INSERT INTO bare_events (event_id, message_id, kind, at) SELECT event_id, message_id, kind, at FROM t_events
ON CONFLICT DO NOTHING;
UPDATE bare_messages m SET status = x.kind, status_at = x.at
FROM (SELECT DISTINCT ON (message_id) message_id, kind, at FROM t_events ORDER BY message_id, kind DESC, at DESC) x
WHERE m.id = x.message_id AND m.status < x.kind
"""

_MERGE_SAME = """
INSERT INTO delivery_events (message_id, key, kind, at, provider, detail, inbound_event_id)
SELECT message_id, key, kind, at, provider, detail, inbound FROM t_events ON CONFLICT DO NOTHING;
UPDATE messages m SET delivery = x.kind, delivery_rank = x.rank, delivery_detail = x.detail,
       delivered_at = CASE WHEN x.rank = 50 THEN x.at END
FROM (SELECT DISTINCT ON (message_id) * FROM t_events ORDER BY message_id, rank DESC, at) x
WHERE m.id = x.message_id AND m.delivery_rank < x.rank;
UPDATE notices n SET state = 'delivered', settled_at = now()
FROM t_events t JOIN messages m ON m.id = t.message_id WHERE n.id = m.notice_id AND t.rank = 50 AND n.state = 'owed'
"""


@dataclass(frozen=True)
class Merge:
    """What is written by hand: the columns of the temporary table, a line of it, and the statements."""

    columns: str
    line: Callable[[dict[str, Any]], str]
    statements: str


def run(size: str = "small") -> dict[str, Any]:
    """Measure intake, apply and the answer's time; `size` is the number of messages the events are about."""
    with tempfile.TemporaryDirectory(prefix="outreach-bench-") as home, own_database() as address:
        url = address.replace("postgresql+psycopg://", "postgresql://")
        keys = Keys()
        environment = {
            "OUTREACH_HOME": home,
            "OUTREACH_SECRET_KEY": "bench-key-that-nobody-else-would-use-0123456789",
            "OUTREACH_SENDGRID_WEBHOOK_PUBLIC_KEY": keys.public,
            "DOOR_DATABASE": url,
        }
        before = {name: os.environ.get(name) for name in environment}
        os.environ.update(environment)
        get_settings.cache_clear()
        try:
            return _measure(MESSAGES[size], keys, url)
        finally:
            for name, value in before.items():
                os.environ.pop(name, None) if value is None else os.environ.update({name: value})


def _measure(number: int, keys: Keys, url: str) -> dict[str, Any]:
    ids = _fill(number, url)
    rows, goals = [], []
    naive_best: dict[int, float] = {}
    for size in POSTS:
        intake = _intake(size, keys, ids, url)
        rows += [_row(f"intake, {kind}", size, rates) for kind, rates in intake.items()]
        product, bare, naive = (statistics.median(intake[kind]) for kind in ("product", "bare", "naive"))
        naive_best[size] = naive
        judged = _steady(intake["bare"])
        goals += [
            _goal(f"intake of {size}, share of the bare verified endpoint", product / bare, MUST_BARE, judged),
            _goal(f"intake of {size}, x naive", product / naive, MUST_NAIVE, judged and _steady(intake["naive"])),
        ]
    for size in POSTS:
        applied = _apply(size, ids, url)
        rows += [_row(f"apply, {kind}", size, rates) for kind, rates in applied.items()]
        product, merge = (statistics.median(applied[kind]) for kind in ("product", "bare merge"))
        judged = _steady(applied["bare merge"])
        goals += [
            _goal(f"apply of {size}, share of the bare merge", product / merge, MUST_MERGE, judged),
            _goal(f"apply of {size}, x naive", product / naive_best[size], MUST_APPLY_NAIVE, judged),
        ]
    whole = next(r for r in rows if r["what"] == "intake, product" and r["events_per_post"] == 100)
    per_second = whole["events_per_second"] / 100 / 2
    answers = _answers(keys, ids, url, per_second)
    rows.append({"what": f"answers at {per_second:.0f} posts/s while {APPLIED} events wait", **answers})
    goals.append(_goal("p99 of the answer at half load, ms, at most", answers["p99_ms"], MUST_P99, True, least=False))
    load = [round(value, 2) for value in os.getloadavg()]
    return {"bench": "webhooks", "goals": goals, "rows": rows, "load": load}


def _fill(number: int, url: str) -> list[str]:
    with transaction() as session:
        session.execute(text("SET LOCAL statement_timeout = 0"))
        session.execute(_MESSAGES, {"number": number})
    with psycopg.connect(url, autocommit=True) as connection:
        for statement in webhook_doors.TABLES.split(";"):
            connection.execute(statement.encode())
        for table in ("messages", "notices", "bare_messages"):
            connection.execute(f"VACUUM ANALYZE {table}".encode())
        return [str(row[0]) for row in connection.execute("SELECT id FROM messages ORDER BY id")]


def _intake(size: int, keys: Keys, ids: Sequence[str], url: str) -> dict[str, list[float]]:
    """Return events per second by kind of endpoint; the kinds take turns."""
    found: dict[str, list[float]] = {kind: [] for kind in ("noop", "bare", "product", "naive")}
    for _ in range(ROUNDS):
        for kind, rates in found.items():
            posts = NAIVE_POSTS[size] if kind == "naive" else POSTS[size]
            requests = [keys.request(body) for body in bodies(posts, size, ids)]
            with door(kind, PORT):
                seconds_for(requests[: max(1, posts // 20)], PORT)  # the first ones wake everything up
                rest = requests[max(1, posts // 20) :]
                # Two at a time would make the naive endpoint wait for itself on shared rows.
                rates.append(size * len(rest) / seconds_for(rest, PORT))
        _forget(url)
    return found


def _apply(size: int, ids: Sequence[str], url: str) -> dict[str, list[float]]:
    found: dict[str, list[float]] = {"product": [], "bare merge": [], "narrow merge": []}
    for _ in range(ROUNDS):
        waiting = bodies(APPLIED // size, size, ids)
        _forget(url)
        _wait_in(
            "INSERT INTO inbound_events (source, key, body) VALUES ('sendgrid', gen_random_uuid(), %b)", waiting, url
        )
        found["product"].append(APPLIED / _timed(apply_inbox))
        _account(url)
        for kind in ("bare merge", "narrow merge"):
            _forget(url)
            _wait_in("INSERT INTO bare_raw (provider, body) VALUES ('sendgrid', %b)", waiting, url)
            found[kind].append(APPLIED / _timed(partial(_merge_all, url, size, MERGES[kind])))
    return found


def _merge_all(url: str, size: int, merge: Merge) -> None:
    """Decode, COPY into a temporary table, and a few statements per batch."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(f"CREATE TEMP TABLE t_events ({merge.columns})".encode())
        while True:
            with connection.transaction():
                rows = connection.execute(
                    "SELECT id, body FROM bare_raw WHERE applied_at IS NULL ORDER BY id LIMIT %s"
                    " FOR UPDATE SKIP LOCKED",
                    (BARE_BATCH // size,),
                    binary=True,
                ).fetchall()
                if not rows:
                    return
                connection.execute("TRUNCATE t_events")
                with connection.cursor().copy("COPY t_events FROM STDIN") as copy:
                    copy.write("".join(merge.line(event) for _, body in rows for event in orjson.loads(body)))
                for statement in merge.statements.split(";"):
                    connection.execute(statement.encode())
                connection.execute("UPDATE bare_raw SET applied_at = now() WHERE id = ANY(%s)", ([r[0] for r in rows],))


def _narrow(event: dict[str, Any]) -> str:
    at = datetime.fromtimestamp(event["timestamp"], UTC).isoformat()
    return f"{event['sg_event_id']}\t{event['message_id']}\t{webhook_doors.KINDS[event['event']]}\t{at}\n"


def _same(event: dict[str, Any]) -> str:
    at = datetime.fromtimestamp(event["timestamp"], UTC).isoformat()
    word, rank = ("delivered", 50) if event["event"] == "delivered" else ("queued", 10)
    said = f"{event['event']}: {event['response']}"
    return f"{event['message_id']}\t{event['sg_event_id']}\t{word}\t{rank}\t{at}\tsendgrid\t{said}\t1\n"


MERGES = {
    # The same rows in the same tables as the product writes: events, messages, notices.
    "bare merge": Merge(
        "message_id uuid, key text, kind text, rank smallint, at timestamptz, provider text, detail text,"
        " inbound bigint",
        _same,
        _MERGE_SAME,
    ),
    # Only a status per message, and four columns per event: what a tutorial's table would hold.
    "narrow merge": Merge("event_id text, message_id uuid, kind smallint, at timestamptz", _narrow, _MERGE),
}


def _answers(keys: Keys, ids: Sequence[str], url: str, per_second: float) -> dict[str, float]:
    _forget(url)
    waiting = bodies(APPLIED // 100, 100, ids)
    _wait_in("INSERT INTO inbound_events (source, key, body) VALUES ('sendgrid', gen_random_uuid(), %b)", waiting, url)
    requests = [keys.request(body) for body in bodies(int(per_second * 6), 100, ids)]
    with door("product", PORT):
        latencies(requests[:100], PORT, per_second)
        found = sorted(latencies(requests[100:], PORT, per_second))
    p99 = found[int(len(found) * 0.99)]
    return {"p50_ms": round(1000 * statistics.median(found), 2), "p99_ms": round(1000 * p99, 2)}


def _forget(url: str) -> None:
    """Bring everything back to before the events."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("TRUNCATE inbound_events, delivery_events, bare_raw, bare_events")
        connection.execute(
            "UPDATE messages SET delivery = NULL, delivery_rank = 0, delivered_at = NULL WHERE delivery_rank > 0"
        )
        connection.execute("UPDATE notices SET state = 'owed', settled_at = NULL WHERE state <> 'owed'")
        connection.execute("UPDATE bare_messages SET status = 2 WHERE status <> 2")
        connection.execute("VACUUM ANALYZE messages, notices, bare_messages")
        connection.execute("CHECKPOINT")


def _wait_in(statement: str, waiting: Sequence[bytes], url: str) -> None:
    with psycopg.connect(url) as connection:
        connection.cursor().executemany(statement.encode(), [(body,) for body in waiting])
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("ANALYZE inbound_events, bare_raw")
        connection.execute("CHECKPOINT")


def _account(url: str) -> None:
    """Refuse to believe a time after which events are missing."""
    with psycopg.connect(url) as connection:
        stored = connection.execute("SELECT count(*) FROM delivery_events").fetchone()
        open_ones = connection.execute("SELECT count(*) FROM inbound_events WHERE state <> 'applied'").fetchone()
    if stored != (APPLIED,) or open_ones != (0,):
        raise SystemExit(f"{stored} events stored and {open_ones} bodies open after applying {APPLIED}")


def _row(what: str, size: int, rates: Sequence[float]) -> dict[str, Any]:
    middle = round(statistics.median(rates))
    return {"what": what, "events_per_post": size, "events_per_second": middle,
            "least": round(min(rates)), "most": round(max(rates))}  # fmt: skip


def _goal(name: str, value: float, must: float, judged: bool, *, least: bool = True) -> dict[str, Any]:
    holds = value >= must if least else value <= must
    return {"goal": name, "value": round(value, 2), "must": must, "holds": holds if judged else None}


def _steady(rates: Sequence[float]) -> bool:
    return max(rates) <= 1.25 * min(rates)


def _timed(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started
