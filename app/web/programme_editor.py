"""Building a programme by pointing and clicking: the form, its steps, what it would do while one edits, saving it."""

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Query, Request
from fastapi.responses import HTMLResponse, Response
from sqlalchemy import select
from sqlalchemy.orm import Session

from app.web import programme_forms as forms
from app.web.forms import Mistake, Sent, SentForm, attempt, read, see_other
from app.web.layout import page
from app.web.remembered import forget
from campaigns.programmes import outlook, sentences, verbs
from campaigns.programmes.repeats import WEEKDAYS
from campaigns.programmes.schemas import ProgrammeIn
from campaigns.programmes.steps import parse_definition
from outreach import clock
from outreach.doors import SessionDep, requires
from outreach.errors import InvalidInput, OutreachError
from outreach.models import Programme, Segment, Survey, Template
from outreach.permissions import Actor, Permission
from outreach.vocabulary import Channel, NoticeClass, ProgrammeKind, SurveyState

router = APIRouter(default_response_class=HTMLResponse, include_in_schema=False)
Writer = Annotated[Actor, Depends(requires(Permission.CAMPAIGNS_WRITE))]
Key = Annotated[str, Path(max_length=64)]

ANCHORS_PER = {
    "customer": ("entry", "purchase", "delivery", "last_contact", "contract", "attribute", "event"),
    "item": ("purchase", "delivery", "attribute", "event"),
    "problem": ("resolution",),
}
KIND_MEANS = {
    ProgrammeKind.CHECK_IN: "How is it going? Comes round again and again.",
    ProgrammeKind.GETTING_STARTED: "The first steps with something new, from its delivery on.",
    ProgrammeKind.TIPS: "How to get more out of it, one thing at a time.",
    ProgrammeKind.MAINTENANCE_REMINDER: "For each item held, when it is time to look after it.",
    ProgrammeKind.AFTER_RESOLUTION: "Is it solved? Then one survey.",
}


@router.get("/programmes/new")
def new_programme(
    request: Request, session: SessionDep, actor: Writer, kind: Annotated[str, Query(max_length=40)] = "check-in"
) -> Response:
    """Show the form of a new programme, filled in as its kind usually is."""
    chosen = ProgrammeKind(kind) if kind in set(ProgrammeKind) else ProgrammeKind.CHECK_IN
    definition = {"exits": {"leaves_segment": True}, **forms.PATTERNS[chosen]}
    return _editor(request, session, actor, None, Sent([("kind", chosen.value)]), definition)


@router.post("/programmes/new")
def make(request: Request, session: SessionDep, actor: Writer, sent: SentForm) -> Response:
    """Write a draft down."""
    made = ""
    with attempt(session) as tried:
        given: dict[str, object] = {**sent.fields("key", "name", "kind", "segment"), "definition": forms.read(sent)}
        wanted = read(ProgrammeIn, given)
        made = verbs.make(session, **wanted.model_dump(), actor=actor.name, now=clock.now(session)).key
    if tried.mistake:
        return _editor(request, session, actor, None, sent, forms.read(sent, finished=False), tried.mistake)
    forget("programmes")
    return see_other(f"/programmes/{made}?said=made")


@router.post("/programmes/new/edit")
def restructure_new(request: Request, session: SessionDep, actor: Writer, sent: SentForm) -> Response:
    """Add, move or take away a step of a new programme."""
    return _restructured(request, session, actor, None, sent)


@router.post("/programmes/new/preview")
def preview_new(request: Request, session: SessionDep, actor: Writer, sent: SentForm) -> Response:
    """Return what the form would do."""
    return _preview(request, session, actor, None, sent)


@router.get("/programmes/{key}/edit")
def edit_programme(request: Request, session: SessionDep, actor: Writer, key: Key) -> Response:
    """Show the form of the version in force."""
    programme = verbs.find(session, key)
    definition = verbs.definition_of(session, programme).model_dump(mode="json", exclude_none=True)
    return _editor(request, session, actor, programme, Sent(), definition)


@router.post("/programmes/{key}/edit")
def edit(request: Request, session: SessionDep, actor: Writer, key: Key, sent: SentForm) -> Response:
    """Write the next version; of a programme that runs only whoever may approve can."""
    programme = verbs.find(session, key)
    verbs.check_may_edit(programme, actor)
    with attempt(session) as tried:
        session.refresh(programme, with_for_update=True)
        verbs.edit(
            session, programme=programme, definition=forms.read(sent), actor=actor.name, now=clock.now(session),
            segment=sent.text("segment") or None,
        )  # fmt: skip
    if tried.mistake:
        programme = verbs.find(session, key)
        return _editor(request, session, actor, programme, sent, forms.read(sent, finished=False), tried.mistake)
    forget("coming", programme.id)
    forget("steps", programme.id)
    return see_other(f"/programmes/{key}?said=edited")


