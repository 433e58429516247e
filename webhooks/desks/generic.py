"""A help desk that speaks our own contract: Standard Webhooks around a small JSON event.

    {"type": "problem.known", "id": "evt-1", "occurred_at": "2026-03-01T09:00:00Z",
     "ticket":  {"id", "subject", "body", "status", "priority", "created_at", "solved_at",
                 "requester": {"id", "email", "phone", "name"}, "problem_id", "attributes": {}},
     "problem": {"id", "title", "summary", "severity", "department", "workaround", "fix",
                 "next_update_by", "fixed_by", "attributes": {}},
     "actor": "who did it"}

Types are `ticket.created`, `ticket.updated` and `problem.` with `known`, `workaround`, `resolved`, `reopened`. A
ticket event needs `ticket.id`, a problem event `problem.id`; everything else may be left out.
"""

from collections.abc import Mapping as Headers
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from outreach.errors import InvalidInput
from webhooks.desks.base import OUR_TAG, DeskEvent, DeskEventKind, DeskProblem, DeskTicket
from webhooks.desks.reading import attributes, ignored, long_text, read_body, reference, words
from webhooks.signatures import verify_standard
from webhooks.wire import moment, object_in, text

KINDS: dict[str, DeskEventKind] = {
    "ticket.created": DeskEventKind.TICKET_CREATED,
    "ticket.updated": DeskEventKind.TICKET_UPDATED,
    "problem.known": DeskEventKind.PROBLEM_KNOWN,
    "problem.workaround": DeskEventKind.PROBLEM_WORKAROUND,
    "problem.resolved": DeskEventKind.PROBLEM_RESOLVED,
    "problem.reopened": DeskEventKind.PROBLEM_REOPENED,
}


@dataclass(frozen=True, slots=True)
class Mapping:
    """Whose events are our own echo: the actors (names or references) that write at the desk for us."""

    our_actors: tuple[str, ...] = (OUR_TAG,)

    def __post_init__(self) -> None:
        object.__setattr__(self, "our_actors", words(self.our_actors, "our_actors"))


def verify(headers: Headers[str, str], body: bytes, secrets: Sequence[str], now: datetime) -> None:
    """Refuse unless one of the Standard Webhooks signatures is right and not older than 5 minutes."""
    verify_standard(headers, body, secrets, now)


def parse(headers: Headers[str, str], body: bytes, mapping: Mapping) -> list[DeskEvent]:
    """Return the one event of a body; its key is the `webhook-id`, the same on every retry."""
    raw = read_body(body)
    delivery = next((value for header, value in headers.items() if header.lower() == "webhook-id"), None)
    key = text(delivery, 200) or text(raw.get("id"), 200)
    if key is None:
        raise InvalidInput("The event has neither a webhook-id header nor an id.", where="id")
    actor = text(raw.get("actor"), 200)
    kind = KINDS.get(text(raw.get("type"), 100) or "")
    if kind is None or (actor or "").lower() in mapping.our_actors:
        return [ignored(key, raw, actor)]
    ticket, problem = _ticket(object_in(raw, "ticket")), _problem(object_in(raw, "problem"))
    needed = "ticket" if kind in (DeskEventKind.TICKET_CREATED, DeskEventKind.TICKET_UPDATED) else "problem"
    if (ticket if needed == "ticket" else problem) is None:
        raise InvalidInput(f"An event of type {text(raw.get('type'))} needs {needed}.id.", where=f"{needed}.id")
    occurred_at = moment(raw.get("occurred_at"))
    return [DeskEvent(key, kind, occurred_at, ticket, problem, actor, raw)]


def _ticket(raw: dict[str, Any]) -> DeskTicket | None:
    own = reference(raw.get("id"))
    if own is None:
        return None
    requester = object_in(raw, "requester")
    return DeskTicket(
        reference=own,
        subject=text(raw.get("subject")),
        body=long_text(raw.get("body")),
        status=text(raw.get("status"), 100),
        priority=text(raw.get("priority"), 100),
        requester_email=text(requester.get("email"), 320),
        requester_phone=text(requester.get("phone"), 64),
        requester_reference=text(requester.get("id"), 200),
        requester_name=text(requester.get("name"), 200),
        opened_at=moment(raw.get("created_at")),
        solved_at=moment(raw.get("solved_at")),
        problem_reference=reference(raw.get("problem_id")),
        attributes=attributes(raw.get("attributes")),
    )


def _problem(raw: dict[str, Any]) -> DeskProblem | None:
    own = reference(raw.get("id"))
    if own is None:
        return None
    return DeskProblem(
        reference=own,
        title=text(raw.get("title")),
        summary=long_text(raw.get("summary")),
        severity=text(raw.get("severity"), 100),
        department=text(raw.get("department"), 200),
        workaround=long_text(raw.get("workaround")),
        fix=long_text(raw.get("fix")),
        next_update_by=moment(raw.get("next_update_by")),
        fixed_by=moment(raw.get("fixed_by")),
        attributes=attributes(raw.get("attributes")),
    )
