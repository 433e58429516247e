"""Scope discovery against causes that we planted, against nothing at all, and against real recalls.

Precision and recall are of the customers whom the best proposal names, against those the planted cause
touches. The recalls (US government data, read from ../shared/data where present) are a test, never a target.
"""

import csv
import gzip
import json
import os
import random
import statistics
import time
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import text
from sqlalchemy.orm import Session

from bench.own_database import own_database
from outreach.db import transaction
from segments import compiler, rules, watching
from segments.discovery import Proposal, discover_rules

NOW = datetime(2026, 6, 1, tzinfo=UTC)
CUSTOMERS = 20_000
SIZES: dict[str, dict[str, Any]] = {
    "small": {"tickets": (10, 40), "noise": (0.0, 0.3), "seeds": 1, "empty": 20},
    "full": {"tickets": (5, 10, 20, 40, 80), "noise": (0.0, 0.2, 0.5), "seeds": 2, "empty": 100},
}
MUST_QUALITY, MUST_FALSE = 0.9, 0.05
_SHARED = Path(__file__).parent.parent.parent / "shared" / "data" / "nhtsa_porsche"

# What is planted, as SQL about item i, order o and customer c.
CAUSES = {
    "one lot": "i.lot = 'L117' AND i.product_id = 3",
    "date window": "o.shipped_at >= '2025-03-03' AND o.shipped_at < '2025-03-13'",
    "seller x region": "i.seller = 'S7' AND o.region = 'R4'",
    "firmware x plan": "i.version = '4.2.0' AND c.attributes ->> 'plan' = 'pro'",
}
FILL = (
    """INSERT INTO customers (id, external_id, country, region, attributes)
       SELECT i, 'c' || i, (ARRAY['US','BR','DE','FR'])[1 + i % 4], 'R' || i % 12,
         jsonb_build_object('plan', (ARRAY['free','pro','team','gold'])[1 + (hashint8(i * 3)::bigint & 65535) % 4])
       FROM generate_series(1, {n}) i""",
    """INSERT INTO products (id, external_id, category)
       SELECT i, 'P' || i, 'C' || i % 5 FROM generate_series(1, 20) i""",
    """INSERT INTO orders (id, external_id, customer_id, ordered_at, shipped_at, delivered_at, carrier, region)
       SELECT i, 'O' || i, 1 + (hashint8(i)::bigint & 2147483647) % {n}, o, o + interval '2 days',
         o + interval '5 days',
         'K' || (hashint8(i * 5)::bigint & 65535) % 5, 'R' || (hashint8(i * 11)::bigint & 65535) % 12
       FROM (SELECT i, timestamptz '2024-06-01' + make_interval(mins => ((hashint8(i * 17)::bigint & 2147483647)
               % 900000)::int) o FROM generate_series(1, 2 * {n}) i) x""",
    """INSERT INTO order_items (id, external_id, order_id, customer_id, product_id, lot, seller, version, ordered_at,
         shipped_at, delivered_at)
       SELECT i, 'I' || i, o.id, o.customer_id, 1 + (hashint8(i * 7)::bigint & 2147483647) % 20,
         'L' || 100 + (hashint8(i * 13)::bigint & 2147483647) % 40, 'S' || (hashint8(i * 19)::bigint & 65535) % 25,
         (ARRAY['3.9.1','4.0.0','4.1.2','4.2.0','4.10.0'])[1 + (hashint8(i * 23)::bigint & 65535) % 5],
         o.ordered_at, o.shipped_at, o.delivered_at
       FROM generate_series(1, 2 * {n}) i JOIN orders o ON o.id = i""",
)


def run(size: str = "small") -> dict[str, Any]:
    """Measure precision and recall of the best rule, the false-alarm rate, and the real recalls."""
    plan = SIZES[size]
    with own_database():
        _fill(FILL)
        planted = [
            _planted(cause, tickets, noise, plan["seeds"])
            for cause in CAUSES
            for noise in plan["noise"]
            for tickets in plan["tickets"]
        ]
        alarms, tries = _false_alarms(plan["empty"])
        candidates = _candidate_alarms(plan["empty"])
    recalls = _recalls() if _SHARED.exists() else []
    clear = [row for row in planted if row["tickets"] >= 20 and row["noise"] <= 0.3]
    goals = [
        _goal(
            "precision of the top rule, 20 tickets and more, noise to 0.3, mean, at least", _mean(clear, "precision")
        ),
        _goal("recall of the top rule, the same, mean, at least", _mean(clear, "recall")),
        {
            "goal": "false alarms when nothing is planted, share, at most",
            "value": alarms / tries,
            "must": MUST_FALSE,
            "holds": alarms / tries <= MUST_FALSE,
        },
        {
            "goal": "candidate problems out of tickets without a common cause, share of weeks, at most",
            "value": candidates / plan["empty"],
            "must": MUST_FALSE,
            "holds": candidates / plan["empty"] <= MUST_FALSE,
        },
    ]
    return {
        "bench": "scopes",
        "goals": goals,
        "recalls": _summary(recalls),
        "rows": [*planted, {"what": "nothing planted", "tries": tries, "alarms": alarms}, *recalls],
        "load": [round(each, 2) for each in os.getloadavg()],
    }


