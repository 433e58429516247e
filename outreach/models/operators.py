"""Who works here: operators, their sessions, API keys, and the record of everything they changed."""

from datetime import datetime
from typing import Any

from sqlalchemy import ForeignKey, Index
from sqlalchemy.dialects.postgresql import JSONB

from outreach.models.base import Base, Mapped, bigint_key, created, json_object, mapped_column, word
from outreach.vocabulary import Role


class Operator(Base):
    """A person who works with Outreach; the password is an Argon2id hash."""

    __tablename__ = "operators"

    id: Mapped[int] = bigint_key()
    email: Mapped[str] = mapped_column(unique=True)
    name: Mapped[str]
    role: Mapped[Role] = word(Role)
    password_hash: Mapped[str]
    failed_logins: Mapped[int] = mapped_column(server_default="0", default=0)
    locked_until: Mapped[datetime | None]
    created_at: Mapped[datetime] = created()
    disabled_at: Mapped[datetime | None]


class OperatorSession(Base):
    """A signed-in browser; only the SHA-256 of its token is kept."""

    __tablename__ = "operator_sessions"

    id: Mapped[int] = bigint_key()
    operator_id: Mapped[int] = mapped_column(ForeignKey("operators.id", ondelete="CASCADE"), index=True)
    token_hash: Mapped[str] = mapped_column(unique=True)
    created_at: Mapped[datetime] = created()
    seen_at: Mapped[datetime] = created()
    expires_at: Mapped[datetime]
    revoked_at: Mapped[datetime | None]


class ApiKey(Base):
    """A key for a program; shown once, only prefix and SHA-256 are kept. `permissions` is what it may do."""

    __tablename__ = "api_keys"

    id: Mapped[int] = bigint_key()
    name: Mapped[str]
    prefix: Mapped[str] = mapped_column(unique=True)
    key_hash: Mapped[str] = mapped_column(unique=True)
    permissions: Mapped[list[Any]] = mapped_column(JSONB)
    created_by: Mapped[str]
    created_at: Mapped[datetime] = created()
    used_at: Mapped[datetime | None]
    expires_at: Mapped[datetime | None]
    revoked_at: Mapped[datetime | None]


class AuditEntry(Base):
    """One change, by whom, to what; each entry carries the hash of the one before it. Append-only."""

    __tablename__ = "audit_log"

    id: Mapped[int] = bigint_key()
    at: Mapped[datetime]
    actor: Mapped[str]
    action: Mapped[str]
    subject: Mapped[str]
    detail: Mapped[dict[str, Any]] = json_object()
    previous_hash: Mapped[str]
    hash: Mapped[str]

    __table_args__ = (
        Index("ix_audit_log_subject_id", "subject", "id", postgresql_ops={"subject": "text_pattern_ops"}),
    )


class ClockOffset(Base):
    """How far the demo has moved the clock, in seconds; empty in production."""

    __tablename__ = "clock_offset"

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    seconds: Mapped[float]
