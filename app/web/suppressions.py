"""The suppression list: which addresses are never written to, why, and the way to bar or free one by hand."""

from typing import Annotated

from fastapi import APIRouter, Depends, Path, Query, Request
from fastapi.responses import HTMLResponse, Response

from app.web.forms import Mistake, Sent, SentForm, address_of, attempt, see_other
from app.web.layout import page
from campaigns import suppressions
from outreach import clock
from outreach.doors import SessionDep, requires
from outreach.errors import InvalidInput
from outreach.permissions import Actor, Permission
from outreach.vocabulary import Channel, SuppressionReason

router = APIRouter(default_response_class=HTMLResponse, include_in_schema=False)
Reader = Annotated[Actor, Depends(requires(Permission.CUSTOMERS_READ))]
Writer = Annotated[Actor, Depends(requires(Permission.CUSTOMERS_WRITE))]
RowId = Annotated[int, Path(ge=1, le=2**62)]

SAID = {
    "added": "Barred. Nothing is sent there any more, messages that wait included.",
    "lifted": "Lifted. What was skipped meanwhile is not sent afterwards.",
}


@router.get("/suppressions")
def board(
    request: Request,
    session: SessionDep,
    actor: Reader,
    address: Annotated[str, Query(max_length=500)] = "",
    channel: Annotated[str, Query(max_length=20)] = "",
    reason: Annotated[str, Query(max_length=40)] = "",
    lifted: Annotated[str, Query(max_length=5)] = "",
    after: Annotated[int | None, Query(ge=1, le=2**62)] = None,
    said: Annotated[str, Query(max_length=20)] = "",
) -> Response:
    """List bans, newest first."""
    rows, following = suppressions.listed(
        session,
        address=address,
        channel=Channel(channel) if channel in set(Channel) else None,
        reason=SuppressionReason(reason) if reason in set(SuppressionReason) else None,
        lifted=bool(lifted),
        before=after,
    )
    asked = {"address": address.strip(), "channel": channel, "reason": reason, "lifted": lifted}
    return page(
        request, session, actor, "suppressions/board.html", rows=rows, following=following,
        asked=asked, query=address_of(**asked), reasons=tuple(SuppressionReason),
        said=SAID.get(said, ""),
    )  # fmt: skip


@router.get("/suppressions/new")
def new(request: Request, session: SessionDep, actor: Writer) -> Response:
    """Show the form to bar an address."""
    return page(request, session, actor, "suppressions/new.html", sent=Sent())


@router.post("/suppressions/new")
def add(request: Request, session: SessionDep, actor: Writer, sent: SentForm) -> Response:
    """Bar an address by hand."""
    with attempt(session) as tried:
        if sent.text("channel") not in set(Channel):
            raise InvalidInput("Choose a channel.", where="channel")
        suppressions.bar(
            session, channel=Channel(sent.text("channel")), address=sent.text("address")[:500],
            why=sent.text("why")[:500], actor=actor.name, now=clock.now(session),
        )  # fmt: skip
    if tried.mistake:
        return page(request, session, actor, "suppressions/new.html", status=422, sent=sent, mistake=tried.mistake)
    return see_other("/suppressions?said=added")


@router.get("/suppressions/{suppression_id}")
def show(request: Request, session: SessionDep, actor: Reader, suppression_id: RowId) -> Response:
    """Show one ban and what was done about it."""
    return _one(request, session, actor, suppression_id)


@router.post("/suppressions/{suppression_id}/lift")
def lift(request: Request, session: SessionDep, actor: Writer, suppression_id: RowId, sent: SentForm) -> Response:
    """Let an address be written to again."""
    with attempt(session) as tried:
        suppressions.lift(
            session, suppression_id=suppression_id, why=sent.text("why"), actor=actor.name, now=clock.now(session)
        )
    if tried.mistake:
        return _one(request, session, actor, suppression_id, tried.mistake)
    return see_other("/suppressions?said=lifted")


def _one(
    request: Request, session: SessionDep, actor: Actor, suppression_id: int, mistake: Mistake | None = None
) -> Response:
    return page(
        request, session, actor, "suppressions/one.html", status=422 if mistake else 200, mistake=mistake,
        row=suppressions.find(session, suppression_id), why=suppressions.why(session, suppression_id),
    )  # fmt: skip
