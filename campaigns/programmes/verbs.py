"""The life of a programme: write, edit, activate, pause, resume, end; each change is in the audit log."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import func, select, text
from sqlalchemy.orm import Session

from campaigns import lifecycle
from campaigns.programmes.speaking import check_words
from campaigns.programmes.steps import Ask, Definition, Message, parse_definition, stored_definition
from campaigns.surveys.words import install_words
from outreach import audit
from outreach.errors import Conflict, InvalidInput, NotFound, NotPermitted
from outreach.models import Campaign, Enrolment, Programme, ProgrammeCampaign, ProgrammeVersion, Segment
from outreach.permissions import Actor, Permission
from outreach.queue import wake
from outreach.vocabulary import CampaignState, ProgrammeKind, ProgrammeState


def make(
    session: Session,
    *,
    key: str,
    name: str,
    kind: ProgrammeKind,
    definition: Any,
    actor: str,
    now: datetime,
    segment: str | None = None,
) -> Programme:
    """Write a programme down as a draft; nobody is in it before it is activated."""
    if key == "new":
        raise InvalidInput("new is a word of the pages; take another key.", where="key")
    if session.scalar(select(Programme.id).where(Programme.key == key)) is not None:
        raise Conflict(f"There is a programme {key} already; edit it, or take another key.")
    programme = Programme(
        key=key, name=name, kind=kind, segment_id=_segment(session, segment), created_by=actor, created_at=now,
        state=ProgrammeState.DRAFT, current_version=0, enrolled_through=0,
    )  # fmt: skip
    session.add(programme)
    session.flush()
    _write_version(session, programme, definition, actor, now)
    audit.record(
        session, actor=actor, action="programme.made", subject=f"programme:{key}", detail={"kind": kind}, now=now
    )
    return programme


def find(session: Session, key: str) -> Programme:
    """Return the programme with this key; raises `NotFound`."""
    programme = session.scalar(select(Programme).where(Programme.key == key))
    if programme is None:
        raise NotFound(f"There is no programme {key}.")
    return programme


def check_may_edit(programme: Programme, actor: Actor) -> None:
    """Raise `NotPermitted` unless this person may change what a programme says; a draft is its writers' own."""
    if programme.state is not ProgrammeState.DRAFT and Permission.CAMPAIGNS_APPROVE not in actor.permissions:
        raise NotPermitted(f"Programme {programme.key} has been started; whoever may approve can edit it.")


def edit(
    session: Session,
    *,
    programme: Programme,
    definition: Any,
    actor: str,
    now: datetime,
    segment: str | None = None,
) -> ProgrammeVersion:
    """Write a new version. What has begun keeps its own; of a recurring programme the coming occurrences change.

    People in a programme without recurrence (a series) keep the version that they entered with to its end.
    `segment` is another one for a draft; once it has been started, whom it is for stays.
    """
    if programme.state is ProgrammeState.ENDED:
        raise Conflict(f"Programme {programme.key} has ended.")
    segment_id = _segment(session, segment) or programme.segment_id
    if segment_id != programme.segment_id and programme.state is not ProgrammeState.DRAFT:
        raise Conflict("Whom a programme is for is fixed once it has been started; write another one for others.")
    programme.segment_id = segment_id
    version = _write_version(session, programme, definition, actor, now)
    if stored_definition(version).schedule.rrule is not None:
        session.execute(
            text("""
WITH moved AS (
    UPDATE enrolments e SET version_id = :version_id, scheduled_through = :yesterday
    FROM programme_versions v WHERE e.programme_id = :programme_id AND e.left_at IS NULL AND v.id = e.version_id
      AND v.definition -> 'schedule' ->> 'rrule' IS NOT NULL AND v.definition ->> 'per' = :per
    RETURNING e.id
)
DELETE FROM programme_dues d USING moved
WHERE d.enrolment_id = moved.id AND d.state = 'open' AND d.started_at IS NULL AND d.due_at > :now
"""),
            {
                "version_id": version.id,
                "programme_id": programme.id,
                "per": version.definition["per"],
                "yesterday": now.date() - timedelta(days=1),
                "now": now,
            },
        )
    audit.record(
        session, actor=actor, action="programme.edited", subject=f"programme:{programme.key}",
        detail={"version": version.version}, now=now,
    )  # fmt: skip
    wake(session, "campaigns.sweep_programmes")
    return version


