"""What other systems are told: who subscribed to what, the events, and each delivery with its attempts."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import ForeignKey, Index, UniqueConstraint, Uuid, text
from sqlalchemy.dialects.postgresql import JSONB

from outreach.models.base import Base, Mapped, bigint_key, created, json_object, mapped_column, word
from outreach.vocabulary import OutgoingState


class Subscriber(Base):
    """An address that is told of events. Its secret is derived from the installation's key and `secret_version`.

    After a rotation the secret before it signs as well until `overlap_until`.
    """

    __tablename__ = "subscribers"

    id: Mapped[int] = bigint_key()
    name: Mapped[str]
    url: Mapped[str]
    events: Mapped[list[Any]] = mapped_column(JSONB)
    secret_version: Mapped[int] = mapped_column(server_default="1", default=1)
    overlap_until: Mapped[datetime | None]
    created_by: Mapped[str]
    created_at: Mapped[datetime] = created()
    disabled_at: Mapped[datetime | None]
    disabled_because: Mapped[str | None]


class OutgoingEvent(Base):
    """Something that happened, written by triggers in the transaction in which it happened.

    Nothing is written while nobody subscribes to its kind. `fanned_out_at`: when its deliveries were made.
    """

    __tablename__ = "outgoing_events"

    id: Mapped[int] = bigint_key()
    public_id: Mapped[UUID] = mapped_column(Uuid, server_default=text("gen_random_uuid()"))
    kind: Mapped[str]
    happened_at: Mapped[datetime] = mapped_column(server_default=text("clock_timestamp()"))
    data: Mapped[dict[str, Any]] = json_object()
    fanned_out_at: Mapped[datetime | None]

    __table_args__ = (Index("ix_outgoing_events_open", "id", postgresql_where=text("fanned_out_at IS NULL")),)


class OutgoingDelivery(Base):
    """One event owed to one subscriber; `attempts` lists what each try answered."""

    __tablename__ = "outgoing_deliveries"

    id: Mapped[int] = bigint_key()
    subscriber_id: Mapped[int] = mapped_column(ForeignKey("subscribers.id", ondelete="CASCADE"))
    event_id: Mapped[int] = mapped_column(ForeignKey("outgoing_events.id", ondelete="CASCADE"), index=True)
    state: Mapped[OutgoingState] = word(OutgoingState, default=OutgoingState.WAITING, server_default="waiting")
    tries: Mapped[int] = mapped_column(server_default="0", default=0)
    next_try_at: Mapped[datetime] = created()
    attempts: Mapped[list[Any]] = mapped_column(JSONB, server_default="[]", default=list)
    created_at: Mapped[datetime] = created()
    done_at: Mapped[datetime | None]

    __table_args__ = (
        UniqueConstraint("subscriber_id", "event_id"),
        Index("ix_outgoing_deliveries_open", "next_try_at", "id", postgresql_where=text("state = 'waiting'")),
    )
