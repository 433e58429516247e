"""What beat rings for: people in and out, rows for what comes, and everything that is due one step on."""

import time
from collections.abc import Callable
from datetime import datetime

import structlog
from sqlalchemy import select, text
from sqlalchemy.orm import Session

from campaigns.health.reactions import react
from campaigns.health.scoring import OLDEST, rescore, stale
from campaigns.programmes import due, enrolment, news, running
from campaigns.programmes.steps import Definition, stored_definition
from outreach import clock
from outreach.db import transaction
from outreach.models import Programme, ProgrammeVersion
from outreach.vocabulary import ProgrammeState

log = structlog.get_logger()
_LOCK = 7360
BUDGET_SECONDS = 100.0
Now = Callable[[Session], datetime]

_WORK = """
SELECT d.version_id, d.step, CASE WHEN v.definition ->> 'per' = 'problem' THEN d.subject_id ELSE 0 END AS problem_id
FROM programmes p JOIN programme_versions v ON v.programme_id = p.id
JOIN programme_dues d ON d.version_id = v.id AND d.state = 'open' AND d.wake_at <= :now
JOIN customers c ON c.id = d.customer_id
WHERE p.state = 'active' GROUP BY 1, 2, 3 ORDER BY 1, 2, 3
"""
_BEHIND = """
SELECT p.id FROM programmes p LEFT JOIN LATERAL (
    SELECT max(a.id) AS newest FROM audience_changes a WHERE a.segment_id = p.segment_id) ledger ON true
WHERE p.state = 'active' AND CASE WHEN p.kind = 'after-resolution'
    THEN p.enrolled_through <= extract(epoch FROM cast(:now AS timestamptz)) - 600
    ELSE ledger.newest > p.enrolled_through END ORDER BY p.id
"""
_TO_SCHEDULE = """
SELECT DISTINCT e.version_id FROM programmes p JOIN enrolments e ON e.programme_id = p.id AND e.left_at IS NULL
     AND e.scheduled_through < cast(:before AS date)
WHERE p.state = 'active' ORDER BY 1
"""
# Most sweeps find nothing: one statement tells.
_ANYTHING = text(f"""
SELECT EXISTS (SELECT 1 FROM customer_news) AS news, EXISTS ({_BEHIND}) AS enrolled, EXISTS ({_TO_SCHEDULE}) AS due,
       EXISTS ({_WORK}) AS pushed,
       EXISTS (SELECT 1 FROM health_scores
               WHERE computed_at < cast(:now AS timestamptz) - cast(:oldest AS interval)) AS scored
""")


def sweep(now: Now = clock.now) -> dict[str, int]:
    """Do everything that is due, in slices of one transaction each, until none is left or the time is used up."""
    ends = time.monotonic() + BUDGET_SECONDS
    with transaction() as session:
        moment = now(session)
        parameters = {"now": moment, "before": moment.date() + due.MARGIN, "oldest": OLDEST}
        anything = session.execute(_ANYTHING, parameters).one()
    done = {"news": 0, "enrolled": 0, "due": 0, "pushed": 0, "scored": 0}
    for phase, work in (
        ("news", _news), ("enrolled", _enrol), ("due", _schedule), ("pushed", _push), ("scored", _score),
    ):  # fmt: skip
        # Who entered, and whose occurrences were written, may be due at once.
        wanted = getattr(anything, phase) or done["news"] or done["enrolled"] or (phase == "pushed" and done["due"])
        while wanted and time.monotonic() < ends:
            with transaction() as session:
                if not session.scalar(text("SELECT pg_try_advisory_xact_lock(:lock, 0)"), {"lock": _LOCK}):
                    return done
                number, more = work(session, now(session))
            done[phase] += number
            if not more:
                break
    if any(done.values()):
        log.info("programmes swept", **done)
    return done


def current(session: Session, programme: Programme) -> tuple[ProgrammeVersion, Definition]:
    """Return the version of a programme that is in force."""
    version = session.scalars(
        select(ProgrammeVersion).where(
            ProgrammeVersion.programme_id == programme.id, ProgrammeVersion.version == programme.current_version
        )
    ).one()
    return version, stored_definition(version)


def _news(session: Session, now: datetime) -> tuple[int, bool]:
    customers = sorted(news.take(session))
    if not customers:
        return 0, False
    for programme in session.scalars(select(Programme).where(Programme.state == ProgrammeState.ACTIVE)):
        version, definition = current(session, programme)
        news.follow(session, programme=programme, version=version, definition=definition, customers=customers, now=now)
    rescore(session, customers=customers, now=now)
    react(session, customers=customers, now=now)
    return len(customers), True


def _enrol(session: Session, now: datetime) -> tuple[int, bool]:
    entered, more = 0, False
    for programme_id in session.scalars(text(_BEHIND), {"now": now}).all():
        programme = session.get_one(Programme, programme_id)
        version, definition = current(session, programme)
        number, waiting = enrolment.follow_ledger(
            session, programme=programme, version=version, definition=definition, now=now
        )
        entered, more = entered + number, more or waiting
    return entered, more


def _schedule(session: Session, now: datetime) -> tuple[int, bool]:
    written, more = 0, False
    for version_id in session.scalars(text(_TO_SCHEDULE), {"before": now.date() + due.MARGIN}).all():
        version = session.get_one(ProgrammeVersion, version_id)
        number, waiting = due.extend(session, version=version, definition=stored_definition(version), now=now)
        written, more = written + number, more or waiting
    return written, more


def _push(session: Session, now: datetime) -> tuple[int, bool]:
    work = session.execute(text(_WORK), {"now": now}).first()
    if work is None:
        return 0, False
    version = session.get_one(ProgrammeVersion, work.version_id)
    programme = session.get_one(Programme, version.programme_id)
    number = running.push(
        session,
        programme=programme,
        version=version,
        definition=stored_definition(version),
        number=work.step,
        problem_id=work.problem_id,
        now=now,
    )
    return number, True


def _score(session: Session, now: datetime) -> tuple[int, bool]:
    customers = stale(session, now=now)
    if not customers:
        return 0, False
    rescore(session, customers=customers, now=now)
    react(session, customers=customers, now=now)
    return len(customers), True
