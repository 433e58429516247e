"""What we ask of Zammad, over its REST API. https://docs.zammad.org/en/latest/api/intro.html

A ticket that we open carries a tag made of our key, by which it is found again.
"""

from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

from outreach.errors import Unavailable
from webhooks.desks.base import OUR_TAG, DeskState
from webhooks.desks.http import DeskApi, list_in, own_tag
from webhooks.desks.reading import words_of
from webhooks.desks.zammad import Mapping, state_of
from webhooks.wire import object_in, text

_PAGE = 100
_MOST_PAGES = 1000
_DONE = ("closed", "merged")


@dataclass(frozen=True, slots=True)
class ZammadClient:
    """A `DeskClient`; what we open goes to `group`."""

    api: DeskApi
    group: str = "Users"
    mapping: Mapping = field(default_factory=Mapping)

    def open_ticket(
        self, subject: str, body: str, requester_email: str, problem_reference: str | None, key: str
    ) -> str:
        """Open a ticket once per key, for the customer with this address (made if need be), which names its problem."""
        tag = own_tag(key)
        found = self._search(f'tags:"{tag}"', most=1)
        reference = next((_reference(ticket) for ticket in found), None)
        if reference is None:
            payload: dict[str, Any] = {
                "title": " ".join(subject.split())[:250],
                "group": self.group,
                "customer_id": f"guess:{requester_email}" if requester_email else "guess:unknown@customer.invalid",
                "tags": f"{OUR_TAG},{tag}",
                "article": {"subject": subject, **_article(body, public=True)},
            }
            if problem_reference and self.mapping.problem_field:
                payload[self.mapping.problem_field] = problem_reference
            reference = _reference(object_in(self.api.call("POST", "/api/v1/tickets", payload=payload)))
        return reference

    def comment(self, reference: str, body: str, public: bool) -> None:
        """Add an article, internal unless it is public."""
        payload = {"ticket_id": int(reference) if reference.isdigit() else reference, **_article(body, public)}
        self.api.call("POST", "/api/v1/ticket_articles", payload=payload)

    def solve(self, reference: str, body: str) -> None:
        """Close a ticket with a public article; one that is closed is left alone."""
        ticket = object_in(self.api.call("GET", _ticket(reference), query={"expand": "true"}))
        if (text(ticket.get("state"), 100) or "").lower() in _DONE:
            return
        payload = {"state": "closed", "article": _article(body, public=True)}
        self.api.call("PUT", _ticket(reference), payload=payload)

    def add_link(self, reference: str, url: str, title: str) -> None:
        """Put a link into an internal article."""
        self.comment(reference, f"{title}\n{url}", public=False)

    def fetch(self, reference: str) -> DeskState:
        """Return the ticket as it is now, with its tags."""
        ticket = object_in(self.api.call("GET", _ticket(reference), query={"expand": "true"}))
        return self._state(ticket)

    def list_since(self, when: datetime) -> Iterator[DeskState]:
        """Yield the tickets that changed since `when`, oldest change first."""
        stamp = when.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        for ticket in self._search(f'updated_at:>="{stamp}"'):
            yield self._state(ticket)

    def who_am_i(self) -> str:
        """Return the login of the agent whose token we use."""
        found = text(object_in(self.api.call("GET", "/api/v1/users/me")).get("login"), 320)
        if found is None:
            raise Unavailable("Zammad answered without the agent's login.")
        return found

    def _search(self, query: str, most: int = _PAGE) -> Iterator[dict[str, Any]]:
        asked = {"query": query, "expand": "true", "sort_by": "updated_at", "order_by": "asc", "per_page": str(most)}
        for page in range(1, _MOST_PAGES + 1):
            tickets = list_in(self.api.call("GET", "/api/v1/tickets/search", query={**asked, "page": str(page)}))
            yield from tickets
            if len(tickets) < most or most == 1:
                return

    def _state(self, ticket: dict[str, Any]) -> DeskState:
        # Only a problem's tags decide anything: one more call for those alone.
        if (text(ticket.get(self.mapping.type_field), 100) or "").lower() not in self.mapping.problem_types:
            return state_of(ticket, frozenset(), self.mapping)
        query = {"object": "Ticket", "o_id": _reference(ticket)}
        tags = object_in(self.api.call("GET", "/api/v1/tags", query=query)).get("tags")
        return state_of(ticket, words_of(tags), self.mapping)


def connect(
    base_url: str,
    account: str,  # noqa: ARG001 -- Zammad's token says whose it is
    secret: str,
    *,
    mapping: Mapping,
    group: str = "Users",
    allow: Collection[str] = (),
) -> ZammadClient:
    """Return the client of one Zammad, for the agent whose access token it is."""
    return ZammadClient(DeskApi(base_url, {"Authorization": f"Token token={secret}"}, allow), group, mapping)


def _article(body: str, public: bool) -> dict[str, Any]:
    return {"body": body, "type": "web" if public else "note", "internal": not public, "content_type": "text/plain"}


def _ticket(reference: str) -> str:
    return f"/api/v1/tickets/{quote(reference, safe='')}"


def _reference(ticket: dict[str, Any]) -> str:
    found = text(ticket.get("id"), 200)
    if found is None:
        raise Unavailable("Zammad answered without the id of the ticket.")
    return found
