"""Check-ins: some days after a problem was resolved, everybody who was told is asked whether it really is.

A check-in is a row with a due time, never a delayed task. Its campaign runs beside the resolution's and is
planned by the same code, from due rows instead of the audience.
"""

from datetime import datetime, timedelta

from sqlalchemy import select, text
from sqlalchemy.orm import Session

from campaigns.lifecycle import open_campaign
from outreach.models import Campaign, Playbook, Problem
from outreach.vocabulary import CampaignKind, CampaignState, NoticeClass

_SCHEDULE = text("""
INSERT INTO check_ins (problem_id, campaign_id, customer_id, due_at, state)
SELECT :problem_id, :check_in_campaign_id, n.customer_id, cast(:due_at AS timestamptz), 'due'
FROM notices n WHERE n.campaign_id = :resolution_id AND n.state = 'delivered'
ON CONFLICT (problem_id, customer_id, occurrence) DO NOTHING
""")

# Whoever answered since the problem was resolved has been asked already; the cleared have nothing to check.
_SKIP_NEEDLESS = text("""
UPDATE check_ins k SET state = 'skipped',
       reason = CASE WHEN p.state <> 'resolved' AND p.state <> 'closed' THEN 'superseded'
                     WHEN m.grade = 'cleared' OR m.left_at IS NOT NULL THEN 'cleared' ELSE 'answered' END
FROM problems p, audience_members m, campaigns c
WHERE k.state = 'due' AND k.due_at <= :now AND p.id = k.problem_id AND c.id = k.campaign_id
  AND m.segment_id = c.segment_id AND m.customer_id = k.customer_id
  AND ((p.state NOT IN ('resolved', 'closed')) OR m.grade = 'cleared' OR m.left_at IS NOT NULL
       OR EXISTS (SELECT 1 FROM responses r WHERE r.customer_id = k.customer_id AND r.problem_id = k.problem_id
                  AND r.received_at >= p.resolved_at AND r.intent IN ('solved', 'still_broken')))
""")

_MARK_SENT = text("""
UPDATE check_ins k SET state = 'sent' FROM notices n
WHERE k.campaign_id = :campaign_id AND k.state = 'due' AND n.campaign_id = k.campaign_id
  AND n.customer_id = k.customer_id AND n.occurrence = k.occurrence
""")


def schedule(session: Session, *, now: datetime) -> int:
    """Write the due rows of everybody whom a resolution has reached so far; returns how many are new."""
    resolutions = session.execute(
        select(Campaign, Problem, Playbook)
        .join(Problem, Problem.id == Campaign.problem_id)
        .join(Playbook, Playbook.id == Campaign.playbook_id)
        .where(
            Campaign.kind == CampaignKind.RESOLVED,
            Campaign.state.in_([CampaignState.RUNNING, CampaignState.FINISHED]),
            Playbook.check_in_days.is_not(None),
            Problem.resolved_at.is_not(None),
        )
    ).all()
    written = 0
    for resolution, problem, playbook in resolutions:
        assert playbook.check_in_days is not None  # noqa: S101 - the query asks for it
        assert problem.resolved_at is not None  # noqa: S101
        check_in = _campaign(session, resolution, problem, playbook, now)
        inserted = session.execute(
            _SCHEDULE,
            {
                "problem_id": problem.id,
                "check_in_campaign_id": check_in.id,
                "resolution_id": resolution.id,
                "due_at": problem.resolved_at + timedelta(days=playbook.check_in_days),
            },
        )
        written += inserted.rowcount  # type: ignore[attr-defined]
    return written


def skip_needless(session: Session, *, now: datetime) -> None:
    """Skip due check-ins that would ask what we know: answered, cleared, or the problem is open again."""
    session.execute(_SKIP_NEEDLESS, {"now": now})


def mark_sent(session: Session, *, campaign: Campaign) -> None:
    """Mark the due rows whose notice has been written."""
    session.execute(_MARK_SENT, {"campaign_id": campaign.id})


def _campaign(session: Session, resolution: Campaign, problem: Problem, playbook: Playbook, now: datetime) -> Campaign:
    found = session.scalar(
        select(Campaign).where(
            Campaign.problem_id == problem.id,
            Campaign.kind == CampaignKind.CHECK_IN,
            Campaign.opened_by == resolution.opened_by,
        )
    )
    if found is not None:
        return found
    return open_campaign(
        session,
        name=f"{problem.key} check-in: {problem.title}",
        kind=CampaignKind.CHECK_IN,
        notice_class=NoticeClass.SUCCESS,
        template_key=playbook.check_in_template_key or "check-in",
        # A check-in is a question, not a duty: it goes by the digital channels only, without waiting times.
        ladder=[{"channel": step["channel"]} for step in resolution.ladder if step["channel"] != "postcard"]
        or list(resolution.ladder),
        segment_id=resolution.segment_id or 0,
        problem_id=problem.id,
        opened_by=resolution.opened_by,
        author=resolution.created_by,
        approved=True,  # it was part of the playbook that was approved with the resolution
        now=now,
    )
