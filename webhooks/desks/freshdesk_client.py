"""What we ask of Freshdesk, over its API, version 2. https://developers.freshdesk.com/api/

Freshdesk has no idempotency key: a ticket that we open carries a tag made of our key, and is looked for among the
requester's own tickets, which are up to date where the search is minutes behind. Bodies are HTML: ours are escaped.
"""

import base64
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from html import escape
from typing import Any
from urllib.parse import quote

from outreach.errors import InvalidInput, NotFound, Unavailable
from webhooks.desks.base import OUR_TAG, DeskState
from webhooks.desks.freshdesk import Mapping, state_of
from webhooks.desks.http import DeskApi, list_in, own_tag
from webhooks.wire import object_in, text

_PAGE = 100
_MOST_PAGES = 300  # Freshdesk gives no more of one list
_OPEN, _RESOLVED, _CLOSED = 2, 4, 5
_MEDIUM, _SOURCE_PORTAL = 2, 2


@dataclass(frozen=True, slots=True)
class FreshdeskClient:
    """A `DeskClient`."""

    api: DeskApi
    mapping: Mapping = field(default_factory=Mapping)

    def open_ticket(
        self, subject: str, body: str, requester_email: str, problem_reference: str | None, key: str
    ) -> str:
        """Open a ticket once per key; Freshdesk opens none without an address."""
        if not requester_email:
            raise InvalidInput("Freshdesk opens no ticket without the customer's email address.", where="email")
        tag = own_tag(key)
        for ticket in self._of_requester(requester_email):
            if tag in (ticket.get("tags") or []):
                return _reference(ticket)
        payload: dict[str, Any] = {
            "subject": " ".join(subject.split())[:255],
            "description": as_html(body),
            "email": requester_email,
            "status": _OPEN,
            "priority": _MEDIUM,
            "source": _SOURCE_PORTAL,
            "tags": [OUR_TAG, tag],
        }
        if problem_reference and self.mapping.problem_field:
            custom = self.mapping.problem_field.removeprefix("ticket_")
            payload["custom_fields"] = {custom: problem_reference}
        return _reference(object_in(self.api.call("POST", "/api/v2/tickets", payload=payload)))

    def comment(self, reference: str, body: str, public: bool) -> None:
        """Reply to the customer, or add a private note."""
        if public:
            self.api.call("POST", f"{_ticket(reference)}/reply", payload={"body": as_html(body)})
        else:
            self.api.call("POST", f"{_ticket(reference)}/notes", payload={"body": as_html(body), "private": True})

    def solve(self, reference: str, body: str) -> None:
        """Reply and resolve; a ticket that is resolved or closed is left alone."""
        if object_in(self.api.call("GET", _ticket(reference))).get("status") in (_RESOLVED, _CLOSED):
            return
        self.comment(reference, body, public=True)
        self.api.call("PUT", _ticket(reference), payload={"status": _RESOLVED})

    def add_link(self, reference: str, url: str, title: str) -> None:
        """Put a link into a private note."""
        self.comment(reference, f"{title}\n{url}", public=False)

    def fetch(self, reference: str) -> DeskState:
        """Return the ticket with its requester."""
        answer = self.api.call("GET", _ticket(reference), query={"include": "requester"})
        return state_of(object_in(answer), self.mapping)

    def list_since(self, when: datetime) -> Iterator[DeskState]:
        """Yield the tickets that changed since `when`, oldest change first."""
        query = {
            "updated_since": when.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            "include": "requester,description",
            "order_by": "updated_at",
            "order_type": "asc",
            "per_page": str(_PAGE),
        }
        for page in range(1, _MOST_PAGES + 1):
            tickets = list_in(self.api.call("GET", "/api/v2/tickets", query={**query, "page": str(page)}))
            for ticket in tickets:
                yield state_of(ticket, self.mapping)
            if len(tickets) < _PAGE:
                return

    def who_am_i(self) -> str:
        """Return the email of the agent whose key we use."""
        found = text(object_in(self.api.call("GET", "/api/v2/agents/me"), "contact").get("email"), 320)
        if found is None:
            raise Unavailable("Freshdesk answered without the agent's email.")
        return found

    def _of_requester(self, email: str) -> list[dict[str, Any]]:
        try:
            return list_in(self.api.call("GET", "/api/v2/tickets", query={"email": email, "per_page": str(_PAGE)}))
        except (NotFound, InvalidInput):
            return []  # nobody with this address has written yet


def connect(
    base_url: str,
    account: str,  # noqa: ARG001 -- Freshdesk's key says whose it is
    secret: str,
    *,
    mapping: Mapping,
    allow: Collection[str] = (),
) -> FreshdeskClient:
    """Return the client of one Freshdesk, for the agent whose API key it is."""
    credentials = base64.b64encode(f"{secret}:X".encode()).decode()
    return FreshdeskClient(DeskApi(base_url, {"Authorization": f"Basic {credentials}"}, allow), mapping)


def as_html(body: str) -> str:
    """Return plain text as HTML in which nothing of it is markup."""
    return "<br>".join(escape(line) for line in body.splitlines()) or "&nbsp;"


def _ticket(reference: str) -> str:
    return f"/api/v2/tickets/{quote(reference, safe='')}"


def _reference(ticket: dict[str, Any]) -> str:
    found = text(ticket.get("id"), 200)
    if found is None:
        raise Unavailable("Freshdesk answered without the id of the ticket.")
    return found
