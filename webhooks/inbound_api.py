"""What came in, for people: how much is open, what is dead or orphaned and why, and the button that tries again."""

from typing import Annotated

from fastapi import APIRouter, Depends, Path, Query
from sqlalchemy import select

from outreach import audit, clock
from outreach.doors import Actor, PageDep, SessionDep, requires
from outreach.errors import NotFound
from outreach.models import InboundEvent
from outreach.pagination import Listing, fetch_page
from outreach.permissions import Permission
from outreach.vocabulary import InboundState
from webhooks import inbox
from webhooks.schemas import InboundEventBody, InboundEventOut, Replayed

router = APIRouter(tags=["webhooks in"])
may_read = [Depends(requires(Permission.WEBHOOKS_READ))]
RowId = Annotated[int, Path(ge=1, le=2**63 - 1)]
EXCERPT = 20_000  # bytes of a body that are shown


@router.get("/api/inbound-events/counts", dependencies=may_read)
def inbound_counts(session: SessionDep) -> dict[str, int]:
    """Return how many stored events are in each state."""
    return inbox.counts(session)


@router.get("/api/inbound-events", dependencies=may_read)
def list_inbound(
    session: SessionDep,
    page: PageDep,
    state: InboundState | None = None,
    source: Annotated[str | None, Query(max_length=64)] = None,
) -> Listing[InboundEventOut]:
    """List stored events, newest first; `state=dead` and `state=orphan` are those that a person should look at."""
    query = select(InboundEvent)
    if state is not None:
        query = query.where(InboundEvent.state == state)
    if source is not None:
        query = query.where(InboundEvent.source == source)
    rows, following = fetch_page(session, query, InboundEvent.id, page)
    return Listing(items=[InboundEventOut.model_validate(row) for row in rows], next=following)


@router.get("/api/inbound-events/{event_id}", dependencies=may_read)
def show_inbound(event_id: RowId, session: SessionDep) -> InboundEventBody:
    """Return one stored event with the start of its body, as text: strangers wrote it."""
    event = session.get(InboundEvent, event_id)
    if event is None:
        raise NotFound(f"There is no inbound event {event_id}.")
    shown = InboundEventOut.model_validate(event).model_dump()
    return InboundEventBody(
        **shown, body=event.body[:EXCERPT].decode("utf-8", "replace").replace("\0", "\N{REPLACEMENT CHARACTER}"),
        body_bytes=len(event.body),
    )  # fmt: skip


@router.post("/api/inbound-events/{event_id}/replay", status_code=202)
def replay_event(
    event_id: RowId, session: SessionDep, actor: Annotated[Actor, Depends(requires(Permission.WEBHOOKS_REPLAY))]
) -> Replayed:
    """Apply a dead or orphaned event again."""
    event = inbox.replay(session, event_id=event_id)
    now = clock.now(session)
    audit.record(
        session, actor=actor.name, action="inbound_event.replay", subject=f"inbound_event:{event_id}",
        detail={"source": event.source}, now=now,
    )  # fmt: skip
    return Replayed(id=event_id, state=event.state)
