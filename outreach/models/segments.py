"""Rules and the membership ledger: who is in scope, since when, why."""

from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, ForeignKey, Index, PrimaryKeyConstraint, UniqueConstraint, text
from sqlalchemy.dialects.postgresql import ARRAY

from outreach.models.base import Base, Mapped, bigint_key, created, json_object, mapped_column, word
from outreach.vocabulary import Grade


def ids() -> Any:
    """Return an array of bigint ids, empty unless told otherwise."""
    return mapped_column(ARRAY(BigInteger), server_default="{}", default=list)


class Segment(Base):
    """A named living question; with `problem_id` it is that problem's scope. `current_version` is in force."""

    __tablename__ = "segments"

    id: Mapped[int] = bigint_key()
    key: Mapped[str] = mapped_column(unique=True)
    name: Mapped[str]
    problem_id: Mapped[int | None] = mapped_column(ForeignKey("problems.id", ondelete="CASCADE"), unique=True)
    current_version: Mapped[int] = mapped_column(server_default="0", default=0)
    refreshed_at: Mapped[datetime | None]
    created_at: Mapped[datetime] = created()


class SegmentVersion(Base):
    """One immutable wording of a segment: a rule per grade (`segments.rules.Definition` as JSON)."""

    __tablename__ = "segment_versions"

    id: Mapped[int] = bigint_key()
    segment_id: Mapped[int] = mapped_column(ForeignKey("segments.id", ondelete="CASCADE"))
    version: Mapped[int]
    definition: Mapped[dict[str, Any]] = json_object()
    sentence: Mapped[str]
    author: Mapped[str]
    created_at: Mapped[datetime] = created()

    __table_args__ = (UniqueConstraint("segment_id", "version"),)


class AudienceMember(Base):
    """The newest state of one customer in one audience, with the evidence that put her there.

    She is in the audience while `left_at` is null. A cleared member stays, with grade `cleared`.
    """

    __tablename__ = "audience_members"

    segment_id: Mapped[int]
    customer_id: Mapped[int]
    grade: Mapped[Grade] = word(Grade)
    version: Mapped[int]
    evidence_items: Mapped[list[int]] = ids()
    evidence_orders: Mapped[list[int]] = ids()
    evidence_tickets: Mapped[list[int]] = ids()
    evidence_events: Mapped[list[int]] = ids()
    entered_at: Mapped[datetime]
    changed_at: Mapped[datetime]
    left_at: Mapped[datetime | None]

    __table_args__ = (
        PrimaryKeyConstraint("segment_id", "customer_id"),
        Index("ix_audience_members_customer_id", "customer_id", postgresql_where=text("left_at IS NULL")),
    )


class AudienceChange(Base):
    """One entry of the membership ledger: entered (no `from_grade`), left (no `to_grade`), or changed. Append-only."""

    __tablename__ = "audience_changes"

    id: Mapped[int] = bigint_key()
    segment_id: Mapped[int]
    customer_id: Mapped[int]
    from_grade: Mapped[Grade | None] = word(Grade, nullable=True)
    to_grade: Mapped[Grade | None] = word(Grade, nullable=True)
    reason: Mapped[str]
    version: Mapped[int]
    at: Mapped[datetime]

    __table_args__ = (Index("ix_audience_changes_segment_id_customer_id_at", "segment_id", "customer_id", "at"),)
