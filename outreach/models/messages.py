"""The ledger of sending: what we owe, how we tried, what a provider said.

No foreign keys: rows come only from INSERT … SELECT of their parents. `messages` leaves three fifths of each
page free and has no index on what sending changes, so that its two updates (sending, accepted) are HOT: with half
free, one row in six of a chunk that is sent whole found no room for the first.
"""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import BigInteger, Index, Integer, PrimaryKeyConstraint, SmallInteger, UniqueConstraint, Uuid, text
from sqlalchemy.dialects.postgresql import ARRAY

from outreach.models.base import Base, Mapped, bigint_key, created, json_object, mapped_column, word
from outreach.models.segments import ids
from outreach.vocabulary import AttemptState, Channel, ChunkState, EventKind, Grade, NoticeState, SendState


class Notice(Base):
    """What we owe one recipient for one occurrence; `reason` is a `SkipReason` where it was not delivered.

    `shared_with` is the notice that reaches the same address, where this one was skipped for that reason.
    """

    __tablename__ = "notices"

    id: Mapped[int] = bigint_key()
    campaign_id: Mapped[int]
    customer_id: Mapped[int]
    occurrence: Mapped[int] = mapped_column(server_default="0", default=0)
    grade: Mapped[Grade] = word(Grade)
    evidence_items: Mapped[list[int]] = ids()
    evidence_orders: Mapped[list[int]] = ids()
    evidence_tickets: Mapped[list[int]] = ids()
    state: Mapped[NoticeState] = word(NoticeState, default=NoticeState.OWED)
    reason: Mapped[str | None]
    created_at: Mapped[datetime] = created()
    settled_at: Mapped[datetime | None]
    wave: Mapped[int] = mapped_column(SmallInteger, server_default="0", default=0)
    shared_with: Mapped[int | None]

    __table_args__ = (
        UniqueConstraint("campaign_id", "customer_id", "occurrence"),
        Index("ix_notices_customer_id", "customer_id"),
        Index("ix_notices_shared_with", "shared_with", postgresql_where=text("shared_with IS NOT NULL")),
        {"postgresql_with": {"fillfactor": 70}},
    )


class Chunk(Base):
    """Up to 1000 messages of one campaign, channel, content version and send slot: what a worker claims.

    A retry forms a new chunk with `tries` one higher. `fence` rises with each claim; a receipt with an older
    fence changes nothing.
    `check_at` is when somebody must look which of its messages need the next channel.
    `zones` (time zones, parted by commas) and `closes_at` are there where quiet hours bind the chunk: it may be
    sent from `due_at` until `closes_at`, then it waits for the next morning. A `held` chunk waits for its wave.
    `given_back` counts the claims that a worker ended itself, without a call: they speak against no message.
    """

    __tablename__ = "chunks"

    id: Mapped[int] = bigint_key()
    campaign_id: Mapped[int]
    channel: Mapped[Channel] = word(Channel)
    template_version: Mapped[int]
    state: Mapped[ChunkState] = word(ChunkState, default=ChunkState.READY, server_default="ready")
    due_at: Mapped[datetime]
    size: Mapped[int]
    tries: Mapped[int] = mapped_column(SmallInteger, server_default="0", default=0)
    fence: Mapped[int] = mapped_column(server_default="0", default=0)
    owner: Mapped[str | None]
    leased_until: Mapped[datetime | None]
    finished_at: Mapped[datetime | None]
    check_at: Mapped[datetime | None]
    zones: Mapped[str | None]
    closes_at: Mapped[datetime | None]
    wave: Mapped[int] = mapped_column(SmallInteger, server_default="0", default=0)
    released_at: Mapped[datetime | None]
    given_back: Mapped[int] = mapped_column(SmallInteger, server_default="0", default=0)

    __table_args__ = (
        Index("ix_chunks_check", "check_at", postgresql_where=text("check_at IS NOT NULL")),
        Index("ix_chunks_open", "channel", "due_at", "id", postgresql_where=text("state <> 'done'")),
        Index("ix_chunks_campaign_id", "campaign_id"),
    )


