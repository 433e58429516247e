"""What every help desk means to us: tickets, problems and what happened to them; and what we ask of a desk.

A desk adapter is a module with
- `verify(headers, body, secrets, now)`, which raises `NotAuthenticated` unless the raw bytes are genuine,
- `Mapping`, the operator's say on which of the desk's words mean what, with a documented default,
- `parse(headers, body, mapping) -> list[DeskEvent]`, pure,
- where the desk has an HTTP API, a class that keeps `DeskClient`.
Order of events is never to be relied on: fetch the ticket before acting on it.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, Protocol

# Everything that we write at a desk carries this tag, so that its echo can be told from a person's work.
OUR_TAG = "outreach"


class DeskEventKind(StrEnum):
    """What happened at the desk, in our words."""

    TICKET_CREATED = "ticket_created"
    TICKET_UPDATED = "ticket_updated"
    PROBLEM_KNOWN = "problem_known"
    PROBLEM_WORKAROUND = "problem_workaround"
    PROBLEM_RESOLVED = "problem_resolved"
    PROBLEM_REOPENED = "problem_reopened"
    IGNORED = "ignored"  # our own echo, or something that does not concern us


@dataclass(frozen=True, slots=True)
class DeskTicket:
    """One customer's case; `problem_reference` is the desk's own reference of the problem behind it."""

    reference: str
    subject: str | None = None
    body: str | None = None
    status: str | None = None
    priority: str | None = None
    requester_email: str | None = None
    requester_phone: str | None = None
    requester_reference: str | None = None
    requester_name: str | None = None
    opened_at: datetime | None = None
    solved_at: datetime | None = None
    problem_reference: str | None = None
    changed_at: datetime | None = None
    attributes: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class DeskProblem:
    """What is wrong, as the desk describes it; only what the desk said is set."""

    reference: str
    title: str | None = None
    summary: str | None = None
    severity: str | None = None
    department: str | None = None
    workaround: str | None = None
    fix: str | None = None
    next_update_by: datetime | None = None
    fixed_by: datetime | None = None
    attributes: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class DeskEvent:
    """One thing that happened at the desk; `key` is the same however often the desk repeats it."""

    key: str
    kind: DeskEventKind
    occurred_at: datetime | None = None
    ticket: DeskTicket | None = None
    problem: DeskProblem | None = None
    actor: str | None = None
    raw: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class DeskState:
    """What a desk's API says of one ticket now. Is it a problem, `problem` describes it and `words` are those by
    which the mapping tells where it stands; else `ticket` is a customer's case.
    """

    reference: str
    changed_at: datetime | None = None
    ticket: DeskTicket | None = None
    problem: DeskProblem | None = None
    words: frozenset[str] = frozenset()


class DeskClient(Protocol):
    """What we ask of a help desk.

    Every method raises `Unavailable` when the same request may succeed later (the desk is down, or asks us to
    slow down), and another `OutreachError` when it never will. Nothing retries inside: the caller re-schedules.
    """

    def open_ticket(
        self, subject: str, body: str, requester_email: str, problem_reference: str | None, key: str
    ) -> str:
        """Open a ticket once per `key` and return the desk's reference of it."""
        ...

    def comment(self, reference: str, body: str, public: bool) -> None:
        """Add a comment; a public one is seen by the customer."""
        ...

    def solve(self, reference: str, body: str) -> None:
        """Solve a ticket with a public last word; one that is solved already is left alone."""
        ...

    def add_link(self, reference: str, url: str, title: str) -> None:
        """Put a link to our page on a ticket, for the agents."""
        ...

    def fetch(self, reference: str) -> DeskState:
        """Return the ticket or problem as it is now, or raise `NotFound`."""
        ...

    def list_since(self, when: datetime) -> Iterable[DeskState]:
        """Yield what changed since `when`, page by page, oldest change first."""
        ...

    def who_am_i(self) -> str:
        """Return how the desk's events name the account whose credentials we use."""
        ...
