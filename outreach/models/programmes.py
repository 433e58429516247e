"""Programmes: plans of steps over a segment, who is in them, and one row for each occurrence that is due.

No foreign keys on the bulk tables (enrolments, programme_dues): their rows come only from INSERT … SELECT.
"""

from datetime import date, datetime
from typing import Any

from sqlalchemy import Date, ForeignKey, Index, PrimaryKeyConstraint, SmallInteger, UniqueConstraint, text

from outreach.models.base import Base, Mapped, bigint_key, created, json_object, mapped_column, word
from outreach.vocabulary import DueState, ProgrammeKind, ProgrammeState


class Programme(Base):
    """A named plan. `enrolled_through` is the newest entry of the membership ledger that enrolment has seen."""

    __tablename__ = "programmes"

    id: Mapped[int] = bigint_key()
    key: Mapped[str] = mapped_column(unique=True)
    name: Mapped[str]
    kind: Mapped[ProgrammeKind] = word(ProgrammeKind)
    state: Mapped[ProgrammeState] = word(ProgrammeState, default=ProgrammeState.DRAFT, server_default="draft")
    segment_id: Mapped[int | None] = mapped_column(ForeignKey("segments.id"))
    current_version: Mapped[int] = mapped_column(server_default="0", default=0)
    enrolled_through: Mapped[int] = mapped_column(server_default="0", default=0)
    created_by: Mapped[str]
    created_at: Mapped[datetime] = created()
    activated_at: Mapped[datetime | None]


class ProgrammeVersion(Base):
    """One immutable wording of a programme (`campaigns.programmes.steps.Definition` as JSON)."""

    __tablename__ = "programme_versions"

    id: Mapped[int] = bigint_key()
    programme_id: Mapped[int] = mapped_column(ForeignKey("programmes.id", ondelete="CASCADE"))
    version: Mapped[int]
    definition: Mapped[dict[str, Any]] = json_object()
    author: Mapped[str]
    created_at: Mapped[datetime] = created()

    __table_args__ = (UniqueConstraint("programme_id", "version"),)


class ProgrammeCampaign(Base):
    """The campaign through which one message step speaks; one per problem for programmes after a resolution."""

    __tablename__ = "programme_campaigns"

    version_id: Mapped[int] = mapped_column(ForeignKey("programme_versions.id", ondelete="CASCADE"))
    step: Mapped[int] = mapped_column(SmallInteger)
    problem_id: Mapped[int] = mapped_column(server_default="0", default=0)
    campaign_id: Mapped[int] = mapped_column(ForeignKey("campaigns.id", ondelete="CASCADE"), unique=True)
    survey_id: Mapped[int | None] = mapped_column(ForeignKey("surveys.id"))

    __table_args__ = (PrimaryKeyConstraint("version_id", "step", "problem_id"),)


class Enrolment(Base):
    """One customer (and item, or problem: `subject_id`, else 0) in a programme, until `left_at`.

    `anchor_date` is the day, where the customer lives, from which occurrences are counted; due rows are there for
    all occurrences up to `scheduled_through`.
    """

    __tablename__ = "enrolments"

    id: Mapped[int] = bigint_key()
    programme_id: Mapped[int]
    version_id: Mapped[int]
    customer_id: Mapped[int]
    subject_id: Mapped[int] = mapped_column(server_default="0", default=0)
    anchor_date: Mapped[date] = mapped_column(Date)
    scheduled_through: Mapped[date] = mapped_column(Date)
    entered_at: Mapped[datetime]
    left_at: Mapped[datetime | None]
    exit_reason: Mapped[str | None]

    __table_args__ = (
        Index(
            "uq_enrolments_current",
            "programme_id",
            "customer_id",
            "subject_id",
            unique=True,
            postgresql_where=text("left_at IS NULL"),
        ),
        Index(
            "ix_enrolments_to_schedule", "programme_id", "scheduled_through", postgresql_where=text("left_at IS NULL")
        ),
        Index("ix_enrolments_customer_id", "customer_id", "programme_id", "subject_id"),
        {"postgresql_with": {"fillfactor": 80}},
    )


class ProgrammeDue(Base):
    """One occurrence for one customer and subject, and how far it has come: `step` is due at `wake_at`.

    `occurrence` is the day that the schedule names, as the number YYYYMMDD; `due_at` is when it starts after business
    days and spreading. `campaign_id` is set once something was said.
    """

    __tablename__ = "programme_dues"

    id: Mapped[int] = bigint_key()
    programme_id: Mapped[int]
    version_id: Mapped[int]
    enrolment_id: Mapped[int]
    customer_id: Mapped[int]
    subject_id: Mapped[int] = mapped_column(server_default="0", default=0)
    occurrence: Mapped[int]
    due_at: Mapped[datetime]
    zone: Mapped[str]
    step: Mapped[int] = mapped_column(SmallInteger, server_default="0", default=0)
    wake_at: Mapped[datetime]
    state: Mapped[DueState] = word(DueState, default=DueState.OPEN, server_default="open")
    reason: Mapped[str | None]
    held_since: Mapped[datetime | None]
    started_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None]
    campaign_id: Mapped[int | None]

    __table_args__ = (
        UniqueConstraint(
            "programme_id", "customer_id", "subject_id", "occurrence", name="uq_programme_dues_occurrence"
        ),
        Index("ix_programme_dues_open", "version_id", "step", "wake_at", postgresql_where=text("state = 'open'")),
        Index("ix_programme_dues_enrolment_id", "enrolment_id", "due_at", postgresql_where=text("state = 'open'")),
        {"postgresql_with": {"fillfactor": 70}},
    )