def activate(session: Session, *, programme: Programme, actor: str, now: datetime) -> None:
    """Let a draft run: members of its segment enter from now on."""
    _expect(programme, "activate", ProgrammeState.DRAFT)
    definition = definition_of(session, programme)
    if programme.segment_id is None and definition.per != "problem":
        raise InvalidInput("The programme needs a segment: who is in it?", where="segment")
    for number, step in enumerate(definition.steps):
        if isinstance(step, Message | Ask):
            check_words(session, step, f"steps.{number}")
    programme.activated_at = now
    _move(session, programme, ProgrammeState.ACTIVE, "programme.activated", actor, now)


def pause(session: Session, *, programme: Programme, actor: str, now: datetime) -> None:
    """Say nothing more until it goes on; of what falls due meanwhile only the newest will be said."""
    _expect(programme, "pause", ProgrammeState.ACTIVE)
    for campaign in _campaigns(session, programme, CampaignState.RUNNING):
        lifecycle.pause(session, campaign=campaign, actor=actor, now=now, reason="the programme was paused")
    _move(session, programme, ProgrammeState.PAUSED, "programme.paused", actor, now)


def resume(session: Session, *, programme: Programme, actor: str, now: datetime) -> None:
    """Go on."""
    _expect(programme, "resume", ProgrammeState.PAUSED)
    for campaign in _campaigns(session, programme, CampaignState.PAUSED):
        lifecycle.resume(session, campaign=campaign, actor=actor, now=now)
    _move(session, programme, ProgrammeState.ACTIVE, "programme.resumed", actor, now)


def end(session: Session, *, programme: Programme, actor: str, now: datetime) -> None:
    """Stop for good: everybody leaves, what is queued is not sent."""
    _expect(programme, "end", ProgrammeState.DRAFT, ProgrammeState.ACTIVE, ProgrammeState.PAUSED)
    for state in (CampaignState.RUNNING, CampaignState.PAUSED):
        for campaign in _campaigns(session, programme, state):
            lifecycle.cancel(session, campaign=campaign, actor=actor, now=now, reason="the programme has ended")
    session.execute(
        text("""UPDATE enrolments SET left_at = :now, exit_reason = 'ended'
                WHERE programme_id = :id AND left_at IS NULL"""),
        {"id": programme.id, "now": now},
    )
    session.execute(
        text("""UPDATE programme_dues SET reason = 'left_programme', finished_at = :now,
                       state = CASE WHEN campaign_id IS NULL THEN 'skipped' ELSE 'done' END
                WHERE programme_id = :id AND state = 'open'"""),
        {"id": programme.id, "now": now},
    )
    _move(session, programme, ProgrammeState.ENDED, "programme.ended", actor, now)


def definition_of(session: Session, programme: Programme) -> Definition:
    """Return the version in force."""
    version = session.scalars(
        select(ProgrammeVersion).where(
            ProgrammeVersion.programme_id == programme.id, ProgrammeVersion.version == programme.current_version
        )
    ).one()
    return stored_definition(version)


@dataclass(frozen=True, slots=True)
class StepCount:
    """How many occurrences stand at one step of one version, and what became of the notices of that step."""

    version: int
    step: int
    what: str
    waiting: int
    notices: dict[str, int]


@dataclass(frozen=True, slots=True)
class Progress:
    """How a programme fares: people in it, occurrences by state and reason, and the counts of each step."""

    enrolled: int
    left: dict[str, int]
    occurrences: dict[str, int]
    steps: list[StepCount]


