"""Freshdesk's automation webhooks, in their simple form. They are not signed: a secret travels in a header.

https://support.freshdesk.com/support/solutions/articles/132589-using-webhooks-in-automation-rules
Add the custom header `X-Outreach-Secret` to the webhook, or basic credentials, and tick at least the ticket's id,
subject, description, status, priority, type, tags, requester and update time.
"""

from collections.abc import Mapping as Headers
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from outreach.errors import InvalidInput
from webhooks.desks.base import OUR_TAG, DeskEvent, DeskEventKind, DeskProblem, DeskState, DeskTicket
from webhooks.desks.problem_steps import StepWords, steps_of
from webhooks.desks.reading import content_key, ignored, long_text, name, read_body, reference, words, words_of
from webhooks.signatures import require_match, single_header, usable, verify_basic
from webhooks.wire import digest, moment, object_in, text

SECRET_HEADER = "X-Outreach-Secret"  # noqa: S105
DEFAULT_STEPS = StepWords(
    known=("known_problem", "known problem"), workaround=("workaround",), resolved=("resolved", "closed")
)


@dataclass(frozen=True, slots=True)
class Mapping:
    """What your Freshdesk's words mean.

    Tickets of `problem_types` are problems. `steps` lists statuses (as shown) and tags. `problem_field` is the
    placeholder that holds the problem's ticket id. `our_actors` are the emails of agents that write for us.
    """

    problem_types: tuple[str, ...] = ("problem",)
    steps: StepWords = DEFAULT_STEPS
    problem_field: str = "ticket_cf_problem"
    our_actors: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "steps", steps_of(self.steps))
        object.__setattr__(self, "problem_types", words(self.problem_types, "problem_types"))
        object.__setattr__(self, "our_actors", words(self.our_actors, "our_actors"))
        object.__setattr__(self, "problem_field", name(self.problem_field, "problem_field"))


def verify(headers: Headers[str, str], body: bytes, secrets: Sequence[str], now: datetime) -> None:  # noqa: ARG001
    """Refuse unless the secret header or the basic credentials are right; the body itself is not signed."""
    if any(header.lower() == SECRET_HEADER.lower() for header in headers):
        require_match(single_header(headers, SECRET_HEADER), usable(secrets, "Freshdesk secret"), SECRET_HEADER)
    else:
        verify_basic(headers, secrets, "Freshdesk secret")


def parse(headers: Headers[str, str], body: bytes, mapping: Mapping) -> list[DeskEvent]:  # noqa: ARG001
    """Return the one event of a body; its key is the ticket and its update time, else the content."""
    raw = read_body(body)
    ticket = object_in(raw, "freshdesk_webhook")
    own = reference(_field(ticket, "id"))
    if own is None:
        raise InvalidInput("The webhook holds no ticket_id: tick it in the automation.", where="ticket_id")
    updated_at = _field(ticket, "updated_at")
    trigger = text(ticket.get("triggered_event"), 500) or ""
    changed = (_field(ticket, "status"), _field(ticket, "tags"), _field(ticket, "type"))
    key = digest(own, updated_at, trigger, *changed) if updated_at else content_key(raw)
    actor = text(_field(ticket, "agent_email"), 320)
    created, tags = "ticket_action:created" in trigger.replace(" ", ""), words_of(_field(ticket, "tags"))
    if (created and OUR_TAG in tags) or (text(ticket.get("performed_by"), 320) or "").lower() in mapping.our_actors:
        return [ignored(key, raw, actor)]
    occurred_at = moment(updated_at)
    if (text(_field(ticket, "type"), 100) or "").lower() in mapping.problem_types:
        kind = mapping.steps.step(words_of([_field(ticket, "status")]) | tags, None)
        return [DeskEvent(key, kind, occurred_at, None, _problem(own, ticket, tags), actor, raw)]
    kind = DeskEventKind.TICKET_CREATED if created else DeskEventKind.TICKET_UPDATED
    return [DeskEvent(key, kind, occurred_at, _ticket(own, ticket, tags, mapping), None, actor, raw)]


# The numbers of the API and the words of the webhook. https://developers.freshdesk.com/api/#ticket_attributes
STATUSES = {2: "Open", 3: "Pending", 4: "Resolved", 5: "Closed"}
PRIORITIES = {1: "Low", 2: "Medium", 3: "High", 4: "Urgent"}


def state_of(ticket: dict[str, Any], mapping: Mapping) -> DeskState:
    """Return what a ticket of the API says now, its numbers put into the words of the webhook."""
    requester, status, priority = object_in(ticket, "requester"), ticket.get("status"), ticket.get("priority")
    custom = object_in(ticket, "custom_fields")
    known = {
        **{name: ticket.get(name) for name in ("id", "type", "subject", "tags", "created_at", "updated_at")},
        "description": ticket.get("description_text") or ticket.get("description"),
        "status": STATUSES.get(status, status) if isinstance(status, int) else status,
        "priority": PRIORITIES.get(priority, priority) if isinstance(priority, int) else priority,
        **{f"requester_{name}": requester.get(name) for name in ("email", "phone", "name")},
        mapping.problem_field: custom.get(mapping.problem_field.removeprefix("ticket_")),
    }
    own, tags = reference(known["id"]) or "", words_of(known["tags"])
    if (text(known["type"], 100) or "").lower() in mapping.problem_types:
        words = words_of([known["status"]]) | tags
        return DeskState(own, moment(known["updated_at"]), None, _problem(own, known, tags), words)
    return DeskState(own, moment(known["updated_at"]), _ticket(own, known, tags, mapping))


def _field(ticket: dict[str, Any], field: str) -> object:
    """Return `ticket_<field>`; some installations send the requester's fields without that prefix."""
    return ticket.get(f"ticket_{field}", ticket.get(field))


def _ticket(own: str, ticket: dict[str, Any], tags: frozenset[str], mapping: Mapping) -> DeskTicket:
    status = text(_field(ticket, "status"), 100)
    solved = (status or "").lower() in mapping.steps.resolved
    return DeskTicket(
        reference=own,
        subject=text(_field(ticket, "subject")),
        body=long_text(_field(ticket, "description")),
        status=status,
        priority=text(_field(ticket, "priority"), 100),
        requester_email=text(_field(ticket, "requester_email"), 320),
        requester_phone=text(_field(ticket, "requester_phone"), 64),
        requester_name=text(_field(ticket, "requester_name"), 200),
        opened_at=moment(_field(ticket, "created_at")),
        solved_at=moment(_field(ticket, "updated_at")) if solved else None,
        problem_reference=reference(ticket.get(mapping.problem_field)) if mapping.problem_field else None,
        attributes={"tags": sorted(tags), "product": text(_field(ticket, "product_name"), 200)},
    )


def _problem(own: str, ticket: dict[str, Any], tags: frozenset[str]) -> DeskProblem:
    return DeskProblem(
        reference=own,
        title=text(_field(ticket, "subject")),
        summary=long_text(_field(ticket, "description")),
        severity=(text(_field(ticket, "priority"), 100) or "").lower() or None,
        department=text(_field(ticket, "group_name"), 200),
        attributes={"tags": sorted(tags)},
    )
