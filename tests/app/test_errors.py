import json
import socket
from typing import Any
from urllib.parse import urlsplit

import pytest
import structlog

from outreach.db import forget_engine, transaction
from outreach.models import Customer
from outreach.permissions import Permission
from outreach.settings import get_settings
from tests.installation import until


def shape(answer: Any) -> tuple[int, str]:
    """Return status and code of an error, having checked its shape and headers."""
    content = answer.json()
    assert set(content) == {"error", "detail", "where"}
    assert content["detail"]
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["X-Request-ID"]
    return answer.status, content["error"]


@pytest.mark.parametrize(
    ("method", "path", "expected"),
    [
        ("GET", "/nowhere", (404, "not_found")),
        ("PUT", "/api/problems", (405, "method_not_allowed")),
        ("GET", "/api/problems/P-404", (404, "not_found")),
        ("GET", "/api/problems/%00", (422, "invalid_input")),
        ("GET", "/api/customers/%00", (422, "invalid_input")),
        ("GET", "/api/problems?limit=0", (422, "invalid_input")),
        ("GET", "/api/problems?after=1;DROP", (422, "invalid_input")),
        ("GET", "/api/problems?after=99999999999999999999", (422, "invalid_input")),
        ("GET", "/api/problems?state=vanished", (422, "invalid_input")),
    ],
)
def test_errors_have_one_shape(api_server: Any, method: str, path: str, expected: tuple[int, str]) -> None:
    key = api_server.key(*Permission)
    assert shape(api_server.ask(method, path, authorization=key)) == expected


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"null",
        b"[]",
        b'"x"',
        b"{}",
        b'{"title": ""}',
        b'{"title": "a\\u0000b"}',
        b'{"title": "a\\nBcc: all@example.com"}',
        b'{"title": "\\ud800"}',
        b'{"title": "a", "state": "closed"}',
        b'{"title": "a", "is_admin": true}',
        b'{"title": "a", "severity": "catastrophic"}',
        b'{"title": "a", "key": "../etc"}',
        b'{"title": "a", "attributes": {"n": NaN}}',
        b'{"title": "a", "attributes": {"n": 1e999}}',
        b'{"title": "a", "attributes": {"n": 9223372036854775808}}',
        b'{"title": "a", "attributes": {"n": "\\u0000"}}',
        b'{"title": "a", "attributes": {"n": ["\\ud800"]}}',
        b'{"title": "a", "attributes": {"\\ud800": 1}}',
        b'{"title": "a", "summary": "a\\u0000b"}',
        b'{"title": "a", "attributes": ' + b'{"a":' * 3000 + b"1" + b"}" * 3001,
        b'{"title": "' + b"x" * 201 + b'"}',
        b"\xff\xfe",
    ],
)
def test_a_bad_body_is_refused_and_changes_nothing(api_server: Any, body: bytes) -> None:
    key = api_server.key(Permission.PROBLEMS_READ, Permission.PROBLEMS_WRITE)
    answer = api_server.ask("POST", "/api/problems", body=body, content_type="application/json", authorization=key)
    assert answer.status in {400, 422}
    shape(answer)
    assert api_server.ask("GET", "/api/problems", authorization=key).json()["items"] == []


def test_a_refusal_names_the_place_and_never_repeats_what_was_sent(api_server: Any) -> None:
    answer = api_server.ask("POST", "/api/session", {"email": "a@example.com", "password": "hunter2 " * 100})
    assert shape(answer) == (422, "invalid_input")
    assert answer.json()["where"] == "body.password"
    assert "hunter2" not in answer.data.decode()


def test_a_refusal_can_be_sent_whatever_it_repeats(api_server: Any) -> None:
    key = api_server.key(Permission.CONNECTORS_MANAGE)
    desk = b'{"key": "d", "kind": "jira", "name": "D", "options": {"\\ud800": 1}}'
    answer = api_server.ask("POST", "/api/connectors", body=desk, content_type="application/json", authorization=key)
    assert shape(answer) == (422, "invalid_input")
    assert "no option ?" in answer.json()["detail"]


@pytest.mark.parametrize("chunked", [False, True])
def test_a_body_that_is_too_large_is_refused(api_server: Any, chunked: bool) -> None:
    key = api_server.key(Permission.PROBLEMS_WRITE)
    large = b'{"title": "' + b"x" * 2_100_000 + b'"}'
    answer = api_server.pool.request(
        "POST",
        api_server.url + "/api/problems",
        body=iter([large]) if chunked else large,
        headers={"Authorization": key, "Content-Type": "application/json"},
        retries=False,
    )
    assert shape(answer) == (413, "too_large")


@pytest.mark.parametrize("moment", ["2030-01-01T12:00:00", "0001-01-01T00:00:00+14:00", "2027-02-29T00:00:00Z", "soon"])
def test_a_time_needs_a_zone_and_a_place_in_the_calendar(api_server: Any, moment: str) -> None:
    key = api_server.key(Permission.PROBLEMS_WRITE)
    api_server.ask("POST", "/api/problems", {"title": "A", "key": "A"}, authorization=key)
    answer = api_server.ask("POST", "/api/problems/A/known", {"fixed_by": moment}, authorization=key)
    assert shape(answer) == (422, "invalid_input")
    assert answer.json()["where"] == "body.fixed_by"