def progress(session: Session, *, programme: Programme) -> Progress:
    """Count a programme from its raw rows."""
    parameters = {"id": programme.id}
    left = session.execute(
        select(Enrolment.exit_reason, func.count())
        .where(Enrolment.programme_id == programme.id, Enrolment.left_at.is_not(None))
        .group_by(Enrolment.exit_reason)
    ).all()
    enrolled = select(func.count()).where(Enrolment.programme_id == programme.id, Enrolment.left_at.is_(None))
    states = session.execute(
        text("""SELECT CASE WHEN state = 'skipped' THEN 'skipped: ' || coalesce(reason, '?') ELSE state END AS name,
                       count(*) AS total FROM programme_dues WHERE programme_id = :id GROUP BY 1 ORDER BY 1"""),
        parameters,
    ).all()
    return Progress(
        enrolled=session.scalar(enrolled) or 0,
        left={reason or "left": number for reason, number in left},
        occurrences={row.name: row.total for row in states},
        steps=_steps(session, programme),
    )


def _steps(session: Session, programme: Programme) -> list[StepCount]:
    waiting = {
        (row.version_id, row.step): row.total
        for row in session.execute(
            text("""SELECT version_id, step, count(*) AS total FROM programme_dues
                    WHERE programme_id = :id AND state = 'open' GROUP BY 1, 2"""),
            {"id": programme.id},
        )
    }
    notices: dict[tuple[int, int], dict[str, int]] = {}
    for row in session.execute(
        text("""SELECT pc.version_id, pc.step, n.state, n.reason, count(*) AS total
                FROM programme_campaigns pc JOIN campaigns c ON c.id = pc.campaign_id
                JOIN notices n ON n.campaign_id = c.id
                WHERE c.programme_id = :id GROUP BY 1, 2, 3, 4"""),
        {"id": programme.id},
    ):
        name = f"{row.state}: {row.reason}" if row.reason else row.state
        notices.setdefault((row.version_id, row.step), {})[name] = row.total
    versions = select(ProgrammeVersion).where(ProgrammeVersion.programme_id == programme.id)
    return [
        StepCount(
            version.version, number, step["do"], waiting.get((version.id, number), 0),
            notices.get((version.id, number), {}),
        )
        for version in session.scalars(versions.order_by(ProgrammeVersion.version))
        for number, step in enumerate(version.definition["steps"])
    ]  # fmt: skip


def _write_version(session: Session, programme: Programme, given: Any, actor: str, now: datetime) -> ProgrammeVersion:
    definition = parse_definition(given)
    if (programme.kind is ProgrammeKind.AFTER_RESOLUTION) != (definition.per == "problem"):
        raise InvalidInput("A programme after a resolution is per problem, and no other is.", where="per")
    install_words(session)
    programme.current_version += 1
    version = ProgrammeVersion(
        programme_id=programme.id,
        version=programme.current_version,
        definition=definition.model_dump(mode="json"),
        author=actor,
        created_at=now,
    )
    session.add(version)
    session.flush()
    return version


def _segment(session: Session, key: str | None) -> int | None:
    if key is None:
        return None
    found = session.scalar(select(Segment.id).where(Segment.key == key))
    if found is None:
        raise NotFound(f"There is no segment {key}.")
    return found


def _campaigns(session: Session, programme: Programme, state: CampaignState) -> list[Campaign]:
    query = select(Campaign).join(ProgrammeCampaign, ProgrammeCampaign.campaign_id == Campaign.id)
    return list(session.scalars(query.where(Campaign.programme_id == programme.id, Campaign.state == state)))


def _expect(programme: Programme, verb: str, *states: ProgrammeState) -> None:
    if programme.state not in states:
        raise Conflict(f"Programme {programme.key} is {programme.state}; you can {verb} it when it is {states[0]}.")


def _move(
    session: Session, programme: Programme, state: ProgrammeState, action: str, actor: str, now: datetime
) -> None:
    before, programme.state = programme.state, state
    session.flush()
    audit.record(
        session, actor=actor, action=action, subject=f"programme:{programme.key}",
        detail={"from": before, "to": state}, now=now,
    )  # fmt: skip
    wake(session, "campaigns.sweep_programmes")
