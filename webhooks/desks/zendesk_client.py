"""What we ask of Zendesk, over its Support API. https://developer.zendesk.com/api-reference/ticketing/introduction/"""

import base64
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from urllib.parse import quote

from outreach.errors import Unavailable
from webhooks.desks.base import OUR_TAG, DeskTicket
from webhooks.desks.http import DeskApi
from webhooks.desks.zendesk import Mapping, ticket_of
from webhooks.wire import object_in, text

_MOST_PAGES = 1000


@dataclass(frozen=True, slots=True)
class ZendeskClient:
    """A `DeskClient`; tickets that we open carry our key as external_id, and the tag that marks them as ours."""

    api: DeskApi
    mapping: Mapping = field(default_factory=Mapping)

    def open_ticket(
        self, subject: str, body: str, requester_email: str, problem_reference: str | None, key: str
    ) -> str:
        """Open a ticket once per key: what we opened before a crash is found by its external_id."""
        found = self.api.call("GET", "/api/v2/tickets.json", query={"external_id": key})
        earlier = [ticket for ticket in _list(found, "tickets") if ticket.get("external_id") == key]
        if earlier:
            return _reference(earlier[0])
        ticket: dict[str, Any] = {
            "subject": subject,
            "comment": {"body": body, "public": True},
            "requester": {"email": requester_email, "name": requester_email.partition("@")[0]},
            "external_id": key,
            "tags": [OUR_TAG],
        }
        if problem_reference:
            ticket |= {"type": "incident", "problem_id": _number(problem_reference)}
        # Zendesk keeps the answer of an idempotency key for two hours: it closes the race, external_id the rest.
        answer = self.api.call(
            "POST", "/api/v2/tickets.json", payload={"ticket": ticket}, headers={"Idempotency-Key": key}
        )
        return _reference(object_in(answer, "ticket"))

    def comment(self, reference: str, body: str, public: bool) -> None:
        """Add a comment to a ticket."""
        self._update(reference, {"comment": {"body": body, "public": public}})

    def solve(self, reference: str, body: str) -> None:
        """Solve a ticket with a public comment."""
        self._update(reference, {"status": "solved", "comment": {"body": body, "public": True}})

    def fetch(self, reference: str) -> DeskTicket:
        """Return the ticket with its requester."""
        answer = self.api.call("GET", f"/api/v2/tickets/{quote(reference, safe='')}.json", query={"include": "users"})
        return self._ticket(object_in(answer, "ticket"), _list(answer, "users"))

    def list_since(self, when: datetime) -> Iterator[DeskTicket]:
        """Yield the tickets that changed since `when`, by the incremental export with cursors."""
        query = {"start_time": str(int(when.timestamp())), "include": "users"}
        for _ in range(_MOST_PAGES):
            answer = self.api.call("GET", "/api/v2/incremental/tickets/cursor.json", query=query)
            users = _list(answer, "users")
            for ticket in _list(answer, "tickets"):
                yield self._ticket(ticket, users)
            cursor = text(object_in(answer).get("after_cursor"))
            if cursor is None or object_in(answer).get("end_of_stream"):
                return
            query = {"cursor": cursor, "include": "users"}

    def _update(self, reference: str, change: dict[str, Any]) -> None:
        self.api.call("PUT", f"/api/v2/tickets/{quote(reference, safe='')}.json", payload={"ticket": change})

    def _ticket(self, ticket: dict[str, Any], users: list[dict[str, Any]]) -> DeskTicket:
        requester = next((user for user in users if user.get("id") == ticket.get("requester_id")), {})
        values = {
            **ticket,
            "ticket_id": ticket.get("id"),
            "requester_email": requester.get("email"),
            "requester_phone": requester.get("phone"),
            "requester_name": requester.get("name"),
        }
        _reference(ticket)
        return ticket_of(values, self.mapping)


def connect(base_url: str, email: str, api_token: str, allow: Collection[str] = ()) -> ZendeskClient:
    """Return the client of one Zendesk, for the agent whose API token it is."""
    credentials = base64.b64encode(f"{email}/token:{api_token}".encode()).decode()
    return ZendeskClient(DeskApi(base_url, {"Authorization": f"Basic {credentials}"}, allow))


def _reference(ticket: dict[str, Any]) -> str:
    found = text(ticket.get("id"), 200)
    if found is None:
        raise Unavailable("Zendesk answered without the id of the ticket.")
    return found


def _list(answer: object, name: str) -> list[dict[str, Any]]:
    found = answer.get(name) if isinstance(answer, dict) else None
    return [item for item in found if isinstance(item, dict)] if isinstance(found, list) else []


def _number(reference: str) -> int | str:
    return int(reference) if reference.isascii() and reference.isdigit() else reference
