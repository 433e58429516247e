"""The Zammad wire: the subset of its REST API that work at a desk needs, and its default webhook."""

import re
import uuid
from collections.abc import Mapping
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from sandbox.desk_wire import DeskWire, page, shown
from sandbox.wire import same

GROUPS = ("Users",)
STATES = {"new": "new", "open": "open", "pending": "pending reminder", "hold": "open", "solved": "closed"}
_OURS = {"new": "new", "open": "open", "pending reminder": "pending", "closed": "solved"}
_PRIORITIES = {"low": "1 low", "normal": "2 normal", "high": "3 high", "urgent": "3 high"}
_QUERY = re.compile(r'tags:"(?P<tag>[^"]+)"|updated_at:>="(?P<since>[^"]+)"')
_LARGEST_PAGE = 200


class Zammad(DeskWire):
    """Answers like Zammad; its errors are one sentence."""

    name = "zammad"

    def routes(self) -> list[Route]:
        """Return the routes of this wire."""
        return [
            self.route("POST", "/api/v1/tickets", self._create),
            self.route("GET", "/api/v1/tickets/search", self._search),
            self.route("GET", "/api/v1/tickets/{id}", self._show),
            self.route("PUT", "/api/v1/tickets/{id}", self._update),
            self.route("POST", "/api/v1/ticket_articles", self._article),
            self.route("GET", "/api/v1/tags", self._tags),
            self.route("GET", "/api/v1/users/me", self._me),
        ]

    def allowed(self, request: Request) -> bool:
        """Tell whether the access token is right."""
        scheme, _, token = request.headers.get("authorization", "").partition("=")
        return scheme.lower() == "token token" and same(token, self.world.settings.secret("desks_token"))

    def refuse(self, status: int, text: str, field: str = "") -> Response:
        """Word a refusal as Zammad does."""
        text = "Authentication required" if status == 401 else text
        text = f"Missing required value for field '{field}'!" if field else text
        return shown({"error": text, "error_human": text}, status)

    async def _create(self, request: Request, body: Any) -> tuple[Response, str]:
        article = body.get("article") if isinstance(body.get("article"), dict) else {}
        for field, value in (("title", body.get("title")), ("group", body.get("group")), ("body", article.get("body"))):
            if not value:
                return self.refuse(422, "", field), ""
        customer = str(body.get("customer_id") or body.get("customer") or "").removeprefix("guess:")
        if not customer:
            return self.refuse(422, "", "customer"), ""
        if body["group"] not in GROUPS:
            return self.refuse(422, f"No lookup value found for 'group': {body['group']!r}"), ""
        tags = [one for one in str(body.get("tags") or "").split(",") if one]
        problem = str(body.get("problem") or "")
        fields = {
            "subject": body["title"],
            "type": "incident",
            "tags": tags,
            "problem_id": int(problem) if problem in self.tickets.by_id else None,
        }
        ticket = await self.opened(request, body, fields, article["body"], {"email": customer})
        return shown(self.ticket(ticket), 201), str(ticket["id"])

    async def _update(self, request: Request, body: Any) -> tuple[Response, str]:
        ticket = self._ticket(request.path_params["id"])
        if ticket is None:
            return self._missing(request.path_params["id"]), ""
        state = body.get("state")
        if state is not None and state not in _OURS:
            return self.refuse(422, f"No lookup value found for 'state': {state!r}"), ""
        article = body.get("article")
        if isinstance(article, dict):
            if not article.get("body"):
                return self.refuse(422, "", "body"), ""
            self.tickets.comment(ticket, article["body"], not article.get("internal", False))
        ticket["status"] = _OURS.get(state or "", ticket["status"])
        await self.changed(request, body, ticket)
        return shown(self.ticket(ticket)), ""

    async def _article(self, request: Request, body: Any) -> tuple[Response, str]:
        ticket = self._ticket(str(body.get("ticket_id") or ""))
        if ticket is None:
            return self._missing(body.get("ticket_id")), ""
        if not body.get("body"):
            return self.refuse(422, "", "body"), ""
        self.tickets.comment(ticket, str(body["body"]), not body.get("internal", False))
        await self.changed(request, body, ticket)
        return shown({"id": ticket["_comments"][-1]["id"], "ticket_id": ticket["id"], "body": body["body"]}, 201), ""

    async def _show(self, request: Request, _body: Any) -> tuple[Response, str]:
        ticket = self._ticket(request.path_params["id"])
        return (self._missing(request.path_params["id"]) if ticket is None else shown(self.ticket(ticket))), ""

    async def _search(self, request: Request, _body: Any) -> tuple[Response, str]:
        query = request.query_params
        condition = _QUERY.fullmatch(query.get("query", ""))
        size = query.get("per_page", "50")
        if condition is None or not size.isdigit() or int(size) > _LARGEST_PAGE:
            return self.refuse(422, "The query is not understood here"), ""
        found = sorted(self.tickets.by_id.values(), key=lambda one: (one["updated_at"], one["id"]))
        if condition["tag"]:
            found = [ticket for ticket in found if condition["tag"] in ticket["tags"]]
        found = [ticket for ticket in found if ticket["updated_at"] >= (condition["since"] or "")]
        return shown([self.ticket(ticket) for ticket in page(request, found, int(size))]), ""

    async def _tags(self, request: Request, _body: Any) -> tuple[Response, str]:
        ticket = self._ticket(request.query_params.get("o_id", ""))
        return shown({"tags": ticket["tags"] if ticket is not None else []}), ""

    async def _me(self, request: Request, _body: Any) -> tuple[Response, str]:
        person = self.actor(request)
        return shown({"id": person["id"], "login": person["email"], "email": person["email"]}), ""

    def _ticket(self, identity: str) -> dict[str, Any] | None:
        return self.tickets.by_id.get(identity)

    def _missing(self, identity: object) -> Response:
        return self.refuse(404, f"Couldn't find Ticket with 'id'={identity}")

    def ticket(self, ticket: dict[str, Any]) -> dict[str, Any]:
        """Return a ticket as the API gives it with `expand=true`."""
        return {
            "id": ticket["id"],
            "number": f"{ticket['id']:06d}",
            "title": ticket["subject"],
            "group": GROUPS[0],
            "state": STATES.get(ticket["status"], "closed"),
            "priority": _PRIORITIES.get(ticket["priority"] or "normal"),
            "type": ticket["type"],
            "problem": str(ticket["problem_id"]) if ticket["problem_id"] else None,
            "customer": self.user(ticket)["email"],
            "article_count": len(ticket["_comments"]),
            "created_at": ticket["created_at"],
            "updated_at": ticket["updated_at"],
            "close_at": ticket["_solved_at"],
        }

    def tell_ticket(self, kind: str, ticket: dict[str, Any], change: Mapping[str, Any], actor: int) -> None:  # noqa: ARG002
        """Send the default webhook; the links between tickets are not in it."""
        user, person = self.user(ticket), self.tickets.users.get(str(actor), {})
        names = str(user["name"]).partition(" ")
        told = self.ticket(ticket) | {
            "customer": {"id": user["id"], "email": user["email"], "phone": user["phone"] or ""}
            | {"firstname": names[0], "lastname": names[2]},
            "tags": ticket["tags"],
            "updated_by": {"login": person.get("email")},
        }
        event = {"ticket": told, "article": {"body": ticket["_comments"][-1]["body"], "internal": False}}
        identity = str(uuid.uuid4())
        sign = self.world.signatures.hub("sha1", {"X-Zammad-Delivery": identity, "X-Zammad-Trigger": "outreach"})
        self.post(event, sign, identity)

    def tell_problem(self, kind: str, ticket: dict[str, Any], problem: dict[str, Any]) -> None:  # noqa: ARG002
        """Say it as Zammad does: the ticket was updated; its state and tags tell the rest."""
        self.tell_ticket("updated", ticket, {}, ticket["requester_id"])
