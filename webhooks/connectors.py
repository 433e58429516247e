"""Connected help desks: what each kind can do, where it is, and its mapping, from the table or from the settings.

The settings know one desk of kind `zendesk` and one of kind `generic`; a row of the same key takes their place.
The generic desk has no API of its own: what we owe it goes through the Zendesk of the settings, if there is one.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import lru_cache
from time import monotonic
from types import ModuleType
from typing import Any
from urllib.parse import urlsplit

import orjson
from sqlalchemy import select
from sqlalchemy.orm import Session

from outreach.db import transaction
from outreach.errors import Conflict, InvalidInput, NotFound
from outreach.models import Connector
from outreach.safe_http import check_typed_url
from outreach.sealing import seal, unseal
from outreach.settings import get_settings
from webhooks.desks import (
    freshdesk,
    freshdesk_client,
    generic,
    jira,
    jira_client,
    servicenow,
    servicenow_client,
    zammad,
    zammad_client,
    zendesk,
    zendesk_client,
)
from webhooks.desks.base import DeskClient, DeskEvent
from webhooks.desks.reading import mapping_from_json


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of help desk: its adapter, the header that names a delivery, its API if it has one, its options."""

    adapter: ModuleType
    identity: str | None = None
    connect: Callable[..., DeskClient] | None = None
    options: tuple[str, ...] = ()


KINDS: dict[str, Kind] = {
    "generic": Kind(generic, "webhook-id"),
    "zendesk": Kind(zendesk, "x-zendesk-webhook-invocation-id", zendesk_client.connect),
    "jira": Kind(
        jira, "x-atlassian-webhook-identifier", jira_client.connect, options=("project", "issue_type", "link_type")
    ),
    "servicenow": Kind(servicenow, None, servicenow_client.connect),
    "freshdesk": Kind(freshdesk, None, freshdesk_client.connect),
    "zammad": Kind(zammad, "x-zammad-delivery", zammad_client.connect, options=("group",)),
}
SOURCE = "desk-"


@dataclass(frozen=True, slots=True)
class Desk:
    """A connected desk, ready for use; secrets are in the clear here and never leave this object."""

    key: str
    kind: str
    name: str
    mapping: Any
    enabled: bool = True
    from_settings: bool = False
    link_back: bool = False
    base_url: str | None = None
    account: str = ""
    options: Mapping[str, str] = field(default_factory=dict)
    webhook_secrets: tuple[str, ...] = field(default=(), repr=False)
    api_secret: str = field(default="", repr=False)

    @property
    def source(self) -> str:
        """The name of this desk's events in the inbox."""
        return SOURCE + self.key

    def verify(self, headers: Mapping[str, str], body: bytes, now: datetime) -> None:
        """Refuse unless the raw bytes come from this desk."""
        KINDS[self.kind].adapter.verify(headers, body, self.webhook_secrets, now)

    def parse(self, headers: Mapping[str, str], body: bytes) -> list[DeskEvent]:
        """Return what an event means under the present mapping."""
        found: list[DeskEvent] = KINDS[self.kind].adapter.parse(headers, body, self.mapping)
        return found

    def client(self) -> DeskClient | None:
        """Return the client of the desk's API; none where it has none, or its address or secret is not set."""
        connect = KINDS[self.kind].connect
        if connect is None or not self.base_url or not self.api_secret:
            return None
        allow = allowed_origins(self.base_url)
        return connect(self.base_url, self.account, self.api_secret, mapping=self.mapping, allow=allow, **self.options)


def allowed_origins(base_url: str) -> list[str]:
    """Return the origins in our own network that may be called; in a demo the desk on this machine is one."""
    settings = get_settings()
    listed = [origin.strip() for origin in settings.desk_origins.split(",") if origin.strip()]
    url = urlsplit(base_url)
    local = settings.demo and url.hostname in {"127.0.0.1", "localhost"}
    return [*listed, f"{url.scheme}://{url.netloc}"] if local else listed


