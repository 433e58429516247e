"""The JSON routes by which people and programs deal with what customers answer: the same verbs as the inbox."""

from datetime import datetime
from typing import Annotated
from uuid import UUID, uuid4

from fastapi import APIRouter, Depends, Path, Query
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field
from sqlalchemy import func, select

from outreach import clock, problems
from outreach.doors import SessionDep, requires
from outreach.models import Response
from outreach.pagination import Listing
from outreach.permissions import Actor, Permission
from outreach.vocabulary import Channel, Intent, SendState
from webhooks import answering, conversations, triage
from webhooks.conversations import Filter, View
from webhooks.schemas import ResponseOut, RowOut

router = APIRouter(tags=["responses"])
Short = Annotated[str, Field(min_length=1, max_length=200)]
Number = Annotated[int, Path(ge=1, le=2**63 - 1)]
Reader = Annotated[Actor, Depends(requires(Permission.CUSTOMERS_READ))]
Writer = Annotated[Actor, Depends(requires(Permission.CUSTOMERS_WRITE))]


class TicketName(BaseModel):
    """A ticket at a connected desk."""

    model_config = ConfigDict(extra="forbid")

    desk: Short
    reference: Short


class Correction(BaseModel):
    """What a person says about a response; what is left out stays."""

    model_config = ConfigDict(extra="forbid")

    intent: Intent | None = None
    customer: Short | None = Field(default=None, description="our reference of the customer whose answer it is")
    problem: Short | None = Field(default=None, description="the key of the problem that it is about")
    ticket: TicketName | None = None
    handled: bool | None = None


class Assignment(BaseModel):
    """Who looks after a response: an operator's email address, or nobody."""

    model_config = ConfigDict(extra="forbid")

    to: Annotated[str, Field(max_length=320)] | None


class Snooze(BaseModel):
    """Until when a response is put aside; null brings it back."""

    model_config = ConfigDict(extra="forbid")

    until: AwareDatetime | None


class AnswerIn(BaseModel):
    """What to write back. The same `id` a second time is the same answer: it is sent once."""

    model_config = ConfigDict(extra="forbid")

    text: Annotated[str, Field(min_length=1, max_length=20_000)]
    id: UUID = Field(default_factory=uuid4)
    handled: bool = True


class AnswerOut(BaseModel):
    """An answer and how far it has come."""

    model_config = ConfigDict(from_attributes=True)

    id: UUID
    response_id: int
    channel: Channel
    state: SendState
    written_by: str
    written_at: datetime
    sent_at: datetime | None
    detail: str | None


@router.get("/api/responses/counts", dependencies=[Depends(requires(Permission.CAMPAIGNS_READ))])
def response_counts(session: SessionDep, problem: Annotated[str | None, Query(max_length=64)] = None) -> dict[str, int]:
    """Return how many customers' answers meant what, of one problem or of all."""
    counted = select(Response.intent, func.count()).group_by(Response.intent)
    if problem is not None:
        counted = counted.where(Response.problem_id == problems.find(session, problem).id)
    return {intent.value: number for intent, number in session.execute(counted)}


@router.get("/api/responses")
def list_responses(
    session: SessionDep,
    actor: Reader,
    view: View = View.WAITING,
    intent: Intent | None = None,
    problem: Annotated[str | None, Query(max_length=64)] = None,
    after: Annotated[int | None, Query(ge=1, le=2**63 - 1)] = None,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
) -> Listing[RowOut]:
    """List responses, newest first: those that wait, unless `view` says otherwise."""
    wanted = Filter(view, intent, problem, actor.operator_id)
    rows, following = conversations.rows(session, wanted, now=clock.now(session), before=after, limit=limit)
    return Listing(items=[RowOut.model_validate(row) for row in rows], next=following)


@router.post("/api/responses/{response_id}")
def correct_response(response_id: Number, body: Correction, session: SessionDep, actor: Writer) -> ResponseOut:
    """Correct the meaning of a response, link it to a customer, problem or ticket, or mark it as dealt with."""
    given = body.model_dump(exclude={"ticket"})
    ticket = (body.ticket.desk, body.ticket.reference) if body.ticket is not None else None
    return ResponseOut.model_validate(
        triage.correct(session, response_id=response_id, by=actor.name, now=clock.now(session), ticket=ticket, **given)
    )


@router.post("/api/responses/{response_id}/answer")
def answer_response(response_id: Number, body: AnswerIn, session: SessionDep, actor: Writer) -> AnswerOut:
    """Write back by the channel the person wrote on; refused for whoever must not be written to."""
    row = answering.answer(
        session, response_id=response_id, answer_id=body.id, words=body.text, by=actor.name, now=clock.now(session),
        handled=body.handled,
    )  # fmt: skip
    return AnswerOut.model_validate(row)


@router.post("/api/responses/{response_id}/assign")
def assign_response(response_id: Number, body: Assignment, session: SessionDep, actor: Writer) -> ResponseOut:
    """Give a response to an operator, or to nobody."""
    now = clock.now(session)
    return ResponseOut.model_validate(
        triage.assign(session, response_id=response_id, to=body.to, by=actor.name, now=now)
    )


@router.post("/api/responses/{response_id}/snooze")
def snooze_response(response_id: Number, body: Snooze, session: SessionDep, actor: Writer) -> ResponseOut:
    """Put a response aside until a moment, or bring it back."""
    now = clock.now(session)
    return ResponseOut.model_validate(
        triage.snooze(session, response_id=response_id, until=body.until, by=actor.name, now=now)
    )


@router.post("/api/responses/{response_id}/ticket")
def hand_response_to_desk(response_id: Number, session: SessionDep, actor: Writer) -> ResponseOut:
    """Hand a response to the help desk: into the person's open ticket, or a new one."""
    now = clock.now(session)
    return ResponseOut.model_validate(triage.open_ticket(session, response_id=response_id, by=actor.name, now=now))
