"""The help desk: its ticket API, the people at it, and the signed webhooks of both desks."""

import base64
import hashlib
import hmac
import json
from typing import Any

import pytest
from standardwebhooks.webhooks import Webhook

from tests.sandbox.running import SECRETS, Sandbox

GENERIC = "/webhooks/desks/generic"
ZENDESK = "/webhooks/desks/zendesk"
JANE = {"email": "jane@example.com", "name": "Jane", "id": "c-1"}


def told(sandbox: Sandbox, path: str = GENERIC) -> list[dict[str, Any]]:
    sandbox.settle()
    return [json.loads(one.body) for one in sandbox.receiver.at(path)]


def ticket(sandbox: Sandbox, **more: Any) -> str:
    body = {"subject": "Broken", "body": "It arrived broken", "requester": JANE, **more}
    return str(sandbox.post("/_sandbox/desk/tickets", body)["id"])


def test_a_ticket_of_a_customer_is_told_to_outreach(sandbox: Sandbox) -> None:
    identity = ticket(sandbox, attributes={"order": "o-1"}, priority="high")
    (event,) = told(sandbox)
    assert event["type"] == "ticket.created"
    assert event["ticket"]["id"] == identity
    assert event["ticket"]["requester"] == JANE
    assert event["ticket"]["attributes"] == {"order": "o-1"}
    assert (event["ticket"]["body"], event["ticket"]["priority"]) == ("It arrived broken", "high")


def test_the_generic_desk_signs_as_standard_webhooks_says(sandbox: Sandbox) -> None:
    ticket(sandbox)
    sandbox.settle()
    (one,) = sandbox.receiver.at(GENERIC)
    event = Webhook(SECRETS["desk_secret"]).verify(one.body, one.headers)
    assert event["id"] == one.headers["webhook-id"]


def test_a_problem_is_linked_known_worked_around_resolved_and_reopened(sandbox: Sandbox) -> None:
    first, second = ticket(sandbox), ticket(sandbox, requester={"phone": "+12025550142"})
    problem = sandbox.post(
        "/_sandbox/desk/problems",
        {"title": "Wrong instructions", "severity": "high", "department": "Print", "ticket_ids": [first, second]},
    )["id"]
    path = f"/_sandbox/desk/problems/{problem}"
    sandbox.settle()
    sandbox.post(f"{path}/known", {"summary": "Batch 7 has the wrong sheet"})
    sandbox.settle()
    sandbox.post(f"{path}/workaround", {"workaround": "Use the sheet on our site"})
    sandbox.settle()
    sandbox.post(f"{path}/resolved", {"fix": "New sheets are in the post"})
    sandbox.settle()
    sandbox.post(f"{path}/reopened", {})
    events = told(sandbox)
    assert sorted(event["type"] for event in events[:4]) == ["ticket.created"] * 2 + ["ticket.updated"] * 2
    linked = [event["ticket"] for event in events[:4] if event["type"] == "ticket.updated"]
    assert {one["problem_id"] for one in linked} == {problem}
    kinds = [event["type"] for event in events[4:]]
    assert kinds == ["problem.known", "problem.workaround", "problem.resolved", "problem.reopened"]
    resolved = events[6]["problem"]
    assert (resolved["id"], resolved["severity"], resolved["department"]) == (problem, "high", "Print")
    assert (resolved["summary"], resolved["fix"]) == ("Batch 7 has the wrong sheet", "New sheets are in the post")
    assert len({event["id"] for event in events}) == len(events)
    incidents = sandbox.zendesk("GET", f"/tickets/{problem}/incidents.json?page[size]=1").json()
    assert (len(incidents["tickets"]), incidents["meta"]["has_more"]) == (1, True)


def test_the_zendesk_desk_signs_and_words_events_as_zendesk_does(sandbox: Sandbox) -> None:
    problem = sandbox.post("/_sandbox/desk/problems", {"title": "Wrong instructions", "desks": ["zendesk"]})["id"]
    sandbox.post(f"/_sandbox/desk/problems/{problem}/known", {"desks": ["zendesk"]})
    sandbox.settle()
    sandbox.post(f"/_sandbox/desk/problems/{problem}/resolved", {"desks": ["zendesk"]})
    known, resolved = told(sandbox, ZENDESK)
    assert told(sandbox) == []
    assert known["type"] == "zen:event-type:ticket.tags_changed"
    assert known["event"]["tags_added"] == ["known_problem"]
    assert resolved["type"] == "zen:event-type:ticket.status_changed"
    assert (resolved["detail"]["type"], resolved["detail"]["status"]) == ("PROBLEM", "SOLVED")
    assert (resolved["event"]["current"], resolved["subject"]) == ("SOLVED", f"zen:ticket:{problem}")
    for one in sandbox.receiver.at(ZENDESK):
        timestamp = one.headers["x-zendesk-webhook-signature-timestamp"]
        digest = hmac.new(SECRETS["zendesk_secret"].encode(), timestamp.encode() + one.body, hashlib.sha256).digest()
        assert one.headers["x-zendesk-webhook-signature"] == base64.b64encode(digest).decode()


