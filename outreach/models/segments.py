"""Rules and the membership ledger: who is in scope, since when, why."""

from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, ForeignKey, Index, PrimaryKeyConstraint, UniqueConstraint, text
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

from outreach.models.base import Base, Mapped, bigint_key, created, json_object, mapped_column, word
from outreach.vocabulary import Grade


def ids() -> Any:
    """Return an array of bigint ids, empty unless told otherwise."""
    return mapped_column(ARRAY(BigInteger), server_default="{}", default=list)


class Segment(Base):
    """A named living question; with `problem_id` it is that problem's scope. `current_version` is in force.

    `built_version` is the version that the ledger stands on: while the two differ, a rebuild is due, and
    until it commits nobody enters or leaves. `due_at` is when time alone next changes somebody's answer.
    `totals` is the number of members per grade as of the newest refresh.
    `drift` is what newer tickets say against the scope (a sentence and its numbers).
    """

    __tablename__ = "segments"

    id: Mapped[int] = bigint_key()
    key: Mapped[str] = mapped_column(unique=True)
    name: Mapped[str]
    problem_id: Mapped[int | None] = mapped_column(ForeignKey("problems.id", ondelete="CASCADE"), unique=True)
    current_version: Mapped[int] = mapped_column(server_default="0", default=0)
    built_version: Mapped[int] = mapped_column(server_default="0", default=0)
    refreshed_at: Mapped[datetime | None]
    due_at: Mapped[datetime | None]
    totals: Mapped[dict[str, Any]] = json_object()
    drift: Mapped[dict[str, Any] | None] = mapped_column(JSONB)
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


class CustomerChange(Base):
    """The queue of customers whose rows changed, filled by statement-level triggers; a sweep takes entries away.

    Without a unique key, so that two writers of one customer never wait for each other.
    """

    __tablename__ = "customer_changes"

    id: Mapped[int] = bigint_key()
    customer_id: Mapped[int]
    at: Mapped[datetime] = created()


class ScopeRejection(Base):
    """A proposed scope that a person refused; `fingerprint` is the rule's, so that it is not proposed again."""

    __tablename__ = "scope_rejections"

    id: Mapped[int] = bigint_key()
    problem_id: Mapped[int] = mapped_column(ForeignKey("problems.id", ondelete="CASCADE"))
    fingerprint: Mapped[str]
    rule: Mapped[dict[str, Any]] = json_object()
    rejected_by: Mapped[str]
    at: Mapped[datetime]

    __table_args__ = (UniqueConstraint("problem_id", "fingerprint"),)


class ProblemCandidate(Base):
    """A common cause found in fresh tickets before anybody opened a problem; settled when taken up or dismissed."""

    __tablename__ = "problem_candidates"

    id: Mapped[int] = bigint_key()
    fingerprint: Mapped[str] = mapped_column(unique=True)
    sentence: Mapped[str]
    rule: Mapped[dict[str, Any]] = json_object()
    numbers: Mapped[dict[str, Any]] = json_object()
    ticket_ids: Mapped[list[int]] = ids()
    proposed_at: Mapped[datetime]
    problem_id: Mapped[int | None] = mapped_column(ForeignKey("problems.id", ondelete="SET NULL"))
    settled_at: Mapped[datetime | None]
    settled_by: Mapped[str | None]
