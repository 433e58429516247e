"""The import beside a bare COPY of the same rows: what reading, checking, resolving and merging cost.

Order lines as many as UCI's second year has are made up here; the small size is a tenth. Times are judged as a
ratio, for the machine's own speed is not ours.
"""

import csv
import os
import random
import resource
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
from sqlalchemy import make_url, text

from outreach import embedded
from outreach.db import database_url, forget_engine, transaction
from outreach.imports import run_import
from outreach.schema import migrate
from outreach.settings import get_settings

ROWS = {"small": 50_000, "full": 531_285}
ROUNDS = 3
COLUMNS = ("item_id", "order_id", "product_id", "lot", "quantity", "quantity_returned", "ordered_at")
MUST_RATIO = 6.0  # the import takes at most this many times a bare COPY
MUST_SECONDS = 120.0
MUST_MEGABYTES = 200
_TABLES = ("order_items", "orders", "products")


def run(size: str = "small") -> dict[str, Any]:
    """Import made-up orders and items and return the measurements; `size` is small or full."""
    with _database():
        return _measure(ROWS[size])


@contextmanager
def _database() -> Iterator[None]:
    """Use the database of the settings if it is empty, or an embedded one that is thrown away afterwards."""
    if get_settings().database_url:
        _refuse_other_peoples_data()
        yield
        return
    home = Path(tempfile.mkdtemp(prefix="outreach-bench-"))
    home.chmod(0o711)
    os.environ["OUTREACH_DATABASE_URL"] = embedded.start_postgres(home)
    get_settings.cache_clear()
    try:
        migrate()
        yield
    finally:
        forget_engine()
        del os.environ["OUTREACH_DATABASE_URL"]
        get_settings.cache_clear()
        embedded.destroy(home)
        shutil.rmtree(home, ignore_errors=True)


def _measure(rows: int) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(prefix="outreach-bench-") as folder:
        orders, items = Path(folder) / "orders.csv", Path(folder) / "items.csv"
        _write(orders, items, rows)
        rejects = Path(folder) / "rejects.csv"
        plain, keyed, full, again = [], [], [], []
        for _ in range(ROUNDS):
            _empty()
            plain.append(_timed(lambda: _bare_copy(items, keys=False)))
            keyed.append(_timed(lambda: _bare_copy(items, keys=True)))
            run_import(orders, rejects=rejects)
            full.append(_timed(lambda: run_import(items, rejects=rejects)))
            again.append(_timed(lambda: run_import(items, rejects=rejects)))
        _empty()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1024 if sys.platform != "darwin" else 1024**2)
    steady = max(keyed) / min(keyed) <= 1.25
    ratio = statistics.median(full) / statistics.median(keyed)
    return {
        "bench": "imports",
        "goals": [
            _goal("import x bare COPY with the same keys, at most", ratio, MUST_RATIO, judged=steady),
            _goal("import of all lines, seconds, at most", statistics.median(full), MUST_SECONDS, judged=True),
            _goal("peak memory, MB, at most", peak, MUST_MEGABYTES, judged=True),
        ],
        "rows": [
            {
                "what": what,
                "rows": rows,
                "seconds": round(statistics.median(times), 3),
                "rows_per_second": _rate(rows, times),
            }
            for what, times in (
                ("bare COPY, no keys", plain),
                ("bare COPY, same keys", keyed),
                ("import", full),
                ("import again, unchanged", again),
            )
        ],
        "load": [round(value, 2) for value in os.getloadavg()],
    }


def _goal(name: str, value: float, must: float, *, judged: bool) -> dict[str, Any]:
    return {"goal": name, "value": round(value, 2), "must": must, "holds": value <= must if judged else None}


def _rate(rows: int, times: list[float]) -> int:
    return round(rows / statistics.median(times))


def _timed(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def _refuse_other_peoples_data() -> None:
    with transaction() as session:
        if any(session.execute(text(f"SELECT 1 FROM {table} LIMIT 1")).first() for table in _TABLES):
            raise SystemExit("This database holds orders or products; the bench wants an empty one, or none set.")


def _empty() -> None:
    with transaction() as session:
        session.execute(text(f"TRUNCATE {', '.join(_TABLES)}"))


def _write(orders: Path, items: Path, rows: int) -> None:
    dice = random.Random(7)
    with orders.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("order_id", "customer_id", "ordered_at", "country"))
        for n in range(rows // 20 + 1):
            writer.writerow((f"{n}", f"{dice.randrange(10_000)}", f"2026-01-{n % 28 + 1:02} 10:{n % 60:02}:00", "GB"))
    with items.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        for n in range(rows):
            moment = f"2026-01-{n // 20 % 28 + 1:02} 10:{n // 20 % 60:02}:00"
            writer.writerow(
                (f"{n}", f"{n // 20}", f"P{dice.randrange(4000)}", f"L{n % 50}", dice.randrange(1, 9), 0, moment)
            )


def _bare_copy(items: Path, *, keys: bool) -> None:
    """Copy the file's bytes into a table as they are: what PostgreSQL alone can do, with our keys or without."""
    address = make_url(database_url()).set(drivername="postgresql").render_as_string(hide_password=False)
    with psycopg.connect(address) as connection, items.open("rb") as file:
        connection.execute(
            "CREATE TABLE bare (external_id text, order_id text, product_id text, lot text, "
            "quantity bigint, quantity_returned bigint, ordered_at timestamptz)"
        )
        if keys:
            connection.execute("ALTER TABLE bare ADD id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY")
            connection.execute("ALTER TABLE bare ADD UNIQUE (external_id), ADD customer_id bigint")
            connection.execute("CREATE INDEX ON bare (order_id); CREATE INDEX ON bare (customer_id)")
            connection.execute(
                "CREATE INDEX ON bare (product_id, lot) INCLUDE (customer_id, ordered_at, quantity, quantity_returned)"
            )
        columns = "external_id, order_id, product_id, lot, quantity, quantity_returned, ordered_at"
        with connection.cursor().copy(f"COPY bare ({columns}) FROM STDIN (FORMAT csv, HEADER)".encode()) as copy:
            while block := file.read(1 << 16):
                copy.write(block)
        connection.execute("DROP TABLE bare")
