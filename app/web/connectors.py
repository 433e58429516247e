"""Connected help desks: settings with secrets that are written and never read, the mapping tried on a stored event."""

from collections.abc import Mapping
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Query, Request
from fastapi.responses import HTMLResponse, Response
from sqlalchemy.orm import Session

from app.web.forms import Mistake, Sent, SentForm, attempt, read, see_other
from app.web.layout import page
from app.web.remembered import forget
from outreach import clock
from outreach.doors import SessionDep, requires
from outreach.errors import InvalidInput, NotFound, OutreachError
from outreach.permissions import Actor, Permission
from webhooks import connector_verbs, connectors, stored_events
from webhooks.connectors import KINDS
from webhooks.connectors_api import ConnectorChange, NewConnector, given_of, shown

router = APIRouter(default_response_class=HTMLResponse, include_in_schema=False)
Reader = Annotated[Actor, Depends(requires(Permission.WEBHOOKS_READ))]
Manager = Annotated[Actor, Depends(requires(Permission.CONNECTORS_MANAGE))]
Replayer = Annotated[Actor, Depends(requires(Permission.WEBHOOKS_REPLAY))]
Key = Annotated[str, Path(max_length=64)]

SAID = {
    "connected": "Connected. Give the desk the address below, then send a first event.",
    "saved": "Saved.",
    "mapping": "The mapping holds for every event from now on.",
    "checked": "The desk answered. What this account does there is known as our own echo.",
    "replayed": "They are applied again within seconds.",
    "nothing": "There was nothing to apply again.",
}


@router.get("/connectors")
def board(request: Request, session: SessionDep, actor: Reader) -> Response:
    """List the connected help desks."""
    rows = [shown(session, desk) for desk in connectors.all_desks(session)]
    return page(request, session, actor, "connectors/board.html", rows=rows)


@router.get("/connectors/new")
def new(
    request: Request, session: SessionDep, actor: Manager, kind: Annotated[str, Query(max_length=20)] = "zendesk"
) -> Response:
    """Show the form to connect a help desk of one kind."""
    kind = kind if kind in KINDS else "zendesk"
    return _new_page(request, session, actor, kind, Sent())


@router.post("/connectors/new")
def connect(request: Request, session: SessionDep, actor: Manager, sent: SentForm) -> Response:
    """Connect a help desk."""
    kind = sent.text("kind") if sent.text("kind") in KINDS else "zendesk"
    with attempt(session) as tried:
        body = read(NewConnector, {"key": sent.text("key"), "kind": kind, **_settings(sent, kind)})
        connector_verbs.connect(
            session, key=body.key, kind=kind, given=given_of(body), actor=actor, now=clock.now(session)
        )
    if tried.mistake:
        return _new_page(request, session, actor, kind, sent, tried.mistake)
    return see_other(f"/connectors/{sent.text('key')}?said=connected")


@router.get("/connectors/{key}")
def show(
    request: Request, session: SessionDep, actor: Reader, key: Key, said: Annotated[str, Query(max_length=20)] = ""
) -> Response:
    """Show one connected help desk."""
    return _one(request, session, actor, key, said=SAID.get(said, ""))


@router.post("/connectors/{key}/settings")
def change(request: Request, session: SessionDep, actor: Manager, key: Key, sent: SentForm) -> Response:
    """Change where a desk is, how it proves itself, and how often it is read."""
    with attempt(session) as tried:
        desk = connectors.find(session, key)
        given = _settings(sent, desk.kind, from_settings=desk.from_settings)
        body = read(ConnectorChange, given)
        connector_verbs.change(session, key=key, given=given_of(body), actor=actor, now=clock.now(session))
    if tried.mistake:
        return _one(request, session, actor, key, mistake=tried.mistake, sent=sent)
    return see_other(f"/connectors/{key}?said=saved")


@router.post("/connectors/{key}/mapping")
def save_mapping(request: Request, session: SessionDep, actor: Manager, key: Key, sent: SentForm) -> Response:
    """Put a mapping in force."""
    with attempt(session) as tried:
        given = {"mapping": _mapping(session, key, sent)}
        connector_verbs.change(session, key=key, given=given, actor=actor, now=clock.now(session))
    if tried.mistake:
        return _one(request, session, actor, key, mistake=tried.mistake, sent=sent)
    return see_other(f"/connectors/{key}?said=mapping")


