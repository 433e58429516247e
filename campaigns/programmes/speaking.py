"""The campaign through which one step of a programme speaks, opened when it first has something to say."""

from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from campaigns.lifecycle import open_campaign
from campaigns.programmes.steps import Ask, Message
from outreach.errors import InvalidInput, NotFound
from outreach.models import (
    Campaign,
    Problem,
    Programme,
    ProgrammeCampaign,
    ProgrammeVersion,
    Segment,
    Survey,
    Template,
)
from outreach.vocabulary import CampaignKind, NoticeClass, ProgrammeKind

_KINDS = {
    ProgrammeKind.CHECK_IN: CampaignKind.CHECK_IN,
    ProgrammeKind.GETTING_STARTED: CampaignKind.TIPS,
    ProgrammeKind.TIPS: CampaignKind.TIPS,
    ProgrammeKind.MAINTENANCE_REMINDER: CampaignKind.REMINDER,
    ProgrammeKind.AFTER_RESOLUTION: CampaignKind.CHECK_IN,
}


def campaign_of(
    session: Session,
    *,
    programme: Programme,
    version: ProgrammeVersion,
    number: int,
    step: Message | Ask,
    problem_id: int,
    now: datetime,
) -> Campaign:
    """Return the campaign of one message step, and of one problem for programmes after a resolution."""
    found = session.scalar(
        select(Campaign)
        .join(ProgrammeCampaign, ProgrammeCampaign.campaign_id == Campaign.id)
        .where(
            ProgrammeCampaign.version_id == version.id,
            ProgrammeCampaign.step == number,
            ProgrammeCampaign.problem_id == problem_id,
        )
    )
    if found is not None:
        return found
    survey = find_survey(session, step.survey) if isinstance(step, Ask) else None
    problem = session.get_one(Problem, problem_id) if problem_id else None
    scope = select(Segment.id).where(Segment.problem_id == problem_id)
    made = open_campaign(
        session,
        name=f"{programme.name}, step {number + 1}" + (f": {problem.title}" if problem else ""),
        kind=CampaignKind.SURVEY if survey else _KINDS[programme.kind],
        notice_class=step.notice_class if isinstance(step, Message) else NoticeClass.SURVEY,
        template_key=survey.template_key if survey else getattr(step, "template_key", ""),
        ladder=[rung.model_dump(mode="json", exclude_none=True) for rung in step.channels],
        segment_id=(session.scalar(scope) if problem else programme.segment_id) or 0,
        problem_id=problem_id or None,
        author=version.author,
        approved=True,  # it was approved with the programme
        now=now,
    )
    made.approved_by = "programme"
    made.programme_id = programme.id
    made.waves = []  # its schedule spreads it
    session.add(
        ProgrammeCampaign(
            version_id=version.id,
            step=number,
            problem_id=problem_id,
            campaign_id=made.id,
            survey_id=survey.id if survey else None,
        )
    )
    session.flush()
    return made


def find_survey(session: Session, key: str) -> Survey:
    """Return the survey with this key; raises `NotFound`."""
    survey = session.scalar(select(Survey).where(Survey.key == key))
    if survey is None:
        raise NotFound(f"There is no survey {key}.")
    return survey


def check_words(session: Session, step: Message | Ask, where: str) -> None:
    """Raise `InvalidInput` unless the step's survey and the words for one of its channels are there."""
    key = find_survey(session, step.survey).template_key if isinstance(step, Ask) else step.template_key
    channels = set(session.scalars(select(Template.channel).where(Template.key == key)))
    missing = [rung.channel.value for rung in step.channels if rung.channel not in channels]
    if missing:
        raise InvalidInput(f"Template {key} has no words for {', '.join(missing)}; write them first.", where=where)
