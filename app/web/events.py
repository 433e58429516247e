"""What came in from providers and help desks: the stored events, why one was not applied, and applying it again."""

from typing import Annotated

from fastapi import APIRouter, Depends, Path, Query, Request
from fastapi.responses import HTMLResponse, Response
from sqlalchemy.orm import Session

from app.web.forms import Mistake, address_of, attempt, see_other
from app.web.layout import page
from app.web.remembered import forget
from outreach import clock
from outreach.doors import SessionDep, requires
from outreach.permissions import Actor, Permission
from outreach.vocabulary import InboundState
from webhooks import stored_events

router = APIRouter(default_response_class=HTMLResponse, include_in_schema=False)
Reader = Annotated[Actor, Depends(requires(Permission.WEBHOOKS_READ))]
Replayer = Annotated[Actor, Depends(requires(Permission.WEBHOOKS_REPLAY))]
RowId = Annotated[int, Path(ge=1, le=2**62)]


@router.get("/events")
def board(
    request: Request,
    session: SessionDep,
    actor: Reader,
    source: Annotated[str, Query(max_length=64)] = "",
    state: Annotated[str, Query(max_length=20)] = "",
    after: Annotated[int | None, Query(ge=1, le=2**62)] = None,
) -> Response:
    """List stored events, newest first."""
    chosen = InboundState(state) if state in set(InboundState) else None
    rows, following = stored_events.listed(session, source=source.strip(), state=chosen, before=after)
    asked = {"source": source.strip(), "state": chosen.value if chosen else ""}
    return page(
        request, session, actor, "connectors/events.html", rows=rows, following=following,
        asked=asked, query=address_of(**asked), states=tuple(InboundState),
    )  # fmt: skip


@router.get("/events/{event_id}")
def show(request: Request, session: SessionDep, actor: Reader, event_id: RowId, said: str = "") -> Response:
    """Show one event with the beginning of its body."""
    return _one(request, session, actor, event_id, said="It is applied again within seconds." if said else "")


@router.post("/events/{event_id}/replay")
def replay(request: Request, session: SessionDep, actor: Replayer, event_id: RowId) -> Response:
    """Apply a dead or orphaned event again."""
    with attempt(session) as tried:
        stored_events.replay(session, event_id=event_id, actor=actor.name, now=clock.now(session))
        forget("backlog")
    if tried.mistake:
        return _one(request, session, actor, event_id, mistake=tried.mistake)
    return see_other(f"/events/{event_id}?said=replayed")


def _one(
    request: Request, session: Session, actor: Actor, event_id: int, *, said: str = "", mistake: Mistake | None = None
) -> Response:
    event = stored_events.find(session, event_id)
    return page(
        request, session, actor, "connectors/event.html", status=422 if mistake else 200, event=event,
        body=stored_events.excerpt(event), bytes=len(event.body), said=said, mistake=mistake,
    )  # fmt: skip