def test_the_state_of_a_thing_is_a_conflict_and_says_what_is_possible(api_server: Any) -> None:
    key = api_server.key(Permission.PROBLEMS_WRITE)
    api_server.ask("POST", "/api/problems", {"title": "A", "key": "A"}, authorization=key)
    answer = api_server.ask("POST", "/api/problems/A/reopen", {}, authorization=key)
    assert shape(answer) == (409, "conflict")
    again = api_server.ask("POST", "/api/problems", {"title": "A", "key": "A"}, authorization=key)
    assert shape(again) == (409, "conflict")


def test_a_database_that_is_down_is_said_with_503_and_nothing_internal(
    api_server: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert api_server.ask("GET", "/ready").status == 200
    monkeypatch.setenv("OUTREACH_DATABASE_URL", "postgresql://somebody:hidden@127.0.0.1:1/none")
    get_settings.cache_clear()
    forget_engine()
    answer = api_server.ask("GET", "/api/problems", authorization="Bearer outreach_0_0")
    assert shape(answer) == (503, "unavailable")
    assert answer.headers["Retry-After"]
    assert not any(word in answer.data.decode() for word in ("hidden", "somebody", "127.0.0.1", "psycopg"))
    ready = api_server.ask("GET", "/ready")
    assert (ready.status, ready.json()["database"]) == (503, "down")
    assert api_server.ask("GET", "/health").status == 200


def test_without_redis_the_api_is_degraded_but_serves(api_server: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OUTREACH_REDIS_URL", "redis://127.0.0.1:1/0")
    get_settings.cache_clear()
    ready = api_server.ask("GET", "/ready")
    assert (ready.status, ready.json()) == (
        200,
        {"status": "degraded", "database": "up", "redis": "down", "resting": []},
    )


def test_a_request_keeps_the_callers_plain_id_and_no_other(api_server: Any) -> None:
    assert api_server.ask("GET", "/health", x_request_id="abc-123").headers["X-Request-ID"] == "abc-123"
    assert api_server.ask("GET", "/health", x_request_id='"; evil').headers["X-Request-ID"] != '"; evil'


def test_lists_come_in_pages_that_neither_repeat_nor_lose_rows(api_server: Any) -> None:
    key = api_server.key(Permission.PROBLEMS_READ, Permission.PROBLEMS_WRITE)
    for number in range(5):
        api_server.ask("POST", "/api/problems", {"title": f"T{number}"}, authorization=key)
    seen, after = [], ""
    for _ in range(3):
        page = api_server.ask("GET", f"/api/problems?limit=2{after}", authorization=key).json()
        seen += [item["title"] for item in page["items"]]
        after = f"&after={page['next']}"
    assert (seen, page["next"]) == (["T4", "T3", "T2", "T1", "T0"], None)


def test_the_clock_moves_in_a_demo_only(api_server: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    key = api_server.key(*Permission)
    assert shape(api_server.ask("POST", "/api/clock/advance", {"seconds": 60}, authorization=key))[0] == 403
    monkeypatch.setenv("OUTREACH_DEMO", "true")
    get_settings.cache_clear()
    for bad in (0, -1, 1e12, "x"):
        assert api_server.ask("POST", "/api/clock/advance", {"seconds": bad}, authorization=key).status == 422
    moved = api_server.ask("POST", "/api/clock/advance", {"seconds": 86400}, authorization=key)
    assert (moved.status, moved.json()["moved_by_seconds"]) == (200, 86400)


def test_a_customer_is_found_by_any_id_with_what_happened(api_server: Any) -> None:
    with transaction() as session:
        session.add(Customer(external_id="eu/12 ü", name="Carla", attributes={"tier": "gold"}))
    key = api_server.key(Permission.CUSTOMERS_READ)
    found = api_server.ask("GET", "/api/customers/eu/12%20%C3%BC", authorization=key)
    assert found.status == 200
    assert json.loads(found.data)["attributes"] == {"tier": "gold"}
    assert (found.json()["timeline"], found.json()["problems"]) == ([], [])


def test_whoever_hangs_up_leaves_one_quiet_line(api_server: Any) -> None:
    at = urlsplit(api_server.url)
    begun = f"POST /sign-in HTTP/1.1\r\nHost: {at.netloc}\r\nContent-Type: application/x-www-form-urlencoded\r\n"
    with structlog.testing.capture_logs() as logs:
        with socket.create_connection((at.hostname, at.port), timeout=10) as line:
            line.sendall(f"{begun}Content-Length: 99\r\n\r\nemail=a".encode())
        until(lambda: bool(logs), what="the line")
    assert [(line["log_level"], line["method"]) for line in logs] == [("info", "POST")]
