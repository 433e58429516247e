"""Push due rows one step on: judge who may be spoken to now, write the notices, wait, and branch; slice by slice.

A slice is one transaction of a constant number of statements, which name their rows by id: an index over a passing
state would fill with the entries of those that have passed.
"""

from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import text
from sqlalchemy.orm import Session

from campaigns import planning
from campaigns.programmes import courtesy
from campaigns.programmes.schedules import Schedule, next_opening
from campaigns.programmes.speaking import campaign_of, find_survey
from campaigns.programmes.steps import HELD_BY_PROBLEMS, Ask, Condition, Definition, Message, Wait
from outreach.models import Campaign, Programme, ProgrammeVersion, Survey
from outreach.vocabulary import SurveyState

SLICE = 5_000
# What waits for a problem to end is looked at again so often.
HOLD = timedelta(hours=6)
# What is so late (after a downtime, a pause) is spread over the hours that are left of the day.
LATE = timedelta(hours=12)

_SLICE = text("""
SELECT d.id, d.zone, coalesce(c.country, '') AS country, d.step = 0 AND d.wake_at = d.due_at AS fresh, d.step,
       d.due_at < cast(:now AS timestamptz) - cast(:late AS interval) AS late
FROM programme_dues d JOIN customers c ON c.id = d.customer_id
WHERE d.version_id = :version_id AND d.step = :step AND d.state = 'open' AND d.wake_at <= :now
  AND (cast(:problem_id AS bigint) = 0 OR d.subject_id = :problem_id)
ORDER BY d.wake_at, d.id LIMIT :slice
""")

_POSTPONE = text("""
UPDATE programme_dues d SET wake_at = later.opens_at + make_interval(mins => cast(
    (hashint8extended(d.customer_id * 31 + d.subject_id,
                      d.occurrence + cast(extract(epoch FROM later.opens_at) AS bigint)) & 9223372036854775807) / 64
    % later.minutes AS int))
FROM unnest(cast(:ids AS bigint[]), cast(:opens AS timestamptz[]), cast(:minutes AS bigint[]))
     AS later(id, opens_at, minutes)
WHERE d.id = later.id
""")

# The newest occurrence alone counts; what began before it comes to its end.
_NEWER = """EXISTS (SELECT 1 FROM programme_dues newer
    WHERE newer.programme_id = d.programme_id AND newer.customer_id = d.customer_id AND newer.subject_id = d.subject_id
      AND newer.occurrence > d.occurrence AND newer.state <> 'skipped' AND newer.due_at <= :now)"""
# What is late gives way to one that comes on the same day, too.
_NEWER_SOON = _NEWER.replace(
    "newer.due_at <= :now",
    """newer.due_at <= CASE WHEN d.due_at < cast(:now AS timestamptz) - cast(:late AS interval)
        THEN cast(:now AS timestamptz) + cast(:late AS interval) ELSE :now END""",
)

_MISSED = text(f"""
UPDATE programme_dues d SET state = 'skipped', finished_at = :now,
       reason = CASE WHEN d.held_since IS NULL THEN 'missed' ELSE 'problem_open' END
WHERE d.id = ANY(cast(:ids AS bigint[])) AND d.state = 'open' AND d.started_at IS NULL AND {_NEWER_SOON}
RETURNING d.id
""")

_ENDS = "('left_programme', 'superseded', 'problem_open')"

# By the key of each notice, however many its campaign has: OFFSET 0 holds the planner to it where statistics are old.
_SAID = """(SELECT d.id AS due_id, n.id, n.campaign_id, n.customer_id, n.state, n.reason
    FROM programme_dues d CROSS JOIN LATERAL (
        SELECT * FROM notices n WHERE n.campaign_id = :campaign_id AND n.customer_id = d.customer_id
                                  AND n.occurrence = d.id OFFSET 0) n
    WHERE d.id = ANY(cast(:told AS bigint[])))"""

_ADVANCE = text(f"""
UPDATE programme_dues d SET step = d.step + 1, wake_at = :now, started_at = coalesce(d.started_at, :now),
       campaign_id = CASE WHEN n.state IN ('owed', 'held_out') THEN n.campaign_id ELSE d.campaign_id END,
       reason = CASE WHEN n.state = 'skipped' THEN n.reason ELSE d.reason END
FROM {_SAID} AS n WHERE d.id = n.due_id
""")

