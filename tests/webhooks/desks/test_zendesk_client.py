"""The Zendesk client against a hand-written Zendesk on loopback that speaks the documented subset."""

import base64
import json
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from outreach.errors import InvalidInput, NotAuthenticated, NotFound, OutreachError, Unavailable
from webhooks.desks import zendesk
from webhooks.desks.base import DeskClient, DeskEventKind
from webhooks.desks.http import DeskBusy
from webhooks.desks.zendesk_client import ZendeskClient, connect

CREDENTIALS = "Basic " + base64.b64encode(b"agent@example.com/token:secret").decode()


class Zendesk:
    """Tickets in a dictionary; `fail_with` makes the next call fail before it does anything."""

    def __init__(self) -> None:
        self.tickets: dict[int, dict[str, Any]] = {}
        self.keys: dict[str, int] = {}
        self.fail_with: tuple[int, dict[str, str]] | None = None
        self.lose_next_answer = False
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                status, answer, headers = outer.answer(self, json.loads(body) if body else {})
                if outer.lose_next_answer:
                    outer.lose_next_answer = False
                    self.close_connection = True
                    return
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(json.dumps(answer).encode())

            do_POST = do_PUT = do_GET  # noqa: N815

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_address[1]}"
        threading.Thread(target=self.http.serve_forever, args=(0.02,), daemon=True).start()

    def answer(self, call: BaseHTTPRequestHandler, sent: dict[str, Any]) -> tuple[int, Any, dict[str, str]]:
        if self.fail_with is not None:
            status, headers = self.fail_with
            self.fail_with = None
            return status, {"error": "<b>no</b>"}, headers
        if call.headers["Authorization"] != CREDENTIALS:
            return 401, {"error": "Couldn't authenticate you"}, {}
        parts = urlsplit(call.path)
        query = parse_qs(parts.query)
        if parts.path == "/api/v2/tickets.json" and call.command == "POST":
            return self.create(sent["ticket"], call.headers["Idempotency-Key"])
        if parts.path == "/api/v2/tickets.json":
            wanted = query["external_id"][0]
            return 200, {"tickets": [one for one in self.tickets.values() if one["external_id"] == wanted]}, {}
        if parts.path == "/api/v2/incremental/tickets/cursor.json":
            return self.export(query)
        ticket = self.tickets.get(int(parts.path.rpartition("/")[2].removesuffix(".json")))
        if ticket is None:
            return 404, {"error": "RecordNotFound"}, {}
        if call.command == "PUT":
            change = sent["ticket"]
            ticket["comments"].append(change.pop("comment"))
            ticket.update(change)
        return 200, {"ticket": ticket, "users": [self.user(ticket)]}, {}

    def create(self, sent: dict[str, Any], key: str) -> tuple[int, Any, dict[str, str]]:
        number = self.keys.setdefault(key, len(self.tickets) + 1)
        if number not in self.tickets:
            self.tickets[number] = sent | {
                "id": number, "status": "new", "requester_id": 100 + number, "description": sent["comment"]["body"],
                "comments": [], "created_at": "2026-03-01T09:00:00Z", "updated_at": "2026-03-01T09:00:00Z",
            }  # fmt: skip
        return 201, {"ticket": self.tickets[number]}, {}

    def export(self, query: dict[str, list[str]]) -> tuple[int, Any, dict[str, str]]:
        """Two tickets a page."""
        start = int(query.get("cursor", ["0"])[0])
        page = list(self.tickets.values())[start : start + 2]
        last = start + 2 >= len(self.tickets)
        users = [self.user(one) for one in page]
        return 200, {"tickets": page, "users": users, "after_cursor": str(start + 2), "end_of_stream": last}, {}

    def user(self, ticket: dict[str, Any]) -> dict[str, Any]:
        found: dict[str, Any] = {"id": ticket["requester_id"], "phone": "+15550100", **ticket["requester"]}
        return found


@pytest.fixture
def desk() -> Iterator[Zendesk]:
    found = Zendesk()
    yield found
    found.http.shutdown()
    found.http.server_close()


@pytest.fixture
def client(desk: Zendesk) -> ZendeskClient:
    return connect(desk.url, "agent@example.com", "secret", allow=[desk.url])


