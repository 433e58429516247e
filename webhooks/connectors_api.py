"""The JSON routes of connected help desks: connect, change, try the mapping on a real event, look what came."""

from dataclasses import asdict
from datetime import datetime
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Query
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy import select
from sqlalchemy.orm import Session

from outreach import audit, clock
from outreach.db import transaction
from outreach.doors import SessionDep, requires
from outreach.errors import InvalidInput, NotFound, OutreachError
from outreach.models import Connector, InboundEvent, Playbook
from outreach.permissions import Actor, Permission
from outreach.settings import get_settings
from outreach.vocabulary import InboundState
from webhooks import connector_verbs, connectors
from webhooks.connectors import KINDS, Desk
from webhooks.desks.base import DeskEvent
from webhooks.desks.reading import mapping_from_json

router = APIRouter(tags=["help desks"])
MANAGE = requires(Permission.CONNECTORS_MANAGE)
ActorDep = Annotated[Actor, Depends(MANAGE)]
Key = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,39}$")]
Text = Annotated[str, Field(max_length=500)]


class ConnectorChange(BaseModel):
    """What can be changed of a connected desk; what is left out stays. Secrets are written, never read."""

    model_config = ConfigDict(extra="forbid")

    name: Annotated[str, Field(min_length=1, max_length=200)] | None = None
    enabled: bool | None = None
    base_url: Annotated[str, Field(max_length=2000)] | None = None
    account: Text | None = Field(default=None, description="the user, or the agent's email, that calls the desk's API")
    api_secret: Text | None = Field(default=None, description="token, key or password of that account; `` removes it")
    webhook_secrets: list[Text] | None = Field(default=None, max_length=2, description="two while one is replaced")
    mapping: dict[str, Any] | None = None
    options: dict[str, Any] | None = Field(default=None, description="what only this kind of desk needs")
    link_back: bool | None = Field(default=None, description="put a link to Outreach on each known problem")
    poll_minutes: Annotated[int, Field(ge=1, le=1440)] | None = None


class NewConnector(ConnectorChange):
    """A desk to connect; its webhooks will arrive at `/webhooks/desks/<key>`."""

    key: Key
    kind: Literal["generic", "zendesk", "jira", "servicenow", "freshdesk", "zammad"]
    name: Annotated[str, Field(min_length=1, max_length=200)]


class ConnectorOut(BaseModel):
    """A connected desk, without its secrets."""

    key: str
    kind: str
    name: str
    enabled: bool
    from_settings: bool
    webhook_url: str
    base_url: str | None
    account: str
    has_api_secret: bool
    webhook_secrets: int
    mapping: dict[str, Any]
    options: dict[str, Any]
    link_back: bool
    poll_minutes: int
    actor: str | None
    read_until: datetime | None
    busy_until: datetime | None
    last_event_at: datetime | None
    last_error: str | None
    last_error_at: datetime | None


class MappingTrial(BaseModel):
    """A stored event to read, by the mapping in force or by one that is being edited."""

    model_config = ConfigDict(extra="forbid")

    inbound_event_id: Annotated[int, Field(ge=1, le=2**63 - 1)]
    mapping: dict[str, Any] | None = None


class WouldHappen(BaseModel):
    """One thing that an event would set in motion; `ignored` says that it does not concern us, or is our own echo."""

    kind: str
    key: str
    occurred_at: datetime | None
    actor: str | None
    ticket: dict[str, Any] | None
    problem: dict[str, Any] | None


class MappingResult(BaseModel):
    """What would happen; `error` says why the event cannot be read by this mapping."""

    events: list[WouldHappen]
    error: str | None = None


class DeskEventOut(BaseModel):
    """A stored event of a desk."""

    model_config = ConfigDict(from_attributes=True)

    id: int
    key: str
    received_at: datetime
    state: InboundState
    error: str | None


class TicketAction(BaseModel):
    """What happens to linked tickets when a playbook's step comes; no action: nothing."""

    model_config = ConfigDict(extra="forbid")

    action: Literal["note", "reply", "solve"] | None
    comment: Annotated[str, Field(max_length=5000)] = ""


@router.get("/api/connectors", dependencies=[Depends(requires(Permission.WEBHOOKS_READ))])
def list_connectors(session: SessionDep) -> list[ConnectorOut]:
    """List the connected help desks, those of the settings first."""
    return [shown(session, desk) for desk in connectors.all_desks(session)]


@router.get("/api/connectors/{key}", dependencies=[Depends(requires(Permission.WEBHOOKS_READ))])
def show_connector(key: str, session: SessionDep) -> ConnectorOut:
    """Show one connected help desk."""
    return shown(session, connectors.find(session, key))


@router.get("/api/connectors/{key}/events", dependencies=[Depends(requires(Permission.WEBHOOKS_READ))])
def list_desk_events(
    key: str, session: SessionDep, limit: Annotated[int, Query(ge=1, le=100)] = 20
) -> list[DeskEventOut]:
    """List the newest events of a desk, to try a mapping on or to see why one was not applied."""
    source = connectors.find(session, key).source
    query = select(InboundEvent).where(InboundEvent.source == source).order_by(InboundEvent.id.desc()).limit(limit)
    return [DeskEventOut.model_validate(event) for event in session.scalars(query)]


