"""Emails to the people who work here, when a campaign of theirs needs them."""

from datetime import datetime

from sqlalchemy import Index, SmallInteger, text

from outreach.models.base import Base, Mapped, bigint_key, created, mapped_column


class OwnerLetter(Base):
    """One email to one operator; `due_at` is when to try (again), `sent_at` that a provider took it.

    It says nothing of customers, and twice is better than never: a crash between call and note sends it again.
    """

    __tablename__ = "owner_letters"

    id: Mapped[int] = bigint_key()
    campaign_key: Mapped[str]
    address: Mapped[str]
    said: Mapped[str]
    written_at: Mapped[datetime] = created()
    due_at: Mapped[datetime] = created()
    tries: Mapped[int] = mapped_column(SmallInteger, server_default="0", default=0)
    sent_at: Mapped[datetime | None]
    detail: Mapped[str | None]

    __table_args__ = (Index("ix_owner_letters_open", "due_at", postgresql_where=text("sent_at IS NULL")),)
