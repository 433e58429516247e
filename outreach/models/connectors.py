"""How a help desk is connected: where it is, how it proves itself, what its words mean, and how far we have read."""

from datetime import datetime
from typing import Any

from outreach.models.base import Base, Mapped, bigint_key, created, json_object, mapped_column


class Connector(Base):
    """One connected help desk; its webhooks arrive at `/webhooks/desks/<key>`.

    `webhook_secrets` and `api_secret` are sealed (`outreach.sealing`). `account` is the user that calls the desk's
    API, `actor` how the desk names that user in its events. `options` are what only this kind of desk needs (a
    project, a group). With `from_settings` address and secrets come from the settings; the row keeps the rest.
    `read_until` is how far the poll has read; `busy_until` is when the desk asked us to come back.
    """

    __tablename__ = "connectors"

    id: Mapped[int] = bigint_key()
    key: Mapped[str] = mapped_column(unique=True)
    kind: Mapped[str]
    name: Mapped[str]
    from_settings: Mapped[bool] = mapped_column(server_default="false", default=False)
    enabled: Mapped[bool] = mapped_column(server_default="true", default=True)
    base_url: Mapped[str | None]
    account: Mapped[str | None]
    webhook_secrets: Mapped[str | None]
    api_secret: Mapped[str | None]
    mapping: Mapped[dict[str, Any]] = json_object()
    options: Mapped[dict[str, Any]] = json_object()
    actor: Mapped[str | None]
    link_back: Mapped[bool] = mapped_column(server_default="false", default=False)
    poll_minutes: Mapped[int] = mapped_column(server_default="5", default=5)
    read_until: Mapped[datetime | None]
    next_poll_at: Mapped[datetime] = created()
    busy_until: Mapped[datetime | None]
    last_event_at: Mapped[datetime | None]
    last_error: Mapped[str | None]
    last_error_at: Mapped[datetime | None]
    created_at: Mapped[datetime] = created()
