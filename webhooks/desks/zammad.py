"""Zammad's webhooks, in their default form. https://admin-docs.zammad.org/en/latest/manage/webhook/payload.html

Links between tickets are not in them: name the field that holds the problem's ticket in the mapping.
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
from webhooks.signatures import verify_hub
from webhooks.wire import moment, object_in, text

DEFAULT_STEPS = StepWords(known=("known problem", "known_problem"), workaround=("workaround",), resolved=("closed",))


@dataclass(frozen=True, slots=True)
class Mapping:
    """What your Zammad's words mean.

    A ticket whose `type_field` holds one of `problem_types` is a problem. `steps` lists states and tags.
    `problem_field` holds the problem's ticket number. `our_actors` are the logins that write for us.
    """

    type_field: str = "type"
    problem_types: tuple[str, ...] = ("problem",)
    steps: StepWords = DEFAULT_STEPS
    problem_field: str = "problem"
    our_actors: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "steps", steps_of(self.steps))
        object.__setattr__(self, "problem_types", words(self.problem_types, "problem_types"))
        object.__setattr__(self, "our_actors", words(self.our_actors, "our_actors"))
        object.__setattr__(self, "type_field", name(self.type_field, "type_field"))
        object.__setattr__(self, "problem_field", name(self.problem_field, "problem_field"))


def verify(headers: Headers[str, str], body: bytes, secrets: Sequence[str], now: datetime) -> None:  # noqa: ARG001
    """Refuse unless `X-Hub-Signature` is `sha1=` and right: Zammad offers no other."""
    verify_hub(headers, body, secrets, "sha1", "Zammad webhook token")


def parse(headers: Headers[str, str], body: bytes, mapping: Mapping) -> list[DeskEvent]:
    """Return the one event of a body; its key is the delivery's own id."""
    raw = read_body(body)
    ticket, article = object_in(raw, "ticket"), object_in(raw, "article")
    delivery = next((value for header, value in headers.items() if header.lower() == "x-zammad-delivery"), None)
    key = text(delivery, 200) or content_key(raw)
    own = reference(ticket.get("id"))
    if own is None:
        raise InvalidInput("The webhook holds no ticket.id.", where="ticket.id")
    actor = text(object_in(ticket, "updated_by").get("login"), 320) or text(ticket.get("updated_by"), 320)
    created = ticket.get("article_count") == 1
    tags = words_of(ticket.get("tags"))
    if (actor or "").lower() in mapping.our_actors or (created and OUR_TAG in tags):
        return [ignored(key, raw, actor)]
    occurred_at = moment(ticket.get("updated_at"))
    if (text(ticket.get(mapping.type_field), 100) or "").lower() in mapping.problem_types:
        kind = mapping.steps.step(_state(ticket) | tags, None)
        return [DeskEvent(key, kind, occurred_at, None, _problem(own, ticket, article), actor, raw)]
    kind = DeskEventKind.TICKET_CREATED if created else DeskEventKind.TICKET_UPDATED
    return [DeskEvent(key, kind, occurred_at, _ticket(own, ticket, article, mapping), None, actor, raw)]


def state_of(ticket: dict[str, Any], tags: frozenset[str], mapping: Mapping) -> DeskState:
    """Return what a ticket of the API says now (`expand=true`: names for ids), with its tags, which come apart."""
    own, changed_at = reference(ticket.get("id")) or "", moment(ticket.get("updated_at"))
    if (text(ticket.get(mapping.type_field), 100) or "").lower() in mapping.problem_types:
        return DeskState(own, changed_at, None, _problem(own, ticket, {}), _state(ticket) | tags)
    customer = ticket.get("customer")
    known = {**ticket, "customer": {"email": customer}} if isinstance(customer, str) else ticket
    return DeskState(own, changed_at, _ticket(own, known, {}, mapping))


def _named(value: object) -> str | None:
    """Return the name of a thing that Zammad sends as text or as an object."""
    return text(value.get("name"), 200) if isinstance(value, dict) else text(value, 200)


def _state(ticket: dict[str, Any]) -> frozenset[str]:
    return words_of([_named(ticket.get("state"))])


def _ticket(own: str, ticket: dict[str, Any], article: dict[str, Any], mapping: Mapping) -> DeskTicket:
    customer = object_in(ticket, "customer")
    names = [text(customer.get(one), 100) for one in ("firstname", "lastname")]
    return DeskTicket(
        reference=own,
        subject=text(ticket.get("title")),
        body=long_text(article.get("body")),
        status=_named(ticket.get("state")),
        priority=_named(ticket.get("priority")),
        requester_email=text(customer.get("email"), 320),
        requester_phone=text(customer.get("phone"), 64) or text(customer.get("mobile"), 64),
        requester_reference=text(customer.get("id"), 200),
        requester_name=" ".join(one for one in names if one) or None,
        opened_at=moment(ticket.get("created_at")),
        solved_at=moment(ticket.get("close_at")),
        problem_reference=reference(ticket.get(mapping.problem_field)) if mapping.problem_field else None,
        attributes={"number": text(ticket.get("number"), 100), "group": _named(ticket.get("group"))},
    )


def _problem(own: str, ticket: dict[str, Any], article: dict[str, Any]) -> DeskProblem:
    return DeskProblem(
        reference=own,
        title=text(ticket.get("title")),
        summary=long_text(article.get("body")),
        severity=(_named(ticket.get("priority")) or "").lower() or None,
        department=_named(ticket.get("group")),
        attributes={"number": text(ticket.get("number"), 100)},
    )
