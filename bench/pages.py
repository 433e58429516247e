"""How long the managers' pages take on the server with many customers and a running campaign, over HTTP.

The real application is served from this process; each page is asked for often, in turn with all others, so that a
figure that is kept for a second is made anew again and again. Statements are those of the whole process.
"""

import os
import time
from statistics import median
from typing import Any
from urllib.parse import urlencode

import urllib3
from sqlalchemy import event, text

from bench.own_database import own_database
from bench.sending_machine import load
from bench.sending_rows import campaign, people, scope, tidy
from bench.serving import serving
from campaigns.sweeps import plan_all
from outreach import clock, operators
from outreach.db import engine, transaction
from outreach.doors import COOKIE
from outreach.permissions import person_at_the_terminal
from outreach.vocabulary import Channel, Role
from segments import audiences, rules

SIZES = {"small": 50_000, "full": 1_000_000}
ROUNDS = 15
PAGE_MS, COUNTS_MS = 300.0, 1000.0
RULE = {"likely": {"related": "order_items", "where": {"all": [{"field": "lot", "op": "equals", "value": "A7"}]}}}
PAGES = (
    "/problems", "/problems/P-1", "/problems/P-1/growth", "/problems/P-1/scope", "/campaigns", "/campaigns/C-1",
    "/campaigns/C-1/launch", "/campaigns/C-1/launch/checks", "/campaigns/C-1/people?state=owed",
    "/campaigns/C-1/account", "/inbox", "/customers", "/customers/c-7", "/segments?scopes=yes", "/segments/scope-P-1",
    "/templates", "/templates/problem-known", "/playbooks", "/connectors", "/events", "/webhooks-out", "/operators",
    "/api-keys", "/suppressions", "/suppressions?address=ann.7%40example.com", "/audit", "/system", "/first-steps",
)  # fmt: skip


class Statements:
    """What the process asks of the database, counted."""

    def __init__(self) -> None:
        self.number, self.seconds = 0, 0.0

    def watch(self) -> None:
        """Count from now on."""
        event.listen(engine(), "before_cursor_execute", self._begin)
        event.listen(engine(), "after_cursor_execute", self._end)

    def _begin(self, _: Any, __: Any, ___: str, ____: Any, context: Any, _____: bool) -> None:
        context.bench_began = time.perf_counter()

    def _end(self, _: Any, __: Any, ___: str, ____: Any, context: Any, _____: bool) -> None:
        self.number += 1
        self.seconds += time.perf_counter() - context.bench_began


def run(size: str = "small") -> dict[str, Any]:
    """Measure and judge; small takes about a minute, full about ten."""
    before = load()
    os.environ.setdefault("OUTREACH_SECRET_KEY", "a key of the benchmarks which opens nothing else")
    with own_database():
        cookie, csrf = _prepare(SIZES[size])
        statements = Statements()
        statements.watch()
        with serving() as url, urllib3.PoolManager(timeout=120) as pool:
            rows = _measure(pool, url, cookie, csrf, statements)
    goals = [
        {"goal": f"ms {row['page']}", "value": row["median_ms"], "must": row["must"],
         "holds": row["median_ms"] <= row["must"]}
        for row in rows
    ]  # fmt: skip
    return {"bench": "pages", "size": size, "goals": goals, "rows": rows, "load": [before, load()]}


def _prepare(number: int) -> tuple[str, str]:
    people(number)
    problem_id, segment_id = scope(number)
    with transaction() as session:
        session.execute(text("UPDATE segments SET current_version = 0"))
        audiences.save(
            session, key="scope-P-1", name="scope", definition=rules.parse_definition(RULE), author="bench",
            problem_id=problem_id,
        )  # fmt: skip
        session.execute(
            text("UPDATE segments SET built_version = 1, totals = jsonb_build_object('likely', cast(:n AS int))"),
            {"n": number},
        )
        session.execute(
            text("""INSERT INTO suppressions (channel, address, reason, source)
                    SELECT 'email', email, 'hard_bounce', 'sendgrid' FROM customers WHERE id % 20 = 0""")
        )
    plan_all(campaign(Channel.EMAIL, problem_id, segment_id))
    with transaction() as session:  # half of it has gone out
        session.execute(
            text("""UPDATE messages SET send_state = 'accepted', sent_at = now(), delivery = 'delivered',
                           delivery_rank = 50, delivered_at = now() WHERE customer_id % 2 = 0""")
        )
        session.execute(
            text("""UPDATE notices SET state = 'delivered', settled_at = now()
                    WHERE customer_id % 2 = 0 AND state = 'owed'""")
        )
    tidy("messages", "notices", "chunks", "suppressions", "audience_members", "audience_changes", "segments")
    with transaction() as session:
        now = clock.now(session)
        operator = operators.create_operator(
            session, email="bench@example.com", name="Bench", role=Role.ADMIN, password="four unrelated words",
            actor=person_at_the_terminal("bench"), now=now,
        )  # fmt: skip
        opened = operators.open_session(session, operator=operator, now=now)
    return opened.token, opened.csrf_token


def _measure(
    pool: urllib3.PoolManager, url: str, cookie: str, csrf: str, statements: Statements
) -> list[dict[str, Any]]:
    browser = {"Cookie": f"{COOKIE}={cookie}", "Accept": "text/html"}
    typed = {
        "likely:shape": "group", "likely:kind": "all", "likely.0:shape": "related", "likely.0:related": "order_items",
        "likely.0:quantifier": "any", "likely.0.w:shape": "group", "likely.0.w:kind": "all",
        "likely.0.w.0:shape": "field", "likely.0.w.0:field": "lot", "likely.0.w.0:op": "equals",
        "likely.0.w.0:value": "A7", "csrf_token": csrf, "edit": "P-1",
    }  # fmt: skip
    counts = "POST /problems/P-1/scope/preview"
    found: dict[str, list[tuple[float, int, float]]] = {page: [] for page in (*PAGES, counts)}
    for _ in range(ROUNDS):
        for page, taken in found.items():
            number, seconds, began = statements.number, statements.seconds, time.perf_counter()
            if page == counts:
                form = {**browser, "Content-Type": "application/x-www-form-urlencoded", "Sec-Fetch-Site": "same-origin"}
                answer = pool.request("POST", f"{url}/problems/P-1/scope/preview", body=urlencode(typed), headers=form)
            else:
                answer = pool.request("GET", url + page, headers=browser, redirect=False)
            elapsed = time.perf_counter() - began
            if answer.status != 200:
                raise RuntimeError(f"{page} answered {answer.status}: {answer.data[:300]!r}")
            taken.append((elapsed, statements.number - number, statements.seconds - seconds))
    return [
        {
            "page": page,
            "median_ms": round(1000 * median(each[0] for each in taken), 1),
            "worst_ms": round(1000 * max(each[0] for each in taken), 1),
            "statements": median(each[1] for each in taken),
            "database_ms": round(1000 * median(each[2] for each in taken), 1),
            "must": COUNTS_MS if page == counts else PAGE_MS,
        }
        for page, taken in found.items()
    ]