@router.post("/programmes/{key}/edit/edit")
def restructure(request: Request, session: SessionDep, actor: Writer, key: Key, sent: SentForm) -> Response:
    """Add, move or take away a step."""
    return _restructured(request, session, actor, verbs.find(session, key), sent)


@router.post("/programmes/{key}/edit/preview")
def preview(request: Request, session: SessionDep, actor: Writer, key: Key, sent: SentForm) -> Response:
    """Return what the form would do."""
    return _preview(request, session, actor, verbs.find(session, key), sent)


def _restructured(
    request: Request, session: Session, actor: Actor, programme: Programme | None, sent: Sent
) -> Response:
    definition = forms.change(forms.read(sent, finished=False), sent.text("do"))
    if "HX-Request" not in request.headers:
        return _editor(request, session, actor, programme, sent, definition)
    return page(request, session, actor, "programmes/tree.html", **_tree(session, programme, sent, definition))


def _preview(request: Request, session: Session, actor: Actor, programme: Programme | None, sent: Sent) -> Response:
    segment = _segment(session, programme, sent)
    try:
        definition = parse_definition(forms.read(sent))
        found = outlook.outlook(
            session, definition=definition, segment=segment, now=clock.now(session), programme=programme
        )
    except OutreachError as error:
        return page(request, session, actor, "programmes/coming.html", mistake=Mistake(_plainly(error)), ended=False)
    return page(
        request, session, actor, "programmes/coming.html", coming=found, draft=True, ended=False, mistake=None,
        said=f"{sentences.schedule_sentence(definition)} {sentences.exit_sentence(definition)}",
    )  # fmt: skip


def _plainly(error: OutreachError) -> str:
    """Name the step that is wrong as the form numbers it."""
    where = (error.where or "").split(".")
    if where[0] == "steps" and len(where) > 1 and where[1].isdecimal():
        return f"Step {int(where[1]) + 1}: {error.message}"
    return error.message


def _segment(session: Session, programme: Programme | None, sent: Sent) -> Segment | None:
    if chosen := outlook.segment_named(session, sent.text("segment")):
        return chosen
    return session.get(Segment, programme.segment_id) if programme and programme.segment_id else None


def _tree(session: Session, programme: Programme | None, sent: Sent, definition: dict[str, Any]) -> dict[str, Any]:
    kind = programme.kind.value if programme else sent.text("kind", "check-in")
    drawn = forms.drawn(definition)
    per = drawn.definition.get("per", "customer")
    keys = session.scalars(select(Template.key).distinct().order_by(Template.key)).all()
    surveys = session.scalars(
        select(Survey).where(Survey.state == SurveyState.OPEN).order_by(Survey.id.desc()).limit(200)
    ).all()
    return {
        "programme": programme,
        "kind": kind,
        "drawn": drawn,
        "steps": drawn.definition["steps"],
        "schedule": drawn.definition.get("schedule", {}),
        "anchor": drawn.definition.get("anchor", {"of": "entry"}),
        "exits": drawn.definition.get("exits", {}),
        "per": per,
        "anchors": {each: sentences.ANCHORS[each] for each in ANCHORS_PER.get(per, ANCHORS_PER["customer"])},
        "happened": sentences.HAPPENED,
        "weekdays": WEEKDAYS,
        "channels": tuple(Channel),
        "classes": (NoticeClass.SUCCESS, NoticeClass.SERVICE, NoticeClass.PROMOTION),
        "template_keys": keys,
        "surveys": surveys,
        "action": f"/programmes/{programme.key}/edit" if programme else "/programmes/new",
    }


def _editor(
    request: Request,
    session: Session,
    actor: Actor,
    programme: Programme | None,
    sent: Sent,
    definition: dict[str, Any],
    mistake: Mistake | None = None,
) -> Response:
    chosen = _segment(session, programme, sent)
    newest = select(Segment.key, Segment.name).where(Segment.current_version > 0, Segment.problem_id.is_(None))
    if mistake and mistake.where and mistake.where.startswith("steps."):
        mistake = Mistake(_plainly(InvalidInput(mistake.message, where=mistake.where)), mistake.where)
    return page(
        request, session, actor, "programmes/editor.html", status=422 if mistake else 200, mistake=mistake, sent=sent,
        segments=session.execute(newest.order_by(Segment.id.desc()).limit(200)).all(), chosen=chosen,
        kinds=KIND_MEANS, **_tree(session, programme, sent, definition),
    )  # fmt: skip
