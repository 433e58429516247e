"""The help desk's own memory: tickets, comments, people and problems, kept across restarts."""

import itertools
from datetime import UTC, datetime
from typing import Any

from sandbox.record import Record

FIRST_ID = 1001
STATUSES = ("new", "open", "pending", "hold", "solved", "closed")
PRIORITIES = ("low", "normal", "high", "urgent")
TYPES = ("problem", "incident", "question", "task")
PROBLEM_FIELDS = ("title", "summary", "severity", "department", "workaround", "fix", "next_update_by", "fixed_by")


class Tickets:
    """Tickets by id (a number as text, as both desks write it), with the people and comments they need."""

    def __init__(self, record: Record) -> None:
        self._record = record
        self.by_id: dict[str, dict[str, Any]] = record.load("ticket")
        self.users: dict[str, dict[str, Any]] = record.load("desk_user")
        self.problems: dict[str, dict[str, Any]] = record.load("problem")
        used = [int(identity) for identity in (*self.by_id, *self.users)]
        self._ids = itertools.count(max(used, default=FIRST_ID - 1) + 1)

    def forget(self) -> None:
        """Forget everything; ids start anew."""
        for table in (self.by_id, self.users, self.problems):
            table.clear()
        self._ids = itertools.count(FIRST_ID)

    def person(self, asked: dict[str, Any]) -> dict[str, Any]:
        """Return the desk's user with this email or phone, made if it is new."""
        for user in self.users.values():
            for key in ("email", "phone"):
                if asked.get(key) and user.get(key) == asked[key]:
                    return user
        user = {
            "id": next(self._ids),
            "external_id": asked.get("id"),
            "name": asked.get("name") or asked.get("email") or asked.get("phone") or "Unknown",
            "email": asked.get("email"),
            "phone": asked.get("phone"),
            "role": "end-user",
        }
        self.users[str(user["id"])] = user
        self._record.put("desk_user", str(user["id"]), user)
        return user

    def open(self, fields: dict[str, Any], body: str, requester: dict[str, Any]) -> dict[str, Any]:
        """Create a ticket from checked fields, its first comment being the description."""
        now = moment()
        number = next(self._ids)
        user = self.person(requester)
        ticket: dict[str, Any] = {
            "id": number,
            "external_id": None,
            "type": None,
            "priority": None,
            "status": "new",
            "problem_id": None,
            "tags": [],
            "custom_fields": [],
            "assignee_id": None,
            "group_id": None,
            "organization_id": None,
            "via": {"channel": "api", "source": {"from": {}, "to": {}, "rel": None}},
            **fields,
            "subject": fields.get("subject") or body[:80],
            "description": body,
            "requester_id": user["id"],
            "submitter_id": user["id"],
            "created_at": now,
            "updated_at": now,
            "_attributes": fields.get("_attributes", {}),
            "_solved_at": None,
            "_comments": [{"id": next(self._ids), "body": body, "public": True, "created_at": now}],
        }
        self.keep(ticket)
        return ticket

    def comment(self, ticket: dict[str, Any], body: str, public: bool) -> None:
        """Add a comment to a ticket."""
        now = moment()
        ticket["_comments"].append({"id": next(self._ids), "body": body, "public": public, "created_at": now})
        self.keep(ticket)

    def keep(self, ticket: dict[str, Any]) -> None:
        """Store a changed ticket."""
        ticket["updated_at"] = moment()
        solved = ticket["status"] in ("solved", "closed")
        ticket["_solved_at"] = (ticket["_solved_at"] or moment()) if solved else None
        self.by_id[str(ticket["id"])] = ticket
        self._record.put("ticket", str(ticket["id"]), ticket)

    def keep_problem(self, problem: dict[str, Any]) -> None:
        """Store what people say about a problem."""
        self.problems[problem["id"]] = problem
        self._record.put("problem", problem["id"], problem)

    def incidents(self, problem_id: str) -> list[dict[str, Any]]:
        """Return the tickets linked to a problem."""
        return [ticket for ticket in self.by_id.values() if str(ticket["problem_id"]) == problem_id]


def moment() -> str:
    """Return now as desks write it."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
