"""One customer: found by what is known of her, all about her in one timeline, her consent, export and erasure."""

from datetime import datetime
from typing import Annotated
from urllib.parse import quote
from uuid import UUID

import orjson
from fastapi import APIRouter, Depends, Path, Query, Request
from fastapi.responses import HTMLResponse, Response
from sqlalchemy import select
from sqlalchemy.orm import Session

from app.web.forms import Mistake, Sent, SentForm, attempt, see_other
from app.web.layout import page
from campaigns import message_events, prospects
from outreach import clock, customer_search, timeline
from outreach.doors import SessionDep, requires
from outreach.errors import InvalidInput
from outreach.models import Customer
from outreach.permissions import Actor, Permission
from outreach.timeline import Place
from outreach.vocabulary import Channel, NoticeClass
from webhooks import consents_by_hand, personal_data

router = APIRouter(default_response_class=HTMLResponse, include_in_schema=False)
Reader = Annotated[Actor, Depends(requires(Permission.CUSTOMERS_READ))]
Writer = Annotated[Actor, Depends(requires(Permission.CUSTOMERS_WRITE))]
Eraser = Annotated[Actor, Depends(requires(Permission.CUSTOMERS_ERASE))]
Number = Annotated[str, Path(max_length=500)]

PAGE = 40
SAID = {
    "consent": "Written down. It holds from now on.",
    "erased": "Erased. What is left cannot be traced to a person.",
}


@router.get("/customers")
def search(
    request: Request, session: SessionDep, actor: Reader, q: Annotated[str, Query(max_length=320)] = ""
) -> Response:
    """Find a customer."""
    found = customer_search.search(session, q)
    some = session.scalar(select(Customer.id).limit(1)) is not None
    return page(request, session, actor, "customers/search.html", q=q, found=found, some=some)


@router.get("/customers/{external_id:path}")
def show(
    request: Request,
    session: SessionDep,
    actor: Reader,
    external_id: Number,
    after: Annotated[str, Query(max_length=600)] = "",
    said: Annotated[str, Query(max_length=20)] = "",
) -> Response:
    """Show one customer."""
    return _customer_page(request, session, actor, external_id, after=after, said=SAID.get(said, ""))


@router.post("/customers/{external_id:path}/consent")
def write_consent(
    request: Request, session: SessionDep, actor: Writer, external_id: Number, sent: SentForm
) -> Response:
    """Write down what a customer said about hearing from us."""
    customer = timeline.find_customer(session, external_id)
    with attempt(session) as tried:
        channel, kind = sent.text("channel"), sent.text("notice_class")
        if channel not in set(Channel) or (kind and kind not in set(NoticeClass)):
            raise InvalidInput("Choose a channel and a kind of notice.", where="channel")
        consents_by_hand.write_down(
            session, customer=customer, channel=Channel(channel), notice_class=NoticeClass(kind) if kind else None,
            allowed=sent.text("allowed") == "yes", how=sent.text("how"), by=actor.name, now=clock.now(session),
        )  # fmt: skip
    if tried.mistake:
        return _customer_page(request, session, actor, external_id, mistake=tried.mistake, sent=sent)
    return see_other(f"{_path(customer)}?said=consent")


@router.post("/customers/{external_id:path}/export")
def export(session: SessionDep, actor: Eraser, external_id: Number) -> Response:
    """Hand out everything about a customer as a file."""
    customer = timeline.find_customer(session, external_id)
    found = personal_data.export(session, customer=customer, by=actor.name, now=clock.now(session))
    name = f"customer-{customer.id}.json"
    return Response(
        orjson.dumps(found, option=orjson.OPT_INDENT_2), media_type="application/json",
        headers={"Content-Disposition": f'attachment; filename="{name}"', "Cache-Control": "no-store"},
    )  # fmt: skip


@router.post("/customers/{external_id:path}/erase")
def erase(request: Request, session: SessionDep, actor: Eraser, external_id: Number, sent: SentForm) -> Response:
    """Erase everything about a customer, once her reference was typed in."""
    customer = timeline.find_customer(session, external_id)
    with attempt(session) as tried:
        personal_data.erase(
            session, customer=customer, confirmation=sent.text("confirmation"), by=actor.name, now=clock.now(session)
        )
    if tried.mistake:
        return _customer_page(request, session, actor, external_id, mistake=tried.mistake, sent=sent)
    return see_other(f"{_path(customer)}?said=erased")


def _customer_page(
    request: Request,
    session: Session,
    actor: Actor,
    external_id: str,
    *,
    after: str = "",
    said: str = "",
    mistake: Mistake | None = None,
    sent: Sent | None = None,
) -> Response:
    customer, now = timeline.find_customer(session, external_id), clock.now(session)
    entries = timeline.happenings(session, customer, limit=PAGE + 1, after=_place(after))
    following = _cursor(entries[PAGE - 1]) if len(entries) > PAGE else None
    entries = entries[:PAGE]
    messages = [UUID(entry.reference) for entry in entries if entry.kind == "message" and entry.reference]
    return page(
        request,
        session,
        actor,
        "customers/customer.html",
        status=422 if mistake else 200,
        customer=customer,
        entries=entries,
        following=following,
        later=bool(after),
        sent_as=message_events.of(session, messages),
        scopes=timeline.problems_of(session, customer),
        prospects=prospects.prospects(session, customer, now=now),
        notices=prospects.notices(session, customer),
        classes=tuple(NoticeClass),
        said=said,
        mistake=mistake,
        sent=sent or Sent(),
    )


def _path(customer: Customer) -> str:
    return f"/customers/{quote(customer.external_id)}"


def _cursor(entry: timeline.Happening) -> str:
    return f"{entry.at.isoformat()}|{entry.kind}|{entry.reference}"


def _place(given: str) -> Place | None:
    """Return where to go on, as `_cursor` wrote it; the start for what cannot be read."""
    at, _, rest = given.partition("|")
    kind, _, reference = rest.partition("|")
    try:
        moment = datetime.fromisoformat(at)
    except ValueError:
        return None
    return Place(moment, kind, reference.replace("\0", "")) if moment.tzinfo else None
