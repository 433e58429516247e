"""What operators write back to customers, one by one."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import Index, SmallInteger, Uuid
from sqlalchemy import text as sql_text

from outreach.models.base import Base, Mapped, mapped_column, word
from outreach.vocabulary import Channel, EventKind, SendState


class OperatorAnswer(Base):
    """What an operator wrote back to a response; its id is chosen by the form, so that pressing twice sends once.

    `tries` numbers the calls: a receipt of an older one changes nothing. `due_at` is when to call, or, for one whose
    outcome is unknown, when to look it up.
    """

    __tablename__ = "operator_answers"

    id: Mapped[UUID] = mapped_column(Uuid, primary_key=True)
    response_id: Mapped[int] = mapped_column(index=True)
    customer_id: Mapped[int | None]
    channel: Mapped[Channel] = word(Channel)
    address: Mapped[str]
    subject: Mapped[str] = mapped_column(server_default="", default="")
    text: Mapped[str]
    written_by: Mapped[str]
    written_at: Mapped[datetime]
    state: Mapped[SendState] = word(SendState, default=SendState.QUEUED, server_default="queued")
    tries: Mapped[int] = mapped_column(SmallInteger, server_default="0", default=0)
    due_at: Mapped[datetime]
    called_at: Mapped[datetime | None]
    provider: Mapped[str | None]
    provider_id: Mapped[str | None]
    detail: Mapped[str | None]
    sent_at: Mapped[datetime | None]
    delivery: Mapped[EventKind | None] = word(EventKind, nullable=True)
    delivery_rank: Mapped[int] = mapped_column(SmallInteger, server_default="0", default=0)

    __table_args__ = (
        Index("ix_operator_answers_customer_id", "customer_id", "written_at"),
        Index(
            "ix_operator_answers_open", "due_at", postgresql_where=sql_text("state IN ('queued', 'sending', 'unknown')")
        ),
    )
