"""Segments: named questions about customers, their sentence, counts, members with evidence, and history."""

import re
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Query, Request
from fastapi.responses import HTMLResponse, Response
from sqlalchemy import select
from sqlalchemy.orm import Session

from app.web import rule_forms
from app.web.forms import Mistake, Sent, SentForm, attempt, see_other
from app.web.layout import page
from app.web.remembered import remembered
from app.web.scope import builder, customer_named, definition_in, preview_page
from outreach import clock
from outreach.doors import SessionDep, requires
from outreach.errors import Conflict, InvalidInput
from outreach.models import Problem, Segment
from outreach.permissions import Actor, Permission
from outreach.vocabulary import Grade
from segments import audiences, growth, named, rules
from segments.sentences import sentences

router = APIRouter(default_response_class=HTMLResponse, include_in_schema=False)
Reader = Annotated[Actor, Depends(requires(Permission.SEGMENTS_READ))]
Writer = Annotated[Actor, Depends(requires(Permission.SEGMENTS_WRITE))]
Key = Annotated[str, Path(max_length=64)]
After = Annotated[int | None, Query(ge=1, le=2**62)]

KEY = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
SAID = {"saved": "Saved; the audience is being built."}
# What a new segment begins with: one condition to fill in.
EMPTY = {"affected": {"all": [{"field": "", "op": "equals", "value": ""}]}}


@router.get("/segments")
def board(
    request: Request,
    session: SessionDep,
    actor: Reader,
    scopes: Annotated[str, Query(max_length=5)] = "",
    after: After = None,
) -> Response:
    """List segments, newest first."""
    rows, following = named.lines(session, scopes=bool(scopes), before=after)
    return page(request, session, actor, "segments/board.html", rows=rows, following=following, scopes=bool(scopes))


@router.get("/segments/new")
def new(request: Request, session: SessionDep, actor: Writer) -> Response:
    """Ask for the name of a new segment."""
    return page(request, session, actor, "segments/new.html", sent=Sent())


@router.post("/segments/new")
def begin(request: Request, session: SessionDep, actor: Writer, sent: SentForm) -> Response:
    """Open the builder for a new segment; nothing is stored before its rule is saved."""
    with attempt(session) as tried:
        if not sent.text("name"):
            raise InvalidInput("This is needed.", where="name")
        if not KEY.fullmatch(sent.text("key")) or sent.text("key") == "new":
            raise InvalidInput("Small letters, digits and dashes, such as kettle-owners.", where="key")
        named.must_be_free(session, sent.text("key"))
    if tried.mistake:
        return page(request, session, actor, "segments/new.html", status=422, sent=sent, mistake=tried.mistake)
    return _builder_page(request, session, actor, sent.text("key"), sent.text("name")[:200], EMPTY)


@router.get("/segments/{key}")
def show(
    request: Request,
    session: SessionDep,
    actor: Reader,
    key: Key,
    grade: Annotated[str, Query(max_length=20)] = "",
    after: After = None,
    said: Annotated[str, Query(max_length=20)] = "",
) -> Response:
    """Show one segment."""
    segment = audiences.find(session, key)
    version = audiences.version_in_force(session, segment_id=segment.id)
    chosen = grade if grade in set(Grade) else None
    people: list[named.Member] = []
    following = None
    if Permission.CUSTOMERS_READ in actor.permissions:
        people, following = named.members(session, segment_id=segment.id, grade=chosen, after=after or 0)
    return page(
        request,
        session,
        actor,
        "segments/segment.html",
        segment=segment,
        problem=session.get(Problem, segment.problem_id) if segment.problem_id else None,
        said_rule=sentences(rules.parse_definition(version.definition)) if version.definition else {},
        counts={name: number for name, number in segment.totals.items() if isinstance(number, int)},
        versions=named.history(session, segment_id=segment.id),
        people=people,
        following=following,
        grade=chosen or "",
        said=SAID.get(said, ""),
    )