@router.post("/api/connectors", status_code=201)
def create_connector(body: NewConnector, session: SessionDep, actor: ActorDep) -> ConnectorOut:
    """Connect a help desk."""
    given, now = given_of(body), clock.now(session)
    connector_verbs.connect(session, key=body.key, kind=body.kind, given=given, actor=actor, now=now)
    return shown(session, connectors.find(session, body.key))


@router.patch("/api/connectors/{key}")
def change_connector(key: str, body: ConnectorChange, session: SessionDep, actor: ActorDep) -> ConnectorOut:
    """Change a connected help desk; a mapping is checked before it is taken."""
    connector_verbs.change(session, key=key, given=given_of(body), actor=actor, now=clock.now(session))
    return shown(session, connectors.find(session, key))


@router.post("/api/connectors/{key}/test-mapping", dependencies=[Depends(MANAGE)])
def test_mapping(key: str, body: MappingTrial, session: SessionDep) -> MappingResult:
    """Say what a stored event would set in motion; nothing is changed."""
    if body.mapping is not None:  # what is wrong with the mapping itself is the caller's mistake
        mapping_from_json(KINDS[connectors.find(session, key).kind].adapter.Mapping, body.mapping)
    try:
        found = connector_verbs.try_mapping(session, key=key, event_id=body.inbound_event_id, mapping=body.mapping)
    except NotFound:
        raise
    except OutreachError as error:
        return MappingResult(events=[], error=error.message)
    return MappingResult(events=[_would(one) for one in found])


@router.post("/api/connectors/{key}/check")
def check_connector(key: str, actor: ActorDep) -> ConnectorOut:
    """Ask the desk who we are there; from then on what that account does is known as our own echo."""
    connector_verbs.check(key=key, actor=actor)
    with transaction() as session:
        return shown(session, connectors.find(session, key))


@router.put("/api/playbooks/{key}/tickets")
def set_ticket_action(
    key: str,
    body: TicketAction,
    session: SessionDep,
    actor: Annotated[Actor, Depends(requires(Permission.CAMPAIGNS_APPROVE))],
) -> TicketAction:
    """Say what a playbook does with the tickets linked to the problem: note, reply or solve, and with which words."""
    playbook = session.scalar(select(Playbook).where(Playbook.key == key).with_for_update())
    if playbook is None:
        raise NotFound(f"There is no playbook {key[:40]!r}.")
    if body.action is not None and not body.comment.strip():
        raise InvalidInput("Say what is to be written to the tickets.", where="comment")
    playbook.ticket_action, playbook.ticket_comment = body.action, body.comment or None
    session.flush()
    now = clock.now(session)
    detail = {"action": body.action}
    audit.record(
        session, actor=actor.name, action="playbook.tickets", subject=f"playbook:{key}", detail=detail, now=now
    )
    return body


def given_of(body: ConnectorChange) -> dict[str, Any]:
    """Return what a body changes; raises `InvalidInput` for a null where nothing can be empty."""
    given = body.model_dump(exclude_unset=True, exclude={"key", "kind"})
    missing = [name for name, value in given.items() if value is None and name not in ("base_url", "account")]
    if missing:
        raise InvalidInput(f"{missing[0]} cannot be null; leave it out to keep it.", where=missing[0])
    return given


def _would(event: DeskEvent) -> WouldHappen:
    return WouldHappen(
        kind=event.kind.value,
        key=event.key,
        occurred_at=event.occurred_at,
        actor=event.actor,
        ticket=asdict(event.ticket) if event.ticket is not None else None,
        problem=asdict(event.problem) if event.problem is not None else None,
    )


def shown(session: Session, desk: Desk) -> ConnectorOut:
    """Return a desk without its secrets."""
    row = session.scalar(select(Connector).where(Connector.key == desk.key))
    return ConnectorOut(
        key=desk.key,
        kind=desk.kind,
        name=desk.name,
        enabled=desk.enabled,
        from_settings=desk.from_settings,
        webhook_url=f"{get_settings().public_url.rstrip('/')}/webhooks/desks/{desk.key}",
        base_url=desk.base_url,
        account=desk.account,
        has_api_secret=bool(desk.api_secret),
        webhook_secrets=len(desk.webhook_secrets),
        mapping=asdict(desk.mapping),
        options=dict(desk.options),
        link_back=desk.link_back,
        poll_minutes=row.poll_minutes if row is not None else 5,
        actor=row.actor if row is not None else None,
        read_until=row.read_until if row is not None else None,
        busy_until=row.busy_until if row is not None else None,
        last_event_at=row.last_event_at if row is not None else None,
        last_error=row.last_error if row is not None else None,
        last_error_at=row.last_error_at if row is not None else None,
    )
