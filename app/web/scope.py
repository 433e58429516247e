"""The scope builder: whom a problem touches, by pointing at conditions, with counts while one edits."""

import json
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Query, Request
from fastapi.responses import HTMLResponse, Response
from sqlalchemy import select
from sqlalchemy.orm import Session

from app.web import rule_forms
from app.web.forms import Mistake, Sent, SentForm, attempt, see_other
from app.web.layout import page
from outreach import audit, clock, problems
from outreach.doors import SessionDep, requires
from outreach.errors import InvalidInput, NotFound, OutreachError
from outreach.models import Customer, Problem, Segment
from outreach.permissions import Actor, Permission
from outreach.queue import wake
from outreach.vocabulary import Grade
from segments import audiences, choices, rules, scopes
from segments.editing import take_over
from segments.quick_looks import quick_look
from segments.sentences import sentence, sentences

router = APIRouter(default_response_class=HTMLResponse, include_in_schema=False)
Reader = Annotated[Actor, Depends(requires(Permission.SEGMENTS_READ))]
Writer = Annotated[Actor, Depends(requires(Permission.SEGMENTS_WRITE))]
Key = Annotated[str, Path(max_length=64)]

GRADE_MEANS = {
    Grade.AFFECTED: "reported it, or it is certain",
    Grade.LIKELY: "have the faulty thing",
    Grade.INCOMING: "it is on its way to them",
    Grade.CLEARED: "were in scope, and are no longer",
}


@router.get("/problems/{key}/scope")
def show(request: Request, session: SessionDep, actor: Reader, key: Key) -> Response:
    """Show the scope in force, or the way to the first one."""
    problem = problems.find(session, key)
    return _builder_page(request, session, actor, problem, _in_force(session, problem))


@router.get("/problems/{key}/scope/proposals")
def propose(
    request: Request,
    session: SessionDep,
    actor: Reader,
    key: Key,
    words: Annotated[str, Query(max_length=1000)] = "",
) -> Response:
    """Return what the people who wrote have in common, best first; `words` are parted by commas."""
    problem = problems.find(session, key)
    asked = [word for each in words.split(",")[:50] if len(word := each.strip()) > 1]
    found = scopes.discover(session, problem_id=problem.id, now=clock.now(session), limit=5, words=asked)
    shown = [(each, json.dumps(each.definition.document()), json.dumps(each.rule)) for each in found]
    return page(request, session, actor, "scope/proposals.html", problem=problem, proposals=shown)


@router.post("/problems/{key}/scope/draft")
def take_draft(request: Request, session: SessionDep, actor: Writer, key: Key, sent: SentForm) -> Response:
    """Open a proposal in the builder, without saving it."""
    problem = problems.find(session, key)
    definition = rules.parse_definition(rules.loads(sent.text("definition") or "null"))
    return _builder_page(request, session, actor, problem, definition.document(), draft=True)


@router.post("/problems/{key}/scope/edit")
def edit(request: Request, session: SessionDep, actor: Writer, key: Key, sent: SentForm) -> Response:
    """Add or take away a part of the form."""
    problem = problems.find(session, key)
    document = rule_forms.change(rule_forms.read_tree(sent), sent.text("do"))
    return page(request, session, actor, "scope/builder.html", **_builder(session, problem, document))


@router.post("/problems/{key}/scope/preview")
def preview(request: Request, session: SessionDep, actor: Reader, key: Key, sent: SentForm) -> Response:
    """Answer what stands in the form: counts, reach, a sample, and what would change."""
    problem = problems.find(session, key)
    scope = audiences.scope_of(session, problem_id=problem.id)
    base = f"/problems/{key}/scope"
    return preview_page(request, session, actor, sent, against=scope, problem_id=problem.id, base=base)


@router.post("/problems/{key}/scope/explain")
def explain(request: Request, session: SessionDep, actor: Reader, key: Key, sent: SentForm) -> Response:
    """Say why one customer is, or is not, in the scope that stands in the form."""
    customer = customer_named(session, sent)
    definition = definition_in(sent)
    found = audiences.explain(session, definition=definition, customer_id=customer.id, now=clock.now(session))
    return page(request, session, actor, "scope/explained.html", customer=customer, found=found, key=key)


@router.post("/problems/{key}/scope/reject")
def reject(session: SessionDep, actor: Writer, key: Key, sent: SentForm) -> Response:
    """Refuse a proposal, so that it is not made again."""
    problem, now = problems.find(session, key), clock.now(session)
    rule = rules.loads(sent.text("rule") or "null")
    if not isinstance(rule, dict):
        raise InvalidInput("This is not a proposal.", where="rule")
    scopes.reject(session, problem_id=problem.id, rule=rule, author=actor.name, now=now)
    subject = f"problem:{problem.key}"
    audit.record(session, actor=actor.name, action="scope.reject", subject=subject, detail={"rule": rule}, now=now)
    return see_other(f"/problems/{key}/scope")