def recent(key: str) -> Desk:
    """Return a desk as it was at most two seconds ago, if it is on; raises `NotFound`. For many calls a second."""
    desk = _at(key, int(monotonic() // 2), id(get_settings()))
    if not desk.enabled:
        raise NotFound(f"The desk {key[:40]!r} is switched off.")
    return desk


@lru_cache(maxsize=64)
def _at(key: str, _moment: int, _settings: int) -> Desk:
    with transaction() as session:
        return find(session, key)


def find(session: Session, key: str) -> Desk:
    """Return the connected desk with this key; raises `NotFound`."""
    row = session.scalar(select(Connector).where(Connector.key == key))
    desk = _of_settings().get(key) if row is None or row.from_settings else None
    if row is None and desk is None:
        raise NotFound(f"There is no desk {key[:40]!r}; GET /api/connectors lists them.")
    return _with_state(desk, row) if desk is not None else _of_row(_given(row, key))


def all_desks(session: Session) -> list[Desk]:
    """Return every desk that is connected, enabled or not."""
    rows = {row.key: row for row in session.scalars(select(Connector).order_by(Connector.id))}
    given = _of_settings()
    found = [_with_state(desk, rows.get(key)) for key, desk in given.items() if _is_free(rows.get(key))]
    return found + [_of_row(row) for row in rows.values() if not row.from_settings]


def answering(session: Session, key: str | None) -> Desk | None:
    """Return the desk at whose API we answer what concerns the desk `key`: itself, else the first that has one."""
    desks = [desk for desk in all_desks(session) if desk.enabled]
    desks.sort(key=lambda desk: (desk.key != key, not desk.from_settings))
    return next((desk for desk in desks if desk.client() is not None), None)


def row_of(session: Session, desk: Desk, *, lock: bool = False) -> Connector:
    """Return the row that keeps a desk's state; one of the settings gets its row here."""
    query = select(Connector).where(Connector.key == desk.key)
    row = session.scalar(query.with_for_update() if lock else query)
    if row is None:
        row = Connector(key=desk.key, kind=desk.kind, name=desk.name, from_settings=True, mapping={}, options={})
        session.add(row)
        session.flush()
    return row


def create(session: Session, *, key: str, kind: str, name: str, now: datetime, **given: Any) -> Connector:
    """Connect a desk; raises `InvalidInput` for what cannot work and `Conflict` when the key is taken.

    `Unavailable` only when no name server answers for the host of its address.
    """
    if session.scalar(select(Connector.id).where(Connector.key == key)) is not None or key in _of_settings():
        raise Conflict(f"There is a desk {key!r} already; change it, or choose another key.")
    row = Connector(key=key, kind=kind, name=name, mapping={}, options={}, created_at=now)
    change(row, **given)
    session.add(row)
    session.flush()
    return row


def change(row: Connector, **given: Any) -> None:
    """Change what is given of a connector; secrets are sealed, the address is checked, the mapping is understood."""
    kind = KINDS[row.kind]
    fixed = {"base_url", "account", "webhook_secrets", "api_secret", "options"} & set(given)
    if row.from_settings and fixed:
        raise Conflict(f"{sorted(fixed)[0]} of the desk {row.key} comes from the settings: change it there.")
    if "mapping" in given:
        mapping_from_json(kind.adapter.Mapping, given["mapping"])
    if given.get("base_url"):
        check_typed_url(given["base_url"], where="base_url", allow=allowed_origins(given["base_url"]))
    if "webhook_secrets" in given:
        kept = [checked_secret(one, "webhook_secrets") for one in given.pop("webhook_secrets")]
        row.webhook_secrets = seal(orjson.dumps(kept).decode()) if kept else None
    if "api_secret" in given:
        secret = given.pop("api_secret")
        row.api_secret = seal(checked_secret(secret, "api_secret")) if secret else None
    for name, value in given.items():
        setattr(row, name, value)
    _check_options(row, kind)


def checked_secret(secret: str, where: str) -> str:
    """Return a secret as it was meant: a line end or blank around it was copied along, one inside is a mistake."""
    found = secret.strip()
    if not found or any(ord(character) < 33 or ord(character) == 127 for character in found.replace(" ", "")):
        raise InvalidInput("This secret is empty or holds a line break or control character.", where=where)
    if "\n" in found or "\r" in found:
        raise InvalidInput("This secret holds a line break: copy it again.", where=where)
    return found


def _check_options(row: Connector, kind: Kind) -> None:
    unknown = sorted(set(row.options) - set(kind.options))
    if unknown:
        known = ", ".join(kind.options) or "none"
        raise InvalidInput(f"A desk of kind {row.kind} has no option {unknown[0]}; it has: {known}.", where="options")
    if any(not isinstance(value, str) or len(value) > 200 for value in row.options.values()):
        raise InvalidInput("Each option is a short text.", where="options")
    if row.kind == "jira" and row.base_url and not row.options.get("project"):
        raise InvalidInput("Jira needs the option project: the key of the project, such as CARE.", where="options")


def _is_free(row: Connector | None) -> bool:
    return row is None or row.from_settings


def _given(row: Connector | None, key: str) -> Connector:
    if row is None:
        raise NotFound(f"There is no desk {key[:40]!r}.")
    if row.from_settings:
        raise NotFound(f"The desk {row.key!r} is no longer in the settings.")
    return row


def _of_row(row: Connector) -> Desk:
    secrets: Sequence[str] = orjson.loads(unseal(row.webhook_secrets)) if row.webhook_secrets else ()
    return Desk(
        key=row.key,
        kind=row.kind,
        name=row.name,
        mapping=_mapping(row.kind, row.mapping, row.actor),
        enabled=row.enabled,
        link_back=row.link_back,
        base_url=row.base_url,
        account=row.account or "",
        options=dict(row.options),
        webhook_secrets=tuple(secrets),
        api_secret=unseal(row.api_secret) if row.api_secret else "",
    )


def _with_state(desk: Desk, row: Connector | None) -> Desk:
    """Return a desk of the settings with what an operator said about it."""
    if row is None:
        return desk
    mapping = _mapping(desk.kind, row.mapping, row.actor)
    return replace(desk, name=row.name, mapping=mapping, enabled=row.enabled, link_back=row.link_back)


def _mapping(kind: str, given: Mapping[str, Any], actor: str | None) -> Any:
    """Return the mapping, in which our own account at the desk is one of those who write for us."""
    found = mapping_from_json(KINDS[kind].adapter.Mapping, dict(given))
    own = (actor.strip().lower(),) if actor else ()
    return replace(found, our_actors=(*found.our_actors, *own)) if own else found


def _of_settings() -> dict[str, Desk]:
    settings = get_settings()

    def listed(secret: Any) -> tuple[str, ...]:
        return tuple(part for part in secret.get_secret_value().split(",") if part) if secret else ()

    zendesk_api = (
        {
            "base_url": settings.zendesk_url,
            "account": settings.zendesk_email,
            "api_secret": settings.zendesk_api_token.get_secret_value(),
        }
        if settings.zendesk_url and settings.zendesk_email and settings.zendesk_api_token
        else {}
    )
    found: dict[str, Desk] = {}
    if zendesk_api or settings.zendesk_webhook_secret:
        secrets = listed(settings.zendesk_webhook_secret)
        found["zendesk"] = Desk(
            "zendesk", "zendesk", "Zendesk", _default("zendesk"), from_settings=True, webhook_secrets=secrets,
            **zendesk_api,  # type: ignore[arg-type]
        )  # fmt: skip
    if settings.desk_webhook_secret:
        secrets = listed(settings.desk_webhook_secret)
        found["generic"] = Desk(
            "generic", "generic", "Help desk", _default("generic"), from_settings=True, webhook_secrets=secrets
        )
    return found


@lru_cache
def _default(kind: str) -> Any:
    return KINDS[kind].adapter.Mapping()
