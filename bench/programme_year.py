"""A year of programmes, lived through by the clock: problems come and go, a week of downtime, people who answer.

What must not have happened is counted afterwards from the raw rows, by statements that share nothing with the code
that sends.
"""

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import text
from sqlalchemy.orm import Session

from campaigns.programmes.sweeps import sweep
from outreach.db import transaction

# Two of four sweeps of a day find a zone within the hours of these programmes.
TICK = timedelta(hours=6)
DOWNTIME = timedelta(days=7)
WEEKLY_CAP = 3
# When each problem opens and is resolved, as a share of the time, and whom it touches.
PROBLEMS = ((0.16, 0.20, 5), (0.41, 0.47, 7), (0.71, 0.73, 3))
DOWN_AT = 0.55
# What falls due at the very end need not have been said: five working days may lie two weeks behind the occurrence.
MARGIN = timedelta(days=16)

_OPENS = (
    """INSERT INTO problems (id, key, title, state, severity, known_at)
       VALUES (:id, 'P-' || :id, 'Broken', 'known', 'high', :now)""",
    """INSERT INTO segments (key, name, problem_id, current_version, built_version, refreshed_at)
       VALUES ('scope-' || :id, 'scope', :id, 1, 1, :now)""",
    """WITH members AS (
           INSERT INTO audience_members (segment_id, customer_id, grade, version, entered_at, changed_at)
           SELECT s.id, c.id, 'likely', 1, :now, :now FROM segments s, customers c
           WHERE s.problem_id = :id AND c.id % :every = 0 RETURNING segment_id, customer_id)
       INSERT INTO audience_changes (segment_id, customer_id, to_grade, reason, version, at)
       SELECT segment_id, customer_id, 'likely', 'bench', 1, :now FROM members""",
)
_RESOLVES = (
    "UPDATE problems SET state = 'resolved', resolved_at = :now WHERE id = :id",
    """WITH made AS (
           INSERT INTO campaigns (key, name, kind, notice_class, state, problem_id, segment_id, template_key,
                                  template_version, ladder, grades, created_by, planned_through)
           SELECT 'R-' || :id, 'resolved', 'resolved', 'service', 'finished', :id, s.id, 'tip', 1,
                  '[{"channel": "email"}]', '["likely"]', 'bench', 1 FROM segments s WHERE s.problem_id = :id
           RETURNING id, segment_id)
       INSERT INTO notices (campaign_id, customer_id, occurrence, grade, state, settled_at)
       SELECT made.id, m.customer_id, 0, 'likely', 'delivered', :now
       FROM made JOIN audience_members m ON m.segment_id = made.segment_id""",
)
# What sending does, in one statement: the last look at the weekly cap, then everybody has it at once.
_SENT = """
WITH due AS (
    UPDATE chunks SET state = 'done', finished_at = :now WHERE state = 'ready' AND due_at <= :now
    RETURNING id, campaign_id
), ranked AS (
    SELECT m.id, m.notice_id, k.notice_class, heard.times + row_number() OVER (
               PARTITION BY m.customer_id ORDER BY k.notice_class <> 'service', m.id) AS nth
    FROM due JOIN messages m ON m.chunk_id = due.id AND m.send_state = 'queued'
    JOIN campaigns k ON k.id = due.campaign_id
    CROSS JOIN LATERAL (
        SELECT count(*) AS times FROM (SELECT n.id FROM notices n WHERE n.customer_id = m.customer_id OFFSET 0) hers
        JOIN LATERAL (SELECT 1 FROM messages s WHERE s.notice_id = hers.id
                      AND s.sent_at > cast(:now AS timestamptz) - interval '7 days' OFFSET 0) sent ON true) heard
), sent AS (
    UPDATE messages m SET send_state = 'accepted', provider = 'bench', sent_at = :now, delivered_at = :now,
           delivery = 'delivered', delivery_rank = 50
    FROM ranked WHERE ranked.id = m.id AND (nth <= :cap OR ranked.notice_class = 'service') RETURNING m.notice_id
), barred AS (
    UPDATE messages m SET send_state = 'cancelled' FROM ranked
    WHERE ranked.id = m.id AND nth > :cap AND ranked.notice_class <> 'service' RETURNING m.notice_id
), told AS (
    UPDATE notices SET state = 'delivered', settled_at = :now WHERE id IN (SELECT notice_id FROM sent)
)
UPDATE notices SET state = 'skipped', reason = 'capped', settled_at = :now
WHERE id IN (SELECT notice_id FROM barred)"""
_ANSWERED = """
UPDATE survey_asks SET answered_at = :now
WHERE answered_at IS NULL AND asked_at > cast(:now AS timestamptz) - interval '9 days' AND customer_id % 4 = 0"""

