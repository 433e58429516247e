"""The problem itself: its life, the tickets that report it, what was promised, who has to mend it."""

from datetime import datetime
from typing import Any

from sqlalchemy import ForeignKey, UniqueConstraint

from outreach.models.base import Base, Mapped, bigint_key, created, json_object, mapped_column, word
from outreach.vocabulary import ProblemState, Severity

# Which states a problem may move to; reopening goes back to known.
PROBLEM_TRANSITIONS: dict[ProblemState, frozenset[ProblemState]] = {
    ProblemState.INVESTIGATING: frozenset({ProblemState.KNOWN, ProblemState.RESOLVED, ProblemState.CLOSED}),
    ProblemState.KNOWN: frozenset({ProblemState.MONITORING, ProblemState.RESOLVED, ProblemState.CLOSED}),
    ProblemState.MONITORING: frozenset({ProblemState.KNOWN, ProblemState.RESOLVED, ProblemState.CLOSED}),
    ProblemState.RESOLVED: frozenset({ProblemState.KNOWN, ProblemState.CLOSED}),
    ProblemState.CLOSED: frozenset({ProblemState.KNOWN}),
}


class Problem(Base):
    """Something wrong that touches customers.

    `desk_changed_at` and `desk_event` name the newest event of the desk that was acted on: older ones come too late.
    """

    __tablename__ = "problems"

    id: Mapped[int] = bigint_key()
    key: Mapped[str] = mapped_column(unique=True)
    title: Mapped[str]
    summary: Mapped[str] = mapped_column(server_default="", default="")
    state: Mapped[ProblemState] = word(ProblemState, default=ProblemState.INVESTIGATING)
    severity: Mapped[Severity] = word(Severity, default=Severity.MEDIUM)
    department: Mapped[str | None]
    workaround: Mapped[str | None]
    fix: Mapped[str | None]
    next_update_by: Mapped[datetime | None]
    fixed_by: Mapped[datetime | None]
    desk: Mapped[str | None]
    desk_reference: Mapped[str | None]
    desk_changed_at: Mapped[datetime | None]
    desk_event: Mapped[str | None]
    attributes: Mapped[dict[str, Any]] = json_object()
    reported_at: Mapped[datetime] = created()
    known_at: Mapped[datetime | None]
    resolved_at: Mapped[datetime | None]
    closed_at: Mapped[datetime | None]

    __table_args__ = (UniqueConstraint("desk", "desk_reference"),)


class ProblemUpdate(Base):
    """One entry of a problem's timeline; a change of state names both states. Append-only."""

    __tablename__ = "problem_updates"

    id: Mapped[int] = bigint_key()
    problem_id: Mapped[int] = mapped_column(ForeignKey("problems.id", ondelete="CASCADE"), index=True)
    from_state: Mapped[ProblemState | None] = word(ProblemState, nullable=True)
    to_state: Mapped[ProblemState | None] = word(ProblemState, nullable=True)
    text: Mapped[str] = mapped_column(server_default="", default="")
    author: Mapped[str]
    at: Mapped[datetime] = created()


class DepartmentTask(Base):
    """Work for the department that owns the cause."""

    __tablename__ = "department_tasks"

    id: Mapped[int] = bigint_key()
    problem_id: Mapped[int] = mapped_column(ForeignKey("problems.id", ondelete="CASCADE"), index=True)
    department: Mapped[str]
    title: Mapped[str]
    detail: Mapped[str] = mapped_column(server_default="", default="")
    due_at: Mapped[datetime | None]
    opened_at: Mapped[datetime] = created()
    done_at: Mapped[datetime | None]


class Ticket(Base):
    """A case at the help desk; telemetry of how far a problem reaches. `changed_at` is the desk's own time."""

    __tablename__ = "tickets"

    id: Mapped[int] = bigint_key()
    desk: Mapped[str]
    external_id: Mapped[str]
    customer_id: Mapped[int | None] = mapped_column(index=True)
    problem_id: Mapped[int | None] = mapped_column(index=True)
    requester_email: Mapped[str | None]
    subject: Mapped[str | None]
    body: Mapped[str | None]
    status: Mapped[str | None]
    priority: Mapped[str | None]
    opened_at: Mapped[datetime | None]
    solved_at: Mapped[datetime | None]
    changed_at: Mapped[datetime | None]
    attributes: Mapped[dict[str, Any]] = json_object()
    updated_at: Mapped[datetime] = created()

    __table_args__ = (UniqueConstraint("desk", "external_id"),)