_ASKED = text(f"""
INSERT INTO survey_asks (survey_id, customer_id, notice_id, campaign_id, problem_id, asked_at)
SELECT :survey_id, n.customer_id, n.id, n.campaign_id, :problem_id, :now
FROM {_SAID} AS n WHERE n.state = 'owed'
ON CONFLICT (notice_id) DO NOTHING
""")

_FINISH = text("""
WITH ended AS (
    UPDATE programme_dues d SET state = CASE WHEN d.campaign_id IS NULL THEN 'skipped' ELSE 'done' END,
           reason = CASE WHEN d.campaign_id IS NULL THEN coalesce(d.reason, 'superseded') ELSE d.reason END,
           finished_at = :now
    WHERE d.id = ANY(cast(:ids AS bigint[])) AND d.state = 'open' AND d.step >= :steps
    RETURNING d.enrolment_id
)
UPDATE enrolments e SET left_at = :now, exit_reason = 'finished' FROM ended
WHERE :once AND e.id = ended.enrolment_id AND e.left_at IS NULL
""")

# One row per customer: two things due at the same moment are said one after the other.
DUE_NOW = """
    SELECT d.customer_id, d.id AS occurrence, coalesce(m.grade, 'likely') AS grade,
           CASE WHEN v.definition ->> 'per' = 'item' THEN ARRAY[d.subject_id]
                ELSE coalesce(m.evidence_items, '{}') END AS evidence_items,
           coalesce(m.evidence_orders, '{}') AS evidence_orders, coalesce(m.evidence_tickets, '{}') AS evidence_tickets
    FROM programme_dues d JOIN programme_versions v ON v.id = d.version_id
    LEFT JOIN LATERAL (SELECT a.grade, a.evidence_items, a.evidence_orders, a.evidence_tickets FROM audience_members a
                       WHERE a.segment_id = :segment_id AND a.customer_id = d.customer_id LIMIT 1) m ON true
    WHERE d.id = ANY(cast(:told AS bigint[])) AND d.customer_id > :after
      AND NOT EXISTS (SELECT 1 FROM notices n WHERE n.campaign_id = :campaign_id AND n.customer_id = d.customer_id
                      AND n.occurrence = d.id)
    ORDER BY d.customer_id LIMIT :slice"""
# Without a notice there is nobody to tell any more (the customer was removed meanwhile): on to the end.
_NOBODY = text("""
UPDATE programme_dues d SET step = :end WHERE d.id = ANY(cast(:told AS bigint[])) AND d.step = :step
""")


def push(
    session: Session,
    *,
    programme: Programme,
    version: ProgrammeVersion,
    definition: Definition,
    number: int,
    problem_id: int,
    now: datetime,
) -> int:
    """Take one slice of the rows that are due at one step; returns how many there were."""
    rows = session.execute(
        _SLICE,
        {
            "version_id": version.id,
            "step": number,
            "problem_id": problem_id,
            "slice": SLICE,
            "now": now,
            "late": LATE,
        },
    ).all()
    ids = [row.id for row in rows]
    step = definition.steps[number] if number < len(definition.steps) else None
    _leave_by_event(session, definition, ids, now)
    if isinstance(step, Message | Ask):
        missed = set(session.scalars(_MISSED, {"ids": ids, "late": LATE, "now": now}))
        open_now = _postpone(session, definition.schedule, [row for row in rows if row.id not in missed], now)
        if open_now:
            _speak(session, programme, version, definition, number, step, problem_id, open_now, now)
    elif isinstance(step, Wait):
        _wait(session, step, ids, now)
    elif isinstance(step, Condition):
        _branch(session, definition, step, number, ids, now)
    once = definition.schedule.rrule is None
    session.execute(_FINISH, {"ids": ids, "steps": len(definition.steps), "once": once, "now": now})
    return len(rows)


