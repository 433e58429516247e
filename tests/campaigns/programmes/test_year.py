"""A simulated year: programmes of every kind, twenty zones, open problems, a week of downtime; nothing is left to luck.

What had to be sent is worked out here by hand, without the code that does it.
"""

import os
from collections import Counter
from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import text
from sqlalchemy.orm import Session

from campaigns import ledger
from campaigns.programmes import verbs
from campaigns.programmes.due import AHEAD
from campaigns.programmes.sweeps import sweep
from campaigns.surveys import writing
from outreach.db import transaction
from outreach.models import Campaign
from outreach.settings import get_settings
from outreach.vocabulary import ProgrammeKind, SurveyKind
from tests.campaigns.programmes.people import at, customers, days, delivered, join, leave, message, segment, survey

START = datetime(2027, 1, 4, 0, tzinfo=UTC)
END = START + days(365)
DOWN = (START + days(200.3), START + days(207.3))
PROBLEMS = ((60, 74, "c.id % 5 = 0"), (150, 171, "c.id % 7 = 0"), (260, 262, "c.id % 3 = 0"))
PEOPLE = int(os.environ.get("PROGRAMME_PEOPLE", "240"))
# The hours of these programmes are twelve of the day: each zone is awake at one sweep of two.
TICK = timedelta(hours=12)
# PostgreSQL does so by itself each minute, in which months go by here; without it whole tables are read each time.
ANALYZED = {2, 30, 100, 200}


def plans(session: Session) -> None:
    segment(session, "all", START)
    segment(session, "half", START, "c.id % 2 = 0")
    for key, kind in (("csat", SurveyKind.CSAT), ("nps", SurveyKind.NPS), ("ces", SurveyKind.CES)):
        writing.make(session, key=key, name=key, kind=kind, actor="t", now=START)
    monthly = {"rrule": "FREQ=MONTHLY", "spread_days": 3, "hours": "8-20"}
    hours = {"hours": "8-20"}
    for key, kind, segment_key, definition in (
        ("check-in", ProgrammeKind.CHECK_IN, "all", {"schedule": monthly, "steps": [message()]}),
        ("start", ProgrammeKind.GETTING_STARTED, "all",
         {"anchor": {"of": "delivery"}, "schedule": hours, "catch_up_days": 60,
          "steps": [message("getting-started"), {"do": "wait", "days": 10}, survey("csat")]}),
        ("tips", ProgrammeKind.TIPS, "half",
         {"schedule": hours, "steps": [message("tip"), {"do": "wait", "days": 20},
                                       {"do": "condition", "happened": "answered", "then": "end"}, message("tip")]}),
        ("service", ProgrammeKind.MAINTENANCE_REMINDER, "all",
         {"per": "item", "anchor": {"of": "delivery"},
          "schedule": {"rrule": "FREQ=MONTHLY;INTERVAL=6", **hours},
          "steps": [message("maintenance-due", notice_class="service")]}),
        ("nps", ProgrammeKind.CHECK_IN, "half",
         {"schedule": {"rrule": "FREQ=MONTHLY;INTERVAL=2", "spread_days": 5, **hours}, "steps": [survey("nps")]}),
        ("after", ProgrammeKind.AFTER_RESOLUTION, None,
         {"per": "problem", "anchor": {"of": "resolution"}, "schedule": {"offset_days": 4, **hours},
          "steps": [message(), {"do": "wait", "days": 3}, survey("ces")]}),
    ):  # fmt: skip
        made = verbs.make(
            session, key=key, name=key, kind=kind, segment=segment_key, definition=definition, actor="t", now=START
        )
        verbs.activate(session, programme=made, actor="t", now=START)


