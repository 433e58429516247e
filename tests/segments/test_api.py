import json
from typing import Any

import pytest

from outreach.db import transaction
from outreach.models import Customer, Problem
from outreach.permissions import Permission

RULE = {"field": "customer.country", "op": "equals", "value": "BR"}


def test_a_rule_is_previewed_saved_explained_and_audited(api_server: Any) -> None:
    with transaction() as session:
        session.add(Problem(key="P-1", title="Broken"))
        session.add(Customer(external_id="c1", email="c1@example.com", country="BR"))
    key = api_server.key(Permission.SEGMENTS_READ, Permission.SEGMENTS_WRITE)
    ask = lambda method, path, body=None: api_server.ask(method, path, body, authorization=key)  # noqa: E731
    preview = ask("POST", "/api/problems/P-1/scope/preview", {"definition": {"likely": RULE}, "edit": "one"}).json()
    assert preview["counts"]["likely"] == 1
    assert preview["sentence"] == "Likely affected: customers whose country is BR."
    saved = ask("PUT", "/api/problems/P-1/scope", {"definition": {"likely": RULE}})
    assert saved.status == 200
    assert saved.json()["building"] is True
    assert ask("GET", "/api/problems/P-1/scope").json()["version"] == 1
    assert ask("GET", "/api/problems/P-1/scope/audience").json() == {"items": [], "next": None}
    explained = ask("POST", "/api/problems/P-1/scope/explain", {"customer": "c1"}).json()
    assert explained["grade"] == "likely"
    assert ask("POST", "/api/problems/P-1/scope/discover").json() == []
    assert ask("PUT", "/api/segments/brazil", {"name": "Brazil", "definition": RULE}).status == 200
    assert [each["key"] for each in ask("GET", "/api/segments").json()] == ["brazil", "scope-of-P-1"]


def test_bad_bodies_are_refused_with_the_place(api_server: Any) -> None:
    key = api_server.key(Permission.SEGMENTS_READ)

    def refused(body: bytes) -> dict[str, Any]:
        answer = api_server.ask(
            "POST", "/api/segments/sentence", body=body, authorization=key, content_type="application/json"
        )
        assert answer.status == 422, answer.data
        found: dict[str, Any] = answer.json()
        return found

    wrong = {"definition": {"likely": {"all": [RULE, {"field": "customer.contry", "op": "equals", "value": "BR"}]}}}
    assert refused(json.dumps(wrong).encode())["where"] == "likely.all[1].field"
    assert "customer.country" in refused(json.dumps(wrong).encode())["detail"]
    assert "twice" in refused(b'{"definition": {"field": "a", "field": "b"}}')["detail"]
    assert "NaN" in refused(b'{"definition": {"value": NaN}}')["detail"]
    assert "deep" in refused(b'{"definition": ' + b'{"not": ' * 10_000 + b"1" + b"}" * 10_001)["detail"]
    assert refused(b"not json")["error"] == "invalid_rule"
    assert refused(b'{"definition": {}, "role": "admin"}')["where"] == "role"


def test_writing_needs_the_permission(api_server: Any) -> None:
    key = api_server.key(Permission.SEGMENTS_READ)
    answer = api_server.ask("PUT", "/api/segments/x", {"name": "X", "definition": RULE}, authorization=key)
    assert answer.status == 403


@pytest.mark.parametrize(
    "rule",
    [
        b'{"related": "orders"}',
        b'{"related": "orders", "where": null}',
        b'{"related": "orders", "where": {"any": [{"field": "status", "op": "equals", "value": "late"}]}}',
        b'{"all": [{"related": "orders"}]}',
        b'{"member_of": "brazil"}',
        b'{"field": "customer.country", "op": "equals", "value": "\\ud800"}',
        b'{"field": "customer.country", "op": "equals", "value": -9223372036854775809}',
        b'{"field": "customer.contry", "op": "equals", "value": "BR"}',
    ],
)
def test_what_nobody_proposed_cannot_be_rejected(api_server: Any, rule: bytes) -> None:
    key = api_server.key(Permission.PROBLEMS_WRITE, Permission.SEGMENTS_WRITE)
    api_server.ask("POST", "/api/problems", {"title": "T"}, authorization=key)
    answer = api_server.ask(
        "POST", "/api/problems/P-1/scope/reject", body=b'{"rule": ' + rule + b"}", authorization=key
    )
    assert (answer.status, answer.json()["error"]) == (422, "invalid_rule")
