"""The JSON routes of programmes: write, look, edit, activate, pause, resume, end."""

from collections.abc import Callable
from typing import Annotated

from fastapi import APIRouter, Depends, Path, status
from sqlalchemy import select
from sqlalchemy.orm import Session

from campaigns.programmes import verbs
from campaigns.programmes.answers import shown
from campaigns.programmes.schemas import DefinitionIn, ProgrammeIn, ProgrammeOut, ProgrammeProgressOut
from outreach import clock
from outreach.doors import PageDep, SessionDep, requires
from outreach.models import Programme
from outreach.pagination import Listing, fetch_page
from outreach.permissions import Actor, Permission

router = APIRouter(prefix="/api/programmes", tags=["programmes"])
reads = [Depends(requires(Permission.CAMPAIGNS_READ))]
Writer = Annotated[Actor, Depends(requires(Permission.CAMPAIGNS_WRITE))]
Approver = Annotated[Actor, Depends(requires(Permission.CAMPAIGNS_APPROVE))]
Key = Annotated[str, Path(max_length=64)]


@router.get("", dependencies=reads)
def list_programmes(session: SessionDep, page: PageDep) -> Listing[ProgrammeOut]:
    """List programmes, newest first."""
    rows, following = fetch_page(session, select(Programme), Programme.id, page)
    return Listing(items=[shown(session, programme) for programme in rows], next=following)


@router.post("", status_code=status.HTTP_201_CREATED)
def make_programme(given: ProgrammeIn, session: SessionDep, actor: Writer) -> ProgrammeOut:
    """Write a programme down as a draft."""
    made = verbs.make(session, **given.model_dump(), actor=actor.name, now=clock.now(session))
    return shown(session, made)


@router.get("/{key}", dependencies=reads)
def show_programme(key: Key, session: SessionDep) -> ProgrammeOut:
    """Show one programme."""
    return shown(session, verbs.find(session, key))


@router.get("/{key}/progress", dependencies=reads)
def show_programme_progress(key: Key, session: SessionDep) -> ProgrammeProgressOut:
    """Show how a programme fares, step by step."""
    return ProgrammeProgressOut.model_validate(verbs.progress(session, programme=verbs.find(session, key)))


@router.put("/{key}/definition")
def edit_programme(key: Key, given: DefinitionIn, session: SessionDep, actor: Writer) -> ProgrammeOut:
    """Write a new version; what has begun keeps its own. Of one that was started, only whoever may approve can."""
    programme = _locked(session, key)
    verbs.check_may_edit(programme, actor)
    verbs.edit(session, programme=programme, definition=given.definition, actor=actor.name, now=clock.now(session))
    return shown(session, programme)


@router.post("/{key}/activate")
def activate_programme(key: Key, session: SessionDep, actor: Approver) -> ProgrammeOut:
    """Let a draft run."""
    return _act(session, key, actor, verbs.activate)


@router.post("/{key}/pause")
def pause_programme(key: Key, session: SessionDep, actor: Writer) -> ProgrammeOut:
    """Say nothing more until it goes on."""
    return _act(session, key, actor, verbs.pause)


@router.post("/{key}/resume")
def resume_programme(key: Key, session: SessionDep, actor: Approver) -> ProgrammeOut:
    """Go on."""
    return _act(session, key, actor, verbs.resume)


@router.post("/{key}/end")
def end_programme(key: Key, session: SessionDep, actor: Writer) -> ProgrammeOut:
    """Stop for good."""
    return _act(session, key, actor, verbs.end)


def _act(session: Session, key: str, actor: Actor, verb: Callable[..., None]) -> ProgrammeOut:
    programme = _locked(session, key)
    verb(session, programme=programme, actor=actor.name, now=clock.now(session))
    return shown(session, programme)


def _locked(session: Session, key: str) -> Programme:
    programme = verbs.find(session, key)
    session.refresh(programme, with_for_update=True)
    return programme
