"""The Freshdesk wire: the subset of its API, version 2, that work at a desk needs, and its simple webhook."""

from collections.abc import Mapping
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from sandbox.desk_wire import DeskWire, done, page, shown

STATUSES = {"new": 2, "open": 2, "pending": 3, "hold": 3, "solved": 4, "closed": 5}
_WORDS = {2: "Open", 3: "Pending", 4: "Resolved", 5: "Closed"}
_OURS = {2: "open", 3: "pending", 4: "solved", 5: "closed"}
_PRIORITIES = {"low": 1, "normal": 2, "high": 3, "urgent": 4}
_PRIORITY_WORDS = {1: "Low", 2: "Medium", 3: "High", 4: "Urgent"}
_TYPES = {"problem": "Problem", "incident": "Incident", "question": "Question", "task": "Feature Request"}
_KNOWN = ("subject", "description", "email", "phone", "status", "priority", "source", "tags", "type", "custom_fields")
_LONGEST_TAG = 32
_LARGEST_PAGE = 100


class Freshdesk(DeskWire):
    """Answers like Freshdesk; errors name the field and a code."""

    name = "freshdesk"

    def routes(self) -> list[Route]:
        """Return the routes of this wire."""
        ticket = "/api/v2/tickets/{id:int}"
        return [
            self.route("GET", "/api/v2/tickets", self._list),
            self.route("POST", "/api/v2/tickets", self._create),
            self.route("GET", ticket, self._show),
            self.route("PUT", ticket, self._update),
            self.route("POST", ticket + "/reply", self._reply),
            self.route("POST", ticket + "/notes", self._note),
            self.route("GET", "/api/v2/agents/me", self._me),
        ]

    def allowed(self, request: Request) -> bool:
        """Tell whether the API key, which is the user name, is right."""
        return self.basic(request, 0)

    def refuse(self, status: int, text: str, field: str = "") -> Response:
        """Word a refusal as Freshdesk does."""
        if status == 401:
            code = "invalid_credentials"
            return shown({"code": code, "message": "You have to be logged in to perform this action."}, 401)
        if field:
            error = {"field": field, "message": text, "code": "invalid_value"}
            return shown({"description": "Validation failed", "errors": [error]}, status)
        return shown({"message": text}, status)

    async def _create(self, request: Request, body: Any) -> tuple[Response, str]:
        wrong = self._wrong(body)
        for field in ("subject", "description"):
            if wrong is None and not body.get(field):
                wrong = self.refuse(400, "It should be a/an String", field)
        if wrong is None and not body.get("email"):
            wrong = self.refuse(400, "Please fill at least 1 of requester_id, phone, email fields", "email")
        if wrong is not None:
            return wrong, ""
        custom = body.get("custom_fields") or {}
        problem = str(custom.get("cf_problem") or "")
        fields = {
            "subject": body["subject"],
            "status": _OURS[body.get("status", 2)],
            "type": "incident",
            "tags": body.get("tags") or [],
            "problem_id": int(problem) if problem in self.tickets.by_id else None,
        }
        ticket = await self.opened(request, body, fields, body["description"], {"email": body["email"]})
        return shown(self.ticket(ticket, everything=True), 201), str(ticket["id"])

    async def _update(self, request: Request, body: Any) -> tuple[Response, str]:
        ticket = self._ticket(request)
        if ticket is None:
            return done(404), ""
        wrong = self._wrong(body)
        if wrong is not None:
            return wrong, ""
        ticket["status"] = _OURS.get(body.get("status", 0), ticket["status"])
        ticket["tags"] = body.get("tags", ticket["tags"])
        await self.changed(request, body, ticket)
        return shown(self.ticket(ticket, everything=True)), ""

    async def _reply(self, request: Request, body: Any) -> tuple[Response, str]:
        return await self._say(request, body, public=True)

    async def _note(self, request: Request, body: Any) -> tuple[Response, str]:
        return await self._say(request, body, public=body.get("private", True) is False)

    async def _say(self, request: Request, body: Any, *, public: bool) -> tuple[Response, str]:
        ticket = self._ticket(request)
        if ticket is None:
            return done(404), ""
        if not isinstance(body.get("body"), str) or not body["body"].strip():
            return self.refuse(400, "It should be a/an String", "body"), ""
        self.tickets.comment(ticket, body["body"], public)
        await self.changed(request, body, ticket)
        return shown({"id": ticket["_comments"][-1]["id"], "body": body["body"]}, 201), ""

    async def _show(self, request: Request, _body: Any) -> tuple[Response, str]:
        ticket = self._ticket(request)
        everything = "requester" in request.query_params.get("include", "")
        return (done(404) if ticket is None else shown(self.ticket(ticket, everything=everything))), ""

    async def _list(self, request: Request, _body: Any) -> tuple[Response, str]:
        query, found = request.query_params, list(self.tickets.by_id.values())
        size = query.get("per_page", "30")
        if not size.isdigit() or int(size) > _LARGEST_PAGE:
            return self.refuse(400, "It should be a Positive Integer less than or equal to 100", "per_page"), ""
        email = query.get("email")
        if email is not None:
            person = next((one for one in self.tickets.users.values() if one["email"] == email), None)
            if person is None:
                return self.refuse(400, "There is no contact matching the given email", "email"), ""
            found = [ticket for ticket in found if ticket["requester_id"] == person["id"]]
        since = query.get("updated_since", "")
        found = sorted((t for t in found if t["updated_at"] >= since), key=lambda t: (t["updated_at"], t["id"]))
        everything = "requester" in query.get("include", "")
        return shown([self.ticket(one, everything=everything) for one in page(request, found, int(size))]), ""

    async def _me(self, request: Request, _body: Any) -> tuple[Response, str]:
        person = self.actor(request)
        return shown({"id": person["id"], "contact": {"email": person["email"], "name": person["name"]}}), ""

    def _ticket(self, request: Request) -> dict[str, Any] | None:
        return self.tickets.by_id.get(str(request.path_params["id"]))

    def _wrong(self, body: Any) -> Response | None:
        for name in body:
            if name not in _KNOWN:
                return self.refuse(400, "Unexpected/invalid field in request", name)
        if body.get("status", 2) not in _OURS:
            return self.refuse(400, f"It should be one of these values: '{','.join(map(str, _OURS))}'", "status")
        if body.get("priority", 2) not in _PRIORITY_WORDS:
            return self.refuse(400, "It should be one of these values: '1,2,3,4'", "priority")
        tags = body.get("tags", [])
        if not isinstance(tags, list) or any(not isinstance(one, str) or len(one) > _LONGEST_TAG for one in tags):
            return self.refuse(400, "It should only contain elements of maximum 32 characters", "tags")
        return None

    def ticket(self, ticket: dict[str, Any], *, everything: bool) -> dict[str, Any]:
        """Return a ticket as the API gives it."""
        user = self.user(ticket)
        found = {
            "id": ticket["id"],
            "subject": ticket["subject"],
            "status": STATUSES[ticket["status"]],
            "priority": _PRIORITIES.get(ticket["priority"] or "normal"),
            "type": _TYPES.get(ticket["type"] or "incident"),
            "tags": ticket["tags"],
            "requester_id": user["id"],
            "custom_fields": {"cf_problem": str(ticket["problem_id"]) if ticket["problem_id"] else None},
            "created_at": ticket["created_at"],
            "updated_at": ticket["updated_at"],
        }
        if everything:
            requester = {name: user[name] for name in ("id", "name", "email", "phone")}
            found |= {"description_text": ticket["description"], "requester": requester}
        return found

    def tell_ticket(self, kind: str, ticket: dict[str, Any], change: Mapping[str, Any], actor: int) -> None:  # noqa: ARG002
        """Send the simple webhook, whose secret is in a header: Freshdesk signs nothing."""
        user, person = self.user(ticket), self.tickets.users.get(str(actor), {})
        told = {
            "triggered_event": "{ticket_action:created}" if kind == "created" else "{ticket_action:updated}",
            "performed_by": person.get("email"),
            "ticket_id": str(ticket["id"]),
            "ticket_subject": ticket["subject"],
            "ticket_description": ticket["description"],
            "ticket_status": _WORDS[STATUSES[ticket["status"]]],
            "ticket_priority": _PRIORITY_WORDS[_PRIORITIES.get(ticket["priority"] or "normal", 2)],
            "ticket_type": _TYPES.get(ticket["type"] or "incident"),
            "ticket_tags": ",".join(ticket["tags"]),
            "ticket_cf_problem": str(ticket["problem_id"] or ""),
            "ticket_requester_email": user["email"],
            "ticket_requester_phone": user["phone"],
            "ticket_requester_name": user["name"],
            "ticket_created_at": ticket["created_at"],
            "ticket_updated_at": ticket["updated_at"],
        }
        event = {"freshdesk_webhook": told}
        self.post(event, self.world.signatures.header("X-Outreach-Secret"), str(ticket["id"]))

    def tell_problem(self, kind: str, ticket: dict[str, Any], problem: dict[str, Any]) -> None:  # noqa: ARG002
        """Say it as Freshdesk does: the ticket was updated; its status and tags tell the rest."""
        self.tell_ticket("updated", ticket, {}, ticket["requester_id"])
