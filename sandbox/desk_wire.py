"""What the wires of Jira, ServiceNow, Freshdesk and Zammad share: one desk's tickets, each in its own words."""

import json
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from sandbox.desk_events import DeskEvents
from sandbox.record import Accepted
from sandbox.signatures import Sign
from sandbox.tickets import Tickets
from sandbox.wire import basic_credentials, read_body, same, with_faults
from sandbox.world import World

MAX_BYTES = 1024 * 1024
Handler = Callable[[Request, Any], Awaitable[tuple[Response, str]]]


class DeskWire(ABC):
    """One desk's API: credentials before anything else, then the body, then the knobs of `desk`."""

    name = ""

    def __init__(self, world: World, tickets: Tickets, events: DeskEvents) -> None:
        self.world, self.tickets, self.events = world, tickets, events
        events.tellers[self.name] = self

    @abstractmethod
    def routes(self) -> list[Route]:
        """Return the routes of this wire."""

    @abstractmethod
    def allowed(self, request: Request) -> bool:
        """Tell whether the credentials are right."""

    @abstractmethod
    def refuse(self, status: int, text: str, field: str = "") -> Response:
        """Word a refusal as this desk does."""

    @abstractmethod
    def tell_ticket(self, kind: str, ticket: dict[str, Any], change: Mapping[str, Any], actor: int) -> None:
        """Send the webhook of a ticket that was created or updated."""

    @abstractmethod
    def tell_problem(self, kind: str, ticket: dict[str, Any], problem: dict[str, Any]) -> None:
        """Send the webhook of a problem that became known, has a workaround, was resolved or reopened."""

    def route(self, method: str, path: str, handler: Handler) -> Route:
        """Return a route that lets nobody in without credentials and reads a JSON body where one is sent."""

        async def serve(request: Request) -> Response:
            if not self.allowed(request):
                return self.refuse(401, "You are not signed in")
            if method == "GET":
                return (await handler(request, None))[0]
            raw = await read_body(request, MAX_BYTES)
            try:
                body = json.loads(raw or b"null")
            except ValueError:
                return self.refuse(400, "The body is not JSON")
            if not isinstance(body, dict):
                return self.refuse(400, "The body must be a JSON object")

            async def accept() -> tuple[Response, str]:
                return await handler(request, body)

            return await with_faults(self.world.faults, "desk", accept, self._stopped)

        # Desks share paths (Zendesk and Freshdesk both have /api/v2/tickets): each has a base address of its own.
        return Route(f"/{self.name}{path}", serve, methods=[method])

    def _stopped(self, status: int) -> Response:
        answer = self.refuse(status, "Too many requests" if status == 429 else "Internal error")
        if status == 429:
            answer.headers["Retry-After"] = str(self.world.faults.of("desk").retry_after_seconds)
        return answer

    def basic(self, request: Request, place: int) -> bool:
        """Tell whether user (0) or password (1) of basic credentials is the token."""
        given = basic_credentials(request)
        return given is not None and same(given[place], self.world.settings.secret("desks_token"))

    def actor(self, request: Request) -> dict[str, Any]:
        """Return the agent who makes this call."""
        given = basic_credentials(request)
        email = given[0] if given and "@" in given[0] else "agent@example.com"
        return self.tickets.person({"email": email, "name": "Outreach"})

    async def opened(
        self, request: Request, body: Any, fields: dict[str, Any], text: str, requester: dict[str, Any]
    ) -> dict[str, Any]:
        """Open a ticket, record it and tell of it."""
        ticket = self.tickets.open(fields, text, requester)
        await self.noted(request, body, ticket)
        if self.name in self.events.usual:
            self.tell_ticket("created", ticket, {}, self.actor(request)["id"])
        return ticket

    async def changed(self, request: Request, body: Any, ticket: dict[str, Any]) -> None:
        """Keep a changed ticket, record the call and tell of it."""
        self.tickets.keep(ticket)
        await self.noted(request, body, ticket)
        if self.name in self.events.usual:
            self.tell_ticket("updated", ticket, {}, self.actor(request)["id"])

    async def noted(self, request: Request, body: Any, ticket: dict[str, Any]) -> None:
        """Record a call that was accepted."""
        accepted = Accepted(None, str(ticket["requester_id"]), None, str(ticket["id"]))
        await self.world.record.accept("desk", request.url.path, body, [accepted])

    def user(self, ticket: dict[str, Any]) -> dict[str, Any]:
        """Return who a ticket is from."""
        return self.tickets.users[str(ticket["requester_id"])]

    def post(self, event: Any, sign: Sign, about: str) -> None:
        """Send a webhook to the connector that has this desk's name as its key."""
        self.world.post_json("desk", f"/webhooks/desks/{self.name}", event, sign, 0, about)


def page(request: Request, found: list[Any], size: int) -> list[Any]:
    """Return one page of a list, by the number in `page`."""
    given = request.query_params.get("page", "1")
    number = int(given) if given.isascii() and given.isdigit() else 1
    return found[(max(number, 1) - 1) * size : max(number, 1) * size]


def done(status: int = 204) -> Response:
    """Return an answer without a body."""
    return Response(status_code=status)


def shown(value: Any, status: int = 200) -> Response:
    """Return an answer in JSON."""
    return JSONResponse(value, status)
