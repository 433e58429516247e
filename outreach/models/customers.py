"""Whom we serve, what may be said to them and which addresses are barred."""

from datetime import datetime
from typing import Any

from sqlalchemy import ForeignKey, Index, func, literal_column, text

from outreach.models.base import Base, Mapped, bigint_key, created, json_object, mapped_column, word
from outreach.vocabulary import Channel, NoticeClass, SuppressionReason


class Customer(Base):
    """A person or household we serve; phones are E.164, times UTC, country ISO 3166-1 alpha-2."""

    __tablename__ = "customers"

    id: Mapped[int] = bigint_key()
    external_id: Mapped[str] = mapped_column(unique=True)
    name: Mapped[str | None]
    email: Mapped[str | None] = mapped_column(index=True)
    phone: Mapped[str | None] = mapped_column(index=True)
    locale: Mapped[str | None]
    time_zone: Mapped[str | None]
    address_line1: Mapped[str | None]
    address_line2: Mapped[str | None]
    city: Mapped[str | None]
    region: Mapped[str | None]
    postal_code: Mapped[str | None]
    country: Mapped[str | None]
    attributes: Mapped[dict[str, Any]] = json_object()
    created_at: Mapped[datetime] = created()
    updated_at: Mapped[datetime] = created()
    erased_at: Mapped[datetime | None]

    # Small, so that every audience can afford to leave out the erased.
    __table_args__ = (
        Index("ix_customers_erased", "id", postgresql_where=text("erased_at IS NOT NULL")),
        # For those who know the beginning of a name, whatever the collation.
        Index(
            "ix_customers_name",
            func.lower(literal_column("name")).label("lower_name"),
            postgresql_ops={"lower_name": "text_pattern_ops"},
        ),
        # For those who know a word of it; `name_words` is a function of our own (migration 0131).
        Index(
            "ix_customers_name_words",
            func.array_to_tsvector(func.name_words(literal_column("name"))),
            postgresql_using="gin",
        ),
    )


MARK = "mark:"  # how the address of a ban begins once its owner was erased (`outreach.barred_addresses`)


class Suppression(Base):
    """A standing ban on one address; lifting it keeps the row.

    `created_at` is the moment at which the person acted, `in_force_at` that from which we kept to it.
    """

    __tablename__ = "suppressions"

    id: Mapped[int] = bigint_key()
    channel: Mapped[Channel] = word(Channel)
    address: Mapped[str]
    reason: Mapped[SuppressionReason] = word(SuppressionReason)
    source: Mapped[str]
    created_at: Mapped[datetime] = created()
    in_force_at: Mapped[datetime | None] = mapped_column(server_default=text("clock_timestamp()"))
    lifted_at: Mapped[datetime | None]
    lifted_by: Mapped[str | None]

    __table_args__ = (
        Index(
            "uq_suppressions_channel_address",
            "channel",
            "address",
            unique=True,
            postgresql_where=text("lifted_at IS NULL"),
        ),
        Index("ix_suppressions_address", "address"),
    )

    @property
    def forgotten(self) -> bool:
        """Whether only a mark of the address is left, because its owner was erased."""
        return self.address.startswith(MARK)


class Consent(Base):
    """One act of consent or refusal; the newest by the person's own time holds, refusal wins ties."""

    __tablename__ = "consents"

    id: Mapped[int] = bigint_key()
    customer_id: Mapped[int] = mapped_column(ForeignKey("customers.id", ondelete="CASCADE"), index=True)
    channel: Mapped[Channel] = word(Channel)
    notice_class: Mapped[NoticeClass | None] = word(NoticeClass, nullable=True)
    allowed: Mapped[bool]
    acted_at: Mapped[datetime]
    source: Mapped[str]
    wording: Mapped[str | None]