def _goal(name: str, value: float) -> dict[str, Any]:
    return {"goal": name, "value": round(value, 3), "must": MUST_QUALITY, "holds": value >= MUST_QUALITY}


def _mean(rows: Sequence[dict[str, Any]], key: str) -> float:
    return statistics.fmean(row[key] for row in rows)


def _fill(statements: Sequence[str]) -> None:
    with transaction() as session:
        session.execute(text("SET LOCAL session_replication_role = replica"))
        for statement in statements:
            session.connection().exec_driver_sql(statement.replace("{n}", str(CUSTOMERS)).replace("%", "%%"))
        session.connection().exec_driver_sql("ANALYZE")


def _planted(cause: str, tickets: int, noise: float, seeds: int) -> dict[str, Any]:
    precisions, recalls, seconds, found = [], [], [], 0
    with transaction() as session:
        truth = set(
            session.scalars(
                text(
                    "SELECT DISTINCT i.customer_id FROM order_items i JOIN orders o ON o.id = i.order_id"
                    f" JOIN customers c ON c.id = i.customer_id WHERE {CAUSES[cause]}"
                )
            )
        )
        for seed in range(seeds):
            chosen = random.Random(f"{cause} {tickets} {noise} {seed}")
            false = round(tickets * noise)
            cases = set(chosen.sample(sorted(truth), min(len(truth), tickets - false)))
            cases |= set(chosen.sample(range(1, CUSTOMERS + 1), false))
            started = time.perf_counter()
            proposals = discover_rules(session, problem_key="P-1", cases=sorted(cases), limit=5, now=NOW)
            seconds.append(time.perf_counter() - started)
            named = _named(session, proposals[0]) if proposals else set()
            found += bool(proposals)
            precisions.append(len(named & truth) / len(named) if named else 0.0)
            recalls.append(len(named & truth) / len(truth))
            best = proposals[0].sentence if proposals else None
    return {
        "what": cause,
        "tickets": tickets,
        "noise": noise,
        "true_scope": len(truth),
        "found": f"{found} of {seeds}",
        "precision": round(statistics.fmean(precisions), 3),
        "recall": round(statistics.fmean(recalls), 3),
        "seconds": round(statistics.median(seconds), 2),
        "best": best,
    }


def _named(session: Session, proposal: Proposal) -> set[int]:
    found = compiler.compile(rules.parse_definition(proposal.rule), now=NOW, evidence=False)
    return set(session.scalars(found))


def _false_alarms(tries: int) -> tuple[int, int]:
    chosen, alarms = random.Random(11), 0
    with transaction() as session:
        for turn in range(tries):
            cases = chosen.sample(range(1, CUSTOMERS + 1), (5, 10, 20, 40, 80)[turn % 5])
            alarms += bool(discover_rules(session, problem_key="P-1", cases=sorted(cases), limit=1, now=NOW))
    return alarms, tries


def _candidate_alarms(weeks: int) -> int:
    """Return in how many of so many weeks of tickets about anything a problem was proposed that nobody has.

    Half of the weeks have months of tickets before them to be compared with, half have none.
    """
    chosen, alarms = random.Random(13), 0
    for turn in range(weeks):
        with transaction() as session:
            session.execute(text("DELETE FROM tickets"))
            fresh = chosen.sample(range(1, CUSTOMERS + 1), (10, 20, 40, 80)[turn % 4])
            before = chosen.sample(range(1, CUSTOMERS + 1), 400 if turn % 2 else 0)
            for customers, age in ((fresh, timedelta(days=2)), (before, timedelta(days=30))):
                session.execute(
                    text(
                        "INSERT INTO tickets (desk, external_id, customer_id, subject, status, opened_at)"
                        " SELECT 'd', :age || '-' || c, c, 'help', 'open', :at FROM unnest(cast(:ids AS bigint[])) c"
                    ),
                    {"age": str(age.days), "ids": customers, "at": NOW - age},
                )
            alarms += bool(watching.propose_problems(session, now=NOW))
            session.execute(text("DELETE FROM problem_candidates"))
    return alarms


def _day(value: str) -> date:
    return datetime.strptime(value, "%m/%d/%Y").date()


