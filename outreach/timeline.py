"""What happened to one customer, across all tables, newest first, and in which scopes she is."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Select, Text, and_, case, cast, func, literal, null, or_, select, tuple_, union_all
from sqlalchemy.orm import Session

from outreach.errors import NotFound
from outreach.models import (
    AudienceChange,
    AudienceMember,
    Campaign,
    Consent,
    Customer,
    Message,
    Notice,
    OperatorAnswer,
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
class Place:
    """Where a page of the timeline ended: the next one shows what comes after it."""

    at: datetime
    kind: str
    reference: str


@dataclass(frozen=True, slots=True)
class InScope:
    """One problem that touches the customer; `why` is the newest entry of the membership ledger."""

    problem: str
    title: str
    grade: Grade
    entered_at: datetime | None = None
    why: str | None = None


def find_customer(session: Session, external_id: str) -> Customer:
    """Return a customer by the id of the system that knows them; raises `NotFound`."""
    customer = session.scalar(select(Customer).where(Customer.external_id == external_id))
    if customer is None:
        raise NotFound(f"There is no customer {external_id!r}.")
    return customer


def happenings(session: Session, customer: Customer, *, limit: int = 50, after: Place | None = None) -> list[Happening]:
    """Return what happened to a customer, newest first, from `after` on: orders, events, tickets, words, decisions."""
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
        _part(Response.received_at, "reply", Response.intent, Response.text, Response.id)
        .where(Response.customer_id == key),
        _part(OperatorAnswer.written_at, "answer", OperatorAnswer.written_by, OperatorAnswer.text,
              OperatorAnswer.response_id)
        .where(OperatorAnswer.customer_id == key),
        # By way of the notice's index: `messages` has none on the customer, so that sending stays cheap.
        _part(Message.sent_at, "message", Campaign.name, Message.delivery, Message.id)
        .join(Campaign, Campaign.id == Message.campaign_id)
        .where(Message.notice_id.in_(select(Notice.id).where(Notice.customer_id == key)), Message.sent_at.is_not(None)),
        # By way of the few segments: the ledger has no index that begins with the customer.
        _part(AudienceChange.at, "scope", func.coalesce(Problem.title, Segment.name),
              func.concat_ws(": ", func.coalesce(AudienceChange.to_grade, "left"), AudienceChange.reason),
              func.concat_ws(" ", func.coalesce(Problem.key, Segment.key), AudienceChange.id))
        .join_from(Segment, AudienceChange, AudienceChange.segment_id == Segment.id)
        .outerjoin(Problem, Problem.id == Segment.problem_id)
        .where(AudienceChange.customer_id == key),
        _part(Consent.acted_at, "consent",
              func.concat_ws(" ", case((Consent.allowed, "Agrees to"), else_="Refuses"), Consent.channel,
                             func.coalesce(Consent.notice_class, "of every kind")),
              func.concat_ws(": ", Consent.source, Consent.wording), Consent.id)
        .where(Consent.customer_id == key),
    ]  # fmt: skip
    # Each part brings its own newest rows only, however long its history is.
    newest = [_newest(part, limit, after) for part in parts]
    everything = union_all(*newest).subquery()
    query = select(everything).order_by(everything.c.at.desc(), everything.c.kind, everything.c.reference)
    return [Happening(*row) for row in session.execute(query.limit(limit))]


def problems_of(session: Session, customer: Customer) -> list[InScope]:
    """Return the problems in whose audience a customer is now."""
    why = (
        select(AudienceChange.reason)
        .where(
            AudienceChange.segment_id == AudienceMember.segment_id,
            AudienceChange.customer_id == AudienceMember.customer_id,
        )
        .order_by(AudienceChange.at.desc(), AudienceChange.id.desc())
        .limit(1)
        .scalar_subquery()
    )
    query = (
        select(Problem.key, Problem.title, AudienceMember.grade, AudienceMember.entered_at, why)
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
        func.coalesce(cast(reference, Text), "").label("reference"),
    )


def _newest(part: Select[Any], limit: int, after: Place | None) -> Select[Any]:
    inner = part.subquery()
    found = select(inner)
    if after is not None:
        later = tuple_(inner.c.kind, inner.c.reference) > tuple_(literal(after.kind), literal(after.reference))
        found = found.where(or_(inner.c.at < after.at, and_(inner.c.at == after.at, later)))
    return select(found.order_by(inner.c.at.desc(), inner.c.kind, inner.c.reference).limit(limit).subquery())
