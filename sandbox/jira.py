"""The Jira wire: the subset of the platform's REST API, version 3, that work at a desk needs, and its webhooks."""

import re
import time
import uuid
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from sandbox.desk_events import KNOWN_TAG
from sandbox.desk_wire import DeskWire, done, shown
from sandbox.wire import basic_credentials

PROJECT = "CARE"
ISSUE_TYPES = {"problem": "Problem", "incident": "Incident", "question": "Question", "task": "Task"}
LINK_TYPES = ("Problem/Incident", "Relates", "Causes")
# id, name of the transition, status it leads to, category of that status, our word.
TRANSITIONS = (("11", "Start", "In Progress", "indeterminate", "open"), ("31", "Resolve", "Resolved", "done", "solved"))
_STATUS = {"solved": ("Resolved", "done"), "closed": ("Closed", "done"), "new": ("Open", "new")}
_PRIORITY = {"low": "Low", "normal": "Medium", "high": "High", "urgent": "Highest"}
_LABELS = {KNOWN_TAG: "known_error"}
_NO_ISSUE = "Issue does not exist or you do not have permission to see it."
_NOT_A_DOCUMENT = "Operation value must be an Atlassian Document (see the Atlassian Document Format)"
_CONDITION = re.compile(r'project = "(?P<project>\w+)"|labels = "(?P<label>[^"]+)"|updated >= "-(?P<minutes>\d+)m"')