@router.post("/connectors/{key}/mapping/try")
def try_mapping(request: Request, session: SessionDep, actor: Manager, key: Key, sent: SentForm) -> Response:
    """Return what a stored event would set in motion by the mapping that stands in the form."""
    found, mistake = [], None
    try:
        given = sent.text("event")
        if not (given.isdecimal() and len(given) < 19):
            raise InvalidInput("Choose an event to try it on.", where="event")
        mapping = _mapping(session, key, sent)
        found = connector_verbs.try_mapping(session, key=key, event_id=int(given), mapping=mapping)
    except NotFound:
        raise
    except OutreachError as error:
        mistake = Mistake(error.message, error.where)
    return page(request, session, actor, "connectors/tried.html", found=found, mistake=mistake)


@router.post("/connectors/{key}/check")
def check(request: Request, session: SessionDep, actor: Manager, key: Key) -> Response:
    """Ask the desk who we are there."""
    try:
        connector_verbs.check(key=key, actor=actor)
    except NotFound:
        raise
    except OutreachError as error:  # also one that is down: that is what the button is there to find out
        return _one(request, session, actor, key, mistake=Mistake(error.message, error.where))
    return see_other(f"/connectors/{key}?said=checked")


@router.post("/connectors/{key}/replay")
def replay(session: SessionDep, actor: Replayer, key: Key) -> Response:
    """Apply the events again that could not be read."""
    source = connectors.find(session, key).source
    number = stored_events.replay_dead(session, source=source, actor=actor.name, now=clock.now(session))
    forget("backlog")
    return see_other(f"/connectors/{key}?said={'replayed' if number else 'nothing'}")


def _settings(sent: Sent, kind: str, *, from_settings: bool = False) -> dict[str, Any]:
    given: dict[str, Any] = {
        "name": sent.text("name"),
        "enabled": bool(sent.text("enabled")),
        "link_back": bool(sent.text("link_back")),
        **({"poll_minutes": sent.text("poll_minutes")} if sent.text("poll_minutes") else {}),
    }
    if from_settings:
        return given
    given |= {"base_url": sent.text("base_url") or None, "account": sent.text("account") or None}
    given["options"] = {name: value for name in KINDS[kind].options if (value := sent.text(f"option_{name}"))}
    if sent.text("api_secret"):
        given["api_secret"] = sent.text("api_secret")
    if secrets := sent.texts("webhook_secret"):
        given["webhook_secrets"] = secrets
    return given


def _mapping(session: Session, key: str, sent: Sent) -> dict[str, Any]:
    """Read a mapping from its form; what the form does not hold keeps its default."""

    def typed(name: str, before: Any) -> Any:
        if isinstance(before, Mapping):
            return {inner: typed(f"{name}.{inner}", value) for inner, value in before.items()}
        return sent.text(name) if isinstance(before, str) else [line.strip() for line in sent.text(name).splitlines()]

    stored = connector_verbs.stored_mapping(session, key=key)
    return {name: typed(f"map:{name}", value) for name, value in stored.items()}


def _new_page(
    request: Request, session: Session, actor: Actor, kind: str, sent: Sent, mistake: Mistake | None = None
) -> Response:
    return page(
        request, session, actor, "connectors/new.html", status=422 if mistake else 200, kind=kind, kinds=tuple(KINDS),
        options=KINDS[kind].options, has_api=KINDS[kind].connect is not None, sent=sent, mistake=mistake,
    )  # fmt: skip


def _one(
    request: Request,
    session: Session,
    actor: Actor,
    key: str,
    *,
    said: str = "",
    mistake: Mistake | None = None,
    sent: Sent | None = None,
) -> Response:
    desk = connectors.find(session, key)
    events, _ = stored_events.listed(session, source=desk.source, limit=12)
    return page(
        request,
        session,
        actor,
        "connectors/connector.html",
        status=422 if mistake else 200,
        desk=shown(session, desk),
        mapping=connector_verbs.stored_mapping(session, key=key),
        options=KINDS[desk.kind].options,
        has_api=KINDS[desk.kind].connect is not None,
        rows=events,
        said=said,
        mistake=mistake,
        sent=sent or Sent(),
    )
