"""What the desk tells Outreach: the generic desk's own contract, and Zendesk's event format.

The generic desk (Standard Webhooks signature) sends
`{"type", "id", "occurred_at", "ticket" | "problem"}`; the types are `ticket.created`, `ticket.updated`,
`problem.known`, `problem.workaround`, `problem.resolved` and `problem.reopened`.
"""

import secrets
import uuid
from collections.abc import Mapping
from typing import Any, Protocol

from sandbox.tickets import PROBLEM_FIELDS, Tickets, moment
from sandbox.world import World

KNOWN_TAG = "known_problem"
WORKAROUND_TAG = "workaround"
GENERIC_PATH = "/webhooks/desks/generic"
ZENDESK_PATH = "/webhooks/desks/zendesk"
DESKS = frozenset({"generic", "zendesk", "jira", "servicenow", "freshdesk", "zammad"})


class Teller(Protocol):
    """A desk with its own way of telling."""

    def tell_ticket(self, kind: str, ticket: dict[str, Any], change: Mapping[str, Any], actor: int) -> None:
        """Send the webhook of a ticket that was created or updated."""

    def tell_problem(self, kind: str, ticket: dict[str, Any], problem: dict[str, Any]) -> None:
        """Send the webhook of what became of a problem."""


class DeskEvents:
    """Sends one change as a signed webhook from each desk that is asked for."""

    def __init__(self, world: World, tickets: Tickets) -> None:
        self._world = world
        self._tickets = tickets
        self.tellers: dict[str, Teller] = {}

    @property
    def usual(self) -> frozenset[str]:
        """The desks of the settings."""
        return frozenset(name.strip() for name in self._world.settings.desks.split(",")) & DESKS

    def ticket(
        self, kind: str, ticket: dict[str, Any], desks: frozenset[str], change: dict[str, Any], actor: int
    ) -> None:
        """Tell of a ticket; `kind` is created or updated, `change` maps a Zendesk event to its `event` object.

        `actor` is the desk's user who did it, by which a receiver knows the echo of its own work.
        """
        if "generic" in desks:
            self._generic(f"ticket.{kind}", {"ticket": self._generic_ticket(ticket)})
        if "zendesk" in desks:
            for name, detail in change.items():
                self._zendesk(name, ticket, detail, actor)
        for name in sorted(desks & set(self.tellers)):
            self.tellers[name].tell_ticket(kind, ticket, change, actor)

    def problem(self, kind: str, problem: dict[str, Any], desks: frozenset[str]) -> None:
        """Tell what became of a problem: known, workaround, resolved or reopened.

        Zendesk has no such words: its people tag the problem ticket, solve it and open it again.
        """
        if "generic" in desks:
            self._generic(f"problem.{kind}", {"problem": problem})
        if "zendesk" in desks:
            ticket = self._tickets.by_id[problem["id"]]
            told: dict[str, tuple[str, dict[str, Any]]] = {
                "known": ("tags_changed", {"tags_added": [KNOWN_TAG], "tags_removed": []}),
                "workaround": ("tags_changed", {"tags_added": [WORKAROUND_TAG], "tags_removed": []}),
                "resolved": ("status_changed", {"current": "SOLVED", "previous": "OPEN"}),
                "reopened": ("status_changed", {"current": "OPEN", "previous": "SOLVED"}),
            }
            name, detail = told[kind]
            self._zendesk(name, ticket, detail, ticket["requester_id"])
        for name in sorted(desks & set(self.tellers)):
            self.tellers[name].tell_problem(kind, self._tickets.by_id[problem["id"]], problem)

    def _generic(self, kind: str, content: dict[str, Any]) -> None:
        identity = f"evt_{secrets.token_hex(12)}"
        event = {"type": kind, "id": identity, "occurred_at": moment(), **content}
        sign = self._world.signatures.standard(identity)
        self._world.post_json("desk", GENERIC_PATH, event, sign, 0, identity)

    def _generic_ticket(self, ticket: dict[str, Any]) -> dict[str, Any]:
        user = self._tickets.users[str(ticket["requester_id"])]
        known = {"id": user["external_id"], "email": user["email"], "phone": user["phone"], "name": user["name"]}
        told = {
            "id": str(ticket["id"]),
            "subject": ticket["subject"],
            "body": ticket["description"],
            "status": ticket["status"],
            "priority": ticket["priority"],
            "created_at": ticket["created_at"],
            "solved_at": ticket["_solved_at"],
            "requester": {name: value for name, value in known.items() if value},
            "attributes": ticket["_attributes"],
        }
        return told | ({"problem_id": str(ticket["problem_id"])} if ticket["problem_id"] else {})

    def _zendesk(self, name: str, ticket: dict[str, Any], detail: dict[str, Any], actor: int) -> None:
        invocation = str(uuid.uuid4())
        identity = str(uuid.uuid4())
        event = {
            "type": f"zen:event-type:ticket.{name}",
            "account_id": 1,
            "id": identity,
            "time": moment(),
            "zendesk_event_version": "2022-11-06",
            "subject": f"zen:ticket:{ticket['id']}",
            "detail": {"actor_id": str(actor), **_zendesk_detail(ticket)},
            "event": {**detail, "meta": {"sequence": {"id": secrets.token_hex(16), "position": 1}}},
        }
        sign = self._world.signatures.zendesk(invocation)
        self._world.post_json("desk", ZENDESK_PATH, event, sign, 0, identity)


def new_problem(identity: str, asked: dict[str, Any]) -> dict[str, Any]:
    """Return a problem as the generic desk writes it."""
    attributes = asked.get("attributes") or {}
    return {"id": identity, **{name: asked.get(name) for name in PROBLEM_FIELDS}, "attributes": attributes}


def _zendesk_detail(ticket: dict[str, Any]) -> dict[str, Any]:
    """Write ids as text and states in capitals, as Zendesk's events do (its API does neither)."""

    def text(name: str) -> str | None:
        return None if ticket[name] is None else str(ticket[name])

    def capitals(name: str) -> str | None:
        return None if ticket[name] is None else str(ticket[name]).upper()

    return {
        "assignee_id": text("assignee_id"),
        "brand_id": "1",
        "created_at": ticket["created_at"],
        "custom_status": None,
        "description": ticket["description"],
        "external_id": text("external_id"),
        "form_id": None,
        "group_id": text("group_id"),
        "id": text("id"),
        "is_public": True,
        "organization_id": text("organization_id"),
        "priority": capitals("priority"),
        "requester_id": text("requester_id"),
        "status": capitals("status"),
        "subject": ticket["subject"],
        "submitter_id": text("submitter_id"),
        "tags": ticket["tags"],
        "type": capitals("type"),
        "updated_at": ticket["updated_at"],
        "via": {"channel": "web_service"},
    }
