"""What follows when a customer's health drops, or she falls silent: work for the owner, or a programme."""

from datetime import datetime

from sqlalchemy import select, text
from sqlalchemy.orm import Session

from campaigns.health.rules import Rules, rules_in_force
from campaigns.programmes.enrolment import enrol_whatever_the_segment
from outreach import audit
from outreach.errors import Conflict, NotFound
from outreach.models import AccountTask, Programme, ProgrammeVersion
from outreach.vocabulary import ProgrammeState

# A drop acts once: while its task is open, and for as long as the window in which it was measured.
_DROPS = """
    SELECT h.customer_id, 'drop' AS cause,
           'Health fell from ' || best.score || ' to ' || h.score AS title,
           'Weakest: ' || coalesce((SELECT string_agg(s.key, ', ' ORDER BY (s.value ->> 'value')::numeric)
                                    FROM jsonb_each(h.signals) s WHERE (s.value ->> 'value')::numeric < 0.5), 'none')
               AS detail
    FROM health_scores h JOIN LATERAL (
        SELECT t.score, t.band FROM health_trends t WHERE t.customer_id = h.customer_id
          AND t.day >= coalesce((SELECT max(u.day) FROM health_trends u WHERE u.customer_id = h.customer_id
              AND u.day <= cast(cast(:now AS timestamptz) - make_interval(days => :drop_days) AS date)), '-infinity')
        ORDER BY t.score DESC LIMIT 1) best ON true
    WHERE h.customer_id = ANY(cast(:customers AS bigint[])) AND (best.score - h.score >= :drop_points OR
          array_position(ARRAY['poor', 'fair', 'good'], cast(best.band AS text))
          > array_position(ARRAY['poor', 'fair', 'good'], cast(h.band AS text)))"""
_SILENCES = """
    SELECT h.customer_id, 'silence' AS cause, 'Nothing heard since ' || to_char(h.last_sign_at, 'YYYY-MM-DD') AS title,
           'No order, ticket, answer or use in ' || :silence_days || ' days.' AS detail
    FROM health_scores h WHERE h.customer_id = ANY(cast(:customers AS bigint[]))
      AND h.last_sign_at < cast(:now AS timestamptz) - make_interval(days => :silence_days)"""

_OPEN = text(f"""
INSERT INTO account_tasks (customer_id, cause, owner, title, detail, opened_at, due_at)
SELECT found.customer_id, found.cause, c.attributes ->> :owner_attribute, found.title, found.detail, :now,
       cast(:now AS timestamptz) + interval '3 days'
FROM ({_DROPS} UNION ALL {_SILENCES}) found JOIN customers c ON c.id = found.customer_id
WHERE c.erased_at IS NULL AND NOT EXISTS (
    SELECT 1 FROM account_tasks k WHERE k.customer_id = found.customer_id AND k.cause = found.cause
    AND (k.done_at IS NULL OR k.opened_at > cast(:now AS timestamptz) - make_interval(days =>
         CASE found.cause WHEN 'drop' THEN cast(:drop_days AS int) ELSE cast(:silence_days AS int) END)))
ON CONFLICT DO NOTHING
RETURNING customer_id
""")


def react(session: Session, *, customers: list[int], now: datetime) -> int:
    """Open a task for each of these customers who dropped or fell silent; returns how many."""
    if not customers:
        return 0
    rules = rules_in_force(session)
    found = session.scalars(
        _OPEN,
        {
            "customers": customers,
            "drop_points": rules.drop_points,
            "drop_days": rules.drop_days,
            "silence_days": rules.silence_days,
            "owner_attribute": rules.owner_attribute,
            "now": now,
        },
    ).all()
    if found and rules.programme:
        _enter(session, rules, sorted(set(found)), now)
    return len(found)


def _enter(session: Session, rules: Rules, customers: list[int], now: datetime) -> None:
    programme = session.scalar(
        select(Programme).where(Programme.key == rules.programme, Programme.state == ProgrammeState.ACTIVE)
    )
    if programme is None:
        return  # the tasks are there all the same
    version = session.scalars(
        select(ProgrammeVersion).where(
            ProgrammeVersion.programme_id == programme.id, ProgrammeVersion.version == programme.current_version
        )
    ).one()
    enrol_whatever_the_segment(session, programme=programme, version=version, customers=customers, now=now)


def finish(session: Session, *, task_id: int, actor: str, now: datetime) -> AccountTask:
    """Mark a task as done; raises `NotFound` or `Conflict`."""
    task = session.get(AccountTask, task_id, with_for_update=True)
    if task is None:
        raise NotFound(f"There is no task {task_id}.")
    if task.done_at is not None:
        raise Conflict(f"Task {task_id} is done already.")
    task.done_at, task.done_by = now, actor
    audit.record(session, actor=actor, action="account_task.done", subject=f"task:{task_id}", now=now)
    return task
