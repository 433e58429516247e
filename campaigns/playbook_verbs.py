"""What people do with playbooks: see them, and say which words, channels and approval a change of a problem takes."""

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import Field
from sqlalchemy import select, text
from sqlalchemy.orm import Session

from campaigns import wording
from campaigns.ladders import checked_ladder
from campaigns.schemas import Incoming, LadderStep
from outreach import audit
from outreach.errors import InvalidInput, NotFound, OutreachError
from outreach.models import Playbook
from outreach.vocabulary import CampaignKind, NoticeClass, ProblemState

_LOCK = 7391
# What can trigger a playbook, and of which kind its campaign is.
KINDS = {
    ProblemState.KNOWN: CampaignKind.KNOWN,
    ProblemState.MONITORING: CampaignKind.UPDATE,
    ProblemState.RESOLVED: CampaignKind.RESOLVED,
}


class PlaybookIn(Incoming):
    """A playbook as it is to be; what triggers it and of which kind its campaign is never changes."""

    name: Annotated[str, Field(min_length=1, max_length=200)]
    notice_class: NoticeClass
    template_key: Annotated[str, Field(min_length=1, max_length=64)]
    ladder: Annotated[list[LadderStep], Field(min_length=1, max_length=3)]
    automatic: bool = False
    active: bool = True
    check_in_days: Annotated[int, Field(ge=1, le=365)] | None = None
    check_in_template_key: Annotated[str, Field(max_length=64)] | None = None
    ticket_action: Literal["note", "reply", "solve"] | None = None
    ticket_comment: Annotated[str, Field(max_length=5000)] = ""


class NewPlaybookIn(PlaybookIn):
    """A new playbook: its key, and what a problem becomes when it acts."""

    key: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,39}$")]
    trigger: ProblemState


def listed(session: Session) -> Sequence[Playbook]:
    """Return all playbooks in the order of a problem's life."""
    places = {state: place for place, state in enumerate(ProblemState)}
    return sorted(session.scalars(select(Playbook).limit(200)), key=lambda row: (places[row.trigger], row.id))


def find(session: Session, key: str) -> Playbook:
    """Return one playbook; raises `NotFound`."""
    found = session.scalar(select(Playbook).where(Playbook.key == key))
    if found is None:
        raise NotFound(f"There is no playbook {key[:40]!r}.")
    return found


def make(session: Session, *, given: NewPlaybookIn, actor: str, now: datetime) -> Playbook:
    """Write a playbook down; it acts on changes of problems from now on. Raises what `change` raises."""
    _take_turns(session)
    if given.key == "new" or session.scalar(select(Playbook.id).where(Playbook.key == given.key)) is not None:
        raise InvalidInput(f"The key {given.key} is taken; choose another one.", where="key")
    if given.trigger not in KINDS:
        raise InvalidInput(f"Nobody is told anything when a problem becomes {given.trigger}.", where="trigger")
    values = _checked(session, given, given.trigger)
    playbook = Playbook(key=given.key, trigger=given.trigger, kind=KINDS[given.trigger], since=now, **values)
    session.add(playbook)
    session.flush()
    detail = {"trigger": given.trigger.value, "automatic": given.automatic, "active": given.active}
    subject = f"playbook:{playbook.key}"
    audit.record(session, actor=actor, action="playbook.make", subject=subject, detail=detail, now=now)
    return playbook


def change(session: Session, *, key: str, given: PlaybookIn, actor: str, now: datetime) -> None:
    """Change a playbook; campaigns that are open keep what they were opened with.

    Switched on again, it acts on changes of problems from now on. Raises `InvalidInput` for words that are missing on
    one of the channels, for an automatic notice of class safety, which a second person has to see, and for a second
    playbook with the same trigger.
    """
    _take_turns(session)
    playbook = find(session, key)
    session.refresh(playbook, with_for_update=True)
    values = _checked(session, given, playbook.trigger, but=playbook.id)
    if given.active and not playbook.active:
        playbook.since = now
    changed = sorted(name for name, value in values.items() if getattr(playbook, name) != value)
    for name in changed:
        setattr(playbook, name, values[name])
    session.flush()
    detail = {"changed": changed, "automatic": given.automatic, "active": given.active}
    audit.record(session, actor=actor, action="playbook.change", subject=f"playbook:{key}", detail=detail, now=now)


def _take_turns(session: Session) -> None:
    """Wait for others who write playbooks: two at once could not see that both switch one on for the same change."""
    session.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})


def _checked(session: Session, given: PlaybookIn, trigger: ProblemState, but: int = 0) -> dict[str, Any]:
    """Return the columns of a playbook that can work; `but` is the one that is being changed."""
    ladder = checked_ladder([step.model_dump(mode="json", exclude_none=True) for step in given.ladder])
    _check_words(session, given.template_key, [step["channel"] for step in ladder], "template_key")
    if given.automatic and given.notice_class is NoticeClass.SAFETY:
        raise InvalidInput(
            "A notice of class safety is approved by a second person, never by itself.", where="automatic"
        )
    if given.check_in_days:
        if not given.check_in_template_key:
            raise InvalidInput("Choose the words of the check-in.", where="check_in_template_key")
        _check_words(session, given.check_in_template_key, [], "check_in_template_key")
    if given.ticket_action and not given.ticket_comment.strip():
        raise InvalidInput("Say what is to be written to the tickets.", where="ticket_comment")
    others = select(Playbook.name).where(Playbook.trigger == trigger, Playbook.active, Playbook.id != but)
    if given.active and (other := session.scalar(others.limit(1))):
        raise InvalidInput(
            f"The playbook {other!r} acts when a problem becomes {trigger}. Switch that one off first, or leave this "
            "one off: each would end the notices of the other.", where="active",
        )  # fmt: skip
    values: dict[str, Any] = given.model_dump(exclude={"ladder", "key", "trigger"}) | {"ladder": ladder}
    values["ticket_comment"] = given.ticket_comment.strip() or None
    values["check_in_template_key"] = given.check_in_template_key if given.check_in_days else None
    return values


def _check_words(session: Session, template_key: str, channels: Sequence[str], where: str) -> None:
    try:
        has = {piece.channel for piece in wording.pieces(session, template_key)}
    except OutreachError as error:
        raise InvalidInput(error.message, where=where) from None
    missing = [channel for channel in channels if channel not in has]
    if missing:
        raise InvalidInput(f"The template {template_key} has no words for {', '.join(missing)}.", where=where)
