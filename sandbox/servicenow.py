"""The ServiceNow wire: its Table API for incidents, problems and users, and the post of a Business Rule."""

import re
from collections.abc import Mapping
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from sandbox.desk_events import KNOWN_TAG, WORKAROUND_TAG
from sandbox.desk_wire import DeskWire, shown

TABLES = ("incident", "problem", "sys_user")
_INCIDENT = {"new": "1", "open": "2", "pending": "3", "hold": "3", "solved": "6", "closed": "7"}
_PROBLEM = {"new": "101", "open": "103", "pending": "103", "hold": "103", "solved": "106", "closed": "107"}
_PRIORITY = {"urgent": "1", "high": "2", "normal": "3", "low": "4"}
_CONDITION = re.compile(r"(?P<field>[a-z_.]+)(?P<operator>=|>=|ISNOTEMPTY)(?P<value>.*)")
_MANDATORY = "Data Policy Exception: The following fields are mandatory: Resolution code, Resolution notes"


class ServiceNow(DeskWire):
    """Answers like ServiceNow; a sys_id is the number of the ticket, in hexadecimal."""

    name = "servicenow"

    def routes(self) -> list[Route]:
        """Return the routes of this wire."""
        table = "/api/now/table/{table}"
        return [
            self.route("GET", table, self._list),
            self.route("POST", table, self._create),
            self.route("GET", table + "/{sys_id}", self._show),
            self.route("PATCH", table + "/{sys_id}", self._change),
        ]

    def allowed(self, request: Request) -> bool:
        """Tell whether the password is right."""
        return self.basic(request, 1)

    def refuse(self, status: int, text: str, field: str = "") -> Response:
        """Word a refusal as ServiceNow does."""
        message = "User Not Authenticated" if status == 401 else text
        return shown({"error": {"message": message, "detail": field or text}, "status": "failure"}, status)

    async def _list(self, request: Request, _body: Any) -> tuple[Response, str]:
        table, query = request.path_params["table"], request.query_params
        if table not in TABLES:
            return self.refuse(400, f"Invalid table {table}"), ""
        if table == "sys_user":
            found = [_user(one) for one in self.tickets.users.values()]
        else:
            kept = sorted(self.tickets.by_id.values(), key=lambda one: (one["updated_at"], one["id"]))
            found = [self.record(one) for one in kept if (one["type"] == "problem") is (table == "problem")]
        for part in query.get("sysparm_query", "").split("^"):
            found = [one for one in found if _holds(one, part)]
        start, most = int(query.get("sysparm_offset") or 0), int(query.get("sysparm_limit") or 10_000)
        fields = [one for one in query.get("sysparm_fields", "").split(",") if one]
        shown_now = [_only(one, fields) for one in found[start : start + most]]
        return shown({"result": shown_now}), ""

    async def _create(self, request: Request, body: Any) -> tuple[Response, str]:
        if request.path_params["table"] != "incident":
            return self.refuse(403, "Operation Failed", "ACL Exception Insert Failed due to security constraints"), ""
        caller = self.tickets.users.get(str(_number(body.get("caller_id"))))
        problem = _number(body.get("problem_id"))
        fields = {
            "subject": str(body.get("short_description") or ""),
            "external_id": body.get("correlation_id"),
            "type": "incident",
            "problem_id": problem if str(problem) in self.tickets.by_id else None,
        }
        requester = caller or {"name": "Guest", "email": "guest@servicenow.invalid"}
        text = str(body.get("description") or body.get("short_description") or "")
        ticket = await self.opened(request, body, fields, text, requester)
        return shown({"result": self.record(ticket)}, 201), str(ticket["id"])

    async def _show(self, request: Request, _body: Any) -> tuple[Response, str]:
        ticket = self._ticket(request)
        return (self._missing() if ticket is None else shown({"result": self.record(ticket)})), ""

    async def _change(self, request: Request, body: Any) -> tuple[Response, str]:
        ticket = self._ticket(request)
        if ticket is None:
            return self._missing(), ""
        resolves = str(body.get("state", "")) in ("6", "7") and ticket["type"] != "problem"
        if resolves and not (body.get("close_code") and body.get("close_notes")):
            return self.refuse(403, "Operation Failed", _MANDATORY), ""
        for field, public in (("comments", True), ("work_notes", False)):
            if body.get(field):
                self.tickets.comment(ticket, str(body[field]), public)
        if resolves:
            ticket["status"] = "solved"
        await self.changed(request, body, ticket)
        return shown({"result": self.record(ticket)}), ""

    def _ticket(self, request: Request) -> dict[str, Any] | None:
        ticket = self.tickets.by_id.get(str(_number(request.path_params["sys_id"])))
        table = request.path_params["table"]
        return ticket if ticket is not None and (ticket["type"] == "problem") is (table == "problem") else None

    def _missing(self) -> Response:
        return self.refuse(404, "No Record found", "Record doesn't exist or ACL restricts the record retrieval")

    def record(self, ticket: dict[str, Any]) -> dict[str, Any]:
        """Return a record of the Table API: every value a text."""
        user, problem = self.user(ticket), ticket["type"] == "problem"
        about = self.tickets.problems.get(str(ticket["id"]), {})
        changes = len(ticket["_comments"]) + len(ticket["tags"]) + list(_INCIDENT).index(ticket["status"])
        record = {
            "sys_id": f"{ticket['id']:032x}",
            "number": f"{'PRB' if problem else 'INC'}{ticket['id']:07d}",
            "sys_class_name": "problem" if problem else "incident",
            "short_description": ticket["subject"],
            "description": ticket["description"],
            "state": (_PROBLEM if problem else _INCIDENT)[ticket["status"]],
            "priority": _PRIORITY.get(ticket["priority"] or "", "3"),
            "correlation_id": ticket["external_id"] or "",
            "problem_id": f"{ticket['problem_id']:032x}" if ticket["problem_id"] else "",
            "caller_id": f"{user['id']:032x}",
            "caller_id.email": user["email"] or "",
            "caller_id.mobile_phone": user["phone"] or "",
            "opened_at": _moment(ticket["created_at"]),
            "resolved_at": _moment(ticket["_solved_at"]),
            "sys_updated_on": _moment(ticket["updated_at"]),
            "sys_updated_by": "agent",
            "sys_mod_count": str(changes),
        }
        if problem:
            record |= {
                "known_error": str(KNOWN_TAG in ticket["tags"]).lower(),
                "workaround_applied": str(WORKAROUND_TAG in ticket["tags"]).lower(),
                "workaround": about.get("workaround") or "",
                "fix_notes": about.get("fix") or "",
            }
        return record

    def tell_ticket(self, kind: str, ticket: dict[str, Any], change: Mapping[str, Any], actor: int) -> None:  # noqa: ARG002
        """Post the record, as the Business Rule of `docs/desks.md` does."""
        record = self.record(ticket)
        person = self.tickets.users.get(str(actor), {})
        record |= {"caller_email": record["caller_id.email"], "caller_phone": record["caller_id.mobile_phone"]}
        record["sys_updated_by"] = person.get("email") or "agent"
        self._send({"record": record, "operation": "insert" if kind == "created" else "update"}, record)

    def tell_problem(self, kind: str, ticket: dict[str, Any], problem: dict[str, Any]) -> None:  # noqa: ARG002
        """Post the record with what it held before."""
        before = {
            "known": {"known_error": "false"},
            "workaround": {"workaround_applied": "false"},
            "resolved": {"state": "103"},
            "reopened": {"state": "106"},
        }
        record = self.record(ticket)
        self._send({"record": record, "previous": before[kind], "operation": "update"}, record)

    def _send(self, event: dict[str, Any], record: dict[str, Any]) -> None:
        self.post(event, self.world.signatures.hub("sha256", {}), record["number"])


def _holds(record: dict[str, Any], part: str) -> bool:
    """Tell whether a record meets one condition; ServiceNow ignores conditions that it cannot read."""
    condition = _CONDITION.fullmatch(part)
    if condition is None or part.startswith("ORDERBY"):
        return True
    value = str(record.get(condition["field"], ""))
    if condition["operator"] == "ISNOTEMPTY":
        return bool(value)
    return value == condition["value"] if condition["operator"] == "=" else value >= condition["value"]


def _only(record: dict[str, Any], fields: list[str]) -> dict[str, Any]:
    return {name: value for name, value in record.items() if not fields or name in fields}


def _user(user: dict[str, Any]) -> dict[str, Any]:
    return {"sys_id": f"{user['id']:032x}", "email": user["email"] or "", "name": user["name"]}


def _number(sys_id: object) -> int | None:
    text = str(sys_id or "")
    return int(text, 16) if re.fullmatch(r"[0-9a-f]{32}", text) else None


def _moment(value: str | None) -> str:
    return (value or "").replace("T", " ").removesuffix("Z")