def happen(session: Session, day: int, now: datetime) -> None:
    """What the world does: problems come and go, people join, leave and answer."""
    for number, (opens, closes, who) in enumerate(PROBLEMS, 1):
        if day == opens:
            session.execute(
                text("""INSERT INTO problems (id, key, title, state, severity, known_at)
                        VALUES (:id, 'P-' || :id, 'Broken', 'known', 'high', :now)"""),
                {"id": number, "now": now},
            )
            scope = segment(session, f"scope-{number}", now, who)
            session.execute(
                text("UPDATE segments SET problem_id = :problem WHERE id = :id"), {"problem": number, "id": scope}
            )
        if day == closes:
            session.execute(
                text("UPDATE problems SET state = 'resolved', resolved_at = :now WHERE id = :id"),
                {"id": number, "now": now},
            )
            session.execute(
                text("""
WITH made AS (
    INSERT INTO campaigns (key, name, kind, notice_class, state, problem_id, segment_id, template_key, template_version,
                           ladder, grades, created_by, planned_through)
    SELECT 'R-' || :id, 'resolved', 'resolved', 'service', 'finished', :id, s.id, 'tip', 1, '[{"channel": "email"}]',
           '["likely"]', 't', 1 FROM segments s WHERE s.problem_id = :id RETURNING id, segment_id)
INSERT INTO notices (campaign_id, customer_id, occurrence, grade, state, settled_at)
SELECT made.id, m.customer_id, 0, 'likely', 'delivered', :now
FROM made JOIN audience_members m ON m.segment_id = made.segment_id"""),
                {"id": number, "now": now},
            )
    if day in ANALYZED:
        session.execute(text("ANALYZE"))
    half = "SELECT id FROM segments WHERE key = 'half'"
    if day == 120:
        leave(session, session.execute(text(half)).scalar_one(), now, "c.id % 10 = 0")
    if day == 130:
        join(session, session.execute(text(half)).scalar_one(), now, "c.id % 10 = 1")
    if day % 9 == 0:
        session.execute(
            text("""UPDATE survey_asks SET answered_at = :now WHERE answered_at IS NULL AND customer_id % 4 = 0"""),
            {"now": now},
        )


