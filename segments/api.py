"""The JSON routes of segments and of the scopes of problems."""

from datetime import datetime
from typing import Annotated, Any, TypeVar

from fastapi import APIRouter, Depends, Path, Query, Request
from pydantic import AwareDatetime, BaseModel, Field, ValidationError
from sqlalchemy import select
from sqlalchemy.orm import Session

from outreach import audit, clock, problems
from outreach.doors import SessionDep, requires
from outreach.errors import InvalidInput, NotFound
from outreach.models import Customer, ProblemCandidate, Segment
from outreach.permissions import Actor, Permission
from outreach.queue import wake
from outreach.vocabulary import Grade
from segments import audiences, named, rules, scopes, watching
from segments.answers import proposal_out
from segments.editing import cancellable, take_over
from segments.schemas import (
    AudienceOut,
    CandidateOut,
    ExplainIn,
    ExplanationOut,
    MemberOut,
    PastMemberOut,
    PreviewIn,
    PreviewOut,
    ProposalOut,
    RejectIn,
    RuleIn,
    SegmentIn,
    SegmentOut,
    SentenceOut,
    SettleIn,
)
from segments.sentences import sentence

router = APIRouter(prefix="/api", tags=["segments"])

Reader = Annotated[Actor, Depends(requires(Permission.SEGMENTS_READ))]
Writer = Annotated[Actor, Depends(requires(Permission.SEGMENTS_WRITE))]
Name = Annotated[str, Path(max_length=64, pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
ProblemName = Annotated[str, Path(max_length=64)]
Limit = Annotated[int, Query(ge=1, le=1000)]
After = Annotated[int, Query(ge=0, le=2**63 - 1)]
Body = TypeVar("Body", bound=BaseModel)


async def given(request: Request) -> Any:
    """Read the body as strictly as rules need (repeated keys and NaN are errors)."""
    return rules.loads(await request.body())


Given = Annotated[Any, Depends(given)]


def _takes(model: type[BaseModel]) -> dict[str, Any]:
    schema = model.model_json_schema()
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": schema}}}}


def _read(model: type[Body], document: Any) -> Body:
    try:
        return model.model_validate(document)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        raise InvalidInput(f"{first['msg']}.", where=".".join(str(step) for step in first["loc"]) or "$") from error


@router.post("/segments/sentence", openapi_extra=_takes(RuleIn))
def say(_: Reader, document: Given) -> SentenceOut:
    """Check a definition and say it in words."""
    definition = rules.parse_definition(_read(RuleIn, document).definition)
    return SentenceOut(sentence=sentence(definition), definition=definition.document())


@router.post("/segments/preview", openapi_extra=_takes(PreviewIn))
def preview_segment(session: SessionDep, actor: Reader, document: Given) -> PreviewOut:
    """Answer a definition without saving it."""
    return _preview(session, actor, document, exclude_problem=None)


@router.post("/segments/explain", openapi_extra=_takes(ExplainIn))
def explain_rule(session: SessionDep, _: Reader, document: Given) -> ExplanationOut:
    """Say which conditions of a given definition hold for one customer."""
    asked = _read(ExplainIn, document)
    if asked.definition is None:
        raise InvalidInput("Send the `definition` to explain.", where="definition")
    return _explain(session, asked, rules.parse_definition(asked.definition))


@router.get("/segments")
def list_segments(session: SessionDep, _: Reader) -> list[SegmentOut]:
    """List segments and scopes, newest first (at most 200)."""
    newest = select(Segment).where(Segment.current_version > 0).order_by(Segment.id.desc()).limit(200)
    return [_segment_out(session, segment) for segment in session.scalars(newest)]


@router.get("/segments/{key}")
def get_segment(session: SessionDep, _: Reader, key: Name) -> SegmentOut:
    """Return a segment with its rule in force and its counts."""
    return _segment_out(session, audiences.find(session, key))


@router.put("/segments/{key}", openapi_extra=_takes(SegmentIn))
def put_segment(session: SessionDep, actor: Writer, key: Name, document: Given) -> SegmentOut:
    """Put a definition in force as the next version of a segment; its audience is rebuilt soon after."""
    body = _read(SegmentIn, document)
    definition = rules.parse_definition(body.definition)
    named.save(session, key=key, name=body.name, definition=definition, actor=actor, now=clock.now(session))
    return _segment_out(session, audiences.find(session, key))


@router.get("/segments/{key}/audience")
def get_audience(
    session: SessionDep, _: Reader, key: Name, after: After = 0, limit: Limit = 100, grade: Grade | None = None
) -> AudienceOut:
    """Return a page of the audience, by customer id."""
    return _audience(session, audiences.find(session, key), after, limit, grade)


@router.get("/segments/{key}/audience/as-of")
def get_past_audience(session: SessionDep, _: Reader, key: Name, at: AwareDatetime) -> list[PastMemberOut]:
    """Return the audience as it was at a moment."""
    found = audiences.as_of(session, segment_id=audiences.find(session, key).id, at=at)
    return [PastMemberOut.model_validate(member) for member in found]


@router.post("/segments/{key}/explain", openapi_extra=_takes(ExplainIn))
def explain_segment(session: SessionDep, _: Reader, key: Name, document: Given) -> ExplanationOut:
    """Say why a customer is, or is not, in a segment."""
    return _explain_in_force(session, audiences.find(session, key), document)


@router.post("/problems/{key}/scope/preview", openapi_extra=_takes(PreviewIn))
def preview_scope(session: SessionDep, actor: Reader, key: ProblemName, document: Given) -> PreviewOut:
    """Answer a definition as the scope of a problem, without saving it."""
    return _preview(session, actor, document, exclude_problem=problems.find(session, key).id)


@router.get("/problems/{key}/scope")
def get_scope(session: SessionDep, _: Reader, key: ProblemName) -> SegmentOut:
    """Return the scope of a problem."""
    return _segment_out(session, _scope(session, key))


@router.put("/problems/{key}/scope", openapi_extra=_takes(RuleIn))
def put_scope(session: SessionDep, actor: Writer, key: ProblemName, document: Given) -> SegmentOut:
    """Make a definition the scope of a problem; its audience is rebuilt soon after."""
    definition = rules.parse_definition(_read(RuleIn, document).definition)
    problem = problems.find(session, key)
    version = scopes.save_scope(session, problem=problem, definition=definition, author=actor.name)
    wake(session, "segments.sweep")
    return _changed(session, actor, _scope(session, key), version.version)


@router.delete("/problems/{key}/scope/edit")
def cancel_scope_edit(session: SessionDep, actor: Writer, key: ProblemName) -> SegmentOut:
    """Take back an edit whose audience is still being built."""
    scope = _scope(session, key)
    version = audiences.cancel_edit(session, segment_id=scope.id)
    return _changed(session, actor, scope, version)


@router.get("/problems/{key}/scope/audience")
def get_scope_audience(
    session: SessionDep, _: Reader, key: ProblemName, after: After = 0, limit: Limit = 100, grade: Grade | None = None
) -> AudienceOut:
    """Return a page of the audience of a problem, by customer id."""
    return _audience(session, _scope(session, key), after, limit, grade)


@router.post("/problems/{key}/scope/explain", openapi_extra=_takes(ExplainIn))
def explain_scope(session: SessionDep, _: Reader, key: ProblemName, document: Given) -> ExplanationOut:
    """Say why a customer is, or is not, in the scope of a problem."""
    return _explain_in_force(session, _scope(session, key), document)


@router.post("/problems/{key}/scope/discover")
def discover_scope(
    session: SessionDep,
    _: Reader,
    key: ProblemName,
    limit: Annotated[int, Query(ge=1, le=20)] = 5,
    words: Annotated[list[Annotated[str, Field(min_length=2, max_length=100)]], Query(max_length=50)] = [],  # noqa: B006
) -> list[ProposalOut]:
    """Propose scopes from the tickets linked to a problem, and from unlinked ones that have the words; best first."""
    problem = problems.find(session, key)
    found = scopes.discover(session, problem_id=problem.id, now=clock.now(session), limit=limit, words=words)
    return [proposal_out(proposal) for proposal in found]


@router.post("/problems/{key}/scope/reject", openapi_extra=_takes(RejectIn), status_code=204)
def reject_proposal(session: SessionDep, actor: Writer, key: ProblemName, document: Given) -> None:
    """Remember that a proposed rule was refused: it is not proposed for this problem again."""
    rule, now = _read(RejectIn, document).rule, clock.now(session)
    problem = problems.find(session, key)
    scopes.reject(session, problem_id=problem.id, rule=rule, author=actor.name, now=now)
    audit.record(
        session, actor=actor.name, action="scope.reject", subject=f"problem:{key}", detail={"rule": rule}, now=now
    )


@router.get("/problem-candidates")
def list_candidates(session: SessionDep, _: Reader) -> list[CandidateOut]:
    """List common causes found in fresh tickets that nobody has settled, newest first (at most 100)."""
    open_ones = select(ProblemCandidate).where(ProblemCandidate.settled_at.is_(None))
    newest = session.scalars(open_ones.order_by(ProblemCandidate.id.desc()).limit(100))
    return [CandidateOut.model_validate(candidate) for candidate in newest]


@router.post("/problem-candidates/{candidate}/settle", openapi_extra=_takes(SettleIn))
def settle_candidate(
    session: SessionDep, actor: Writer, candidate: Annotated[int, Path(ge=1, le=2**63 - 1)], document: Given
) -> CandidateOut:
    """Take a candidate up as a problem (its tickets are linked to it), or dismiss it (no problem)."""
    asked, now = _read(SettleIn, document), clock.now(session)
    problem_id = problems.find(session, asked.problem).id if asked.problem is not None else None
    settled = watching.settle(session, candidate_id=candidate, author=actor.name, now=now, problem_id=problem_id)
    subject, detail = f"problem-candidate:{candidate}", {"problem": asked.problem}
    answer = CandidateOut.model_validate(settled)
    audit.record(session, actor=actor.name, action="problem_candidate.settle", subject=subject, detail=detail, now=now)
    return answer


def _scope(session: Session, key: str) -> Segment:
    problem = problems.find(session, key)
    scope = audiences.scope_of(session, problem_id=problem.id)
    if scope is None:
        raise NotFound(f"Problem {key} has no scope yet; PUT one, or POST …/scope/discover for proposals.")
    return scope


def _segment_out(session: Session, segment: Segment) -> SegmentOut:
    version = audiences.version_in_force(session, segment_id=segment.id)
    return SegmentOut(
        key=segment.key,
        name=segment.name,
        version=version.version,
        building=segment.built_version != segment.current_version,
        sentence=version.sentence,
        definition=version.definition,
        author=version.author,
        refreshed_at=segment.refreshed_at,
        counts=audiences.counts(session, segment_id=segment.id),
        drift=segment.drift,
    )


def _changed(session: Session, actor: Actor, segment: Segment, version: int) -> SegmentOut:
    answer = _segment_out(session, segment)
    now: datetime = clock.now(session)
    subject = f"segment:{segment.key}"
    audit.record(
        session, actor=actor.name, action="segment.change", subject=subject, detail={"version": version}, now=now
    )
    return answer


def _audience(session: Session, segment: Segment, after: int, limit: int, grade: Grade | None) -> AudienceOut:
    found = audiences.page(session, segment_id=segment.id, after=after, limit=limit + 1, grade=grade)
    items = [MemberOut.model_validate(member) for member in found[:limit]]
    return AudienceOut(items=items, next=items[-1].customer_id if len(found) > limit else None)


def _preview(session: Session, actor: Actor, document: Any, *, exclude_problem: int | None) -> PreviewOut:
    asked = _read(PreviewIn, document)
    definition = rules.parse_definition(asked.definition)
    if asked.edit is not None:
        take_over(session, edit=f"{actor.name}:{asked.edit}")
    with cancellable():
        found = audiences.preview(
            session,
            definition=definition,
            now=clock.now(session),
            sample=asked.sample,
            exclude_problem=exclude_problem,
        )
    return PreviewOut.model_validate(found)


def _explain_in_force(session: Session, segment: Segment, document: Any) -> ExplanationOut:
    asked = _read(ExplainIn, document)
    given_or_stored = asked.definition or audiences.version_in_force(session, segment_id=segment.id).definition
    return _explain(session, asked, rules.parse_definition(given_or_stored))


def _explain(session: Session, asked: ExplainIn, definition: rules.Definition) -> ExplanationOut:
    customer_id = session.scalar(select(Customer.id).where(Customer.external_id == asked.customer))
    if customer_id is None:
        raise NotFound(f"There is no customer {asked.customer!r}.")
    found = audiences.explain(session, definition=definition, customer_id=customer_id, now=clock.now(session))
    return ExplanationOut.model_validate(found)