class Message(Base):
    """One attempt to convey a notice on one channel; its id (uuid version 7) travels with the call.

    `cost` is in thousandths of a cent, at the price of the moment at which it was handed over.
    """

    __tablename__ = "messages"

    id: Mapped[UUID] = mapped_column(Uuid, server_default=text("new_message_id()"), primary_key=True)
    notice_id: Mapped[int]
    campaign_id: Mapped[int]
    customer_id: Mapped[int]
    channel: Mapped[Channel] = word(Channel)
    step: Mapped[int] = mapped_column(SmallInteger, server_default="0", default=0)
    attempt: Mapped[int] = mapped_column(SmallInteger, server_default="1", default=1)
    chunk_id: Mapped[int]
    address: Mapped[str]
    send_state: Mapped[SendState] = word(SendState, default=SendState.QUEUED, server_default="queued")
    reason: Mapped[str | None]
    attempt_id: Mapped[int | None]
    provider: Mapped[str | None]
    provider_id: Mapped[str | None]
    delivery: Mapped[EventKind | None] = word(EventKind, nullable=True)
    delivery_rank: Mapped[int] = mapped_column(SmallInteger, server_default="0", default=0)
    delivery_detail: Mapped[str | None]
    late_evidence: Mapped[bool] = mapped_column(server_default="false", default=False)
    sent_at: Mapped[datetime | None]
    delivered_at: Mapped[datetime | None]
    failed_at: Mapped[datetime | None]
    opened_at: Mapped[datetime | None]
    clicked_at: Mapped[datetime | None]
    complained_at: Mapped[datetime | None]
    unsubscribed_at: Mapped[datetime | None]
    replied_at: Mapped[datetime | None]
    cost: Mapped[int | None] = mapped_column(Integer)

    __table_args__ = (
        UniqueConstraint("notice_id", "channel", "attempt"),
        Index("ix_messages_chunk_id", "chunk_id"),
        Index("ix_messages_campaign_id", "campaign_id"),
        # Who else lives there: customers have no index on their postal address, and postcards are few.
        Index("ix_messages_postcards", "campaign_id", "address", postgresql_where=text("channel = 'postcard'")),
        {"postgresql_with": {"fillfactor": 40}},
    )


class Attempt(Base):
    """One provider call for one or many messages, committed before the call is made."""

    __tablename__ = "attempts"

    id: Mapped[int] = bigint_key()
    chunk_id: Mapped[int]
    fence: Mapped[int]
    provider: Mapped[str]
    message_ids: Mapped[list[UUID]] = mapped_column(ARRAY(Uuid))
    state: Mapped[AttemptState] = word(AttemptState, default=AttemptState.SENDING, server_default="sending")
    started_at: Mapped[datetime] = created()
    leased_until: Mapped[datetime]
    finished_at: Mapped[datetime | None]
    status_code: Mapped[int | None]
    detail: Mapped[str | None]

    __table_args__ = (
        Index(
            "ix_attempts_open",
            "state",
            "leased_until",
            postgresql_where=text("state IN ('sending', 'unknown')"),
        ),
        Index("ix_attempts_chunk_id", "chunk_id"),
    )


class ProviderCircuit(Base):
    """A provider that rests because too many of its calls failed; no row: it works.

    Nobody claims for it until `retry_at`; then one worker tries one message, and the row goes or stays longer.
    """

    __tablename__ = "provider_circuits"

    provider: Mapped[str] = mapped_column(primary_key=True)
    channel: Mapped[Channel] = word(Channel)
    opened_at: Mapped[datetime]
    retry_at: Mapped[datetime]
    failed_tries: Mapped[int] = mapped_column(server_default="0", default=0)
    detail: Mapped[str | None]


class SendingCount(Base):
    """What happens too rarely to be worth a row each, counted for the metrics."""

    __tablename__ = "sending_counts"

    name: Mapped[str] = mapped_column(primary_key=True)
    total: Mapped[int] = mapped_column(BigInteger, server_default="0", default=0)


class DeliveryEvent(Base):
    """One parsed fact about a message; `key` makes it unique however often the provider repeats it."""

    __tablename__ = "delivery_events"

    message_id: Mapped[UUID] = mapped_column(Uuid)
    key: Mapped[str]
    kind: Mapped[EventKind] = word(EventKind)
    at: Mapped[datetime]
    provider: Mapped[str]
    detail: Mapped[str | None]
    inbound_event_id: Mapped[int | None] = mapped_column(BigInteger)
    raw: Mapped[dict[str, Any]] = json_object()

    __table_args__ = (PrimaryKeyConstraint("message_id", "key"),)
