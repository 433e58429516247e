"""Jira's webhooks (Cloud, Service Management, Server). https://developer.atlassian.com/cloud/jira/platform/webhooks/"""

from collections.abc import Mapping as Headers
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from webhooks.desks.base import OUR_TAG, DeskEvent, DeskEventKind, DeskProblem, DeskState, DeskTicket
from webhooks.desks.problem_steps import StepWords, steps_of
from webhooks.desks.reading import content_key, ignored, long_text, name, read_body, reference, words, words_of
from webhooks.signatures import verify_hub
from webhooks.wire import moment, object_in, text

DEFAULT_STEPS = StepWords(
    known=("known error", "known_error"),
    workaround=("workaround", "workaround available"),
    resolved=("done", "resolved", "closed"),
    reopened=("reopened",),
)
_WORD_FIELDS = frozenset({"status", "resolution", "labels"})


@dataclass(frozen=True, slots=True)
class Mapping:
    """What your Jira's words mean.

    Issues of `problem_types` are problems; all others are tickets. `steps` lists statuses, resolutions and labels.
    A ticket belongs to the problem it is linked to by one of `link_types`, or that `problem_field` holds.
    `our_actors` are the account ids (or user names) that write for us. `workaround_field` and `fix_field` name
    custom fields such as `customfield_10030`.
    """

    problem_types: tuple[str, ...] = ("problem", "[system] problem", "bug")
    steps: StepWords = DEFAULT_STEPS
    link_types: tuple[str, ...] = ("problem/incident", "causes", "relates")
    problem_field: str = ""
    workaround_field: str = ""
    fix_field: str = ""
    our_actors: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "steps", steps_of(self.steps))
        for one in ("problem_types", "link_types", "our_actors"):
            object.__setattr__(self, one, words(getattr(self, one), one))
        for one in ("problem_field", "workaround_field", "fix_field"):
            object.__setattr__(self, one, name(getattr(self, one), one))


def verify(headers: Headers[str, str], body: bytes, secrets: Sequence[str], now: datetime) -> None:  # noqa: ARG001
    """Refuse unless `X-Hub-Signature` is `sha256=` and right; Jira signs no time, so there is no window."""
    verify_hub(headers, body, secrets, "sha256", "Jira webhook secret")


def parse(headers: Headers[str, str], body: bytes, mapping: Mapping) -> list[DeskEvent]:
    """Return the one event of a body; its key is the webhook identifier, the same on every retry."""
    raw = read_body(body)
    delivery = next((v for k, v in headers.items() if k.lower() == "x-atlassian-webhook-identifier"), None)
    key = text(delivery, 200) or content_key(raw)
    what, issue = text(raw.get("webhookEvent"), 100) or "", object_in(raw, "issue")
    user = object_in(raw, "user") or object_in(raw, "comment", "author")
    actor = text(user.get("accountId"), 200) or text(user.get("name"), 200)
    fields = object_in(issue, "fields")
    own = text(issue.get("key"), 100)
    created = what == "jira:issue_created"
    ours = (actor or "").lower() in mapping.our_actors or (created and OUR_TAG in words_of(fields.get("labels")))
    if own is None or ours or what not in ("jira:issue_created", "jira:issue_updated", "comment_created"):
        return [ignored(key, raw, actor)]
    occurred_at = moment(raw.get("timestamp"))
    if (text(object_in(fields, "issuetype").get("name"), 100) or "").lower() in mapping.problem_types:
        now, before = _words_around(fields, object_in(raw, "changelog"), created)
        kind = mapping.steps.step(now, before)
        return [DeskEvent(key, kind, occurred_at, None, _problem(own, fields, mapping), actor, raw)]
    kind = DeskEventKind.TICKET_CREATED if created else DeskEventKind.TICKET_UPDATED
    return [DeskEvent(key, kind, occurred_at, _ticket(own, fields, mapping), None, actor, raw)]


