"""Programmes: the list, one as its steps with live counts, what it is about to do, who stands where, start and stop."""

from collections.abc import Callable
from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Query, Request
from fastapi.responses import HTMLResponse, Response
from sqlalchemy import select
from sqlalchemy.orm import Session

from app.web import programme_editor
from app.web.forms import Mistake, SentForm, attempt, see_other
from app.web.layout import page
from app.web.remembered import forget, remembered
from campaigns.programmes import looking, outlook, sentences, verbs
from campaigns.programmes.steps import stored_definition
from campaigns.programmes.verbs import Progress, StepCount
from outreach import clock
from outreach.doors import PageDep, SessionDep, requires
from outreach.errors import NotFound, NotPermitted
from outreach.models import Programme, Segment
from outreach.pagination import fetch_page
from outreach.permissions import Actor, Permission
from outreach.vocabulary import ProgrammeState

router = APIRouter(default_response_class=HTMLResponse, include_in_schema=False)
router.include_router(programme_editor.router)  # first: /programmes/new is no key
Reader = Annotated[Actor, Depends(requires(Permission.CAMPAIGNS_READ))]
Writer = Annotated[Actor, Depends(requires(Permission.CAMPAIGNS_WRITE))]
Key = Annotated[str, Path(max_length=64)]

SAID = {
    "made": "Written down as a draft. Look at what it would do, then start it.",
    "edited": "Saved as the next version. Whoever is under way keeps the version that she began with.",
    "start": "Started. Members of its segment enter within seconds.",
    "pause": "Paused. Nothing more is said until it goes on.",
    "resume": "It goes on. Of what fell due meanwhile only the newest is said.",
    "end": "Ended for good. Everybody has left it.",
}


class Act(StrEnum):
    """What can be done to a programme."""

    START = "start"
    PAUSE = "pause"
    RESUME = "resume"
    END = "end"


_VERBS: dict[Act, Callable[..., None]] = {
    Act.START: verbs.activate,
    Act.PAUSE: verbs.pause,
    Act.RESUME: verbs.resume,
    Act.END: verbs.end,
}
_FOR_APPROVERS = frozenset({Act.START, Act.RESUME})


@router.get("/programmes")
def board(request: Request, session: SessionDep, actor: Reader, paging: PageDep) -> Response:
    """List programmes, newest first."""
    rows, following = fetch_page(session, select(Programme), Programme.id, paging)
    ids = tuple(row.id for row in rows)
    sizes = remembered(("programmes", ids), lambda: looking.sizes(session, programme_ids=ids))
    wanted = select(Segment.id, Segment.name).where(Segment.id.in_([row.segment_id for row in rows]))
    names: dict[int | None, str] = {each.id: each.name for each in session.execute(wanted)}
    return page(
        request, session, actor, "programmes/board.html", following=following,
        rows=[(row, sizes[row.id], names.get(row.segment_id), _in_words(session, row)) for row in rows],
    )  # fmt: skip


@router.get("/programmes/{key}")
def show(
    request: Request, session: SessionDep, actor: Reader, key: Key, said: Annotated[str, Query(max_length=20)] = ""
) -> Response:
    """Show one programme."""
    return _programme_page(request, session, actor, verbs.find(session, key), said=SAID.get(said, ""))


@router.get("/programmes/{key}/steps")
def show_steps(request: Request, session: SessionDep, actor: Reader, key: Key) -> Response:
    """Return the steps with their counts as they are now."""
    return page(request, session, actor, "programmes/steps.html", **_steps(session, verbs.find(session, key)))


@router.get("/programmes/{key}/coming")
def show_coming(request: Request, session: SessionDep, actor: Reader, key: Key) -> Response:
    """Return who would enter today, and what falls due in the next days."""
    programme, now = verbs.find(session, key), clock.now(session)
    found = remembered(("coming", programme.id), lambda: _outlook(session, programme, now))
    return page(
        request, session, actor, "programmes/coming.html", coming=found, draft=programme.state is ProgrammeState.DRAFT,
        ended=programme.state is ProgrammeState.ENDED, mistake=None, said="",
    )  # fmt: skip


