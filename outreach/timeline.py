"""What happened to one customer, across all tables, newest first."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Select, Text, cast, literal, null, select, union_all
from sqlalchemy.orm import Session

from outreach.errors import NotFound
from outreach.models import (
    AudienceMember,
    Campaign,
    Customer,
    Message,
    Notice,
    Order,
    Problem,
    Response,
    Segment,
    Ticket,
    UsageEvent,
)
from outreach.vocabulary import Grade

LONGEST = 200


@dataclass(frozen=True, slots=True)
class Happening:
    """One thing that happened; `reference` is the key under which it can be found."""

    at: datetime
    kind: str
    title: str
    detail: str | None
    reference: str | None


@dataclass(frozen=True, slots=True)
class InScope:
    """One open problem that touches the customer."""

    problem: str
    title: str
    grade: Grade


def find_customer(session: Session, external_id: str) -> Customer:
    """Return a customer by the id of the system that knows them; raises `NotFound`."""
    customer = session.scalar(select(Customer).where(Customer.external_id == external_id))
    if customer is None:
        raise NotFound(f"There is no customer {external_id!r}.")
    return customer


def happenings(session: Session, customer: Customer, *, limit: int = 50) -> list[Happening]:
    """Return the newest things that happened to a customer: orders, events, tickets, messages, replies."""
    key = customer.id
    parts = [
        _part(Order.ordered_at, "order", literal("Ordered"), Order.status, Order.external_id)
        .where(Order.customer_id == key, Order.ordered_at.is_not(None)),
        _part(Order.delivered_at, "delivery", literal("Order delivered"), Order.carrier, Order.external_id)
        .where(Order.customer_id == key, Order.delivered_at.is_not(None)),
        _part(UsageEvent.occurred_at, "event", UsageEvent.name, null(), UsageEvent.external_id)
        .where(UsageEvent.customer_id == key),
        _part(Ticket.opened_at, "ticket", Ticket.subject, Ticket.status, Ticket.external_id)
        .where(Ticket.customer_id == key, Ticket.opened_at.is_not(None)),
        _part(Response.received_at, "reply", Response.intent, Response.text, cast(Response.message_id, Text))
        .where(Response.customer_id == key),
        # By way of the notice's index: `messages` has none on the customer, so that sending stays cheap.
        _part(Message.sent_at, "message", Campaign.name, Message.delivery, cast(Message.id, Text))
        .join(Campaign, Campaign.id == Message.campaign_id)
        .where(Message.notice_id.in_(select(Notice.id).where(Notice.customer_id == key)), Message.sent_at.is_not(None)),
    ]  # fmt: skip
    # Each part brings its own newest rows only, however long its history is.
    newest = [select(p.order_by(p.selected_columns[0].desc()).limit(limit).subquery()) for p in parts]
    everything = union_all(*newest).subquery()
    query = select(everything).order_by(everything.c.at.desc(), everything.c.kind).limit(limit)
    return [Happening(*row) for row in session.execute(query)]


def problems_of(session: Session, customer: Customer) -> list[InScope]:
    """Return the problems in whose audience a customer is now."""
    query = (
        select(Problem.key, Problem.title, AudienceMember.grade)
        .join(Segment, Segment.problem_id == Problem.id)
        .join(AudienceMember, AudienceMember.segment_id == Segment.id)
        .where(AudienceMember.customer_id == customer.id, AudienceMember.left_at.is_(None))
        .order_by(Problem.id.desc())
        .limit(LONGEST)
    )
    return [InScope(*row) for row in session.execute(query)]


def _part(at: Any, kind: str, title: Any, detail: Any, reference: Any) -> Select[Any]:
    return select(
        at.label("at"),
        literal(kind).label("kind"),
        cast(title, Text).label("title"),
        cast(detail, Text).label("detail"),
        cast(reference, Text).label("reference"),
    )