@router.post("/problems/{key}/scope")
def save(request: Request, session: SessionDep, actor: Writer, key: Key, sent: SentForm) -> Response:
    """Make what stands in the form, or a proposal, the scope of the problem."""
    problem = problems.find(session, key)
    with attempt(session) as tried:
        given = sent.text("definition")
        definition = rules.parse_definition(rules.loads(given)) if given else definition_in(sent)
        version = scopes.save_scope(session, problem=problem, definition=definition, author=actor.name)
        audit.record(
            session, actor=actor.name, action="segment.change", subject=f"segment:{_scope(session, problem).key}",
            detail={"version": version.version}, now=clock.now(session),
        )  # fmt: skip
    if tried.mistake:
        document = rule_forms.document_of(rule_forms.read_tree(sent), finished=False)
        return _builder_page(request, session, actor, problem, document, mistake=tried.mistake)
    wake(session, "segments.sweep")
    return see_other(f"/problems/{key}?said=scope")


@router.get("/rules/values")
def suggest(
    request: Request,
    session: SessionDep,
    actor: Reader,
    field: Annotated[str, Query(max_length=300)],
    related: Annotated[str, Query(max_length=40)] = "",
    typed: Annotated[str, Query(max_length=200)] = "",
) -> Response:
    """Return values that a field holds, with the number of rows, as one types."""
    if related and related not in choices.ROWS:
        raise InvalidInput("There is no such kind of row.", where="related")
    found = choices.values(session, path=field, related=related or None, beginning=typed)
    return page(request, session, actor, "scope/values.html", values=found)


def definition_in(sent: Sent) -> rules.Definition:
    """Return the definition that stands in a form; raises `InvalidInput` or `InvalidRule`."""
    document = rule_forms.document_of(rule_forms.read_tree(sent))
    if not document:
        raise InvalidInput("Nothing is filled in yet.", where="$")
    definition = rules.parse_definition(document)
    sentence(definition)  # fields, operators and values are checked by saying it
    return definition


def preview_page(
    request: Request,
    session: Session,
    actor: Actor,
    sent: Sent,
    *,
    against: Segment | None,
    problem_id: int | None,
    base: str,
) -> Response:
    """Answer the rule in a form, compared with the stored segment `against`, beside the scopes of other problems."""
    try:
        definition = definition_in(sent)
    except OutreachError as error:
        return page(request, session, actor, "scope/preview.html", found=None, mistake=Mistake(error.message))
    take_over(session, edit=f"{actor.name}:{sent.text('edit')[:64]}")
    look = quick_look(
        session, definition=definition, now=clock.now(session), against=against.id if against else None,
        exclude_problem=problem_id,
    )  # fmt: skip
    return page(
        request, session, actor, "scope/preview.html",
        found=look.found, look=look, said=sentences(definition), moves=look.moves, base=base,
    )  # fmt: skip


def _in_force(session: Session, problem: Problem) -> dict[str, Any]:
    scope = audiences.scope_of(session, problem_id=problem.id)
    if scope is None or not scope.current_version:
        return scopes.scope_for(session, problem_id=problem.id).document()
    return audiences.version_in_force(session, segment_id=scope.id).definition


def _scope(session: Session, problem: Problem) -> Segment:
    scope = audiences.scope_of(session, problem_id=problem.id)
    if scope is None:
        raise NotFound(f"Problem {problem.key} has no scope yet.")
    return scope


def customer_named(session: Session, sent: Sent) -> Customer:
    """Return the customer whose number (or `#id`) was sent; raises `NotFound`."""
    given = sent.text("customer")
    customer = session.scalar(select(Customer).where(Customer.external_id == given))
    if customer is None and given.startswith("#") and given[1:].isdecimal() and len(given) < 19:
        customer = session.get(Customer, int(given[1:]))
    if customer is None:
        raise NotFound(f"There is no customer {given!r}; use the number that your systems know them by.")
    return customer


def _builder(session: Session, problem: Problem, document: dict[str, Any]) -> dict[str, Any]:
    return {"problem": problem, **builder(session, document, base=f"/problems/{problem.key}/scope")}


def builder(session: Session, document: dict[str, Any], *, base: str) -> dict[str, Any]:
    """Return what the form of a rule is drawn from; `base` is the path under which it is edited and tried."""
    newest = select(Segment.key, Segment.name).where(Segment.current_version > 0).order_by(Segment.id.desc()).limit(100)
    return {
        "base": base,
        "tree": rule_forms.tree_of(document),
        "groups": rule_forms.GROUPS,
        "units": rule_forms.UNITS,
        "deepest": rule_forms.DEEPEST,
        "choices": choices,
        "means": GRADE_MEANS,
        "segments": session.execute(newest).all(),
    }


def _builder_page(
    request: Request,
    session: Session,
    actor: Actor,
    problem: Problem,
    document: dict[str, Any],
    *,
    mistake: Mistake | None = None,
    draft: bool = False,
) -> Response:
    scope = audiences.scope_of(session, problem_id=problem.id)
    return page(
        request, session, actor, "scope/page.html", status=422 if mistake else 200, mistake=mistake, draft=draft,
        scope=scope, first=scope is None or not scope.current_version, **_builder(session, problem, document),
    )  # fmt: skip