@router.get("/segments/{key}/growth")
def show_growth(request: Request, session: SessionDep, actor: Reader, key: Key) -> Response:
    """Return the chart of the audience over time."""
    segment, now = audiences.find(session, key), clock.now(session)
    grown = remembered(("growth", segment.id), lambda: growth.growth(session, segment_id=segment.id, now=now))
    return page(request, session, actor, "problems/growth.html", growth=grown)


@router.get("/segments/{key}/rule")
def show_rule(request: Request, session: SessionDep, actor: Reader, key: Key) -> Response:
    """Show the rule in the builder."""
    segment = audiences.find(session, key)
    document = audiences.version_in_force(session, segment_id=segment.id).definition
    return _builder_page(request, session, actor, key, segment.name, document)


@router.post("/segments/{key}/rule/edit")
def edit(request: Request, session: SessionDep, actor: Writer, key: Key, sent: SentForm) -> Response:
    """Add or take away a part of the form."""
    document = rule_forms.change(rule_forms.read_tree(sent), sent.text("do"))
    return page(request, session, actor, "scope/builder.html", **builder(session, document, base=_base(key)))


@router.post("/segments/{key}/rule/preview")
def preview(request: Request, session: SessionDep, actor: Reader, key: Key, sent: SentForm) -> Response:
    """Answer what stands in the form: counts, reach, a sample, and what would change."""
    segment = _stored(session, key)
    problem_id = segment.problem_id if segment else None
    return preview_page(request, session, actor, sent, against=segment, problem_id=problem_id, base=_base(key))


@router.post("/segments/{key}/rule/explain")
def explain(request: Request, session: SessionDep, actor: Reader, key: Key, sent: SentForm) -> Response:
    """Say why one customer is, or is not, in the segment that stands in the form."""
    customer = customer_named(session, sent)
    now, definition = clock.now(session), definition_in(sent)
    found = audiences.explain(session, definition=definition, customer_id=customer.id, now=now)
    return page(request, session, actor, "scope/explained.html", customer=customer, found=found, key=key)


@router.post("/segments/{key}/rule")
def save(request: Request, session: SessionDep, actor: Writer, key: Key, sent: SentForm) -> Response:
    """Put what stands in the form in force."""
    name = sent.text("name")[:200]
    with attempt(session) as tried:
        if not KEY.fullmatch(key) or not name:
            raise InvalidInput("A segment needs a key and a name.", where="name")
        segment = _stored(session, key)
        if segment is not None and segment.problem_id is not None:
            raise Conflict("This is the scope of a problem; change it on the problem's page.")
        if segment is None and sent.text("new") != "1":
            raise Conflict(f"There is no segment {key!r} any more.")
        if segment is not None and sent.text("new") == "1":
            named.must_be_free(session, key)
        named.save(session, key=key, name=name, definition=definition_in(sent), actor=actor, now=clock.now(session))
    if tried.mistake:
        document = rule_forms.document_of(rule_forms.read_tree(sent), finished=False)
        return _builder_page(request, session, actor, key, name, document, tried.mistake)
    return see_other(f"/segments/{key}?said=saved")


def _base(key: str) -> str:
    return f"/segments/{key}/rule"


def _stored(session: Session, key: str) -> Segment | None:
    return session.scalar(select(Segment).where(Segment.key == key))


def _builder_page(
    request: Request,
    session: Session,
    actor: Actor,
    key: str,
    name: str,
    document: dict[str, Any],
    mistake: Mistake | None = None,
) -> Response:
    segment = _stored(session, key)
    problem = session.get(Problem, segment.problem_id) if segment and segment.problem_id else None
    return page(
        request, session, actor, "segments/rule.html", status=422 if mistake else 200, mistake=mistake, key=key,
        name=name, stored=segment is not None, problem=problem, **builder(session, document, base=_base(key)),
    )  # fmt: skip