def test_outreach_opens_and_changes_tickets_over_the_ticket_api(sandbox: Sandbox) -> None:
    asked = {
        "subject": "Still broken",
        "comment": {"body": "The customer says it is still broken"},
        "requester": {"name": "Jane", "email": "jane@example.com"},
        "external_id": "notice-1",
        "priority": "high",
    }
    made = sandbox.zendesk("POST", "/tickets.json", {"ticket": asked})
    assert made.status == 201
    opened = made.json()["ticket"]
    assert (opened["status"], opened["external_id"], opened["description"]) == (
        "new",
        "notice-1",
        asked["comment"]["body"],  # type: ignore[index]
    )
    change = {"status": "solved", "comment": {"body": "Done", "public": False}, "additional_tags": ["outreach"]}
    changed = sandbox.zendesk("PUT", f"/tickets/{opened['id']}.json", {"ticket": change}).json()["ticket"]
    assert (changed["status"], changed["tags"]) == ("solved", ["outreach"])
    comments = sandbox.zendesk("GET", f"/tickets/{opened['id']}/comments.json").json()["comments"]
    assert [(one["body"], one["public"]) for one in comments][1:] == [("Done", False)]
    found = sandbox.zendesk("GET", "/tickets.json?external_id=notice-1&include=users").json()
    assert [one["id"] for one in found["tickets"]] == [opened["id"]]
    assert found["users"][0]["email"] == "jane@example.com"
    assert told(sandbox) == []


def test_changed_tickets_are_exported_by_cursor(sandbox: Sandbox) -> None:
    identity = int(ticket(sandbox))
    page = sandbox.zendesk("GET", "/incremental/tickets/cursor.json?start_time=0&include=users").json()
    assert ([one["id"] for one in page["tickets"]], page["end_of_stream"]) == ([identity], True)
    assert page["users"][0]["email"] == JANE["email"]
    rest = sandbox.zendesk("GET", f"/incremental/tickets/cursor.json?cursor={page['after_cursor']}").json()
    assert (rest["tickets"], rest["end_of_stream"]) == ([], True)
    assert sandbox.zendesk("GET", "/incremental/tickets/cursor.json?start_time=now").status == 422


def test_a_repeated_idempotency_key_opens_one_ticket(sandbox: Sandbox) -> None:
    asked = {"ticket": {"comment": {"body": "Still broken"}}}
    first = sandbox.zendesk("POST", "/tickets.json", asked, Idempotency_Key="k")
    again = sandbox.zendesk("POST", "/tickets.json", asked, Idempotency_Key="k")
    assert (first.headers["X-Idempotency-Lookup"], again.headers["X-Idempotency-Lookup"]) == ("miss", "hit")
    assert first.json()["ticket"]["id"] == again.json()["ticket"]["id"]
    other = sandbox.zendesk("POST", "/tickets.json", {"ticket": {"comment": {"body": "x"}}}, Idempotency_Key="k")
    assert (other.status, other.json()["error"]) == (400, "IdempotentRequestError")


@pytest.mark.parametrize(
    ("asked", "status"),
    [
        ({}, 422),
        ({"ticket": {"subject": "no comment"}}, 422),
        ({"ticket": {"comment": {"body": "x"}, "status": "done"}}, 422),
        ({"ticket": {"comment": {"body": "x"}, "problem_id": 999999}}, 422),
        ({"ticket": {"comment": {"body": "x"}, "tags": "one"}}, 422),
        ({"ticket": {"comment": "x"}}, 422),
        ({"ticket": {"comment": {"body": 7}}}, 422),
    ],
)
def test_a_ticket_that_zendesk_refuses_is_refused(sandbox: Sandbox, asked: dict[str, Any], status: int) -> None:
    assert sandbox.zendesk("POST", "/tickets.json", asked).status == status
    assert sandbox.get("/_sandbox/tickets")["tickets"] == []


def test_an_unknown_ticket_and_a_wrong_token_are_refused_in_zendesks_words(sandbox: Sandbox) -> None:
    assert sandbox.zendesk("GET", "/tickets/1.json").json() == {"error": "RecordNotFound", "description": "Not found"}
    denied = sandbox.http.request("GET", sandbox.url + "/api/v2/tickets.json")
    assert (denied.status, denied.json()) == (401, {"error": "Couldn't authenticate you"})


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"requester": JANE}, 400),
        ({"body": "x", "requester": {}}, 400),
        ({"body": "x", "requester": JANE, "status": "done"}, 400),
        ({"body": "x", "requester": JANE, "problem_id": "999999"}, 404),
        ({"body": "x", "requester": JANE, "desks": ["fax"]}, 400),
    ],
)
def test_a_control_call_that_makes_no_sense_says_why(sandbox: Sandbox, body: dict[str, Any], status: int) -> None:
    assert sandbox.post("/_sandbox/desk/tickets", body, expect=(status,))["error"]
    assert told(sandbox) == []