def test_a_year_of_programmes_misses_and_doubles_nothing(database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OUTREACH_CAP_PER_WEEK", "3")
    get_settings.cache_clear()
    with transaction() as session:
        customers(session, PEOPLE, START)
        plans(session)
    now = START
    while now < END:
        if now.hour == 0:
            with transaction() as session:
                happen(session, (now - START).days, now)
        if not DOWN[0] <= now < DOWN[1]:
            sweep(at(now))
            with transaction() as session:
                delivered(session, now)
        now += TICK
    with transaction() as session:
        every_check_in_was_sent_or_has_its_reason(session)
        nothing_was_said_in_quiet_hours(session)
        nobody_was_over_the_cap(session)
        nobody_was_asked_twice_in_the_window(session)
        nothing_was_said_while_a_problem_was_open(session)
        accounts = [ledger.verify(session, campaign=each) for each in session.query(Campaign) if each.programme_id]
        assert [account.discrepancies for account in accounts if not account.adds_up] == []
        kinds = dict(map(tuple, session.execute(text("SELECT kind, count(*) FROM campaigns GROUP BY 1")).all()))
        assert set(kinds) == {"check-in", "tips", "reminder", "survey", "resolved"}


def every_check_in_was_sent_or_has_its_reason(session: Session) -> None:
    zones = dict(map(tuple, session.execute(text("SELECT id, time_zone FROM customers")).all()))
    expected = Counter()
    for customer, zone in zones.items():
        entered = START.astimezone(ZoneInfo(zone)).date()
        months = 1
        while (day := _month_later(entered, months)) <= (END + AHEAD + days(5)).date():
            expected[customer, day.year * 10_000 + day.month * 100 + day.day] += 1
            months += 1
    rows = session.execute(
        text("""SELECT d.customer_id, d.occurrence, d.state, d.reason, d.due_at,
                       count(n.id) FILTER (WHERE n.state = 'delivered') AS told
                FROM programme_dues d JOIN programmes p ON p.id = d.programme_id AND p.key = 'check-in'
                LEFT JOIN notices n ON n.occurrence = d.id AND n.customer_id = d.customer_id
                GROUP BY d.id ORDER BY 1, 2""")
    ).all()
    found = Counter((row.customer_id, row.occurrence) for row in rows)
    assert max(found.values()) == 1
    settled = [row for row in rows if row.due_at < END - days(5)]
    assert set(found) <= set(expected)
    last = int(f"{(END - days(10)).date():%Y%m%d}")
    assert {key for key in expected if key[1] <= last} <= set(found)
    reasons = Counter(row.reason for row in settled if row.told == 0)
    assert all(row.told == 1 for row in settled if row.state == "done")
    assert set(reasons) <= {"capped", "problem_open", "missed"}, reasons
    told = sum(row.told for row in settled)
    assert told > 0.9 * len(settled), (told, len(settled), reasons)


def _month_later(day: date, months: int) -> date:
    year, month = divmod(day.month - 1 + months, 12)
    return day.replace(year=day.year + year, month=month + 1)


def nothing_was_said_in_quiet_hours(session: Session) -> None:
    rows = session.execute(
        text("""SELECT c.time_zone, m.sent_at, n.created_at FROM messages m JOIN customers c ON c.id = m.customer_id
                JOIN notices n ON n.id = m.notice_id""")
    ).all()
    assert len(rows) > PEOPLE * 12
    for row in rows:
        for moment in (row.sent_at, row.created_at):
            if moment is not None:
                assert 8 <= moment.astimezone(ZoneInfo(row.time_zone)).hour < 20, row


def nobody_was_over_the_cap(session: Session) -> None:
    most = session.execute(
        text("""SELECT max(total) FROM (
                    SELECT count(*) OVER (PARTITION BY m.customer_id ORDER BY m.sent_at
                                          RANGE BETWEEN interval '6 days 23 hours' PRECEDING AND CURRENT ROW) AS total,
                           c.notice_class
                    FROM messages m JOIN campaigns c ON c.id = m.campaign_id WHERE m.sent_at IS NOT NULL) heard
                WHERE notice_class <> 'service'""")
    ).scalar_one()
    assert most <= 3


def nobody_was_asked_twice_in_the_window(session: Session) -> None:
    closest: Any = session.execute(
        text("""SELECT min(later) FILTER (WHERE true) AS any_kind,
                       min(later) FILTER (WHERE kind = 'nps' AND before = 'nps') AS nps
                FROM (SELECT a.asked_at - lag(a.asked_at) OVER w AS later, s.kind, lag(s.kind) OVER w AS before
                      FROM survey_asks a JOIN surveys s ON s.id = a.survey_id
                      WINDOW w AS (PARTITION BY a.customer_id ORDER BY a.asked_at)) gaps""")
    ).one()
    assert closest.any_kind >= days(30)
    assert closest.nps >= days(90)


def nothing_was_said_while_a_problem_was_open(session: Session) -> None:
    rude = session.execute(
        text("""SELECT count(*) FROM notices n JOIN campaigns c ON c.id = n.campaign_id
                JOIN programmes p ON p.id = c.programme_id AND p.kind IN ('check-in', 'tips', 'getting-started')
                JOIN audience_members m ON m.customer_id = n.customer_id JOIN segments s ON s.id = m.segment_id
                JOIN problems pr ON pr.id = s.problem_id
                WHERE n.state <> 'skipped' AND n.created_at >= m.entered_at
                  AND n.created_at < coalesce(pr.resolved_at, 'infinity')""")
    ).scalar_one()
    assert rude == 0
    asked = session.execute(
        text("""SELECT count(*) FROM survey_asks a JOIN surveys s ON s.id = a.survey_id AND s.key = 'ces'""")
    ).scalar_one()
    assert asked > 0