class Jira(DeskWire):
    """Answers like Jira Cloud; keys are CARE-<number of the ticket>."""

    name = "jira"

    def routes(self) -> list[Route]:
        """Return the routes of this wire."""
        issue = "/rest/api/3/issue"
        return [
            self.route("POST", issue, self._create),
            self.route("GET", "/rest/api/3/search/jql", self._search),
            self.route("GET", "/rest/api/3/myself", self._myself),
            self.route("POST", "/rest/api/3/issueLink", self._link),
            self.route("GET", issue + "/{key}", self._show),
            self.route("POST", issue + "/{key}/comment", self._comment),
            self.route("GET", issue + "/{key}/transitions", self._transitions),
            self.route("POST", issue + "/{key}/transitions", self._transition),
            self.route("POST", issue + "/{key}/remotelink", self._remote_link),
        ]

    def allowed(self, request: Request) -> bool:
        """Tell whether the API token is right."""
        return self.basic(request, 1)

    def refuse(self, status: int, text: str, field: str = "") -> Response:
        """Word a refusal as Jira does."""
        return shown({"errorMessages": [] if field else [text], "errors": {field: text} if field else {}}, status)

    async def _create(self, request: Request, body: Any) -> tuple[Response, str]:
        fields = body.get("fields") if isinstance(body.get("fields"), dict) else {}
        summary, labels = fields.get("summary"), fields.get("labels") or []
        wanted = _named(fields.get("issuetype"), "name")
        kind = next((ours for ours, theirs in ISSUE_TYPES.items() if theirs == wanted), None)
        if _named(fields.get("project"), "key") != PROJECT:
            return self.refuse(400, "valid project is required", "project"), ""
        if kind is None:
            return self.refuse(400, "Specify a valid issue type", "issuetype"), ""
        if not isinstance(summary, str) or not summary.strip():
            return self.refuse(400, "You must specify a summary of the issue.", "summary"), ""
        if len(summary) > 255 or "\n" in summary:
            return self.refuse(400, "The summary is invalid because it contains newline characters.", "summary"), ""
        if not _is_document(fields.get("description")):
            return self.refuse(400, _NOT_A_DOCUMENT, "description"), ""
        bad = next((one for one in labels if not isinstance(one, str) or " " in one), None)
        if bad is not None:
            return self.refuse(400, f"The label '{bad}' contains spaces which is invalid.", "labels"), ""
        given = {"subject": summary, "type": kind, "tags": labels, "problem_id": None}
        text = _text(fields["description"])
        ticket = await self.opened(request, body, given, text, {"email": _customer(text)})
        number = ticket["id"]
        return shown({"id": str(number), "key": _key(number), "self": f"{request.url}/{number}"}, 201), _key(number)

    async def _comment(self, request: Request, body: Any) -> tuple[Response, str]:
        ticket = self._ticket(request)
        if ticket is None:
            return self.refuse(404, _NO_ISSUE), ""
        if not _is_document(body.get("body")):
            return self.refuse(400, "Comment body is not valid!", "comment"), ""
        marks = [one.get("value") for one in body.get("properties") or [] if one.get("key") == "sd.public.comment"]
        internal = any(isinstance(one, dict) and one.get("internal") for one in marks)
        self.tickets.comment(ticket, _text(body["body"]), not internal)
        await self.changed(request, body, ticket)
        return shown({"id": str(ticket["_comments"][-1]["id"]), "body": body["body"]}, 201), ""

    async def _show(self, request: Request, _body: Any) -> tuple[Response, str]:
        ticket = self._ticket(request)
        return (self.refuse(404, _NO_ISSUE) if ticket is None else shown(self.issue(ticket))), ""

    async def _transitions(self, request: Request, _body: Any) -> tuple[Response, str]:
        if self._ticket(request) is None:
            return self.refuse(404, _NO_ISSUE), ""
        listed = [
            {"id": one, "name": name, "to": {"name": to, "statusCategory": {"key": category}}}
            for one, name, to, category, _ in TRANSITIONS
        ]
        return shown({"expand": "transitions", "transitions": listed}), ""

    async def _transition(self, request: Request, body: Any) -> tuple[Response, str]:
        ticket = self._ticket(request)
        if ticket is None:
            return self.refuse(404, _NO_ISSUE), ""
        wanted = _named(body.get("transition"), "id")
        ours = next((ours for one, _, _, _, ours in TRANSITIONS if one == wanted), None)
        if ours is None:
            return self.refuse(400, f"Transition id '{wanted}' is not valid for this issue."), ""
        ticket["status"] = ours
        await self.changed(request, body, ticket)
        return done(), ""

    async def _link(self, request: Request, body: Any) -> tuple[Response, str]:
        if _named(body.get("type"), "name") not in LINK_TYPES:
            return self.refuse(404, f"No issue link type with name '{_named(body.get('type'), 'name')}' found."), ""
        ends = [self._by_key(_named(body.get(one), "key")) for one in ("inwardIssue", "outwardIssue")]
        problem, ticket = ends
        if problem is None or ticket is None:
            return self.refuse(404, _NO_ISSUE), ""
        ticket["problem_id"] = problem["id"]
        await self.changed(request, body, ticket)
        return done(201), ""

    async def _remote_link(self, request: Request, body: Any) -> tuple[Response, str]:
        ticket, target = self._ticket(request), body.get("object")
        if ticket is None:
            return self.refuse(404, _NO_ISSUE), ""
        if not isinstance(target, dict) or not target.get("url") or not target.get("title"):
            return self.refuse(400, "'url' and 'title' are required", "object"), ""
        links = ticket.setdefault("_links", {})
        known = str(body.get("globalId") or target["url"])
        fresh = known not in links
        links[known] = target
        self.tickets.keep(ticket)
        await self.noted(request, body, ticket)
        return shown({"id": len(links), "self": str(request.url)}, 201 if fresh else 200), ""

    async def _myself(self, request: Request, _body: Any) -> tuple[Response, str]:
        given = basic_credentials(request)
        return shown({"accountId": str(self.actor(request)["id"]), "emailAddress": given[0] if given else ""}), ""

    async def _search(self, request: Request, _body: Any) -> tuple[Response, str]:
        query = request.query_params
        jql = query.get("jql", "").partition(" ORDER BY ")[0]
        found = list(self.tickets.by_id.values())
        for part in jql.split(" AND "):
            condition = _CONDITION.fullmatch(part.strip())
            if condition is None:
                return self.refuse(400, f"Error in the JQL Query: {part!r} is not understood here."), ""
            if condition["label"]:
                found = [ticket for ticket in found if condition["label"] in ticket["tags"]]
            if condition["minutes"]:
                since = datetime.now(UTC) - timedelta(minutes=int(condition["minutes"]))
                found = [ticket for ticket in found if ticket["updated_at"] >= f"{since:%Y-%m-%dT%H:%M:%SZ}"]
        found.sort(key=lambda ticket: (ticket["updated_at"], ticket["id"]))
        start, size = int(query.get("nextPageToken") or 0), min(int(query.get("maxResults") or 50), 100)
        answer: dict[str, Any] = {"issues": [self.issue(ticket) for ticket in found[start : start + size]]}
        more = start + size < len(found)
        return shown(answer | ({"nextPageToken": str(start + size)} if more else {}) | {"isLast": not more}), ""

    def _ticket(self, request: Request) -> dict[str, Any] | None:
        return self._by_key(request.path_params["key"])

    def _by_key(self, key: str) -> dict[str, Any] | None:
        return self.tickets.by_id.get(key.removeprefix(f"{PROJECT}-")) if key.startswith(f"{PROJECT}-") else None

    def issue(self, ticket: dict[str, Any]) -> dict[str, Any]:
        """Return an issue as the REST API gives it."""
        user, (status, category) = self.user(ticket), _STATUS.get(ticket["status"], ("In Progress", "indeterminate"))
        links, linked = [], self.tickets.by_id.get(str(ticket["problem_id"]))
        if linked is not None:
            other = {"key": _key(linked["id"]), "fields": {"issuetype": {"name": "Problem"}}}
            links = [{"id": "1", "type": {"name": LINK_TYPES[0]}, "inwardIssue": other}]
        reporter = {"accountId": str(user["id"]), "displayName": user["name"], "emailAddress": user["email"]}
        fields = {
            "summary": ticket["subject"],
            "description": _document(ticket["description"]),
            "issuetype": {"name": ISSUE_TYPES.get(ticket["type"] or "incident")},
            "project": {"key": PROJECT},
            "status": {"name": status, "statusCategory": {"key": category}},
            "priority": {"name": _PRIORITY.get(ticket["priority"] or "normal")},
            "labels": [_LABELS.get(tag, tag) for tag in ticket["tags"]],
            "reporter": reporter,
            "issuelinks": links,
            "created": ticket["created_at"],
            "updated": ticket["updated_at"],
            "resolutiondate": ticket["_solved_at"],
        }
        return {"id": str(ticket["id"]), "key": _key(ticket["id"]), "fields": fields}

    def tell_ticket(self, kind: str, ticket: dict[str, Any], change: Mapping[str, Any], actor: int) -> None:
        """Send `jira:issue_created` or `jira:issue_updated`."""
        words = change.get("status_changed")
        items = [] if words is None else [_item("status", words["previous"] or "Open", words["current"])]
        self._send(kind, ticket, items, actor)

    def tell_problem(self, kind: str, ticket: dict[str, Any], problem: dict[str, Any]) -> None:  # noqa: ARG002
        """Say it as people do at Jira: by a label, or by the status."""
        labels = " ".join(_LABELS.get(tag, tag) for tag in ticket["tags"])
        items = {
            "known": _item("labels", labels.replace("known_error", "").strip(), labels),
            "workaround": _item("labels", labels.replace("workaround", "").strip(), labels),
            "resolved": _item("status", "Open", "Resolved"),
            "reopened": _item("status", "Resolved", "In Progress"),
        }
        self._send("updated", ticket, [items[kind]], ticket["requester_id"])

    def _send(self, kind: str, ticket: dict[str, Any], items: list[dict[str, Any]], actor: int) -> None:
        issue = self.issue(ticket)
        issue["fields"]["description"] = ticket["description"]  # webhooks carry plain text
        event = {
            "timestamp": int(time.time() * 1000),
            "webhookEvent": f"jira:issue_{kind}",
            "user": {"accountId": str(actor)},
            "issue": issue,
            "changelog": {"id": uuid.uuid4().hex[:8], "items": items},
        }
        identity = uuid.uuid4().hex
        self.post(event, self.world.signatures.hub("sha256", {"X-Atlassian-Webhook-Identifier": identity}), identity)


def _item(field: str, before: str, after: str) -> dict[str, Any]:
    return {"field": field, "fieldId": field, "fieldtype": "jira", "fromString": before, "toString": after}


def _key(number: object) -> str:
    return f"{PROJECT}-{number}"


def _named(value: object, name: str) -> str:
    return str(value.get(name) or "") if isinstance(value, dict) else ""


def _is_document(value: object) -> bool:
    return isinstance(value, dict) and value.get("type") == "doc" and value.get("version") == 1


def _document(text: str) -> dict[str, Any]:
    return {
        "type": "doc",
        "version": 1,
        "content": [{"type": "paragraph", "content": [{"type": "text", "text": line}]} for line in text.splitlines()],
    }


def _text(document: dict[str, Any]) -> str:
    paragraphs = document.get("content") or []
    return "\n".join("".join(str(node.get("text", "")) for node in one.get("content") or []) for one in paragraphs)


def _customer(text: str) -> str:
    """Return the address in the first line: a person at the desk reads whom an issue is about."""
    return text.partition("\n")[0].removeprefix("Customer: ").strip() or "unknown@customer.invalid"
