"""Programmes at scale: due rows beside a hand-written INSERT … SELECT of the same rows, a year in steps, flat memory.

The small size is a tenth of the 100,000 customers in 20 time zones. The baseline writes the very rows that the
programme wrote, from a table that holds them ready, with the same keys and indexes.
"""

import logging
import os
import resource
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import structlog
from sqlalchemy import text
from sqlalchemy.orm import Session

from bench import programme_year
from bench.own_database import own_database
from campaigns.programmes import due, verbs
from campaigns.programmes.steps import parse_definition
from campaigns.programmes.sweeps import sweep
from campaigns.surveys import writing
from outreach.db import transaction
from outreach.models import ProgrammeVersion
from outreach.vocabulary import ProgrammeKind, SurveyKind

PEOPLE = {"small": 10_000, "full": 100_000}
DAYS = {"small": 120, "full": 365}
ROUNDS = 3
MUST_SHARE = 0.1  # due rows per second, as a share of the hand-written statement, which knows the answer already
MUST_GROWTH = 40.0  # MB that the process may gain after the first month
START = datetime(2027, 1, 4, tzinfo=UTC)
ZONES = (
    "America/New_York", "America/Chicago", "America/Los_Angeles", "America/Sao_Paulo", "America/Mexico_City",
    "America/Halifax", "America/St_Johns", "Europe/London", "Europe/Berlin", "Europe/Paris", "Europe/Helsinki",
    "Africa/Johannesburg", "Africa/Lagos", "Asia/Kolkata", "Asia/Kathmandu", "Asia/Tokyo", "Asia/Singapore",
    "Australia/Sydney", "Australia/Adelaide", "Pacific/Auckland",
)  # fmt: skip
COUNTRIES = ("US", "US", "US", "BR", "MX", "CA", "CA", "GB", "DE", "FR", "FI", "ZA", "NG", "IN", "NP", "JP", "SG", "AU",
             "AU", "NZ")  # fmt: skip

_WORLD = """
WITH people AS (
    INSERT INTO customers (external_id, name, email, time_zone, country, locale)
    SELECT 'c-' || i, 'Ann Number' || i, 'ann.' || i || '@example.com', (cast(:zones AS text[]))[1 + i % 20],
           (cast(:countries AS text[]))[1 + i % 20], 'en' FROM generate_series(1, cast(:number AS int)) AS i
    RETURNING id
), ordered AS (
    INSERT INTO orders (external_id, customer_id, ordered_at, delivered_at)
    SELECT 'o-' || id, id, m, m FROM people
    CROSS JOIN LATERAL (SELECT cast(:now AS timestamptz) - make_interval(days => cast(id * 7 % 700 AS int)) AS m) at
    RETURNING id, customer_id, delivered_at
), items AS (
    INSERT INTO order_items (external_id, order_id, customer_id, delivered_at)
    SELECT 'i-' || id, id, customer_id, delivered_at FROM ordered
), members AS (
    INSERT INTO audience_members (segment_id, customer_id, grade, version, entered_at, changed_at)
    SELECT :segment_id, id, 'likely', 1, :now, :now FROM people
)
INSERT INTO audience_changes (segment_id, customer_id, to_grade, reason, version, at)
SELECT :segment_id, id, 'likely', 'bench', 1, :now FROM people"""


def run(size: str = "small") -> dict[str, Any]:
    """Measure and return the goals; `size` is small or full."""
    # A line per sweep would bury the measurements.
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    os.environ["OUTREACH_CAP_PER_WEEK"] = str(programme_year.WEEKLY_CAP)
    with own_database():
        rows, goals = _due_rows(PEOPLE[size])
        year, more = _year(DAYS[size])
    return {
        "bench": "programmes",
        "goals": [*goals, *more],
        "rows": [*rows, *year],
        "load": [round(value, 2) for value in os.getloadavg()],
    }


