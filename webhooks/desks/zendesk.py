"""Zendesk's webhooks: ticket events, and triggers with a body that you write. What we ask: `zendesk_client.py`.

https://developer.zendesk.com/api-reference/webhooks/event-types/ticket-events and
https://developer.zendesk.com/documentation/webhooks/verifying/

Body of a trigger (names can be changed in the mapping):
    {"ticket_id": "{{ticket.id}}", "status": "{{ticket.status}}", "type": "{{ticket.ticket_type}}",
     "subject": "{{ticket.title}}", "description": "{{ticket.description}}", "priority": "{{ticket.priority}}",
     "tags": "{{ticket.tags}}", "problem_id": "{{ticket.problem_id}}",
     "updated_at": "{{ticket.updated_at_with_timestamp}}",
     "requester_email": "{{ticket.requester.email}}", "requester_phone": "{{ticket.requester.phone}}",
     "requester_name": "{{ticket.requester.name}}", "requester_id": "{{ticket.requester.id}}",
     "actor_id": "{{current_user.id}}"}
"""

from collections.abc import Mapping as Headers
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from outreach.errors import InvalidInput
from webhooks.desks.base import OUR_TAG, DeskEvent, DeskEventKind, DeskProblem, DeskState, DeskTicket
from webhooks.desks.problem_steps import StepWords, steps_of
from webhooks.desks.reading import content_key, ignored, long_text, name, read_body, reference, words, words_of
from webhooks.signatures import hmac_base64, require_match, require_recent, single_header, usable
from webhooks.wire import digest, moment, object_in, text

SIGNATURE = "X-Zendesk-Webhook-Signature"
TIMESTAMP = "X-Zendesk-Webhook-Signature-Timestamp"

_FIELDS = (
    *("ticket_id", "status", "type", "subject", "description", "priority", "tags", "problem_id", "created_at"),
    *("updated_at", "requester_email", "requester_phone", "requester_name", "requester_id", "actor_id"),
)
TRIGGER_FIELDS: dict[str, str] = {one: one for one in _FIELDS}
DEFAULT_STEPS = StepWords(
    known=("known_problem",), workaround=("workaround",), resolved=("solved", "closed"), reopened=("reopened",)
)


@dataclass(frozen=True, slots=True)
class Mapping:
    """What your Zendesk's words mean.

    Tickets of `problem_types` are problems, all others are customers' cases. `steps` lists statuses (also ids of
    custom statuses) and tags. `our_actors` are the ids of the agents that write for us. `trigger_fields` says
    under which name your trigger sends each of our fields.
    """

    problem_types: tuple[str, ...] = ("problem",)
    steps: StepWords = DEFAULT_STEPS
    our_actors: tuple[str, ...] = ()
    trigger_fields: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "steps", steps_of(self.steps))
        object.__setattr__(self, "problem_types", words(self.problem_types, "problem_types"))
        object.__setattr__(self, "our_actors", words(self.our_actors, "our_actors"))
        unknown = sorted(set(self.trigger_fields) - set(TRIGGER_FIELDS))
        if unknown:
            raise InvalidInput(f"trigger_fields knows no {unknown[0]}; it knows {', '.join(TRIGGER_FIELDS)}.")
        named = {ours: name(theirs, f"trigger_fields.{ours}") for ours, theirs in self.trigger_fields.items()}
        object.__setattr__(self, "trigger_fields", {**TRIGGER_FIELDS, **named})


def verify(headers: Headers[str, str], body: bytes, secrets: Sequence[str], now: datetime) -> None:
    """Refuse unless the signature over timestamp and body is right and not older than 5 minutes."""
    accepted = usable(secrets, "Zendesk webhook secret")
    given, timestamp = single_header(headers, SIGNATURE), single_header(headers, TIMESTAMP)
    signed = timestamp.encode("utf-8", "replace") + body
    require_match(given, [hmac_base64(secret, signed) for secret in accepted], SIGNATURE)
    require_recent(timestamp, now, TIMESTAMP)


def parse(headers: Headers[str, str], body: bytes, mapping: Mapping) -> list[DeskEvent]:
    """Return the one event of a body; its key is the id of the event or, of a trigger, of the invocation."""
    raw = read_body(body)
    if (text(raw.get("type"), 200) or "").startswith("zen:event-type:"):
        return [_ticket_event(raw, mapping)]
    invocation = next((v for k, v in headers.items() if k.lower() == "x-zendesk-webhook-invocation-id"), None)
    return [_trigger(raw, mapping, text(invocation, 200))]


def _ticket_event(raw: dict[str, Any], mapping: Mapping) -> DeskEvent:
    detail, change = object_in(raw, "detail"), object_in(raw, "event")
    what = str(raw["type"]).rpartition(".")[2][:100]
    key = text(raw.get("id"), 200) or content_key(raw)
    own = reference(detail.get("id")) or (text(raw.get("subject"), 200) or "").rpartition(":")[2]
    actor = text(detail.get("actor_id"), 100)
    if not own or not str(raw["type"]).startswith("zen:event-type:ticket."):
        return ignored(key, raw, actor)
    linked = reference(change.get("current")) if what == "problem_link_changed" else None
    values = {
        "ticket_id": own,
        "requester_id": detail.get("requester_id"),
        "problem_id": linked or detail.get("problem_id"),
        **{one: detail.get(one) for one in ("status", "type", "subject", "description", "priority", "tags")},
        **{one: detail.get(one) for one in ("created_at", "updated_at", "external_id")},
    }
    now, before = _words_around(detail, change, what)
    return _event(key, values, mapping, _Change(what == "created", now, before), raw, actor, moment(raw.get("time")))


