"""The JSON route by which a person deals with a customer's answer: its meaning, whose it is, that it is done."""

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path
from pydantic import BaseModel, ConfigDict, Field

from outreach import audit, clock
from outreach.doors import SessionDep, requires
from outreach.errors import InvalidInput
from outreach.permissions import Actor, Permission
from outreach.vocabulary import Intent
from webhooks import replies
from webhooks.schemas import ResponseOut

router = APIRouter(tags=["responses"])
Short = Annotated[str, Field(min_length=1, max_length=200)]


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


@router.post("/api/responses/{response_id}")
def correct_response(
    response_id: Annotated[int, Path(ge=1, le=2**63 - 1)],
    body: Correction,
    session: SessionDep,
    actor: Annotated[Actor, Depends(requires(Permission.CUSTOMERS_WRITE))],
) -> ResponseOut:
    """Correct the meaning of a response, link it to a customer, problem or ticket, or mark it as dealt with."""
    given: dict[str, Any] = body.model_dump(exclude_none=True)
    if not given:
        raise InvalidInput("Say what is to change: intent, customer, problem, ticket or handled.")
    now = clock.now(session)
    response = replies.correct(
        session,
        response_id=response_id,
        by=actor.name,
        now=now,
        intent=body.intent,
        customer=body.customer,
        problem=body.problem,
        ticket=(body.ticket.desk, body.ticket.reference) if body.ticket is not None else None,
        handled=body.handled,
    )
    detail = body.model_dump(mode="json", exclude_none=True)
    subject = f"response:{response_id}"
    audit.record(session, actor=actor.name, action="response.correct", subject=subject, detail=detail, now=now)
    return ResponseOut.model_validate(response)
