"""Audiences beside SQL written by hand for the same questions on the same database, and beside an ORM loop.

The numbers that the two give are compared before any time is believed. Rounds take turns, medians are
judged, and nothing is judged when the hand-written side itself moved by more than a quarter.
"""

import gc
import multiprocessing
import os
import resource
import statistics
import sys
import time
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from sqlalchemy import select, text
from sqlalchemy.orm import Session

from bench.own_database import own_database
from bench.segment_questions import FILL, HAND, HAND_CHANGED, HAND_FILL, HAND_PREVIEW, HAND_READ, NOW, RULES
from outreach.db import engine, transaction
from outreach.models import AudienceChange, AudienceMember, OrderItem, Product, Ticket
from outreach.vocabulary import Grade
from segments import audiences, compiler, previews, rules, sweeps

SIZES = {"small": [10_000, 50_000], "full": [10_000, 100_000, 1_000_000]}
# At a million the loop takes six gigabytes: the ratio is taken where everybody can repeat it.
ORM_SIZE = {"small": 50_000, "full": 100_000}
ROUNDS = 3
MUST_RATIO, MUST_ORM, MUST_CHANGED = 1.2, 20.0, 0.03
# Below this a ratio measures the round trip, not the question.
SHORTEST = 0.02
CHANGED = 10_000


def run(size: str = "small") -> dict[str, Any]:
    """Build the data (not timed) at growing sizes, ask the five questions both ways, and judge the largest."""
    rows: list[dict[str, Any]] = []
    for customers in SIZES[size]:
        with own_database():
            _fill(customers)
            rows += [_told(_question(name, customers)) for name in RULES]
            rows.append(_told(_changed(customers)))
            if customers == ORM_SIZE[size]:
                rows.append(_told(_orm(customers)))
    largest = [row for row in rows if row["customers"] == SIZES[size][-1]]
    goals: list[dict[str, Any]] = []
    for row in largest:
        if "fill_ratio" in row:
            whats = ("count", "preview", "fill")
            goals += [_goal(f"{row['question']}: {what} x by hand, at most", row, what) for what in whats]
    changed = next(row for row in largest if row["question"] == "changed customers")
    goals += [
        {
            "goal": f"{changed['changed']} changed customers, share of a whole rebuild, at most",
            "value": changed["share"],
            "must": MUST_CHANGED,
            # A tenth of all customers changed is no small change: judged where it is at most one in a hundred.
            "holds": changed["share"] <= MUST_CHANGED if changed["customers"] >= 100 * changed["changed"] else None,
        },
        {
            "goal": f"{changed['changed']} changed customers: x by hand, at most",
            "value": changed["hand_ratio"],
            "must": MUST_RATIO,
            "holds": changed["hand_ratio"] <= MUST_RATIO if changed["hand_spread"] <= 1.25 else None,
        },
    ]
    orm = next(row for row in rows if row["question"] == "ORM loop")
    goals.append(
        {
            "goal": "x faster than an ORM loop, at least",
            "value": orm["ratio"],
            "must": MUST_ORM,
            "holds": orm["ratio"] >= MUST_ORM,
        }
    )
    changes = [row for row in rows if row["question"] == "changed customers"]
    memory = changes[-1]["memory_mb"] - changes[0]["memory_mb"]
    goals.append(
        {
            "goal": "memory grown from 10,000 customers to the most, MB, at most",
            "value": round(memory, 1),
            "must": 20,
            "holds": memory <= 20,
        }
    )
    return {"bench": "segments", "goals": goals, "rows": rows, "load": [round(each, 2) for each in os.getloadavg()]}


def _told(row: dict[str, Any]) -> dict[str, Any]:
    print(row, file=sys.stderr, flush=True)
    return row


def _goal(name: str, row: dict[str, Any], what: str) -> dict[str, Any]:
    steady = row[f"{what}_hand_spread"] <= 1.25 and row[f"{what}_hand"] >= SHORTEST
    value = row[f"{what}_ratio"]
    return {"goal": name, "value": value, "must": MUST_RATIO, "holds": value <= MUST_RATIO if steady else None}


def _fill(customers: int) -> None:
    with transaction() as session:
        # Loading is not what is measured: without the notes of changed customers.
        session.execute(text("SET LOCAL session_replication_role = replica"))
        for statement in FILL:
            session.connection().exec_driver_sql(statement.replace("{n}", str(customers)).replace("%", "%%"))
    with transaction() as session:
        session.connection().exec_driver_sql("CREATE INDEX ON tickets (problem_id)")
    _vacuum()


def _vacuum() -> None:
    with engine().connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.exec_driver_sql("VACUUM ANALYZE")
        # So that no turn meets one that another turn has caused.
        connection.exec_driver_sql("CHECKPOINT")


def _empty() -> None:
    with transaction() as session:
        session.execute(text("SET LOCAL session_replication_role = replica"))
        session.execute(text("TRUNCATE audience_members, audience_changes, segments, segment_versions CASCADE"))


