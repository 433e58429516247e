"""What people do with a connected help desk: connect, change, try a mapping on a stored event, ask who we are there.

The JSON routes and the pages call these; each change is in the audit log, which never holds a secret.
"""

from collections.abc import Mapping
from dataclasses import asdict
from datetime import datetime
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from outreach import audit, clock
from outreach.db import transaction
from outreach.errors import Conflict, InvalidInput, NotFound, OutreachError
from outreach.models import Connector, InboundEvent
from outreach.permissions import Actor
from webhooks import connectors, desk_work
from webhooks.connectors import KINDS
from webhooks.desks.base import DeskEvent
from webhooks.desks.reading import mapping_from_json


def connect(session: Session, *, key: str, kind: str, given: dict[str, Any], actor: Actor, now: datetime) -> None:
    """Connect a help desk; raises `Conflict` when the key is taken and `InvalidInput` for what cannot work."""
    row = connectors.create(session, key=key, kind=kind, now=now, **given)
    _note(session, actor, "connector.create", row, given, now)


def change(session: Session, *, key: str, given: dict[str, Any], actor: Actor, now: datetime) -> None:
    """Change what is given of a connected help desk; a mapping is checked before it is taken."""
    if not given:
        raise InvalidInput("Nothing to change was given.")
    row = connectors.row_of(session, connectors.find(session, key), lock=True)
    connectors.change(row, **given)
    session.flush()
    _note(session, actor, "connector.change", row, given, now)


def try_mapping(
    session: Session, *, key: str, event_id: int, mapping: Mapping[str, Any] | None = None
) -> list[DeskEvent]:
    """Return what a stored event would set in motion by a mapping, or by the one in force; nothing is changed.

    Raises `NotFound` for an event that is not of this desk, and what the adapter raises when it cannot be read.
    """
    desk = connectors.find(session, key)
    event = session.get(InboundEvent, event_id)
    if event is None or event.source != desk.source:
        raise NotFound(f"The desk {key} has no stored event {event_id}.")
    adapter = KINDS[desk.kind].adapter
    used = desk.mapping if mapping is None else mapping_from_json(adapter.Mapping, dict(mapping))
    found: list[DeskEvent] = adapter.parse(event.headers, event.body, used)
    return found


def stored_mapping(session: Session, *, key: str) -> dict[str, Any]:
    """Return a desk's mapping as it was given, defaults filled in, without the account that it found out itself."""
    desk = connectors.find(session, key)
    given = session.scalar(select(Connector.mapping).where(Connector.key == key)) or {}
    return asdict(mapping_from_json(KINDS[desk.kind].adapter.Mapping, given))


def check(*, key: str, actor: Actor) -> str:
    """Ask the desk who we are there and return it; from then on what that account does is known as our own echo.

    Opens transactions of its own, none during the call. Raises `Conflict` where the desk has no API set up here.
    """
    with transaction() as session:
        desk = connectors.find(session, key)
    client = desk.client()
    if client is None:
        raise Conflict(f"The desk {key} has no API here: set its base_url, account and api_secret first.")
    try:
        own = client.who_am_i()
    except OutreachError as error:
        with transaction() as session:
            desk_work.note_error(session, desk, error, clock.wall())
        raise
    with transaction() as session:
        row = connectors.row_of(session, desk, lock=True)
        row.actor, row.last_error, row.last_error_at, row.busy_until = own[:320], None, None, None
        _note(session, actor, "connector.check", row, {}, clock.now(session))
    return own


def _note(session: Session, actor: Actor, action: str, row: Connector, given: Mapping[str, Any], now: datetime) -> None:
    # The names of what was changed, and the mapping itself; never a secret.
    detail = {"fields": sorted(given), **({"mapping": given["mapping"]} if "mapping" in given else {})}
    audit.record(session, actor=actor.name, action=action, subject=f"connector:{row.key}", detail=detail, now=now)
