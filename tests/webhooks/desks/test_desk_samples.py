"""Real webhook bodies of each help desk, and what they mean."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from outreach.errors import InvalidInput
from tests.webhooks.samples import sample, sample_bytes
from webhooks.desks import freshdesk, generic, jira, servicenow, zammad, zendesk
from webhooks.desks.base import DeskEvent, DeskEventKind
from webhooks.desks.problem_steps import StepWords


def parse(desk: Any, raw: object, mapping: Any = None, headers: dict[str, str] | None = None) -> DeskEvent:
    events = desk.parse(headers or {}, json.dumps(raw).encode(), mapping or desk.Mapping())
    assert len(events) == 1
    found: DeskEvent = events[0]
    return found


GENERIC = {
    "type": "ticket.created",
    "id": "evt-1",
    "occurred_at": "2026-03-01T09:00:00+02:00",
    "ticket": {
        "id": 42,
        "subject": "It leaks",
        "body": "Water everywhere",
        "status": "open",
        "created_at": "2026-03-01T08:00:00Z",
        "requester": {"email": "ann@example.com", "phone": "+15550100", "name": "Ann", "id": "c-1"},
        "problem_id": "P-7",
        "attributes": {"sku": "KETTLE"},
    },
}


def test_a_generic_ticket_is_read_in_full() -> None:
    found = parse(generic, GENERIC, headers={"Webhook-Id": "msg_1"})
    assert (found.key, found.kind) == ("msg_1", DeskEventKind.TICKET_CREATED)
    assert found.occurred_at == datetime(2026, 3, 1, 7, tzinfo=UTC)
    ticket = found.ticket
    assert ticket is not None
    assert (ticket.reference, ticket.problem_reference, ticket.requester_phone) == ("42", "P-7", "+15550100")
    assert ticket.attributes == {"sku": "KETTLE"}


@pytest.mark.parametrize("step", ["known", "workaround", "resolved", "reopened"])
def test_a_generic_problem_is_read_in_full(step: str) -> None:
    problem = {"id": "P-7", "title": "Lid cracks", "severity": "high", "workaround": "Use a spoon", "department": "QA"}
    dates = {"next_update_by": "2026-03-02T09:00:00Z", "fixed_by": "soon"}
    found = parse(generic, {"type": f"problem.{step}", "id": "evt-2", "problem": problem | dates})
    assert found.kind is DeskEventKind(f"problem_{step}")
    assert found.problem is not None
    assert (found.problem.workaround, found.problem.department) == ("Use a spoon", "QA")
    assert (found.problem.next_update_by, found.problem.fixed_by) == (datetime(2026, 3, 2, 9, tzinfo=UTC), None)


def test_a_generic_event_of_unknown_type_or_by_ourselves_is_ignored() -> None:
    assert parse(generic, GENERIC | {"type": "ticket.exploded"}).kind is DeskEventKind.IGNORED
    assert parse(generic, GENERIC | {"actor": "Outreach"}).kind is DeskEventKind.IGNORED


@pytest.mark.parametrize("raw", [{"type": "ticket.created", "id": "e"}, {"type": "problem.known", "id": "e"}, {}])
def test_a_generic_event_without_what_it_is_about_is_refused(raw: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput, match=r"needs (ticket|problem)\.id|neither"):
        parse(generic, raw)


def test_the_real_zendesk_event_resolves_its_problem() -> None:
    found = parse(zendesk, sample("zendesk/ticket_status_changed.json"))
    assert (found.key, found.kind) == ("a8b9c1d2-3e4f-5a6b-7c8d-9e0f1a2b3c4d", DeskEventKind.PROBLEM_RESOLVED)
    assert found.problem is not None
    assert (found.problem.reference, found.problem.severity) == ("5158", "high")
    assert found.occurred_at == datetime(2025, 1, 8, 16, 45, 20, 987654, tzinfo=UTC)


def zendesk_event(what: str, detail: dict[str, Any], **event: Any) -> dict[str, Any]:
    base = {"id": "9", "status": "OPEN", "type": "PROBLEM", "tags": [], "subject": "Lid cracks"}
    return {"type": f"zen:event-type:ticket.{what}", "id": "e1", "detail": base | detail, "event": event}


@pytest.mark.parametrize(
    ("raw", "kind"),
    [
        (zendesk_event("status_changed", {}, current="OPEN", previous="SOLVED"), DeskEventKind.PROBLEM_REOPENED),
        (
            zendesk_event("tags_changed", {"tags": ["known_problem"]}, tags_added=["known_problem"]),
            DeskEventKind.PROBLEM_KNOWN,
        ),
        (
            zendesk_event("tags_changed", {"tags": ["known_problem", "workaround"]}, tags_added=["workaround"]),
            DeskEventKind.PROBLEM_WORKAROUND,
        ),
        (
            zendesk_event("priority_changed", {"tags": ["known_problem"]}, current="HIGH", previous="LOW"),
            DeskEventKind.IGNORED,
        ),
        (zendesk_event("created", {"tags": ["known_problem"]}), DeskEventKind.PROBLEM_KNOWN),
        (zendesk_event("created", {"type": "INCIDENT"}), DeskEventKind.TICKET_CREATED),
        (zendesk_event("created", {"type": "INCIDENT", "tags": ["outreach"]}), DeskEventKind.IGNORED),
        (zendesk_event("comment_added", {"type": "QUESTION", "tags": ["outreach"]}), DeskEventKind.TICKET_UPDATED),
        (zendesk_event("comment_added", {"type": "QUESTION", "actor_id": "77"}), DeskEventKind.IGNORED),
        ({"type": "zen:event-type:user.created", "id": "e", "detail": {"id": "1"}}, DeskEventKind.IGNORED),
    ],
)
def test_zendesk_changes_have_a_meaning(raw: dict[str, Any], kind: DeskEventKind) -> None:
    assert parse(zendesk, raw, zendesk.Mapping(our_actors=("77",))).kind is kind


def test_a_zendesk_ticket_learns_its_problem_from_the_link() -> None:
    found = parse(zendesk, zendesk_event("problem_link_changed", {"type": "INCIDENT"}, current=5158, previous=None))
    assert found.ticket is not None
    assert found.ticket.problem_reference == "5158"


def test_the_real_zendesk_trigger_is_read_through_the_mapping() -> None:
    body = sample_bytes("zendesk/trigger_ticket_update.json")
    with pytest.raises(InvalidInput, match="ticket_id"):
        zendesk.parse({}, body, zendesk.Mapping())
    mapping = zendesk.Mapping(trigger_fields={"ticket_id": "ticketID", "type": ""})
    headers = {"X-Zendesk-Webhook-Invocation-Id": "01HX"}
    (found,) = zendesk.parse(headers, body, mapping)
    assert (found.kind, found.key) == (DeskEventKind.TICKET_UPDATED, "01HX")
    assert found.ticket is not None
    assert (found.ticket.reference, found.ticket.priority) == ("12345", "normal")


def test_the_real_jira_bug_resolves_its_problem() -> None:
    headers = {"X-Atlassian-Webhook-Identifier": "wh-1"}
    found = parse(jira, sample("jira/server-issue-updated-resolved.json"), headers=headers)
    assert (found.key, found.kind) == ("wh-1", DeskEventKind.PROBLEM_RESOLVED)
    assert found.occurred_at == datetime(2019, 8, 12, 23, 23, 2, 25000, tzinfo=UTC)


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("issue-created", DeskEventKind.TICKET_CREATED),
        ("issue-updated-resolved", DeskEventKind.TICKET_UPDATED),
        ("issue-updated-labels", DeskEventKind.TICKET_UPDATED),
        ("issue-updated-fix-version", DeskEventKind.TICKET_UPDATED),
        ("issue-updated-attachments", DeskEventKind.TICKET_UPDATED),
        ("cloud-issue-updated-custom-field", DeskEventKind.TICKET_UPDATED),
        ("cloud-comment-created", DeskEventKind.TICKET_UPDATED),
    ],
)
def test_real_jira_stories_are_tickets(name: str, kind: DeskEventKind) -> None:
    found = parse(jira, sample(f"jira/{name}.json"))
    assert found.kind is kind
    assert found.ticket is not None
    assert found.ticket.reference


def test_jira_words_can_be_mapped_and_our_own_work_is_ignored() -> None:
    raw = sample("jira/issue-updated-labels.json")
    stories = jira.Mapping(problem_types=("Story",), steps=StepWords(known=("sad",), workaround=("bad",)))
    assert parse(jira, raw, stories).kind is DeskEventKind.PROBLEM_KNOWN
    assert parse(jira, raw, jira.Mapping(our_actors=("5c5f880629be9642ba529340",))).kind is DeskEventKind.IGNORED
    done = jira.Mapping(problem_types=("story",))
    assert parse(jira, sample("jira/issue-updated-resolved.json"), done).kind is DeskEventKind.PROBLEM_RESOLVED


def test_a_jira_ticket_learns_its_problem_from_a_link() -> None:
    raw = sample("jira/issue-created.json")
    other = {"key": "PRB-1", "fields": {"issuetype": {"name": "Problem"}}}
    raw["issue"]["fields"]["issuelinks"] = [{"type": {"name": "Blocks"}, "outwardIssue": {"key": "X-1"}}, 7]
    raw["issue"]["fields"]["issuelinks"].append({"type": {"name": "Problem/Incident"}, "inwardIssue": other})
    found = parse(jira, raw).ticket
    assert found is not None
    assert found.problem_reference == "PRB-1"


def test_the_real_servicenow_problem_is_resolved() -> None:
    record = sample("servicenow/table_get_now_table_tablename.json")["response"]["result"][0]
    found = parse(servicenow, {"record": record, "previous": {"state": "2"}})
    assert (found.kind, found.actor) == (DeskEventKind.PROBLEM_RESOLVED, "glide.maint")
    assert found.problem is not None
    assert (found.problem.title, found.problem.fix) == ("Switch occasionally drops connections", "updated firmware")
    known = parse(
        servicenow, {"record": record | {"state": "103", "known_error": "true"}, "previous": {"known_error": "false"}}
    )
    assert known.kind is DeskEventKind.PROBLEM_KNOWN


def test_the_real_servicenow_incident_names_its_problem() -> None:
    record = sample("servicenow/table_get_now_table_tablename_sys_id.json")["response"]["result"]
    found = parse(servicenow, record)
    assert found.kind is DeskEventKind.TICKET_UPDATED
    assert found.ticket is not None
    assert found.ticket.problem_reference == "a9e4890bc6112276003d7a5a5c774a74"
    assert found.ticket.opened_at == datetime(2015, 11, 2, 22, 4, 15, tzinfo=UTC)
    assert parse(servicenow, record).key == found.key
    assert parse(servicenow, record | {"sys_mod_count": "5"}).key != found.key
    assert parse(servicenow, record, servicenow.Mapping(our_actors=("glide.maint",))).kind is DeskEventKind.IGNORED


def test_the_real_freshdesk_bodies_are_tickets() -> None:
    created = parse(freshdesk, sample("freshdesk/ticket_created.json"))
    assert created.kind is DeskEventKind.TICKET_CREATED
    assert created.ticket is not None
    assert (created.ticket.requester_email, created.ticket.body) == (
        "requester-bob@example.com",
        "Test ticket description ☃.",
    )
    changed = parse(freshdesk, sample("freshdesk/status_changed.json"))
    assert (changed.kind, changed.key == created.key) == (DeskEventKind.TICKET_UPDATED, False)


def test_a_freshdesk_problem_moves_by_status_and_tag() -> None:
    raw = sample("freshdesk/status_changed.json")["freshdesk_webhook"] | {"ticket_type": "Problem"}
    for change, kind in (
        ({"ticket_status": "Resolved"}, DeskEventKind.PROBLEM_RESOLVED),
        ({"ticket_tags": "a, known_problem"}, DeskEventKind.PROBLEM_KNOWN),
        ({}, DeskEventKind.IGNORED),
    ):
        assert parse(freshdesk, {"freshdesk_webhook": raw | change}).kind is kind


def test_the_real_zammad_body_is_a_ticket() -> None:
    raw = sample("zammad/ticket_webhook_default.json")
    found = parse(zammad, raw, headers={"X-Zammad-Delivery": "d-1"})
    assert (found.key, found.kind, found.actor) == ("d-1", DeskEventKind.TICKET_CREATED, "chris@chrispresso.com")
    assert found.ticket is not None
    assert (found.ticket.reference, found.ticket.requester_name) == ("81", "Emily Adams")
    assert (found.ticket.requester_email, found.ticket.requester_phone) == ("emily@example.com", "0061 2 1234 7777")
    assert found.ticket.body is not None
    assert found.ticket.body.startswith("This is a simple Webhook Test.")
    ours = zammad.Mapping(our_actors=("chris@chrispresso.com",))
    assert parse(zammad, raw, ours).kind is DeskEventKind.IGNORED


def test_a_zammad_problem_moves_by_state() -> None:
    raw = sample("zammad/ticket_webhook_default.json")
    raw["ticket"] |= {"type": "Problem", "state": "closed"}
    assert parse(zammad, raw).kind is DeskEventKind.PROBLEM_RESOLVED