def _due_rows(people: int) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    with transaction() as session:
        segment: int = session.execute(
            text("INSERT INTO segments (key, name, current_version) VALUES ('all', 'all', 1) RETURNING id")
        ).scalar_one()
        session.execute(
            text(_WORLD),
            {"number": people, "segment_id": segment, "zones": list(ZONES), "countries": list(COUNTRIES), "now": START},
        )
        session.execute(text("TRUNCATE customer_news"))  # scores are another measurement
        _plans(session)
    enrolled = _timed(lambda: sweep(lambda _: START))
    ours, plain = [], []
    for _ in range(ROUNDS):
        with transaction() as session:
            written = session.execute(text("SELECT count(*) FROM programme_dues")).scalar_one()
            session.execute(text("CREATE TEMP TABLE ready ON COMMIT DROP AS SELECT * FROM programme_dues ORDER BY id"))
            session.execute(text("TRUNCATE programme_dues"))
            plain.append(_timed(lambda: session.execute(text("INSERT INTO programme_dues SELECT * FROM ready"))))
        with transaction() as session:
            session.execute(text("TRUNCATE programme_dues"))
            session.execute(text("UPDATE enrolments SET scheduled_through = '2027-01-03'"))
        ours.append(_timed(_extend_all))
    ours.sort(), plain.sort()
    steady = plain[-1] / plain[0] <= 1.25
    rate, base = written / ours[ROUNDS // 2], written / plain[ROUNDS // 2]
    rows = [
        {"what": "first sweep: enrol, schedule, first push", "rows": people * 5, "seconds": round(enrolled, 2)},
        {"what": "due rows by the programmes", "rows": written, "rows_per_second": round(rate)},
        {"what": "the same rows, INSERT … SELECT by hand", "rows": written, "rows_per_second": round(base)},
    ]
    return rows, [_goal("due rows per second, share of hand-written", rate / base, MUST_SHARE, judged=steady)]


def _extend_all() -> None:
    with transaction() as session:
        for version in session.query(ProgrammeVersion).order_by(ProgrammeVersion.id):
            definition = parse_definition(version.definition)
            while due.extend(session, version=version, definition=definition, now=START)[1]:
                continue


def _plans(session: Session) -> None:
    for key, kind in (("csat", SurveyKind.CSAT), ("nps", SurveyKind.NPS), ("ces", SurveyKind.CES)):
        writing.make(session, key=key, name=key, kind=kind, actor="bench", now=START)
    by_email, hours = [{"channel": "email"}], {"hours": "8-20"}
    for key, programme_kind, definition in (
        ("check-in", ProgrammeKind.CHECK_IN,
         {"anchor": {"of": "delivery"}, "schedule": {"rrule": "FREQ=MONTHLY", "spread_days": 5, **hours},
          "steps": [{"do": "message", "template_key": "how-is-it-going", "channels": by_email}]}),
        ("service", ProgrammeKind.MAINTENANCE_REMINDER,
         {"per": "item", "anchor": {"of": "delivery"}, "schedule": {"rrule": "FREQ=MONTHLY;INTERVAL=6", **hours},
          "steps": [{"do": "message", "template_key": "maintenance-due", "channels": by_email,
                     "notice_class": "service"}]}),
        ("nps", ProgrammeKind.CHECK_IN,
         {"schedule": {"rrule": "FREQ=MONTHLY;INTERVAL=2", "spread_days": 20, **hours},
          "steps": [{"do": "survey", "survey": "nps", "channels": by_email}]}),
        ("start", ProgrammeKind.GETTING_STARTED,
         {"anchor": {"of": "delivery"}, "catch_up_days": 30, "schedule": {**hours},
          "steps": [{"do": "message", "template_key": "getting-started", "channels": by_email},
                    {"do": "wait", "days": 10}, {"do": "survey", "survey": "csat", "channels": by_email}]}),
        ("tips", ProgrammeKind.TIPS,
         {"schedule": {"spread_days": 20, **hours},
          "steps": [{"do": "message", "template_key": "tip", "channels": by_email}]}),
        ("after", ProgrammeKind.AFTER_RESOLUTION,
         {"per": "problem", "anchor": {"of": "resolution"}, "schedule": {"offset_days": 4, **hours},
          "steps": [{"do": "message", "template_key": "how-is-it-going", "channels": by_email},
                    {"do": "wait", "days": 3}, {"do": "survey", "survey": "ces", "channels": by_email}]}),
    ):  # fmt: skip
        made = verbs.make(
            session,
            key=key,
            name=key,
            kind=programme_kind,
            definition=definition,
            actor="b",
            now=START,
            segment=None if key == "after" else "all",
        )
        verbs.activate(session, programme=made, actor="bench", now=START)


def _year(length: int) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Live through the days and say what was wrong."""
    year = programme_year.live(START, length, _megabytes)
    rows = [
        {"what": f"{length} days", "seconds": round(year.seconds, 1), "sweeps": year.sweeps,
         "steps_pushed": year.pushed, "per_second": round(year.pushed / year.seconds),
         "megabytes": round(year.at_the_end), "check_ins_told": year.told, "check_ins_held": year.held, **year.states},
    ]  # fmt: skip
    gained = year.at_the_end - year.after_a_month
    goals = [
        _goal("memory gained after the first month, MB, at most", gained, MUST_GROWTH, most=True),
        *(_goal(name, number, 0, most=True) for name, number in year.wrong.items()),
    ]
    return rows, goals


def _goal(name: str, value: float, must: float, *, judged: bool = True, most: bool = False) -> dict[str, Any]:
    holds = value <= must if most else value >= must
    return {"goal": name, "value": round(float(value), 3), "must": must, "holds": holds if judged else None}


def _timed(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def _megabytes() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1024 if sys.platform != "darwin" else 1024**2)
