"""Webhooks out: who is told of what, what each try answered, and the buttons: test, pause, new secret, send again."""

from typing import Annotated

from fastapi import APIRouter, Depends, Path, Query, Request
from fastapi.responses import HTMLResponse, Response
from sqlalchemy import select
from sqlalchemy.orm import Session

from app.web.forms import Mistake, Sent, SentForm, attempt, read, see_other
from app.web.layout import page
from outreach import clock
from outreach.doors import PageDep, SessionDep, requires
from outreach.models import OutgoingDelivery, OutgoingEvent, Subscriber
from outreach.pagination import Page, fetch_page
from outreach.permissions import Actor, Permission
from webhooks import outgoing, subscriptions
from webhooks.schemas import NewSubscriber

router = APIRouter(default_response_class=HTMLResponse, include_in_schema=False)
Reader = Annotated[Actor, Depends(requires(Permission.WEBHOOKS_READ))]
Manager = Annotated[Actor, Depends(requires(Permission.CONNECTORS_MANAGE))]
RowId = Annotated[int, Path(ge=1, le=2**62)]

SAID = {
    "test": "A test event is on its way; what came back shows below in a moment.",
    "paused": "Paused. What it was still owed is not sent; nothing new is written down for it.",
    "enabled": "It is told again, from now on.",
    "again": "It is sent again now.",
    "removed": "Removed, with what it was still owed.",
}


@router.get("/webhooks-out")
def board(
    request: Request, session: SessionDep, actor: Reader, said: Annotated[str, Query(max_length=20)] = ""
) -> Response:
    """List who is told of what."""
    rows = subscriptions.listed(session)
    return page(request, session, actor, "subscriptions/board.html", rows=rows, said=SAID.get(said, ""))


@router.get("/webhooks-out/new")
def new(request: Request, session: SessionDep, actor: Manager) -> Response:
    """Show the form to add a subscriber."""
    return page(request, session, actor, "subscriptions/new.html", sent=Sent(), kinds=subscriptions.KINDS)


@router.post("/webhooks-out/new")
def subscribe(request: Request, session: SessionDep, actor: Manager, sent: SentForm) -> Response:
    """Add a subscriber; the answer is the only page that shows its secret."""
    with attempt(session) as tried:
        given = read(
            NewSubscriber, {"name": sent.text("name"), "url": sent.text("url"), "events": sent.texts("events")}
        )
        row, secret = subscriptions.subscribe(
            session, name=given.name, url=given.url, events=given.events, actor=actor, now=clock.now(session)
        )
    if tried.mistake:
        return page(
            request, session, actor, "subscriptions/new.html", status=422, sent=sent, mistake=tried.mistake,
            kinds=subscriptions.KINDS,
        )  # fmt: skip
    return page(request, session, actor, "subscriptions/secret.html", row=row, secret=secret, rotated=False)


@router.get("/webhooks-out/{subscriber_id}")
def show(
    request: Request,
    session: SessionDep,
    actor: Reader,
    subscriber_id: RowId,
    paging: PageDep,
    said: Annotated[str, Query(max_length=20)] = "",
) -> Response:
    """Show one subscriber and its deliveries."""
    return _one(request, session, actor, subscriber_id, paging, said=SAID.get(said, ""))


@router.post("/webhooks-out/{subscriber_id}/test")
def test(request: Request, session: SessionDep, actor: Manager, subscriber_id: RowId) -> Response:
    """Send a test event."""
    with attempt(session) as tried:
        row = subscriptions.find(session, subscriber_id)
        outgoing.test(session, subscriber=row, actor=actor, now=clock.now(session))
    if tried.mistake:
        return _one(request, session, actor, subscriber_id, Page(), mistake=tried.mistake)
    return see_other(f"/webhooks-out/{subscriber_id}?said=test")


@router.post("/webhooks-out/{subscriber_id}/rotate")
def rotate(request: Request, session: SessionDep, actor: Manager, subscriber_id: RowId) -> Response:
    """Give a new secret; the one before signs as well for a day."""
    row = subscriptions.find(session, subscriber_id)
    secret = subscriptions.rotate(session, subscriber=row, actor=actor, now=clock.now(session))
    return page(request, session, actor, "subscriptions/secret.html", row=row, secret=secret, rotated=True)


@router.post("/webhooks-out/{subscriber_id}/pause")
def pause(session: SessionDep, actor: Manager, subscriber_id: RowId) -> Response:
    """Tell a subscriber nothing until it is enabled again."""
    row = subscriptions.find(session, subscriber_id)
    subscriptions.pause(session, subscriber=row, actor=actor, now=clock.now(session))
    return see_other(f"/webhooks-out/{subscriber_id}?said=paused")


@router.post("/webhooks-out/{subscriber_id}/enable")
def enable(session: SessionDep, actor: Manager, subscriber_id: RowId) -> Response:
    """Tell a disabled subscriber again."""
    row = subscriptions.find(session, subscriber_id)
    subscriptions.enable(session, subscriber=row, actor=actor, now=clock.now(session))
    return see_other(f"/webhooks-out/{subscriber_id}?said=enabled")


@router.post("/webhooks-out/{subscriber_id}/remove")
def remove(session: SessionDep, actor: Manager, subscriber_id: RowId) -> Response:
    """Remove a subscriber and what it is still owed."""
    row = subscriptions.find(session, subscriber_id)
    subscriptions.remove(session, subscriber=row, actor=actor, now=clock.now(session))
    return see_other("/webhooks-out?said=removed")


@router.post("/webhooks-out/deliveries/{delivery_id}/replay")
def replay(request: Request, session: SessionDep, actor: Manager, delivery_id: RowId, sent: SentForm) -> Response:
    """Send one event again."""
    given = sent.text("subscriber")
    with attempt(session) as tried:
        row = subscriptions.replay(session, delivery_id=delivery_id, actor=actor, now=clock.now(session))
        given = str(row.subscriber_id)
    if tried.mistake and given.isdecimal() and len(given) < 19:
        return _one(request, session, actor, int(given), Page(), mistake=tried.mistake)
    return see_other(f"/webhooks-out/{given}?said=again" if not tried.mistake else "/webhooks-out")


def _one(
    request: Request,
    session: Session,
    actor: Actor,
    subscriber_id: int,
    paging: Page,
    *,
    said: str = "",
    mistake: Mistake | None = None,
) -> Response:
    row: Subscriber = subscriptions.find(session, subscriber_id)
    owed = select(OutgoingDelivery).where(OutgoingDelivery.subscriber_id == subscriber_id)
    rows, following = fetch_page(session, owed, OutgoingDelivery.id, paging)
    named = select(OutgoingEvent).where(OutgoingEvent.id.in_([each.event_id for each in rows]))
    events = {event.id: event for event in session.scalars(named)}
    return page(
        request, session, actor, "subscriptions/subscriber.html", status=422 if mistake else 200, row=row,
        deliveries=[(each, events[each.event_id]) for each in rows], following=following, said=said, mistake=mistake,
        kinds=subscriptions.KINDS,
    )  # fmt: skip
