"""The JSON routes about one person: consent written down by hand, everything handed out, everything erased."""

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path
from pydantic import BaseModel, ConfigDict, Field

from outreach import clock, timeline
from outreach.doors import SessionDep, requires
from outreach.permissions import Actor, Permission
from outreach.vocabulary import Channel, NoticeClass
from webhooks import consents_by_hand, personal_data

router = APIRouter(tags=["customers"])
Number = Annotated[str, Path(max_length=500)]
Writer = Annotated[Actor, Depends(requires(Permission.CUSTOMERS_WRITE))]
Eraser = Annotated[Actor, Depends(requires(Permission.CUSTOMERS_ERASE))]


class ConsentIn(BaseModel):
    """What a customer said: for a class of notices, or (null) all; `how` is how and when she said so."""

    model_config = ConfigDict(extra="forbid")

    channel: Channel
    notice_class: NoticeClass | None = None
    allowed: bool
    how: Annotated[str, Field(min_length=1, max_length=consents_by_hand.LONGEST)]


class ErasureIn(BaseModel):
    """The customer's reference once more, so that nobody is erased by a slip."""

    model_config = ConfigDict(extra="forbid")

    confirmation: Annotated[str, Field(max_length=500)]


class Erased(BaseModel):
    """How many rows of each table were emptied."""

    reference: str
    rows: dict[str, int]


@router.post("/api/customers/{external_id:path}/consent", status_code=204)
def write_consent(external_id: Number, body: ConsentIn, session: SessionDep, actor: Writer) -> None:
    """Write down an act of consent or refusal that a customer made elsewhere."""
    customer, now = timeline.find_customer(session, external_id), clock.now(session)
    consents_by_hand.write_down(session, customer=customer, by=actor.name, now=now, **body.model_dump())


@router.post("/api/customers/{external_id:path}/export")
def export_customer(external_id: Number, session: SessionDep, actor: Eraser) -> dict[str, Any]:
    """Return everything that is kept about a customer, by table; the audit log keeps that it was handed out."""
    customer = timeline.find_customer(session, external_id)
    return personal_data.export(session, customer=customer, by=actor.name, now=clock.now(session))


@router.post("/api/customers/{external_id:path}/erase")
def erase_customer(external_id: Number, body: ErasureIn, session: SessionDep, actor: Eraser) -> Erased:
    """Erase everything about a customer, for good."""
    customer, now = timeline.find_customer(session, external_id), clock.now(session)
    rows = personal_data.erase(session, customer=customer, confirmation=body.confirmation, by=actor.name, now=now)
    return Erased(reference=external_id, rows=rows)
