"""ServiceNow: records of its Table API, posted by a Business Rule or Flow that you write.

ServiceNow has no webhook format of its own. Let the rule on `incident` and `problem` post
    {"record": <the record as the Table API returns it>, "previous": {"state": "101"}, "operation": "insert"|"update"}
or the record alone; `previous` may hold any of the fields that the mapping reads. Authentication is HTTP basic, or
`X-Hub-Signature: sha256=…` made by the rule's script. https://docs.servicenow.com (Table API)
"""

from collections.abc import Mapping as Headers
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from outreach.errors import InvalidInput
from webhooks.desks.base import DeskEvent, DeskEventKind, DeskProblem, DeskState, DeskTicket
from webhooks.desks.problem_steps import StepWords, steps_of
from webhooks.desks.reading import ignored, long_text, name, read_body, reference, words, words_of
from webhooks.signatures import verify_basic, verify_hub
from webhooks.wire import digest, moment, object_in, text

# State numbers of the problem table: 101 new, 102 assess, 103 root cause analysis, 104 fix in progress,
# 106 resolved, 107 closed; older instances: 2 known error, 4 closed/resolved. Known is also a field of its own.
DEFAULT_STEPS = StepWords(
    known=("known_error=true", "2", "known error", "104", "fix in progress"),
    workaround=("workaround_applied=true",),
    resolved=("4", "106", "107", "resolved", "closed", "closed/resolved"),
    reopened=(),
)


@dataclass(frozen=True, slots=True)
class Mapping:
    """What your ServiceNow's words mean.

    `steps` lists states (number or label) and `field=value` for the fields named in `step_fields`. A ticket names
    its problem in `problem_field`. `our_actors` are the `sys_updated_by` users that write for us. To solve an
    incident we set `solved_state` and `close_code`, of which every instance has its own list.
    """

    problem_tables: tuple[str, ...] = ("problem",)
    steps: StepWords = DEFAULT_STEPS
    state_fields: tuple[str, ...] = ("state", "problem_state")
    step_fields: tuple[str, ...] = ("known_error", "workaround_applied", "major_case_state", "resolution_code")
    problem_field: str = "problem_id"
    email_field: str = "caller_email"
    phone_field: str = "caller_phone"
    our_actors: tuple[str, ...] = ()
    solved_state: str = "6"
    close_code: str = "Solution provided"

    def __post_init__(self) -> None:
        object.__setattr__(self, "steps", steps_of(self.steps))
        for one in ("solved_state", "close_code"):
            object.__setattr__(self, one, name(getattr(self, one), one))
        for one in ("problem_tables", "state_fields", "step_fields", "our_actors"):
            object.__setattr__(self, one, words(getattr(self, one), one))
        for one in ("problem_field", "email_field", "phone_field"):
            object.__setattr__(self, one, name(getattr(self, one), one))


def verify(headers: Headers[str, str], body: bytes, secrets: Sequence[str], now: datetime) -> None:  # noqa: ARG001
    """Refuse unless the script's signature is right, or the basic credentials (`user:password`) are."""
    if any(header.lower() == "x-hub-signature" for header in headers):
        verify_hub(headers, body, secrets, "sha256", "ServiceNow webhook secret")
    else:
        verify_basic(headers, secrets, "ServiceNow webhook secret")


def parse(headers: Headers[str, str], body: bytes, mapping: Mapping) -> list[DeskEvent]:  # noqa: ARG001
    """Return the one event of a body; its key is the record and how often it was changed (`sys_mod_count`)."""
    raw = read_body(body)
    record = object_in(raw, "record") or object_in(raw, "result") or raw
    own = _value(record, "sys_id")
    if own is None:
        raise InvalidInput("The record has no sys_id: let the rule post the whole record.", where="sys_id")
    changes, updated_on = _value(record, "sys_mod_count"), _value(record, "sys_updated_on")
    key = digest(own, changes, updated_on)
    actor = _value(record, "sys_updated_by")
    if (actor or "").lower() in mapping.our_actors:
        return [ignored(key, raw, actor)]
    occurred_at = moment(updated_on)
    if (_value(record, "sys_class_name") or "").lower() in mapping.problem_tables:
        now, previous = _words(record, mapping), object_in(raw, "previous")
        before = _words({**record, **previous}, mapping) if previous else None
        kind = mapping.steps.step(now, before)
        return [DeskEvent(key, kind, occurred_at, None, _problem(own, record), actor, raw)]
    created = text(raw.get("operation"), 20) == "insert" or changes == "0"
    kind = DeskEventKind.TICKET_CREATED if created else DeskEventKind.TICKET_UPDATED
    return [DeskEvent(key, kind, occurred_at, _ticket(own, record, mapping), None, actor, raw)]


def state_of(record: dict[str, Any], mapping: Mapping) -> DeskState:
    """Return what a record of the Table API says now, with the caller's address under the mapping's name."""
    own, changed_at = _value(record, "sys_id") or "", moment(_value(record, "sys_updated_on"))
    if (_value(record, "sys_class_name") or "").lower() in mapping.problem_tables:
        return DeskState(own, changed_at, None, _problem(own, record), _words(record, mapping))
    return DeskState(own, changed_at, _ticket(own, record, mapping))


def _value(record: dict[str, Any], field: str) -> str | None:
    """Return a field, which the Table API gives plain, or as `{"link", "value"}` or `{"display_value", "value"}`."""
    found = record.get(field)
    return text(found.get("value"), 500) if isinstance(found, dict) else text(found, 500)


def _words(record: dict[str, Any], mapping: Mapping) -> frozenset[str]:
    states: list[object] = []
    for field in mapping.state_fields:
        shown = object_in(record, field).get("display_value") if isinstance(record.get(field), dict) else None
        states += [_value(record, field), shown]
    return words_of(states) | words_of([f"{field}={_value(record, field)}" for field in mapping.step_fields])


def _ticket(own: str, record: dict[str, Any], mapping: Mapping) -> DeskTicket:
    return DeskTicket(
        reference=own,
        subject=text(record.get("short_description")),
        body=long_text(record.get("description")),
        status=_value(record, "state"),
        priority=_value(record, "priority"),
        requester_email=_value(record, mapping.email_field),
        requester_phone=_value(record, mapping.phone_field),
        requester_reference=_value(record, "caller_id"),
        opened_at=moment(_value(record, "opened_at")),
        solved_at=moment(_value(record, "resolved_at")) or moment(_value(record, "closed_at")),
        problem_reference=reference(record.get(mapping.problem_field)) if mapping.problem_field else None,
        attributes={"number": _value(record, "number"), "category": _value(record, "category")},
    )


def _problem(own: str, record: dict[str, Any]) -> DeskProblem:
    return DeskProblem(
        reference=own,
        title=text(record.get("short_description")),
        summary=long_text(record.get("description")),
        severity=_value(record, "priority"),
        department=_value(record, "assignment_group"),
        workaround=long_text(record.get("workaround")),
        fix=long_text(record.get("fix_notes")) or long_text(record.get("close_notes")),
        fixed_by=moment(_value(record, "due_date")),
        attributes={"number": _value(record, "number")},
    )