# Every month after the delivery, on the last day where a month has no such day: what the check-in promises.
_MISSED = """
WITH expected AS (
    SELECT c.id AS customer_id, cast(to_char(d.day, 'YYYYMMDD') AS int) AS occurrence
    FROM customers c JOIN orders o ON o.customer_id = c.id
    CROSS JOIN LATERAL (SELECT cast(o.delivered_at AT TIME ZONE c.time_zone AS date) AS anchor) a
    CROSS JOIN LATERAL generate_series(1, 40) AS months(n)
    CROSS JOIN LATERAL (SELECT cast(a.anchor + make_interval(months => months.n) AS date) AS day) d
    WHERE d.day >= cast(cast(:start AS timestamptz) AT TIME ZONE c.time_zone AS date)
      AND d.day <= cast(cast(:end AS timestamptz) AS date)
), found AS (
    SELECT x.customer_id, x.occurrence, d.id,
           coalesce(d.reason, (SELECT n.reason FROM notices n WHERE n.customer_id = d.customer_id
                               AND n.occurrence = d.id AND n.state = 'skipped' LIMIT 1)) AS reason,
           EXISTS (SELECT 1 FROM notices n JOIN campaigns k ON k.id = n.campaign_id AND k.programme_id = d.programme_id
                   WHERE n.customer_id = d.customer_id AND n.occurrence = d.id AND n.state = 'delivered') AS told
    FROM expected x LEFT JOIN (programme_dues d JOIN programmes p ON p.id = d.programme_id AND p.key = 'check-in')
      ON d.customer_id = x.customer_id AND d.occurrence = x.occurrence
)
SELECT count(*) FILTER (WHERE told) AS told,
       count(*) FILTER (WHERE NOT told AND reason IN ('problem_open', 'capped')) AS held,
       count(*) FILTER (WHERE id IS NULL
                        OR NOT told AND coalesce(reason, '') NOT IN ('problem_open', 'capped')) AS missed
FROM found"""
_DOUBLED = """
SELECT count(*) FROM (
    SELECT 1 FROM programme_dues d JOIN notices n ON n.customer_id = d.customer_id AND n.occurrence = d.id
    JOIN programme_campaigns pc ON pc.campaign_id = n.campaign_id AND pc.version_id = d.version_id
    WHERE n.state = 'delivered'
    GROUP BY d.programme_id, d.customer_id, d.subject_id, d.occurrence, pc.step HAVING count(*) > 1) doubled"""
_QUIET = """
SELECT count(*) FROM messages m JOIN customers c ON c.id = m.customer_id
WHERE m.sent_at IS NOT NULL AND extract(hour FROM m.sent_at AT TIME ZONE c.time_zone) NOT BETWEEN 8 AND 20"""
_OVER_CAP = """
SELECT count(*) FROM (
    SELECT count(*) OVER (PARTITION BY m.customer_id ORDER BY m.sent_at
                          RANGE BETWEEN interval '6 days 23 hours' PRECEDING AND CURRENT ROW) AS heard, k.notice_class
    FROM messages m JOIN campaigns k ON k.id = m.campaign_id WHERE m.sent_at IS NOT NULL) counted
WHERE notice_class <> 'service' AND heard > :cap"""
_ASKED_TWICE = """
SELECT count(*) FROM (
    SELECT a.asked_at - lag(a.asked_at) OVER by_time AS gap,
           a.asked_at - CASE WHEN s.kind = 'nps' THEN max(a.asked_at) FILTER (WHERE s.kind = 'nps') OVER before END
               AS nps_gap
    FROM survey_asks a JOIN surveys s ON s.id = a.survey_id
    WINDOW by_time AS (PARTITION BY a.customer_id ORDER BY a.asked_at),
           before AS (PARTITION BY a.customer_id ORDER BY a.asked_at ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING)
) gaps WHERE gap < interval '30 days' OR nps_gap < interval '90 days'"""
_STATES = "SELECT state || coalesce(': ' || reason, '') AS name, count(*) AS total FROM programme_dues GROUP BY 1"


