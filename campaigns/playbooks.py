"""Which campaign a change of a problem opens, and the playbooks and words that come with Outreach."""

from datetime import datetime

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from campaigns.default_templates import default_templates
from campaigns.lifecycle import TOLD_GRADES, finish, open_campaign, wait_for_approval
from campaigns.missing_words import gaps
from campaigns.owners import tell_owner
from outreach.models import Campaign, Playbook, Problem, ProblemUpdate, Segment, Template
from outreach.vocabulary import (
    CampaignKind,
    CampaignState,
    Grade,
    NoticeClass,
    ProblemState,
    Severity,
)

STANDARD_LADDER = [
    {"channel": "email"},
    {"channel": "sms", "after_hours": 24},
    {"channel": "postcard", "after_hours": 168},
]
_PLAYBOOKS = (
    ("known", "A problem is known", ProblemState.KNOWN, CampaignKind.KNOWN, "problem-known", None),
    ("resolved", "A problem is resolved", ProblemState.RESOLVED, CampaignKind.RESOLVED, "problem-resolved", 3),
)


def install_defaults(session: Session) -> None:
    """Add the playbooks and templates that come with Outreach where they are missing; changes nothing else."""
    for key, name, trigger, kind, template_key, check_in_days in _PLAYBOOKS:
        if session.scalar(select(Playbook.id).where(Playbook.key == key)) is None:
            session.add(
                Playbook(
                    key=key,
                    name=name,
                    trigger=trigger,
                    kind=kind,
                    notice_class=NoticeClass.SERVICE,
                    template_key=template_key,
                    ladder=STANDARD_LADDER,
                    check_in_days=check_in_days,
                    check_in_template_key="check-in" if check_in_days else None,
                )
            )
    known = set(session.scalars(select(Template.key)))
    for (template_key, channel), content in default_templates().items():
        if template_key not in known:
            session.add(
                Template(
                    key=template_key,
                    version=1,
                    channel=channel,
                    language=content.language,
                    subject=content.subject,
                    body=content.body,
                    back=content.back,
                    author="outreach",
                )
            )
    session.flush()


def open_due(session: Session, *, now: datetime) -> list[Campaign]:
    """Open the campaigns that the newest change of each problem calls for, once per change and playbook.

    A problem without an accepted scope waits: there is nobody to tell yet.
    """
    newest = (
        select(func.max(ProblemUpdate.id))
        .where(ProblemUpdate.to_state.is_not(None))
        .group_by(ProblemUpdate.problem_id)
        .scalar_subquery()
    )
    due = session.execute(
        select(ProblemUpdate, Problem, Playbook, Segment)
        .join(Problem, Problem.id == ProblemUpdate.problem_id)
        .join(Playbook, (Playbook.trigger == ProblemUpdate.to_state) & Playbook.active)
        .join(Segment, (Segment.problem_id == Problem.id) & (Segment.current_version > 0))
        .outerjoin(Campaign, (Campaign.opened_by == ProblemUpdate.id) & (Campaign.playbook_id == Playbook.id))
        .where(ProblemUpdate.id.in_(newest), Campaign.id.is_(None), Segment.refreshed_at.is_not(None))
        .where(Playbook.since.is_(None) | (ProblemUpdate.at >= Playbook.since))
        .order_by(ProblemUpdate.id)
    ).all()
    opened = []
    for update, problem, playbook, segment in due:
        _end_earlier_notices(session, problem, now=now)
        resolution = playbook.kind is CampaignKind.RESOLVED
        campaign = open_campaign(
            session,
            name=f"{problem.key} {playbook.name.lower()}: {problem.title}",
            kind=playbook.kind,
            notice_class=_class_for(playbook, problem),
            template_key=playbook.template_key,
            ladder=playbook.ladder,
            segment_id=segment.id,
            problem_id=problem.id,
            # The resolution also accounts for the cleared, who are skipped with that reason.
            grades=(*TOLD_GRADES, Grade.CLEARED) if resolution else TOLD_GRADES,
            author=update.author,
            approved=playbook.automatic,
            playbook_id=playbook.id,
            opened_by=update.id,
            now=now,
        )
        if playbook.automatic and (found := gaps(session, campaign=campaign, now=now)):
            wait_for_approval(session, campaign=campaign, why=str(found[0]), now=now)
            tell_owner(session, campaign, f"{campaign.key} did not start by itself: {found[0]}", now)
        opened.append(campaign)
    return opened


def _class_for(playbook: Playbook, problem: Problem) -> NoticeClass:
    # A playbook never turns a notice into one of class safety on its own: that needs a second person.
    if problem.severity is Severity.CRITICAL and playbook.notice_class is NoticeClass.SAFETY and playbook.automatic:
        return NoticeClass.SERVICE
    return playbook.notice_class


def _end_earlier_notices(session: Session, problem: Problem, *, now: datetime) -> None:
    """End the problem's earlier campaigns: late joiners get the notice in force, not the history."""
    earlier = session.scalars(
        select(Campaign).where(
            Campaign.problem_id == problem.id,
            Campaign.kind.in_([CampaignKind.KNOWN, CampaignKind.UPDATE, CampaignKind.RESOLVED]),
            Campaign.state.in_([CampaignState.RUNNING, CampaignState.PAUSED, CampaignState.WAITING_APPROVAL]),
        )
    )
    for campaign in earlier:
        finish(session, campaign=campaign, now=now)