def _postpone(session: Session, schedule: Schedule, rows: Any, now: datetime) -> list[int]:
    """Move what is outside its hours to the next opening, spread as ever; return what may be said now."""
    known: dict[tuple[str, str], datetime] = {}
    open_now: list[int] = []
    moved: dict[str, list[Any]] = {"ids": [], "opens": [], "minutes": []}
    for row in rows:
        place = (row.zone, row.country)
        if place not in known:
            known[place] = next_opening(schedule, now=now, zone=row.zone, country=row.country)
        opens_at, minutes = known[place], schedule.window_minutes
        if opens_at <= now and not (row.late and row.fresh):
            open_now.append(row.id)
            continue
        if opens_at <= now:
            minutes = max(1, _minutes_left(schedule, now, row.zone))
        elif not row.fresh and row.step == 0:
            minutes = 1  # spread once; whoever missed that moment comes first
        moved["ids"].append(row.id)
        moved["opens"].append(max(opens_at, now + timedelta(seconds=1)))
        moved["minutes"].append(minutes)
    if moved["ids"]:
        session.execute(_POSTPONE, moved)
    return open_now


def _minutes_left(schedule: Schedule, now: datetime, zone: str) -> int:
    local, closes = now.astimezone(ZoneInfo(zone)), schedule.window.closes
    return (closes.hour - local.hour) * 60 + closes.minute - local.minute - 1


def _speak(
    session: Session,
    programme: Programme,
    version: ProgrammeVersion,
    definition: Definition,
    number: int,
    step: Message | Ask,
    problem_id: int,
    ids: list[int],
    now: datetime,
) -> None:
    campaign = campaign_of(
        session, programme=programme, version=version, number=number, step=step, problem_id=problem_id, now=now
    )
    survey = find_survey(session, step.survey) if isinstance(step, Ask) else None
    told = _judge(session, programme, definition, step, survey, campaign, ids, now)
    if not told:
        return
    given = {"told": told}
    planning.plan_slice(session, campaign=campaign, now=now, slice_size=len(told) + 1, source=DUE_NOW, given=given)
    if survey is not None:
        of = {"survey_id": survey.id, "campaign_id": campaign.id, "problem_id": campaign.problem_id, "now": now}
        session.execute(_ASKED, given | of)
    session.execute(_ADVANCE, given | {"campaign_id": campaign.id, "now": now})
    session.execute(_NOBODY, given | {"step": number, "end": len(definition.steps)})


def _judge(
    session: Session,
    programme: Programme,
    definition: Definition,
    step: Message | Ask,
    survey: Survey | None,
    campaign: Campaign,
    ids: list[int],
    now: datetime,
) -> list[int]:
    """Decide on each row: speak, hold, pass over this step, or end; returns those for which a notice is to be written.

    They stay locked as they are, so that nobody ends or edits meanwhile what is about to be said.
    """
    told = session.scalars(
        text(_verdicts(programme, definition, step, survey)),
        {
            "ids": ids,
            "campaign_id": campaign.id,
            "survey_kind": survey.kind.value if survey else "",
            "hold_days": definition.hold_days,
            "hold": HOLD,
            "now": now,
        },
    )
    return list(told)