def _question(name: str, customers: int) -> dict[str, Any]:
    definition, by_hand = rules.parse_definition(RULES[name]), HAND[name]
    _check(definition, by_hand)
    times: dict[str, list[float]] = {}
    for _ in range(ROUNDS):
        for what, work in _contests(definition, by_hand).items():
            if what.startswith("fill"):
                _empty()
                with transaction() as session:
                    session.execute(text("ALTER SEQUENCE segments_id_seq RESTART"))
                    audiences.save(session, key="s", name="s", definition=definition, author="b")
            times.setdefault(what, []).append(_timed(work))
    found: dict[str, Any] = {"question": name, "customers": customers, "memory_mb": _memory()}
    with transaction() as session:
        found["members"] = session.execute(text(f"SELECT count(*) FROM ({by_hand}) f")).scalar_one()
    for what in ("count", "preview", "fill"):
        ours, hand = times[what], times[f"{what}_hand"]
        found[what], found[f"{what}_hand"] = round(statistics.median(ours), 4), round(statistics.median(hand), 4)
        found[f"{what}_ratio"] = round(statistics.median(ours) / statistics.median(hand), 2)
        found[f"{what}_hand_spread"] = round(max(hand) / min(hand), 2)
    return found


def _contests(definition: rules.Definition, by_hand: str) -> dict[str, Callable[[], object]]:
    def count() -> object:
        with transaction() as session:
            return previews.count(session, definition=definition, now=NOW)

    def count_hand() -> object:
        with transaction() as session:
            return session.execute(text(f"SELECT grade, count(*) FROM ({by_hand}) f GROUP BY grade")).all()

    def preview() -> object:
        with transaction() as session:
            return audiences.preview(session, definition=definition, now=NOW)

    def preview_hand() -> object:
        with transaction() as session:
            return session.connection().exec_driver_sql(HAND_PREVIEW.format(found=by_hand)).all()

    def fill() -> object:
        with transaction() as session:
            return audiences.refresh(session, segment_id=1, now=NOW)

    def fill_hand() -> object:
        with transaction() as session:
            return session.connection().exec_driver_sql(HAND_FILL.format(found=by_hand, segment=1)).all()

    return {
        "count_hand": count_hand,
        "count": count,
        "preview_hand": preview_hand,
        "preview": preview,
        "fill_hand": fill_hand,
        "fill": fill,
    }


def _check(definition: rules.Definition, by_hand: str) -> None:
    """Both sides must find the same customers in the same grades with the same evidence."""
    with transaction() as session:
        ours = compiler.compile(definition, now=NOW).cte("ours")
        columns = [ours.c[name] for name in ("customer_id", "grade", *compiler.EVIDENCE)]
        hash_ours = text(
            "count(*), sum(hashtext(customer_id || grade || evidence_items::text || evidence_tickets::text)::bigint)"
        )
        first = session.execute(select(hash_ours).select_from(select(*columns).subquery())).one()
        second = session.execute(
            text(
                "SELECT count(*), sum(hashtext(customer_id || grade || items::text || tickets::text)::bigint)"
                f" FROM ({by_hand}) f"
            )
        ).one()
    if tuple(first) != tuple(second):
        raise AssertionError(f"the two sides differ: {first} and {second}")


