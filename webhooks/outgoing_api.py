"""Webhooks out, for operators: who is told of what, what was tried, and the button that sends it again."""

from typing import Annotated

from fastapi import APIRouter, Depends, Path
from sqlalchemy import select

from outreach import clock
from outreach.doors import Actor, PageDep, SessionDep, requires
from outreach.models import OutgoingDelivery
from outreach.pagination import Listing, fetch_page
from outreach.permissions import Permission
from outreach.vocabulary import OutgoingState
from webhooks import outgoing, subscriptions
from webhooks.schemas import DeliveryOut, EventOut, NewSubscriber, SubscriberOut, SubscriberWithSecret

router = APIRouter(prefix="/api/webhooks-out", tags=["webhooks out"])
RowId = Annotated[int, Path(ge=1, le=2**63 - 1)]
Manager = Annotated[Actor, Depends(requires(Permission.CONNECTORS_MANAGE))]
may_read = [Depends(requires(Permission.WEBHOOKS_READ))]


@router.get("/events", dependencies=may_read)
def list_kinds() -> dict[str, str]:
    """Return what can be subscribed to, and what it means."""
    return subscriptions.KINDS


@router.get("/events/{event_id}", dependencies=may_read)
def show_event(event_id: RowId, session: SessionDep) -> EventOut:
    """Return one event."""
    return EventOut.model_validate(subscriptions.find_event(session, event_id))


@router.get("", dependencies=may_read)
def list_subscribers(session: SessionDep) -> list[SubscriberOut]:
    """List who is told of what."""
    return [SubscriberOut.model_validate(row) for row in subscriptions.listed(session)]


@router.post("", status_code=201)
def subscribe(given: NewSubscriber, session: SessionDep, actor: Manager) -> SubscriberWithSecret:
    """Add a subscriber; the answer holds its secret, for this once."""
    row, secret = subscriptions.subscribe(
        session, name=given.name, url=given.url, events=given.events, actor=actor, now=clock.now(session)
    )
    return SubscriberWithSecret(**SubscriberOut.model_validate(row).model_dump(), secret=secret)


@router.delete("/{subscriber_id}", status_code=204)
def unsubscribe(subscriber_id: RowId, session: SessionDep, actor: Manager) -> None:
    """Remove a subscriber and what it is still owed."""
    row = subscriptions.find(session, subscriber_id)
    subscriptions.remove(session, subscriber=row, actor=actor, now=clock.now(session))


@router.post("/{subscriber_id}/rotate")
def rotate(subscriber_id: RowId, session: SessionDep, actor: Manager) -> SubscriberWithSecret:
    """Give a new secret; the one before signs as well for 24 hours."""
    row = subscriptions.find(session, subscriber_id)
    secret = subscriptions.rotate(session, subscriber=row, actor=actor, now=clock.now(session))
    return SubscriberWithSecret(**SubscriberOut.model_validate(row).model_dump(), secret=secret)


@router.post("/{subscriber_id}/pause")
def pause(subscriber_id: RowId, session: SessionDep, actor: Manager) -> SubscriberOut:
    """Tell a subscriber nothing until it is enabled again; what it is still owed fails."""
    row = subscriptions.find(session, subscriber_id)
    subscriptions.pause(session, subscriber=row, actor=actor, now=clock.now(session))
    return SubscriberOut.model_validate(row)


@router.post("/{subscriber_id}/enable")
def enable(subscriber_id: RowId, session: SessionDep, actor: Manager) -> SubscriberOut:
    """Tell a disabled subscriber again."""
    row = subscriptions.find(session, subscriber_id)
    subscriptions.enable(session, subscriber=row, actor=actor, now=clock.now(session))
    return SubscriberOut.model_validate(row)


@router.post("/{subscriber_id}/test", status_code=202)
def test(subscriber_id: RowId, session: SessionDep, actor: Manager) -> DeliveryOut:
    """Send a test event; its delivery shows what came back."""
    row = subscriptions.find(session, subscriber_id)
    return DeliveryOut.model_validate(outgoing.test(session, subscriber=row, actor=actor, now=clock.now(session)))


@router.get("/{subscriber_id}/deliveries", dependencies=may_read)
def list_deliveries(
    subscriber_id: RowId, session: SessionDep, page: PageDep, state: OutgoingState | None = None
) -> Listing[DeliveryOut]:
    """List what a subscriber was and is owed, newest first."""
    subscriptions.find(session, subscriber_id)
    query = select(OutgoingDelivery).where(OutgoingDelivery.subscriber_id == subscriber_id)
    if state is not None:
        query = query.where(OutgoingDelivery.state == state)
    rows, following = fetch_page(session, query, OutgoingDelivery.id, page)
    return Listing(items=[DeliveryOut.model_validate(row) for row in rows], next=following)


@router.post("/deliveries/{delivery_id}/replay", status_code=202)
def replay(delivery_id: RowId, session: SessionDep, actor: Manager) -> DeliveryOut:
    """Send one event again."""
    row = subscriptions.replay(session, delivery_id=delivery_id, actor=actor, now=clock.now(session))
    return DeliveryOut.model_validate(row)
