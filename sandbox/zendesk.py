"""The help-desk wire: the subset of Zendesk's ticket API that work at a desk needs."""

import hashlib
import json
from datetime import UTC, datetime
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from sandbox.desk_events import DeskEvents
from sandbox.record import Accepted
from sandbox.tickets import PRIORITIES, STATUSES, TYPES, Tickets
from sandbox.wire import basic_credentials, read_body, same, with_faults
from sandbox.world import World

MAX_BYTES = 1024 * 1024
LATEST = 253_402_300_799  # the last second of the year 9999, where datetime ends
PLAIN_FIELDS: tuple[str, ...] = ("subject", "external_id", "priority", "status", "type", "problem_id", "tags")
PLAIN_FIELDS += ("custom_fields", "assignee_id", "group_id")
KINDS: dict[str, type] = {"subject": str, "status": str, "priority": str, "type": str, "tags": list, "comment": dict}
CHOICES = {"status": STATUSES, "priority": PRIORITIES, "type": TYPES}


class Zendesk:
    """Answers like Zendesk; changes made here are told back only by the Zendesk desk, as they are in life."""

    def __init__(self, world: World, tickets: Tickets, events: DeskEvents) -> None:
        self._world = world
        self._tickets = tickets
        self._events = events
        self._keys: dict[str, dict[str, str]] = world.record.load("desk_key")

    def routes(self) -> list[Route]:
        """Return the routes of this wire."""
        base = "/api/v2"
        return [
            Route(f"{base}/tickets.json", self._create, methods=["POST"]),
            Route(f"{base}/tickets.json", self._list, methods=["GET"]),
            Route(f"{base}/tickets", self._create, methods=["POST"]),
            Route(f"{base}/tickets", self._list, methods=["GET"]),
            Route(f"{base}/problems.json", self._problems, methods=["GET"]),
            Route(f"{base}/tickets/{{id:int}}/incidents.json", self._incidents, methods=["GET"]),
            Route(f"{base}/tickets/{{id:int}}/comments.json", self._comments, methods=["GET"]),
            Route(f"{base}/tickets/{{id:int}}.json", self._show, methods=["GET"]),
            Route(f"{base}/tickets/{{id:int}}.json", self._update, methods=["PUT"]),
            Route(f"{base}/incremental/tickets/cursor.json", self._export, methods=["GET"]),
            Route(f"{base}/users/me.json", self._me, methods=["GET"]),
            Route(f"{base}/users/{{id:int}}.json", self._user, methods=["GET"]),
        ]

    def forget(self) -> None:
        """Forget the idempotency keys."""
        self._keys.clear()

    def _denied(self, request: Request) -> Response | None:
        given = basic_credentials(request)
        token = self._world.settings.secret("zendesk_token")
        if given is None or not given[0].endswith("/token") or not same(given[1], token):
            return JSONResponse({"error": "Couldn't authenticate you"}, 401)
        return None

    async def _create(self, request: Request) -> Response:
        denied = self._denied(request)
        if denied:
            return denied

        async def accept() -> tuple[Response, str]:
            return await self._accept(request)

        return await with_faults(self._world.faults, "desk", accept, self._refusal)

    async def _update(self, request: Request) -> Response:
        denied = self._denied(request)
        if denied:
            return denied

        async def change() -> tuple[Response, str]:
            return await self._change(request)

        return await with_faults(self._world.faults, "desk", change, self._refusal)

    def _refusal(self, status: int) -> Response:
        if status == 500:
            return JSONResponse({"error": "InternalServerError", "description": "Something went wrong"}, 500)
        text = "Number of allowed API requests per minute exceeded"
        answer = JSONResponse({"error": "APIRateLimitExceeded", "description": text}, 429)
        answer.headers["Retry-After"] = str(self._world.faults.of("desk").retry_after_seconds)
        return answer

    async def _accept(self, request: Request) -> tuple[Response, str]:
        asked, refused = await self._asked(request)
        if refused:
            return refused, ""
        comment = _group(asked, "comment")
        body = comment.get("body") or comment.get("html_body") or asked.get("description")
        if not isinstance(body, str) or not body.strip():
            return _invalid("description", "Description: cannot be blank", "BlankValue"), ""
        key = request.headers.get("idempotency-key")
        digest = hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()
        if key and key in self._keys:
            return self._again(self._keys[key], digest)
        requester = _group(asked, "requester")
        fields = {name: asked[name] for name in PLAIN_FIELDS if name in asked}
        ticket = self._tickets.open(fields, body, requester or {"name": "Outreach"})
        if key:
            self._keys[key] = {"id": str(ticket["id"]), "digest": digest}
            self._world.record.put("desk_key", key, self._keys[key])
        about = str(ticket["external_id"] or "") or None
        accepted = Accepted(about, str(ticket["requester_id"]), None, str(ticket["id"]))
        await self._world.record.accept("desk", request.url.path, asked, [accepted])
        self._events.ticket("created", ticket, self._events.usual & {"zendesk"}, {"created": {}}, self._actor(request))
        answer = JSONResponse({"ticket": self._public(ticket)}, 201)
        answer.headers["Location"] = self._url(ticket)
        if key:
            answer.headers["X-Idempotency-Lookup"] = "miss"
        return answer, about or ""

    def _again(self, earlier: dict[str, str], digest: str) -> tuple[Response, str]:
        """Answer a repeated Idempotency-Key with the ticket it made (docs: ticket creation, idempotency)."""
        if earlier["digest"] != digest:
            text = "The idempotency key was used with different parameters: use a new one"
            return JSONResponse({"error": "IdempotentRequestError", "description": text}, 400), ""
        answer = JSONResponse({"ticket": self._public(self._tickets.by_id[earlier["id"]])}, 201)
        answer.headers["X-Idempotency-Lookup"] = "hit"
        return answer, ""

    async def _change(self, request: Request) -> tuple[Response, str]:
        ticket = self._tickets.by_id.get(str(request.path_params["id"]))
        if ticket is None:
            return _missing(), ""
        asked, refused = await self._asked(request)
        if refused:
            return refused, ""
        if ticket["status"] == "closed":
            return _invalid("status", "Status: closed prevents ticket update", "ClosedTicket"), ""
        changes: dict[str, Any] = {}
        if asked.get("status") not in (None, ticket["status"]):
            current, previous = asked["status"].upper(), ticket["status"].upper()
            changes["status_changed"] = {"current": current, "previous": previous}
        comment = asked.get("comment")
        if isinstance(comment, dict) and comment.get("body"):
            self._tickets.comment(ticket, comment["body"], comment.get("public", True))
            changes["comment_added"] = {"comment": {"body": comment["body"], "is_public": comment.get("public", True)}}
        ticket |= {name: asked[name] for name in PLAIN_FIELDS if name in asked}
        if isinstance(asked.get("additional_tags"), list):
            ticket["tags"] = sorted({*ticket["tags"], *map(str, asked["additional_tags"])})
        self._tickets.keep(ticket)
        accepted = Accepted(None, str(ticket["requester_id"]), None, str(ticket["id"]))
        await self._world.record.accept("desk", request.url.path, asked, [accepted])
        self._events.ticket("updated", ticket, self._events.usual & {"zendesk"}, changes, self._actor(request))
        return JSONResponse({"ticket": self._public(ticket), "audit": {"ticket_id": ticket["id"], "events": []}}), ""

    async def _asked(self, request: Request) -> tuple[dict[str, Any], Response | None]:
        """Return the `ticket` object of the body, or the refusal of it."""
        raw = await read_body(request, MAX_BYTES)
        if raw is None:
            return {}, JSONResponse({"error": "PayloadTooLarge", "description": "The request is too large"}, 413)
        try:
            asked = json.loads(raw)["ticket"]
            if not isinstance(asked, dict):
                raise TypeError("ticket is not an object")
        except (ValueError, KeyError, TypeError):
            text = 'The body must be JSON of the form {"ticket": {…}}'
            return {}, JSONResponse({"error": "UnprocessableEntity", "description": text}, 422)
        for name, kind in KINDS.items():
            if name in asked and not isinstance(asked[name], kind):
                return {}, _invalid(name, f"{name.title()}: has the wrong type", "InvalidValue")
        for name, allowed in CHOICES.items():
            if asked.get(name, allowed[0]) not in allowed:
                text = f"{name.title()}: {asked[name]} is not one of {', '.join(allowed)}"
                return {}, _invalid(name, text, "InvalidValue")
        linked = asked.get("problem_id")
        if linked is not None and (self._tickets.by_id.get(str(linked)) or {}).get("type") != "problem":
            return {}, _invalid("problem_id", f"Problem: {linked} is not a problem ticket", "InvalidValue")
        return asked, None

    async def _show(self, request: Request) -> Response:
        ticket = self._tickets.by_id.get(str(request.path_params["id"]))
        if ticket is None:
            return self._denied(request) or _missing()
        return self._denied(request) or JSONResponse({"ticket": self._public(ticket), **self._side(request, [ticket])})

    async def _list(self, request: Request) -> Response:
        external = request.query_params.get("external_id")
        found = [t for t in self._tickets.by_id.values() if external in (None, t["external_id"])]
        return self._denied(request) or self._page(request, found)

    async def _problems(self, request: Request) -> Response:
        found = [ticket for ticket in self._tickets.by_id.values() if ticket["type"] == "problem"]
        return self._denied(request) or self._page(request, found)

    async def _incidents(self, request: Request) -> Response:
        identity = str(request.path_params["id"])
        if identity not in self._tickets.by_id:
            return self._denied(request) or _missing()
        return self._denied(request) or self._page(request, self._tickets.incidents(identity))

    async def _comments(self, request: Request) -> Response:
        ticket = self._tickets.by_id.get(str(request.path_params["id"]))
        if ticket is None:
            return self._denied(request) or _missing()
        listed = {"comments": ticket["_comments"], "count": len(ticket["_comments"])}
        return self._denied(request) or JSONResponse(listed)

    async def _user(self, request: Request) -> Response:
        user = self._tickets.users.get(str(request.path_params["id"]))
        return self._denied(request) or (_missing() if user is None else JSONResponse({"user": user}))

    async def _me(self, request: Request) -> Response:
        denied = self._denied(request)
        return denied or JSONResponse({"user": self._tickets.users[str(self._actor(request))]})

    async def _export(self, request: Request) -> Response:
        """Answer what changed since a time, by cursors (docs: incremental exports, cursor-based)."""
        denied = self._denied(request)
        if denied:
            return denied
        query = request.query_params
        cursor = query.get("cursor") or f"{query.get('start_time', '')}-0"
        since, _, place = cursor.partition("-")
        if not all(part.isascii() and part.isdigit() for part in (since, place)):
            return JSONResponse({"error": "InvalidValue", "description": "start_time must be a unix time"}, 422)
        start, moment = int(place), datetime.fromtimestamp(min(int(since), LATEST), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        found = [ticket for ticket in self._tickets.by_id.values() if ticket["updated_at"] >= moment]
        shown = found[start : start + 1000]
        after = f"{since}-{start + len(shown)}"
        return JSONResponse(
            {
                "tickets": [self._public(ticket) for ticket in shown],
                **self._side(request, shown),
                "after_cursor": after,
                "after_url": str(request.url.include_query_params(cursor=after)),
                "end_of_stream": start + len(shown) >= len(found),
            }
        )

    def _actor(self, request: Request) -> int:
        """Return the agent whose token made this call."""
        given = basic_credentials(request)
        email = given[0].removesuffix("/token") if given else "unknown"
        return int(self._tickets.person({"email": email})["id"])

    def _page(self, request: Request, found: list[dict[str, Any]]) -> Response:
        """Answer one page: by cursor when `page[size]` is asked for, else by number, as Zendesk does."""
        query = request.query_params
        try:
            cursor = "page[size]" in query
            size = min(100, max(1, int(query.get("page[size]") or query.get("per_page") or 100)))
            start = int(query.get("page[after]") or 0) if cursor else (int(query.get("page") or 1) - 1) * size
        except ValueError:
            return JSONResponse({"error": "InvalidPagination", "description": "Pages are numbers"}, 400)
        shown, more = found[start : start + size], len(found) > start + size
        listed = {"tickets": [self._public(ticket) for ticket in shown], **self._side(request, shown)}
        url = request.url
        if cursor:
            after = str(start + size) if more else None
            following = str(url.include_query_params(**{"page[after]": after})) if more else None
            return JSONResponse(
                listed | {"meta": {"has_more": more, "after_cursor": after}, "links": {"next": following}}
            )
        following = str(url.include_query_params(page=start // size + 2)) if more else None
        return JSONResponse(listed | {"count": len(found), "next_page": following, "previous_page": None})

    def _side(self, request: Request, shown: list[dict[str, Any]]) -> dict[str, Any]:
        if "users" not in request.query_params.get("include", "").split(","):
            return {}
        ids = dict.fromkeys(str(ticket["requester_id"]) for ticket in shown)
        return {"users": [self._tickets.users[identity] for identity in ids]}

    def _public(self, ticket: dict[str, Any]) -> dict[str, Any]:
        shown = {name: value for name, value in ticket.items() if not name.startswith("_")}
        linked = ticket["type"] == "problem" and bool(self._tickets.incidents(str(ticket["id"])))
        return {"url": self._url(ticket), **shown, "raw_subject": ticket["subject"], "has_incidents": linked}

    def _url(self, ticket: dict[str, Any]) -> str:
        settings = self._world.settings
        return f"http://{settings.host}:{settings.port}/api/v2/tickets/{ticket['id']}.json"


def _group(asked: dict[str, Any], name: str) -> dict[str, Any]:
    value = asked.get(name)
    return value if isinstance(value, dict) else {}


def _missing() -> Response:
    return JSONResponse({"error": "RecordNotFound", "description": "Not found"}, 404)


def _invalid(field: str, description: str, error: str) -> Response:
    body = {
        "error": "RecordInvalid",
        "description": "Record validation errors",
        "details": {field: [{"description": description, "error": error}]},
    }
    return JSONResponse(body, 422)
