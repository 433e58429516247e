"""How well each customer fares: rules, scores, how they moved, and the work that a drop or a silence opens."""

from datetime import date, datetime
from typing import Any

from sqlalchemy import Date, Index, PrimaryKeyConstraint, SmallInteger, text

from outreach.models.base import Base, Mapped, bigint_key, created, json_object, mapped_column, word
from outreach.vocabulary import HealthBand


class HealthRules(Base):
    """The declared signals with their weights, the bands and what follows (`campaigns.health.rules`); one row."""

    __tablename__ = "health_rules"

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    definition: Mapped[dict[str, Any]] = json_object()
    changed_by: Mapped[str]
    changed_at: Mapped[datetime] = created()


class HealthScore(Base):
    """The newest score (0 to 100) with its contributors: by signal its value (0 to 1), weight and points."""

    __tablename__ = "health_scores"

    customer_id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    score: Mapped[int] = mapped_column(SmallInteger)
    band: Mapped[HealthBand] = word(HealthBand)
    signals: Mapped[dict[str, Any]] = json_object()
    computed_at: Mapped[datetime]
    last_sign_at: Mapped[datetime | None]

    __table_args__ = (
        Index("ix_health_scores_computed_at", "computed_at"),
        Index("ix_health_scores_score", "score"),
        {"postgresql_with": {"fillfactor": 70}},
    )


class HealthTrend(Base):
    """The last score of a day on which it changed."""

    __tablename__ = "health_trends"

    customer_id: Mapped[int]
    day: Mapped[date] = mapped_column(Date)
    score: Mapped[int] = mapped_column(SmallInteger)
    band: Mapped[HealthBand] = word(HealthBand)

    __table_args__ = (PrimaryKeyConstraint("customer_id", "day"),)


class AccountTask(Base):
    """Work for whoever owns the account of a customer: the score dropped, or she fell silent."""

    __tablename__ = "account_tasks"

    id: Mapped[int] = bigint_key()
    customer_id: Mapped[int]
    cause: Mapped[str]
    owner: Mapped[str | None]
    title: Mapped[str]
    detail: Mapped[str] = mapped_column(server_default="", default="")
    opened_at: Mapped[datetime]
    due_at: Mapped[datetime | None]
    done_at: Mapped[datetime | None]
    done_by: Mapped[str | None]

    __table_args__ = (
        Index("uq_account_tasks_open", "customer_id", "cause", unique=True, postgresql_where=text("done_at IS NULL")),
        Index("ix_account_tasks_customer_id", "customer_id", "cause", "opened_at"),
    )


class CustomerNews(Base):
    """The second queue of customers about whom something changed: programmes and health take entries away.

    `customer_changes` is the audiences' own; each reader has a queue, so that neither waits for the other.
    """

    __tablename__ = "customer_news"

    id: Mapped[int] = bigint_key()
    customer_id: Mapped[int]
