"""Planning beside INSERT … SELECT written by hand, and the time from "marked known" to the notices handed over."""

import statistics
import time
from collections.abc import Callable
from typing import Any

from sqlalchemy import text

from bench.sending_machine import Machine
from bench.sending_rows import LEDGER_TABLES, campaign, forget_sending, people, scope, tidy
from campaigns.sweeps import plan_all, sweep
from outreach import clock, problems
from outreach.db import transaction
from outreach.models import Problem
from outreach.vocabulary import Channel

ROUNDS = 3
PLANNINGS = 5  # of each in a round: one takes two seconds, within which these machines move by half
MUST = 1.3

# What somebody would write by hand who knows the tables, and who leaves out whom nobody may write to.
_NOTICES = """
INSERT INTO notices (campaign_id, customer_id, grade, evidence_items, evidence_orders, evidence_tickets, state)
SELECT :campaign_id, customer_id, grade, evidence_items, evidence_orders, evidence_tickets, 'owed'
FROM audience_members WHERE segment_id = :segment_id AND left_at IS NULL ORDER BY customer_id
"""
_CHUNKS = """
INSERT INTO chunks (id, campaign_id, channel, template_version, due_at, size)
SELECT -1 - i, :campaign_id, 'email', 1, now(), 1000 FROM generate_series(0, :chunks) AS i
"""
_MESSAGES = """
INSERT INTO messages (notice_id, campaign_id, customer_id, channel, chunk_id, address)
SELECT n.id, n.campaign_id, n.customer_id, 'email', -1 - (row_number() OVER (ORDER BY n.id) - 1) / 1000, c.email
FROM notices n JOIN customers c ON c.id = n.customer_id
WHERE n.campaign_id = :campaign_id AND c.email IS NOT NULL AND c.erased_at IS NULL
  AND NOT EXISTS (SELECT 1 FROM suppressions s WHERE s.channel = 'email' AND s.address = c.email
                  AND s.lifted_at IS NULL)
"""


def measure(number: int) -> dict[str, Any]:
    """Plan for `number` people by hand and by the product, in turn."""
    problem_id, segment_id = scope(number)

    def by_hand(campaign_id: int) -> None:
        given = {"campaign_id": campaign_id, "segment_id": segment_id, "chunks": number // 1000}
        for statement in (_NOTICES, _CHUNKS, _MESSAGES):
            with transaction() as session:
                session.execute(text(statement), given)

    def seconds(plan: Callable[[int], object]) -> float:
        forget_sending()
        tidy(*LEDGER_TABLES)
        campaign_id = campaign(Channel.EMAIL, problem_id, segment_id)
        started = time.perf_counter()
        plan(campaign_id)
        return time.perf_counter() - started

    hand, product = [], []
    for _ in range(ROUNDS):
        pairs = [(seconds(by_hand), seconds(plan_all)) for _ in range(PLANNINGS)]
        hand.append(statistics.mean(one for one, _ in pairs))
        product.append(statistics.mean(other for _, other in pairs))
    ratio = statistics.median(one / other for one, other in zip(product, hand, strict=True))
    steady = max(hand) / min(hand) <= 1.25
    return {
        "goals": [
            {
                "goal": "planning / INSERT … SELECT by hand",
                "value": round(ratio, 3),
                "must": MUST,
                "holds": ratio <= MUST if steady else None,
            }
        ],
        "rows": [
            {"what": "planning by hand", "people": number, "seconds": round(statistics.median(hand), 3)},
            {"what": "planning", "people": number, "seconds": round(statistics.median(product), 3)},
        ],
    }


def from_known(machine: Machine, number: int) -> dict[str, Any]:
    """Mark a problem known, let the sweep plan and one worker send; seconds to the first and to the last notice.

    The wake-ups are direct calls: Celery and beat's tick (`tick_seconds`) come on top.
    """
    people(number)
    forget_sending()
    problem_id, _ = scope(number)
    with transaction() as session:
        session.execute(text("UPDATE playbooks SET automatic = true"))
    worker = machine.start("bench.dispatch_worker", Channel.EMAIL.value, str(number))
    machine.provider("reset")
    worker.go()
    started = time.time()
    with transaction() as session:
        problem = session.get_one(Problem, problem_id)
        problems.mark_known(session, problem=problem, author="bench", now=clock.now(session))
    sweep()
    worker.result()
    counts = machine.provider("counts")
    return {
        "what": "from marked known to handed over",
        "notices": counts["messages"],
        "first_seconds": round(counts["first"] - started, 3),
        "last_seconds": round(counts["last"] - started, 3),
    }