def _changed(customers: int) -> dict[str, Any]:
    """Touch 10,000 customers' items and ask again only about them, beside a rebuild of everything.

    Beside it, on as many other customers each time: the same by hand, and merely reading what changed, which is the
    least that anybody can do.
    """
    definition = rules.parse_definition(RULES["scope in four grades"])
    changed = min(CHANGED, customers // 10)
    times: dict[str, list[float]] = {"whole": [], "part": [], "hand": [], "read": []}
    for turn in range(ROUNDS):
        _empty()
        with transaction() as session:
            segment = audiences.save(session, key="s", name="s", definition=definition, author="b").segment_id
        times["whole"].append(_timed(partial(_refresh, segment)))
        with transaction() as session:
            sweeps.ask_again(session, now=NOW)  # when next to look at the time, which the rebuild leaves to a sweep
        works: dict[str, Callable[[list[int]], None]] = {
            "part": lambda _touched: _sweep(),
            "hand": partial(_by_hand, HAND_CHANGED, segment),
            "read": partial(_by_hand, HAND_READ, segment),
        }
        for place, what in enumerate((*works, *works)[turn % 3 : turn % 3 + 3]):
            _vacuum()  # as the server does by itself after a while
            # No two turns touch the same customers: what was read before is quicker to read.
            touched = _touch(customers // changed, place * ROUNDS + turn, changed)
            times[what].append(_timed(partial(works[what], touched)))
            if what == "hand":
                _agree(touched)
            elif what == "read":
                with transaction() as session:
                    session.execute(text("TRUNCATE customer_changes"))
    middle = {what: statistics.median(each) for what, each in times.items()}
    return {
        "question": "changed customers",
        "customers": customers,
        "changed": changed,
        **{what: round(value, 4) for what, value in middle.items()},
        "share": round(middle["part"] / middle["whole"], 4),
        "hand_share": round(middle["hand"] / middle["whole"], 4),
        "read_share": round(middle["read"] / middle["whole"], 4),
        "hand_ratio": round(middle["part"] / middle["hand"], 2),
        "hand_spread": round(max(times["hand"]) / min(times["hand"]), 2),
        "memory_mb": _memory(),
    }


def _touch(step: int, remainder: int, most: int) -> list[int]:
    """Return the customers whose items were changed."""
    with transaction() as session:
        changed = session.scalars(
            text(
                "WITH who AS MATERIALIZED (SELECT id FROM customers WHERE id % :step = :remainder ORDER BY id"
                " LIMIT :most), sent_back AS (UPDATE order_items SET quantity_returned = quantity"
                " WHERE customer_id IN (SELECT id FROM who)) SELECT id FROM who"
            ),
            {"step": step, "remainder": remainder, "most": most},
        )
        return list(changed)


def _agree(touched: list[int]) -> None:
    """Refuse to believe a time of which we would write something else."""
    with transaction() as session:
        session.execute(text("INSERT INTO customer_changes (customer_id) SELECT unnest(:ids)"), {"ids": touched})
        found = sweeps.ask_again(session, now=NOW + timedelta(seconds=1))["s"]
    if found.entered + found.left + found.changed + found.evidence:
        raise AssertionError(f"after the changes were written by hand we would still change {found}")


def _by_hand(statement: str, segment: int, changed: list[int]) -> None:
    with transaction() as session:
        session.connection().exec_driver_sql(statement, {"changed": changed, "segment": segment}).all()


def _refresh(segment: int) -> None:
    with transaction() as session:
        audiences.refresh(session, segment_id=segment, now=NOW)


def _sweep() -> None:
    with transaction() as session:
        found = sweeps.ask_again(session, now=NOW + timedelta(seconds=1))
        assert found


def _orm(customers: int) -> dict[str, Any]:
    """What a loop over ORM objects takes for the scope in four grades."""
    definition = rules.parse_definition(RULES["scope in four grades"])
    ours = []
    for _ in range(ROUNDS):
        _empty()
        with transaction() as session:
            segment = audiences.save(session, key="s", name="s", definition=definition, author="b").segment_id
        ours.append(_timed(partial(_refresh, segment)))
    memory = _memory()
    _empty()
    # In a process of its own: what it takes must not count as ours.
    loop = multiprocessing.get_context("spawn").Process(target=_loop)
    seconds = _timed(partial(_run, loop))
    return {
        "question": "ORM loop",
        "customers": customers,
        "seconds": round(seconds, 2),
        "ours": round(statistics.median(ours), 3),
        "ratio": round(seconds / statistics.median(ours), 1),
        "memory_mb": memory,
    }


def _run(process: BaseProcess) -> None:
    process.start()
    process.join()
    if process.exitcode:
        raise RuntimeError(f"the ORM loop ended with {process.exitcode}")


def _loop() -> None:
    with transaction() as session:
        # The loop thinks for longer than a transaction may stand idle.
        session.execute(text("SET LOCAL idle_in_transaction_session_timeout = 0"))
        items: dict[int, list[OrderItem]] = {}
        sixty = [f"P{number}" for number in range(1, 61)]
        such = select(OrderItem).join(Product, Product.id == OrderItem.product_id).where(Product.external_id.in_(sixty))
        for item in session.scalars(such):
            items.setdefault(item.customer_id or 0, []).append(item)
        tickets: dict[int, list[Ticket]] = {}
        for ticket in session.scalars(select(Ticket).where(Ticket.problem_id == 7)):
            tickets.setdefault(ticket.customer_id or 0, []).append(ticket)
        for customer in items.keys() | tickets.keys():
            _add(session, customer, items.get(customer, []), tickets.get(customer, []))
    gc.collect()


def _add(session: Session, customer: int, items: list[OrderItem], tickets: list[Ticket]) -> None:
    kept = [item for item in items if item.quantity_returned < item.quantity]
    grade = Grade.AFFECTED if tickets else Grade.LIKELY
    if items and not kept:
        grade = Grade.CLEARED
    elif not tickets and all(item.delivered_at is None for item in kept):
        grade = Grade.INCOMING
    session.add(
        AudienceMember(
            segment_id=1,
            customer_id=customer,
            grade=grade,
            version=1,
            evidence_items=[item.id for item in kept or items],
            evidence_tickets=[ticket.id for ticket in tickets],
            entered_at=NOW,
            changed_at=NOW,
        )
    )
    session.add(AudienceChange(segment_id=1, customer_id=customer, to_grade=grade, reason="sweep", version=1, at=NOW))


def _memory() -> float:
    status = Path("/proc/self/status")
    for line in status.read_text().splitlines() if status.exists() else ():
        if line.startswith("VmRSS"):
            return round(int(line.split()[1]) / 1024, 1)
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1)


def _timed(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started