def _recalls() -> list[dict[str, Any]]:
    """Complaints before a recall are the tickets, model and year what their writers hold, other complaints the rest."""
    complaints = [
        each | {"filed": _day(each["date"])}
        for each in json.loads(gzip.decompress((_SHARED / "porsche_complaints.json.gz").read_bytes()))
    ]
    recalls = json.loads(gzip.decompress((_SHARED / "porsche_recalls.json.gz").read_bytes()))
    with gzip.open(_SHARED / "porsche_recall_scope_2020_2026.csv.gz", "rt", encoding="utf-8") as file:
        scope: dict[str, set[tuple[str, str]]] = {}
        for row in csv.DictReader(file):
            scope.setdefault(row["NHTSA ID"], set()).add((row["MODEL"], row["MODEL YEAR"]))
    with own_database():
        _store(complaints)
        found = []
        for recall in recalls:
            truth = scope.get(recall["campaign"][:6])
            # The other recalls name one model and year only: no truth to measure against.
            told = _recall(recall, truth, complaints) if truth else None
            if told is not None:
                found.append(told)
    return found


def _summary(recalls: list[dict[str, Any]]) -> dict[str, Any]:
    """Say in how many recalls the top three cover half of the true scope: of all, and of those owners wrote about."""
    told = [row for row in recalls if row["in_scope"] >= 10]
    return {
        "ten prior complaints about the component": len(recalls),
        "of these half covered": sum((row["covered"] or 0) >= 0.5 for row in recalls),
        "ten prior complaints by owners in scope": len(told),
        "of those half covered": sum((row["covered"] or 0) >= 0.5 for row in told),
    }


def _store(complaints: list[dict[str, Any]]) -> None:
    models = sorted({each["model"] for each in complaints})
    with transaction() as session:
        session.execute(text("SET LOCAL session_replication_role = replica"))
        session.execute(
            text("INSERT INTO products (id, external_id) VALUES (:id, :model)"),
            [{"id": place + 1, "model": model} for place, model in enumerate(models)],
        )
        for place, each in enumerate(complaints, start=1):
            values = {
                "id": place,
                "product": models.index(each["model"]) + 1,
                "year": str(each["year"]),
            }
            session.execute(text("INSERT INTO customers (id, external_id) VALUES (:id, 'c' || :id)"), {"id": place})
            session.execute(
                text("INSERT INTO orders (id, external_id, customer_id) VALUES (:id, 'o' || :id, :id)"), {"id": place}
            )
            session.execute(
                text(
                    "INSERT INTO order_items (id, external_id, order_id, customer_id, product_id, version)"
                    " VALUES (:id, 'i' || :id, :id, :id, :product, :year)"
                ),
                values,
            )


def _component(value: str) -> str:
    return value.replace(",", ":").split(":")[0].strip()


def _holds(each: dict[str, Any], truth: set[tuple[str, str]]) -> bool:
    """A complaint says `911` where the scope says `911 CARRERA`."""
    mine = each["model"].upper()
    return any(
        year == str(each["year"]) and (model == mine or model.startswith(f"{mine} ") or mine.startswith(f"{model} "))
        for model, year in truth
    )


def _recall(
    recall: dict[str, Any], truth: set[tuple[str, str]], complaints: list[dict[str, Any]]
) -> dict[str, Any] | None:
    try:
        filed = datetime.strptime(recall["date"], "%d/%m/%Y").date()
    except ValueError:
        return None
    component = _component(recall["component"])

    def asked(until: date) -> dict[str, Any] | None:
        before = [place for place, each in enumerate(complaints, start=1) if each["filed"] < until]
        cases = [place for place in before if component in complaints[place - 1]["component"]]
        if len(cases) < 10:
            return None
        with transaction() as session:
            proposals = discover_rules(session, problem_key="P-1", cases=cases, among=before, limit=3, now=NOW)
            named = set().union(*(_named(session, proposal) for proposal in proposals)) & set(before)
        real = {place for place in before if _holds(complaints[place - 1], truth)}
        return {
            "prior": len(cases),
            "in_scope": len(set(cases) & real),
            "covered": round(len(named & real) / len(real), 2) if real else None,
            "precision": round(len(named & real) / len(named), 2) if named else None,
            "proposals": [proposal.sentence for proposal in proposals],
        }

    found = asked(filed)
    if found is None:
        return None
    earliest = None
    for months in range(36, 0, -6):
        early = asked(filed - timedelta(days=30 * months))
        if early is not None and (early["covered"] or 0) >= 0.5:
            earliest = months
            break
    return {
        "what": f"recall {recall['campaign']}",
        "date": filed.isoformat(),
        "component": component,
        **found,
        "months_before": earliest,
    }
