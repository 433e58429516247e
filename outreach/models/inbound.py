"""What comes back: raw events kept as they came, and what customers answered."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import ForeignKey, Index, UniqueConstraint, Uuid
from sqlalchemy import text as sql_text  # inside a class that has a column of that name

from outreach.models.base import Base, CompressedBytes, Mapped, bigint_key, created, json_object, mapped_column, word
from outreach.vocabulary import Channel, InboundState, Intent


class InboundEvent(Base):
    """One raw payload, stored once (unique on source and key) and kept; applied later by a worker.

    `body` is stored compressed; `body_bytes` is its length as it came, none where nobody measured it.
    What could not be applied of a body becomes an event of its own, which names the body by `parent_id`.
    """

    __tablename__ = "inbound_events"

    id: Mapped[int] = bigint_key()
    source: Mapped[str]
    key: Mapped[str]
    headers: Mapped[dict[str, Any]] = json_object()
    body: Mapped[bytes] = mapped_column(CompressedBytes)
    body_bytes: Mapped[int | None]
    received_at: Mapped[datetime] = created()
    state: Mapped[InboundState] = word(InboundState, default=InboundState.NEW, server_default="new")
    tries: Mapped[int] = mapped_column(server_default="0", default=0)
    next_try_at: Mapped[datetime] = created()
    applied_at: Mapped[datetime | None]
    error: Mapped[str | None]
    parent_id: Mapped[int | None]

    __table_args__ = (
        UniqueConstraint("source", "key"),
        Index(
            "ix_inbound_events_open",
            "next_try_at",
            "id",
            postgresql_where=sql_text("state IN ('new', 'waiting')"),
        ),
        # Partial, so that what providers send (all but a little) costs nothing more.
        Index("ix_inbound_events_desk", "source", "id", postgresql_where=sql_text("source LIKE 'desk-%'")),
        Index("ix_inbound_events_trouble", "id", postgresql_where=sql_text("state IN ('dead', 'orphan')")),
    )


class Response(Base):
    """A reply and its recorded meaning; without `customer_id` nobody could be matched and a person must look.

    It waits in the inbox while `handled_at` is null, out of sight until `snoozed_until`.
    """

    __tablename__ = "responses"

    id: Mapped[int] = bigint_key()
    channel: Mapped[Channel] = word(Channel)
    sender: Mapped[str]
    text: Mapped[str]
    intent: Mapped[Intent] = word(Intent)
    customer_id: Mapped[int | None] = mapped_column(index=True)
    message_id: Mapped[UUID | None] = mapped_column(Uuid)
    campaign_id: Mapped[int | None] = mapped_column(index=True)
    problem_id: Mapped[int | None] = mapped_column(index=True)
    ticket_id: Mapped[int | None]
    inbound_event_id: Mapped[int | None] = mapped_column(unique=True)
    received_at: Mapped[datetime] = created()
    handled_at: Mapped[datetime | None]
    handled_by: Mapped[str | None]
    assigned_to: Mapped[int | None] = mapped_column(ForeignKey("operators.id", ondelete="SET NULL"))
    snoozed_until: Mapped[datetime | None]

    __table_args__ = (
        Index("ix_responses_waiting", "id", postgresql_where=sql_text("handled_at IS NULL")),
        Index("ix_responses_intent", "intent", "id"),
        Index("ix_responses_sender", "sender", "id", postgresql_where=sql_text("customer_id IS NULL")),
    )


class DeskAction(Base):
    """Something to do at the help desk (open a ticket, comment), done by a worker; `key` makes it happen once."""

    __tablename__ = "desk_actions"

    id: Mapped[int] = bigint_key()
    desk: Mapped[str]
    key: Mapped[str] = mapped_column(unique=True)
    action: Mapped[str]
    payload: Mapped[dict[str, Any]] = json_object()
    created_at: Mapped[datetime] = created()
    next_try_at: Mapped[datetime] = created()
    tries: Mapped[int] = mapped_column(server_default="0", default=0)
    done_at: Mapped[datetime | None]
    result: Mapped[str | None]
    error: Mapped[str | None]

    __table_args__ = (Index("ix_desk_actions_open", "next_try_at", postgresql_where=sql_text("done_at IS NULL")),)