def _verdicts(programme: Programme, definition: Definition, step: Message | Ask, survey: Survey | None) -> str:
    cases = ["WHEN e.left_at IS NOT NULL THEN 'left_programme'"]
    cases.append(f"WHEN d.started_at IS NOT NULL AND {_NEWER} THEN 'superseded'")
    if definition.per == "problem":
        cases.append("""WHEN NOT EXISTS (SELECT 1 FROM problems rp WHERE rp.id = d.subject_id
                             AND rp.state IN ('resolved', 'closed')) THEN 'superseded'""")
    if isinstance(step, Message) and step.unless_answered:
        cases.append(f"WHEN {courtesy.HAPPENED['answered']} THEN 'answered'")
    if survey is not None and survey.state is SurveyState.CLOSED:
        cases.append("WHEN true THEN 'survey_closed'")
    if survey is not None or programme.kind in HELD_BY_PROBLEMS:
        waits = "d.held_since < cast(:now AS timestamptz) - make_interval(days => :hold_days)"
        cases.append(f"WHEN {courtesy.PROBLEM_OPEN} THEN CASE WHEN {waits} THEN 'problem_open' ELSE 'hold' END")
    if survey is not None or programme.kind == "check-in":
        cases.append(f"WHEN d.held_since IS NOT NULL AND {courtesy.CHECKED_IN} THEN 'problem_open'")
    if survey is not None:
        cases.append(f"WHEN {courtesy.ASKED_RECENTLY} THEN 'asked_recently'")
        cases.append(f"WHEN {courtesy.JUST_TOLD} THEN 'hold'")
    return f"""
WITH judged AS MATERIALIZED (
    SELECT d.id, d.customer_id, CASE {" ".join(cases)} ELSE 'tell' END AS verdict
    FROM programme_dues d JOIN enrolments e ON e.id = d.enrolment_id
    WHERE d.id = ANY(cast(:ids AS bigint[])) AND d.state = 'open'
    FOR NO KEY UPDATE OF d
), settled AS MATERIALIZED (
    SELECT id, customer_id, verdict, row_number() OVER (PARTITION BY customer_id, verdict = 'tell' ORDER BY id) AS place
    FROM judged
), noted AS (
    INSERT INTO notices (campaign_id, customer_id, occurrence, grade, state, reason, created_at, settled_at)
    SELECT :campaign_id, customer_id, id, 'likely', 'skipped', verdict, :now, :now FROM settled
    WHERE verdict NOT IN ('tell', 'hold', 'left_programme')
    ON CONFLICT (campaign_id, customer_id, occurrence) DO NOTHING
), moved AS (
    UPDATE programme_dues d
    SET state = CASE WHEN s.verdict IN {_ENDS} THEN CASE WHEN d.campaign_id IS NULL THEN 'skipped' ELSE 'done' END
                     ELSE d.state END,
        finished_at = CASE WHEN s.verdict IN {_ENDS} THEN cast(:now AS timestamptz) END,
        step = CASE WHEN s.verdict IN ('answered', 'asked_recently', 'survey_closed') THEN d.step + 1 ELSE d.step END,
        wake_at = CASE WHEN s.verdict = 'hold' THEN cast(:now AS timestamptz) + cast(:hold AS interval)
                       ELSE d.wake_at END,
        held_since = CASE WHEN s.verdict = 'hold' THEN coalesce(d.held_since, :now) ELSE d.held_since END,
        reason = CASE WHEN s.verdict = 'hold' THEN d.reason ELSE s.verdict END
    FROM settled s WHERE s.id = d.id AND s.verdict <> 'tell'
)
SELECT id FROM settled WHERE verdict = 'tell' AND place = 1"""


def _leave_by_event(session: Session, definition: Definition, ids: list[int], now: datetime) -> None:
    """Whoever did what ends the programme leaves it, before anything more is said."""
    if not definition.exits.when or not ids:
        return
    cases = " ".join(
        f"WHEN {courtesy.HAPPENED[event].replace('d.started_at', 'e.entered_at')} THEN '{event}'"
        for event in definition.exits.when
    )
    session.execute(
        text(f"""
WITH happened AS (
    SELECT e.id, CASE {cases} END AS what FROM programme_dues d JOIN enrolments e ON e.id = d.enrolment_id
    WHERE d.id = ANY(cast(:ids AS bigint[])) AND e.left_at IS NULL
), gone AS (
    UPDATE enrolments e SET left_at = :now, exit_reason = happened.what
    FROM happened WHERE happened.id = e.id AND happened.what IS NOT NULL RETURNING e.id
)
UPDATE programme_dues d SET state = CASE WHEN d.campaign_id IS NULL THEN 'skipped' ELSE 'done' END,
       reason = 'left_programme', finished_at = :now
FROM gone WHERE d.enrolment_id = gone.id AND d.state = 'open'
"""),
        {"ids": ids, "now": now},
    )


def _wait(session: Session, step: Wait, ids: list[int], now: datetime) -> None:
    session.execute(
        text("""UPDATE programme_dues SET step = step + 1, started_at = coalesce(started_at, :now),
                       wake_at = cast(:now AS timestamptz) + cast(:pause AS interval)
                WHERE id = ANY(cast(:ids AS bigint[])) AND state = 'open'"""),
        {"ids": ids, "pause": timedelta(days=step.days, hours=step.hours), "now": now},
    )


def _branch(
    session: Session, definition: Definition, step: Condition, number: int, ids: list[int], now: datetime
) -> None:
    session.execute(
        text(f"""UPDATE programme_dues d SET wake_at = :now, started_at = coalesce(started_at, :now),
                        step = CASE WHEN {courtesy.HAPPENED[step.happened]} THEN cast(:yes AS int)
                                    ELSE cast(:no AS int) END
                 WHERE d.id = ANY(cast(:ids AS bigint[])) AND d.state = 'open'"""),
        {
            "ids": ids,
            "yes": definition.place(step.then, number),
            "no": definition.place(step.otherwise, number),
            "now": now,
        },
    )
