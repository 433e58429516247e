"""Control calls that let a story act as the people around the desk: customers who write, agents who decide."""

from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from sandbox.desk_events import DESKS, KNOWN_TAG, WORKAROUND_TAG, DeskEvents, new_problem
from sandbox.tickets import PRIORITIES, PROBLEM_FIELDS, STATUSES, Tickets
from sandbox.wire import control_body

KINDS = ("known", "workaround", "resolved", "reopened")
AGENT = {"name": "Support team", "email": "support-team@desk.invalid"}
TAG_AFTER = {"known": KNOWN_TAG, "workaround": WORKAROUND_TAG}
STATUS_AFTER = {"resolved": "solved", "reopened": "open"}


class People:
    """`/_sandbox/desk/…`: each call changes the desk and sends the webhook that a real desk would."""

    def __init__(self, tickets: Tickets, events: DeskEvents) -> None:
        self._tickets = tickets
        self._events = events

    def routes(self) -> list[Route]:
        """Return the control routes of the desk."""
        base = "/_sandbox/desk"
        return [
            Route(f"{base}/tickets", self._write, methods=["POST"]),
            Route(f"{base}/tickets/{{id:int}}", self._work, methods=["POST"]),
            Route(f"{base}/problems", self._report, methods=["POST"]),
            Route(f"{base}/problems/{{id:int}}/{{kind:str}}", self._decide, methods=["POST"]),
            Route("/_sandbox/tickets", self._list, methods=["GET"]),
        ]

    async def _write(self, request: Request) -> Response:
        """Open one ticket, or each of `tickets`, as its customer."""
        body = await control_body(request)
        desks = self._desks(body)
        asked = body.get("tickets", [body])
        if not isinstance(asked, list) or not all(isinstance(one, dict) for one in asked):
            raise HTTPException(400, "tickets must be a list of objects")
        for one in asked:
            self._check(one)
        opened = []
        for one in asked:
            fields = {name: one[name] for name in ("subject", "priority", "status", "external_id") if one.get(name)}
            fields |= {"_attributes": one.get("attributes") or {}, "type": "incident", "problem_id": _number(one)}
            ticket = self._tickets.open(fields, one["body"], one["requester"])
            self._events.ticket("created", ticket, desks, {"created": {}}, ticket["requester_id"])
            opened.append(str(ticket["id"]))
        return JSONResponse({"ids": opened, "id": opened[0] if opened else None}, 201)

    async def _work(self, request: Request) -> Response:
        """Change a ticket as an agent: status, priority, link to a problem, comment."""
        body = await control_body(request)
        desks = self._desks(body)
        ticket = self._tickets.by_id.get(str(request.path_params["id"]))
        if ticket is None:
            raise HTTPException(404, "there is no such ticket")
        self._check_choices(body)
        changes: dict[str, Any] = {}
        for name in ("status", "priority"):
            if body.get(name) and body[name] != ticket[name]:
                previous = str(ticket[name] or "").upper() or None
                changes[f"{name}_changed"] = {"current": body[name].upper(), "previous": previous}
                ticket[name] = body[name]
        if "problem_id" in body:
            self._link(ticket, _number(body), changes)
        if body.get("comment"):
            self._tickets.comment(ticket, str(body["comment"]), public=True)
            changes["comment_added"] = {"comment": {"body": str(body["comment"]), "is_public": True}}
        self._tickets.keep(ticket)
        self._events.ticket("updated", ticket, desks, changes, self._agent())
        return JSONResponse({"id": str(ticket["id"])})

    async def _report(self, request: Request) -> Response:
        """Open a problem at the desk and link `ticket_ids` to it; it is not known yet."""
        body = await control_body(request)
        desks = self._desks(body)
        if not body.get("title"):
            raise HTTPException(400, "title is required")
        linked = [self._tickets.by_id.get(str(one)) for one in body.get("ticket_ids") or []]
        if None in linked:
            raise HTTPException(404, "ticket_ids names a ticket that is not here")
        fields = {"subject": body["title"], "type": "problem", "status": "open"}
        ticket = self._tickets.open(fields, body.get("summary") or body["title"], AGENT)
        problem = new_problem(str(ticket["id"]), body)
        self._tickets.keep_problem(problem)
        for incident in linked:
            if incident is not None:
                changes: dict[str, Any] = {}
                self._link(incident, ticket["id"], changes)
                self._tickets.keep(incident)
                self._events.ticket("updated", incident, desks, changes, self._agent())
        return JSONResponse({"id": problem["id"]}, 201)

    async def _decide(self, request: Request) -> Response:
        """Mark a problem known, give its workaround, resolve or reopen it."""
        body = await control_body(request)
        desks = self._desks(body)
        kind, identity = request.path_params["kind"], str(request.path_params["id"])
        problem = self._tickets.problems.get(identity)
        if problem is None or kind not in KINDS:
            raise HTTPException(404, f"there is no such problem, or {kind} is not one of {', '.join(KINDS)}")
        given = {name: body[name] for name in (*PROBLEM_FIELDS, "attributes") if name in body}
        problem |= given
        self._tickets.keep_problem(problem)
        ticket = self._tickets.by_id[identity]
        ticket["status"] = STATUS_AFTER.get(kind, ticket["status"])
        tag = TAG_AFTER.get(kind)
        ticket["tags"] = sorted({*ticket["tags"], *([tag] if tag else [])})
        self._tickets.keep(ticket)
        self._events.problem(kind, problem, desks)
        return JSONResponse({"id": identity, "problem": problem})

    async def _list(self, _request: Request) -> Response:
        return JSONResponse(
            {
                "tickets": list(self._tickets.by_id.values()),
                "users": list(self._tickets.users.values()),
                "problems": list(self._tickets.problems.values()),
            }
        )

    def _agent(self) -> int:
        return int(self._tickets.person(AGENT)["id"])

    def _link(self, ticket: dict[str, Any], problem_id: int | None, changes: dict[str, Any]) -> None:
        if problem_id is not None and (self._tickets.by_id.get(str(problem_id)) or {}).get("type") != "problem":
            raise HTTPException(404, f"{problem_id} is not a problem")
        previous = None if ticket["problem_id"] is None else str(ticket["problem_id"])
        current = None if problem_id is None else str(problem_id)
        changes["problem_link_changed"] = {"current": current, "previous": previous}
        ticket["problem_id"] = problem_id

    def _desks(self, body: dict[str, Any]) -> frozenset[str]:
        asked = body.get("desks")
        if asked is None:
            return self._events.usual
        if not isinstance(asked, list) or not set(asked) <= DESKS:
            raise HTTPException(400, f"desks must be a list of some of {', '.join(sorted(DESKS))}")
        return frozenset(asked)

    def _check(self, asked: dict[str, Any]) -> None:
        if not isinstance(asked.get("body"), str) or not asked["body"].strip():
            raise HTTPException(400, "body is required: what the customer wrote")
        requester = asked.get("requester")
        if not isinstance(requester, dict) or not any(requester.get(name) for name in ("id", "email", "phone")):
            raise HTTPException(400, "requester needs an id, an email or a phone")
        if asked.get("problem_id") and str(asked["problem_id"]) not in self._tickets.problems:
            raise HTTPException(404, "problem_id names a problem that is not here")
        self._check_choices(asked)

    def _check_choices(self, asked: dict[str, Any]) -> None:
        for name, allowed in (("status", STATUSES), ("priority", PRIORITIES)):
            if asked.get(name) is not None and asked[name] not in allowed:
                raise HTTPException(400, f"{name} must be one of {', '.join(allowed)}")


def _number(asked: dict[str, Any]) -> int | None:
    value = asked.get("problem_id")
    if value in (None, ""):
        return None
    text = str(value)
    if not text.isascii() or not text.isdigit():
        raise HTTPException(400, "problem_id must be the number of a problem, or null")
    return int(text)