def state_of(issue: dict[str, Any], mapping: Mapping) -> DeskState:
    """Return what an issue of the REST API says now; its texts may be documents (version 3) or plain (version 2)."""
    fields = object_in(issue, "fields")
    fields = {**fields, **{name: document_text(value) for name, value in fields.items() if is_document(value)}}
    own, changed_at = text(issue.get("key"), 100) or "", moment(fields.get("updated"))
    if (text(object_in(fields, "issuetype").get("name"), 100) or "").lower() in mapping.problem_types:
        words, _ = _words_around(fields, {}, created=True)
        return DeskState(own, changed_at, None, _problem(own, fields, mapping), words)
    return DeskState(own, changed_at, _ticket(own, fields, mapping))


def is_document(value: object) -> bool:
    """Tell whether a value is a text in the Atlassian Document Format."""
    return isinstance(value, dict) and value.get("type") == "doc"


def document_text(node: object, depth: int = 0) -> str:
    """Return the words of a document, paragraphs parted by line ends."""
    if not isinstance(node, dict) or depth > 30:
        return ""
    if isinstance(node.get("text"), str):
        return str(node["text"])
    inner = node.get("content")
    parts = [document_text(one, depth + 1) for one in inner] if isinstance(inner, list) else []
    return ("" if node.get("type") in ("paragraph", "heading") else "\n").join(parts)


def _words_around(
    fields: dict[str, Any], changelog: dict[str, Any], created: bool
) -> tuple[frozenset[str], frozenset[str] | None]:
    """Return status, resolution and labels after and before the change."""
    named = [object_in(fields, one).get("name") for one in ("status", "resolution")]
    now = words_of(named) | words_of(fields.get("labels"))
    if created:
        return now, None
    items = changelog.get("items")
    before = now
    for item in items[:200] if isinstance(items, list) else []:
        field = (text(item.get("field"), 100) or "").lower() if isinstance(item, dict) else ""
        if field in _WORD_FIELDS:
            split = words_of if field == "labels" else _whole
            before = (before - split(item.get("toString"))) | split(item.get("fromString"))
    return now, before


def _whole(value: object) -> frozenset[str]:
    """A status is one word for us, however many it has ("In Progress")."""
    return words_of([value])


def _ticket(own: str, fields: dict[str, Any], mapping: Mapping) -> DeskTicket:
    reporter = object_in(fields, "reporter")
    return DeskTicket(
        reference=own,
        subject=text(fields.get("summary")),
        body=long_text(fields.get("description")),
        status=text(object_in(fields, "status").get("name"), 100),
        priority=text(object_in(fields, "priority").get("name"), 100),
        requester_email=text(reporter.get("emailAddress"), 320),
        requester_reference=text(reporter.get("accountId"), 200) or text(reporter.get("name"), 200),
        requester_name=text(reporter.get("displayName"), 200),
        opened_at=moment(fields.get("created")),
        solved_at=moment(fields.get("resolutiondate")),
        problem_reference=_linked(fields, mapping),
        attributes={"labels": sorted(words_of(fields.get("labels")))},
    )


def _linked(fields: dict[str, Any], mapping: Mapping) -> str | None:
    """Return the key of the linked problem: the field of the mapping, else a link of a mapped type."""
    if mapping.problem_field and (found := reference(fields.get(mapping.problem_field))):
        return found
    links = fields.get("issuelinks")
    for link in links[:200] if isinstance(links, list) else []:
        if (text(object_in(link, "type").get("name"), 100) or "").lower() not in mapping.link_types:
            continue
        other = object_in(link, "inwardIssue") or object_in(link, "outwardIssue")
        kind = text(object_in(other, "fields", "issuetype").get("name"), 100)
        if kind is not None and kind.lower() in mapping.problem_types:
            return text(other.get("key"), 100)
    return None


def _problem(own: str, fields: dict[str, Any], mapping: Mapping) -> DeskProblem:
    components = fields.get("components")
    first = components[0] if isinstance(components, list) and components else None
    return DeskProblem(
        reference=own,
        title=text(fields.get("summary")),
        summary=long_text(fields.get("description")),
        severity=(text(object_in(fields, "priority").get("name"), 100) or "").lower() or None,
        department=text(object_in(first).get("name"), 200),
        workaround=long_text(fields.get(mapping.workaround_field)) if mapping.workaround_field else None,
        fix=long_text(fields.get(mapping.fix_field)) if mapping.fix_field else None,
        fixed_by=moment(fields.get("duedate")),
        attributes={"labels": sorted(words_of(fields.get("labels")))},
    )
