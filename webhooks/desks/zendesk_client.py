"""What we ask of Zendesk, over its Support API. https://developer.zendesk.com/api-reference/ticketing/introduction/"""

import base64
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from urllib.parse import quote

from outreach.errors import Unavailable
from webhooks.desks.base import OUR_TAG, DeskState
from webhooks.desks.http import DeskApi, list_in
from webhooks.desks.zendesk import Mapping, state_of
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
        earlier = [ticket for ticket in list_in(found, "tickets") if ticket.get("external_id") == key]
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
        """Solve a ticket with a public comment; a closed one can no longer be changed, nor need it."""
        answer = self.api.call("GET", f"/api/v2/tickets/{quote(reference, safe='')}.json")
        if text(object_in(answer, "ticket").get("status")) in ("solved", "closed"):
            return
        self._update(reference, {"status": "solved", "comment": {"body": body, "public": True}})

    def add_link(self, reference: str, url: str, title: str) -> None:
        """Put a link into an internal comment: Zendesk's tickets have no field for one."""
        self.comment(reference, f"{title}\n{url}", public=False)

    def who_am_i(self) -> str:
        """Return the id of the agent whose token we use."""
        return _reference(object_in(self.api.call("GET", "/api/v2/users/me.json"), "user"))

    def fetch(self, reference: str) -> DeskState:
        """Return the ticket with its requester."""
        answer = self.api.call("GET", f"/api/v2/tickets/{quote(reference, safe='')}.json", query={"include": "users"})
        return self._ticket(object_in(answer, "ticket"), list_in(answer, "users"))

    def list_since(self, when: datetime) -> Iterator[DeskState]:
        """Yield the tickets that changed since `when`, by the incremental export with cursors."""
        query = {"start_time": str(int(when.timestamp())), "include": "users"}
        for _ in range(_MOST_PAGES):
            answer = self.api.call("GET", "/api/v2/incremental/tickets/cursor.json", query=query)
            users = list_in(answer, "users")
            for ticket in list_in(answer, "tickets"):
                yield self._ticket(ticket, users)
            cursor = text(object_in(answer).get("after_cursor"))
            if cursor is None or object_in(answer).get("end_of_stream"):
                return
            query = {"cursor": cursor, "include": "users"}

    def _update(self, reference: str, change: dict[str, Any]) -> None:
        self.api.call("PUT", f"/api/v2/tickets/{quote(reference, safe='')}.json", payload={"ticket": change})

    def _ticket(self, ticket: dict[str, Any], users: list[dict[str, Any]]) -> DeskState:
        requester = next((user for user in users if user.get("id") == ticket.get("requester_id")), {})
        values = {
            **ticket,
            "ticket_id": ticket.get("id"),
            "requester_email": requester.get("email"),
            "requester_phone": requester.get("phone"),
            "requester_name": requester.get("name"),
        }
        _reference(ticket)
        return state_of(values, self.mapping)


def connect(
    base_url: str, account: str, secret: str, *, mapping: Mapping | None = None, allow: Collection[str] = ()
) -> ZendeskClient:
    """Return the client of one Zendesk, for the agent (email) whose API token it is."""
    credentials = base64.b64encode(f"{account}/token:{secret}".encode()).decode()
    return ZendeskClient(DeskApi(base_url, {"Authorization": f"Basic {credentials}"}, allow), mapping or Mapping())


def _reference(ticket: dict[str, Any]) -> str:
    found = text(ticket.get("id"), 200)
    if found is None:
        raise Unavailable("Zendesk answered without the id of the ticket.")
    return found


def _number(reference: str) -> int | str:
    return int(reference) if reference.isascii() and reference.isdigit() else reference
