"""What we ask of ServiceNow, over its Table API. https://docs.servicenow.com (REST API reference, Table API)

An incident that we open carries our key in `correlation_id`, by which it is found again. The API user should have
the time zone GMT: dates in queries are read in its zone.
"""

import base64
import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

from outreach.errors import InvalidInput, Unavailable
from webhooks.desks.base import OUR_TAG, DeskState
from webhooks.desks.http import DeskApi, list_in
from webhooks.desks.servicenow import Mapping, state_of
from webhooks.wire import object_in, text

_PAGE = 500
_MOST_PAGES = 1000
_TABLE = "/api/now/table"
_DONE = ("6", "7", "8")  # incident: resolved, closed, cancelled


@dataclass(frozen=True, slots=True)
class ServiceNowClient:
    """A `DeskClient`; a reference is a `sys_id`, of an incident or else of a problem."""

    api: DeskApi
    account: str
    mapping: Mapping = field(default_factory=Mapping)

    def open_ticket(
        self, subject: str, body: str, requester_email: str, problem_reference: str | None, key: str
    ) -> str:
        """Open an incident once per key, for the caller with this address if there is exactly one."""
        earlier = self._records("incident", f"correlation_id={_literal(key)}", most=1)
        for record in earlier:
            return _sys_id(record)
        record = {
            "short_description": " ".join(subject.split())[:160],
            "description": body,
            "correlation_id": key,
            "correlation_display": OUR_TAG,
        }
        callers = self._records("sys_user", f"email={_literal(requester_email)}", most=2) if requester_email else []
        if len(callers) == 1:
            record["caller_id"] = _sys_id(callers[0])
        elif requester_email:
            record["description"] = f"Customer: {requester_email}\n{body}"
        if problem_reference and self.mapping.problem_field:
            record[self.mapping.problem_field] = problem_reference
        answer = self.api.call("POST", f"{_TABLE}/incident", payload=record)
        return _sys_id(object_in(answer, "result"))

    def comment(self, reference: str, body: str, public: bool) -> None:
        """Add a comment (the customer sees it) or work notes (she does not)."""
        self._change(reference, {"comments" if public else "work_notes": body})

    def solve(self, reference: str, body: str) -> None:
        """Resolve an incident; one that is resolved or closed is left alone."""
        found = self._records("incident", f"sys_id={_literal(reference)}", most=1)
        if found and text(found[0].get("state")) in _DONE:
            return
        words = {"state": self.mapping.solved_state, "close_code": self.mapping.close_code, "close_notes": body}
        self._change(reference, {**words, "comments": body})

    def add_link(self, reference: str, url: str, title: str) -> None:
        """Put a link into the work notes of a problem or an incident."""
        table = "problem" if self._records("problem", f"sys_id={_literal(reference)}", most=1) else "incident"
        self._change(reference, {"work_notes": f"{title}\n{url}"}, table)

    def fetch(self, reference: str) -> DeskState:
        """Return the incident or problem as it is now; raises `NotFound` when it is neither."""
        for table in ("problem", "incident"):
            for record in self._records(table, f"sys_id={_literal(reference)}", most=1):
                return self._state(record, table)
        self.api.call("GET", f"{_TABLE}/incident/{quote(reference, safe='')}")  # says in its own words: not found
        raise Unavailable(f"ServiceNow gives {reference} by its address but not by a query.")

    def list_since(self, when: datetime) -> Iterator[DeskState]:
        """Yield problems first, so that what is linked to them finds them, then incidents."""
        stamp = when.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S")
        for table in ("problem", "incident"):
            for page in range(_MOST_PAGES):
                query = f"sys_updated_on>={stamp}^ORDERBYsys_updated_on"
                records = self._records(table, query, most=_PAGE, offset=page * _PAGE)
                for record in records:
                    yield self._state(record, table)
                if len(records) < _PAGE:
                    break

    def who_am_i(self) -> str:
        """Return the user name that we sign in with, which is what `sys_updated_by` holds; proves that it works."""
        self._records("incident", "sys_idISNOTEMPTY", most=1)
        return self.account

    def _records(self, table: str, query: str, *, most: int, offset: int = 0) -> list[dict[str, Any]]:
        asked = {
            "sysparm_query": query,
            "sysparm_limit": str(most),
            "sysparm_offset": str(offset),
            "sysparm_exclude_reference_link": "true",
        }
        if table == "incident":
            asked["sysparm_fields"] = ",".join((*_INCIDENT_FIELDS, self.mapping.problem_field)).strip(",")
        return list_in(self.api.call("GET", f"{_TABLE}/{table}", query=asked), "result")

    def _state(self, record: dict[str, Any], table: str) -> DeskState:
        caller = {self.mapping.email_field: record.get("caller_id.email")}
        caller[self.mapping.phone_field] = record.get("caller_id.mobile_phone") or record.get("caller_id.phone")
        return state_of({"sys_class_name": table, **record, **caller}, self.mapping)

    def _change(self, reference: str, change: dict[str, str], table: str = "incident") -> None:
        self.api.call("PATCH", f"{_TABLE}/{table}/{quote(reference, safe='')}", payload=change)


_INCIDENT_FIELDS = (
    *("sys_id", "number", "sys_class_name", "short_description", "description", "state", "priority", "category"),
    *("caller_id", "caller_id.email", "caller_id.phone", "caller_id.mobile_phone", "correlation_id", "opened_at"),
    *("resolved_at", "closed_at", "sys_updated_on", "sys_updated_by", "sys_mod_count"),
)


def connect(
    base_url: str, account: str, secret: str, *, mapping: Mapping, allow: Collection[str] = ()
) -> ServiceNowClient:
    """Return the client of one instance, for the user whose password it is."""
    credentials = base64.b64encode(f"{account}:{secret}".encode()).decode()
    return ServiceNowClient(DeskApi(base_url, {"Authorization": f"Basic {credentials}"}, allow), account, mapping)


def _literal(value: str) -> str:
    """Return a value for an encoded query, refusing what would end it: `^` parts conditions, `javascript:` runs."""
    if re.search(r"[\^\x00-\x1f]", value) or value.lower().lstrip().startswith("javascript"):
        raise InvalidInput("This value cannot be looked up at ServiceNow: it holds characters of its query language.")
    return value


def _sys_id(record: dict[str, Any]) -> str:
    found = text(record.get("sys_id"), 64)
    if found is None:
        raise Unavailable("ServiceNow answered without a sys_id.")
    return found
