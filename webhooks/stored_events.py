"""Stored events as people look at them: listed, shown as text, and applied again by hand."""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import Session, defer

from outreach import audit
from outreach.errors import NotFound
from outreach.models import InboundEvent
from outreach.pagination import Page, fetch_page
from outreach.vocabulary import InboundState
from webhooks import inbox
from webhooks.connectors import SOURCE

EXCERPT = 20_000  # bytes of a body that are shown


def listed(
    session: Session,
    *,
    source: str = "",
    state: InboundState | None = None,
    before: int | None = None,
    limit: int = 50,
) -> tuple[Sequence[InboundEvent], int | None]:
    """Return events without their bodies, newest first, and the id to go on `before`."""
    query = select(InboundEvent).options(defer(InboundEvent.body), defer(InboundEvent.headers))
    if source:
        query = query.where(InboundEvent.source == source)
        if source.startswith(SOURCE):  # says to the planner that the index of desks will do
            query = query.where(InboundEvent.source.like(f"{SOURCE}%"))
    if state is not None:
        query = query.where(InboundEvent.state == state)
    return fetch_page(session, query, InboundEvent.id, Page(limit=limit, after=before))


def find(session: Session, event_id: int) -> InboundEvent:
    """Return one event; raises `NotFound`."""
    event = session.get(InboundEvent, event_id)
    if event is None:
        raise NotFound(f"There is no stored event {event_id}.")
    return event


def excerpt(event: InboundEvent) -> str:
    """Return the beginning of a body as text; strangers wrote it."""
    return event.body[:EXCERPT].decode("utf-8", "replace").replace("\0", "\N{REPLACEMENT CHARACTER}")


def replay(session: Session, *, event_id: int, actor: str, now: datetime) -> InboundEvent:
    """Apply a dead or orphaned event again, and note who asked for it."""
    event = inbox.replay(session, event_id=event_id)
    audit.record(
        session, actor=actor, action="inbound_event.replay", subject=f"inbound_event:{event_id}",
        detail={"source": event.source}, now=now,
    )  # fmt: skip
    return event


def replay_dead(session: Session, *, source: str, actor: str, now: datetime, most: int = 500) -> int:
    """Apply the dead and orphaned events of a source again, oldest first, and return how many."""
    wanted = select(InboundEvent.id).where(
        InboundEvent.source == source, InboundEvent.state.in_([InboundState.DEAD, InboundState.ORPHAN])
    )
    ids = session.scalars(wanted.order_by(InboundEvent.id).limit(most)).all()
    for event_id in ids:
        inbox.replay(session, event_id=event_id)
    if ids:
        audit.record(
            session, actor=actor, action="inbound_event.replay", subject=f"inbound_event:{source}",
            detail={"events": len(ids)}, now=now,
        )  # fmt: skip
    return len(ids)