@dataclass(frozen=True, slots=True)
class Year:
    """How it went: seconds, steps taken, megabytes after a month and at the end, and what must be 0."""

    seconds: float
    pushed: int
    sweeps: int
    after_a_month: float
    at_the_end: float
    wrong: dict[str, int]
    told: int
    held: int
    states: dict[str, int]


def live(start: datetime, days: int, megabytes: Callable[[], float]) -> Year:
    """Live through so many days from `start` on, and look at what was said."""
    end, now, pushed, sweeps, after_a_month = start + timedelta(days=days), start, 0, 0, 0.0
    down = start + DOWN_AT * (end - start)
    coming = _events(start, end)
    started = time.perf_counter()
    while now < end:
        while coming and coming[0][0] <= now:
            _happen(coming.pop(0), now)
        if not down <= now < down + DOWNTIME:
            moment = now
            pushed += sweep(lambda _: moment)["pushed"]  # noqa: B023 - asked at once
            sweeps += 1
            with transaction() as session:
                session.execute(text(_SENT), {"now": now, "cap": WEEKLY_CAP})
                if (now - start).days % 9 == 0:
                    session.execute(text(_ANSWERED), {"now": now})
        now += TICK
        if now.day == 1 and now.hour < TICK.total_seconds() / 3600:
            print(f"{now:%B}: {pushed} steps in {time.perf_counter() - started:.0f} s", file=sys.stderr, flush=True)
        if not after_a_month and now >= start + timedelta(days=min(30, days // 4)):
            after_a_month = megabytes()
    seconds = time.perf_counter() - started
    with transaction() as session:
        return _looked_at(session, start, end, seconds, pushed, sweeps, after_a_month, megabytes())


def _events(start: datetime, end: datetime) -> list[tuple[datetime, tuple[str, ...], dict[str, Any]]]:
    found: list[tuple[datetime, tuple[str, ...], dict[str, Any]]] = []
    for number, (opens, resolves, every) in enumerate(PROBLEMS, 1):
        found.append((start + opens * (end - start), _OPENS, {"id": number, "every": every}))
        found.append((start + resolves * (end - start), _RESOLVES, {"id": number}))
    return sorted(found, key=lambda each: each[0])


def _happen(event: tuple[datetime, tuple[str, ...], dict[str, Any]], now: datetime) -> None:
    with transaction() as session:
        for statement in event[1]:
            session.execute(text(statement), {**event[2], "now": now})


def _looked_at(
    session: Session,
    start: datetime,
    end: datetime,
    seconds: float,
    pushed: int,
    sweeps: int,
    month: float,
    last: float,
) -> Year:
    session.execute(text("ANALYZE"))
    check_ins = session.execute(text(_MISSED), {"start": start, "end": end - MARGIN}).one()
    wrong = {
        "missed": check_ins.missed,
        "doubled": session.scalar(text(_DOUBLED)),
        "inside quiet hours": session.scalar(text(_QUIET)),
        "over a cap": session.scalar(text(_OVER_CAP), {"cap": WEEKLY_CAP}),
        "asked twice": session.scalar(text(_ASKED_TWICE)),
    }
    states = {row.name: row.total for row in session.execute(text(_STATES))}
    return Year(seconds, pushed, sweeps, month, last, wrong, check_ins.told, check_ins.held, states)