def open_one(client: DeskClient, key: str = "reply-1", problem: str | None = "5158") -> str:
    return client.open_ticket("Still broken", "It leaks", "ann@example.com", problem, key)


def test_a_ticket_is_opened_once_per_key_even_when_the_answer_is_lost(desk: Zendesk, client: ZendeskClient) -> None:
    first = open_one(client)
    assert open_one(client) == first
    assert open_one(client, "reply-2") != first
    desk.lose_next_answer = True
    with pytest.raises(Unavailable):
        open_one(client, "reply-3")
    open_one(client, "reply-3")
    assert len(desk.tickets) == 3


def test_what_we_open_is_an_incident_of_its_problem_and_marked_as_ours(desk: Zendesk, client: ZendeskClient) -> None:
    ticket = desk.tickets[int(open_one(client))]
    assert (ticket["type"], ticket["problem_id"], ticket["tags"]) == ("incident", 5158, ["outreach"])
    detail = {**ticket, "id": str(ticket["id"]), "type": "INCIDENT"}
    echo = {"type": "zen:event-type:ticket.created", "id": "e1", "detail": detail, "event": {}}
    assert zendesk.parse({}, json.dumps(echo).encode(), zendesk.Mapping())[0].kind is DeskEventKind.IGNORED
    assert "problem_id" not in desk.tickets[int(open_one(client, "reply-2", problem=None))]


def test_comments_and_solving_reach_the_ticket(desk: Zendesk, client: ZendeskClient) -> None:
    reference = open_one(client)
    client.comment(reference, "internal", public=False)
    client.solve(reference, "Fixed for good")
    ticket = desk.tickets[int(reference)]
    assert ticket["status"] == "solved"
    assert ticket["comments"] == [{"body": "internal", "public": False}, {"body": "Fixed for good", "public": True}]


def test_a_ticket_is_fetched_with_its_requester(client: ZendeskClient) -> None:
    found = client.fetch(open_one(client)).ticket
    assert found is not None
    assert (found.requester_email, found.requester_phone) == ("ann@example.com", "+15550100")
    assert (found.subject, found.body, found.problem_reference) == ("Still broken", "It leaks", "5158")
    assert found.opened_at == datetime(2026, 3, 1, 9, tzinfo=UTC)


def test_all_pages_of_changed_tickets_are_read(client: ZendeskClient) -> None:
    opened = [open_one(client, f"reply-{number}") for number in range(5)]
    found = list(client.list_since(datetime(2026, 1, 1, tzinfo=UTC)))
    assert [one.reference for one in found] == opened
    assert {one.ticket.requester_email for one in found if one.ticket} == {"ann@example.com"}


@pytest.mark.parametrize(("status", "wait"), [(429, "93"), (503, ""), (500, "soon"), (502, "1e9")])
def test_a_busy_desk_is_unavailable_and_says_for_how_long(
    desk: Zendesk, client: ZendeskClient, status: int, wait: str
) -> None:
    desk.fail_with = (status, {"Retry-After": wait} if wait else {})
    with pytest.raises(DeskBusy) as refusal:
        client.fetch("1")
    assert refusal.value.retry_after_seconds == (93 if wait == "93" else None)


@pytest.mark.parametrize(("status", "kind"), [(422, InvalidInput), (404, NotFound), (401, NotAuthenticated)])
def test_a_refusal_for_good_is_no_unavailable(
    desk: Zendesk, client: ZendeskClient, status: int, kind: type[OutreachError]
) -> None:
    desk.fail_with = (status, {})
    with pytest.raises(kind):
        client.fetch("1")


def test_an_unknown_ticket_is_not_found_and_a_wrong_token_refused(desk: Zendesk, client: ZendeskClient) -> None:
    with pytest.raises(NotFound):
        client.fetch("7")
    with pytest.raises(NotAuthenticated) as refusal:
        connect(desk.url, "agent@example.com", "wrong", allow=[desk.url]).fetch("7")
    assert "wrong" not in refusal.value.message


def test_a_desk_inside_our_network_is_refused_unless_it_is_named(desk: Zendesk) -> None:
    with pytest.raises(InvalidInput):
        connect(desk.url, "agent@example.com", "secret").fetch("1")