@router.get("/programmes/{key}/people")
def show_people(
    request: Request,
    session: SessionDep,
    actor: Annotated[Actor, Depends(requires(Permission.CUSTOMERS_READ))],
    key: Key,
    version: Annotated[int, Query(ge=1, le=2**31 - 1)],
    step: Annotated[int, Query(ge=0, le=100)] = 0,
    at: datetime | None = None,
    after: Annotated[int, Query(ge=0, le=2**62)] = 0,
) -> Response:
    """Show who stands at one step, whoever goes on first before the others."""
    programme = verbs.find(session, key)
    wanted = looking.version_numbered(session, programme_id=programme.id, number=version)
    definition = stored_definition(wanted) if wanted else None
    if wanted is None or definition is None or step >= len(definition.steps):
        raise NotFound(f"Programme {key} has no such step.")
    rows, last = looking.at_step(session, version=wanted, step=step, after_at=at, after=after)
    return page(
        request, session, actor, "programmes/people.html", programme=programme, version=version, step=step, rows=rows,
        last=last, words=sentences.step_sentence(definition, step),
    )  # fmt: skip


@router.post("/programmes/{key}/do/{act}")
def act_on(request: Request, session: SessionDep, actor: Writer, key: Key, act: Act, _: SentForm) -> Response:
    """Start, pause, resume or end; letting it speak needs whoever may approve."""
    if act in _FOR_APPROVERS and Permission.CAMPAIGNS_APPROVE not in actor.permissions:
        raise NotPermitted(f"This needs the permission {Permission.CAMPAIGNS_APPROVE}.")
    programme = verbs.find(session, key)
    with attempt(session) as tried:
        session.refresh(programme, with_for_update=True)
        _VERBS[act](session, programme=programme, actor=actor.name, now=clock.now(session))
    if tried.mistake:
        return _programme_page(request, session, actor, verbs.find(session, key), mistake=tried.mistake)
    forget("coming", programme.id)
    forget("steps", programme.id)
    forget("programmes")
    return see_other(f"/programmes/{key}?said={act.value}")


def _in_words(session: Session, programme: Programme) -> str:
    return sentences.schedule_sentence(verbs.definition_of(session, programme))


def _outlook(session: Session, programme: Programme, now: datetime) -> outlook.Outlook:
    segment = session.get(Segment, programme.segment_id) if programme.segment_id else None
    definition = verbs.definition_of(session, programme)
    return outlook.outlook(session, definition=definition, segment=segment, now=now, programme=programme)


def _steps(session: Session, programme: Programme) -> dict[str, Any]:
    def count() -> Progress:
        return verbs.progress(session, programme=programme)

    progress = remembered(("steps", programme.id), count)
    older = [each for each in progress.steps if each.version != programme.current_version and each.waiting]
    definition = verbs.definition_of(session, programme)
    shown = [
        (each, sentences.step_sentence(definition, each.step), outcome(each))
        for each in progress.steps
        if each.version == programme.current_version
    ]
    return {
        "programme": programme,
        "progress": progress,
        "shown": shown,
        "older": older,
        "campaigns": looking.campaigns_of(session, programme_id=programme.id),
        "live": programme.state in (ProgrammeState.ACTIVE, ProgrammeState.PAUSED),
    }


def outcome(step: StepCount) -> dict[str, int]:
    """Return what became of the notices of one step: delivered, way, skipped, failed."""
    found = dict.fromkeys(("delivered", "way", "skipped", "failed"), 0)
    for name, total in step.notices.items():
        state = name.partition(":")[0]
        found[{"owed": "way", "held_out": "skipped"}.get(state, state)] += total
    return found


def _programme_page(
    request: Request,
    session: Session,
    actor: Actor,
    programme: Programme,
    *,
    said: str = "",
    mistake: Mistake | None = None,
) -> Response:
    definition = verbs.definition_of(session, programme)
    segment = session.get(Segment, programme.segment_id) if programme.segment_id else None
    versions = looking.versions(session, programme_id=programme.id)
    return page(
        request,
        session,
        actor,
        "programmes/programme.html",
        status=422 if mistake else 200,
        segment=segment,
        when=sentences.schedule_sentence(definition),
        leaving=sentences.exit_sentence(definition),
        definition=definition,
        versions=[(each, _version_in_words(each)) for each in versions],
        said=said,
        mistake=mistake,
        **_steps(session, programme),
    )


def _version_in_words(version: Any) -> list[str]:
    definition = stored_definition(version)
    steps = [f"{place + 1}. {sentences.step_sentence(definition, place)}" for place in range(len(definition.steps))]
    return [sentences.schedule_sentence(definition), *steps]