def _trigger(raw: dict[str, Any], mapping: Mapping, invocation: str | None) -> DeskEvent:
    values = {ours: raw.get(theirs) for ours, theirs in mapping.trigger_fields.items() if theirs}
    if reference(values.get("ticket_id")) is None:
        field_name = mapping.trigger_fields["ticket_id"]
        raise InvalidInput(f"The trigger sent no {field_name}: add it to its body, or map it.", where=field_name)
    updated_at = values.get("updated_at")
    same_change = digest("trigger", values["ticket_id"], updated_at, values.get("status")) if updated_at else None
    key = invocation or same_change or content_key(raw)
    now = words_of(values.get("tags")) | words_of([values.get("status")])
    actor = text(values.get("actor_id"), 100)
    return _event(key, values, mapping, _Change(False, now, None), raw, actor, moment(updated_at))


@dataclass(frozen=True, slots=True)
class _Change:
    created: bool
    now: frozenset[str]
    before: frozenset[str] | None


def _event(
    key: str,
    values: dict[str, Any],
    mapping: Mapping,
    change: _Change,
    raw: dict[str, Any],
    actor: str | None,
    occurred_at: datetime | None,
) -> DeskEvent:
    """Return the event: ours are echoes, problems make a step or nothing, tickets are created or updated."""
    opened_by_us = change.created and OUR_TAG in words_of(values.get("tags"))
    if opened_by_us or (actor or "").lower() in mapping.our_actors:
        return ignored(key, raw, actor)
    if (text(values.get("type"), 50) or "").lower() in mapping.problem_types:
        kind = mapping.steps.step(change.now, change.before)
        return DeskEvent(key, kind, occurred_at, None, _problem(values), actor, raw)
    kind = DeskEventKind.TICKET_CREATED if change.created else DeskEventKind.TICKET_UPDATED
    return DeskEvent(key, kind, occurred_at, ticket_of(values, mapping), None, actor, raw)


def _words_around(
    detail: dict[str, Any], change: dict[str, Any], what: str
) -> tuple[frozenset[str], frozenset[str] | None]:
    """Return the status and tag words after and before a change; before is None where Zendesk does not say."""
    now = words_of([detail.get("status"), detail.get("custom_status")]) | words_of(detail.get("tags"))
    if what in ("status_changed", "custom_status_changed"):
        current, previous = words_of([change.get("current")]), words_of([change.get("previous")])
        return now | current, (now - current) | previous
    if what == "tags_changed":
        added = words_of(change.get("tags_added") or change.get("added"))
        removed = words_of(change.get("tags_removed") or change.get("removed"))
        return now | added, (now - added) | removed
    # Another field changed: the words are as they were, so nothing happened to the problem.
    return now, None if what == "created" else now


def state_of(values: dict[str, Any], mapping: Mapping) -> DeskState:
    """Return what flat fields say of a ticket now, be it a problem or a customer's case."""
    own, changed_at = str(reference(values.get("ticket_id"))), moment(values.get("updated_at"))
    if (text(values.get("type"), 50) or "").lower() in mapping.problem_types:
        words = words_of([values.get("status"), values.get("custom_status_id")]) | words_of(values.get("tags"))
        return DeskState(own, changed_at, None, _problem(values), words)
    return DeskState(own, changed_at, ticket_of(values, mapping))


def ticket_of(values: dict[str, Any], mapping: Mapping) -> DeskTicket:
    """Return the ticket that flat fields describe; solved at the time of the update when its status says so."""
    status = text(values.get("status"), 100)
    solved = status is not None and status.lower() in mapping.steps.resolved
    return DeskTicket(
        reference=str(reference(values.get("ticket_id"))),
        subject=text(values.get("subject")),
        body=long_text(values.get("description")),
        status=status.lower() if status else None,
        priority=(text(values.get("priority"), 100) or "").lower() or None,
        requester_email=text(values.get("requester_email"), 320),
        requester_phone=text(values.get("requester_phone"), 64),
        requester_reference=text(values.get("requester_id"), 200),
        requester_name=text(values.get("requester_name"), 200),
        opened_at=moment(values.get("created_at")),
        solved_at=moment(values.get("updated_at")) if solved else None,
        problem_reference=reference(values.get("problem_id")),
        attributes={"tags": sorted(words_of(values.get("tags")))},
    )


def _problem(values: dict[str, Any]) -> DeskProblem:
    return DeskProblem(
        reference=str(reference(values.get("ticket_id"))),
        title=text(values.get("subject")),
        summary=long_text(values.get("description")),
        severity=(text(values.get("priority"), 100) or "").lower() or None,
        attributes={"tags": sorted(words_of(values.get("tags")))},
    )
