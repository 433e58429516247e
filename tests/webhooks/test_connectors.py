"""Connected help desks: secrets that stay sealed, addresses that are checked, mappings tried before they are used."""

import json
from typing import Any

import pytest
from sqlalchemy import select, text
from sqlalchemy.orm import Session

from outreach import sealing
from outreach.db import transaction
from outreach.errors import Conflict, InvalidInput, NotFound, Unavailable
from outreach.models import AuditEntry, Connector, InboundEvent, Problem
from outreach.permissions import Permission
from outreach.settings import get_settings
from tests.webhooks.samples import sample
from webhooks import connectors

JIRA = {
    "key": "care",
    "kind": "jira",
    "name": "Service Management",
    "base_url": "https://93.184.215.14",
    "account": "agent@example.com",
    "api_secret": "a-very-secret-token",
    "webhook_secrets": ["hook-secret\n"],
    "options": {"project": "CARE"},
}


def test_a_sealed_secret_opens_with_its_key_and_with_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    sealed = sealing.seal("token")
    assert "token" not in sealed
    assert sealing.unseal(sealed) == "token"
    old = "a test key that nobody else uses"
    for keys, opens in (
        (f"another key that nobody else uses,{old}", True),
        ("another key that nobody else uses", False),
    ):
        monkeypatch.setenv("OUTREACH_SECRET_KEY", keys)
        get_settings.cache_clear()
        if opens:
            assert sealing.unseal(sealed) == "token"
        else:
            with pytest.raises(Conflict, match="Enter it again"):
                sealing.unseal(sealed)


def ask(server: Any, key: str, method: str, path: str, body: Any = None, expect: int = 200) -> Any:
    answer = server.ask(method, path, body, authorization=key)
    assert answer.status == expect, answer.data
    return answer.json()


def test_a_desk_is_connected_and_its_secrets_are_never_shown(api_server: Any) -> None:
    key = api_server.key(*Permission)
    ask(api_server, key, "POST", "/api/connectors", JIRA, 201)
    ask(api_server, key, "POST", "/api/connectors", JIRA, 409)
    ask(api_server, key, "PATCH", "/api/connectors/care", {"name": "JSM", "link_back": True})
    shown = ask(api_server, key, "GET", "/api/connectors")
    assert [(one["key"], one["name"], one["has_api_secret"], one["webhook_secrets"]) for one in shown] == [
        ("care", "JSM", True, 1)
    ]
    told = json.dumps([shown, ask(api_server, key, "GET", "/api/connectors/care")])
    with transaction() as session:
        row = session.scalars(select(Connector)).one()
        kept = f"{row.api_secret} {row.webhook_secrets}"
        entries = session.scalars(select(AuditEntry).where(AuditEntry.subject == "connector:care")).all()
        found = connectors.find(session, "care")
    assert [entry.action for entry in entries] == ["connector.create", "connector.change"]
    assert (found.api_secret, found.webhook_secrets) == ("a-very-secret-token", ("hook-secret",))
    for place in (told, kept, repr(found), json.dumps([entry.detail for entry in entries])):
        assert "a-very-secret-token" not in place
        assert "hook-secret" not in place


@pytest.mark.parametrize(
    "url",
    [
        *("http://desk.example.com", "https://127.0.0.1", "https://[::ffff:10.0.0.1]", "https://0x7f000001"),
        *("https://2130706433", "https://localhost.", "https://169.254.169.254", "file:///etc/passwd", "gopher://x"),
        *(
            "https://93.184.215.14:22",
            "https://user:pw@93.184.215.14",
            "https://93.184.215.14\n.example.com",
            "nonsense",
        ),
    ],
)
def test_an_address_inside_our_network_is_refused(session: Session, url: str) -> None:
    with pytest.raises((InvalidInput, Unavailable)):
        connectors.create(session, key="x", kind="zammad", name="X", now=None, base_url=url)  # type: ignore[arg-type]
    assert session.scalars(select(Connector)).all() == []


@pytest.mark.parametrize("method", ["POST", "PATCH"])
def test_a_desk_whose_host_nobody_knows_is_refused_with_the_field_and_what_to_do(api_server: Any, method: str) -> None:
    key = api_server.key(*Permission)
    # No name server is asked: a name with an empty part cannot exist.
    wrong = {**JIRA, "base_url": "https://care..example.com"}
    path = "/api/connectors"
    if method == "PATCH":
        ask(api_server, key, "POST", path, JIRA, 201)
        path, wrong = "/api/connectors/care", {"base_url": wrong["base_url"]}
    said = ask(api_server, key, method, path, wrong, 422)
    assert (said["error"], said["where"]) == ("invalid_input", "base_url")
    assert said["detail"].startswith("The name care..example.com does not resolve")
    assert "Check how it is written" in said["detail"]
    with transaction() as session:
        assert session.scalars(select(Connector.base_url)).all() == ([JIRA["base_url"]] if method == "PATCH" else [])


@pytest.mark.parametrize(
    "wrong",
    [
        {"kind": "fax"}, {"key": "Not A Key"}, {"mapping": {"nonsense": 1}}, {"mapping": {"steps": {"known": "x"}}},
        {"options": {"board": "x"}}, {"options": {"project": 7}}, {"options": {}}, {"options": {"project": 'A" OR "1'}},
        {"api_secret": "two\nlines"}, {"webhook_secrets": [""]}, {"webhook_secrets": ["a", "b", "c"]},
        {"poll_minutes": 0}, {"enabled": None}, {"from_settings": True}, {"actor": "me"},
    ],
)  # fmt: skip
def test_what_cannot_work_is_refused_with_its_place(api_server: Any, wrong: dict[str, Any]) -> None:
    key = api_server.key(*Permission)
    answer = api_server.ask("POST", "/api/connectors", {**JIRA, **wrong}, authorization=key)
    if wrong == {"options": {"project": 'A" OR "1'}}:
        assert ask(api_server, key, "POST", "/api/connectors/care/check", expect=422)["error"] == "invalid_input"
        return
    assert (answer.status, answer.json()["error"]) == (422, "invalid_input"), answer.data


def test_an_unknown_desk_is_not_found(session: Session) -> None:
    with pytest.raises(NotFound):
        connectors.find(session, "nobody")


def test_the_desks_of_the_settings_can_be_mapped_but_not_moved(
    session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OUTREACH_ZENDESK_WEBHOOK_SECRET", "one,two")
    monkeypatch.setenv("OUTREACH_DESK_WEBHOOK_SECRET", "whsec_AAAA")
    get_settings.cache_clear()
    assert [desk.key for desk in connectors.all_desks(session)] == ["zendesk", "generic"]
    desk = connectors.find(session, "zendesk")
    assert (desk.webhook_secrets, desk.client()) == (("one", "two"), None)
    row = connectors.row_of(session, desk)
    connectors.change(row, mapping={"our_actors": ["42"]}, enabled=False)
    session.flush()
    found = connectors.find(session, "zendesk")
    assert (found.mapping.our_actors, found.enabled, found.webhook_secrets) == (("42",), False, ("one", "two"))
    with pytest.raises(Conflict, match="settings"):
        connectors.change(row, base_url="https://93.184.215.14")


def test_a_mapping_is_tried_on_a_stored_event_and_changes_nothing(api_server: Any) -> None:
    key = api_server.key(*Permission)
    ask(api_server, key, "POST", "/api/connectors", JIRA, 201)
    body = sample("jira/issue-updated-resolved.json")
    body["issue"]["fields"]["issuetype"]["name"] = "Störung"
    with transaction() as session:
        event = InboundEvent(source="desk-care", key="1", headers={}, body=json.dumps(body).encode())
        broken = InboundEvent(source="desk-care", key="2", headers={}, body=b"{")
        other = InboundEvent(source="desk-zendesk", key="3", headers={}, body=b"{}")
        session.add_all([event, broken, other])
        session.flush()
        ids = [event.id, broken.id, other.id]
    path = "/api/connectors/care/test-mapping"
    (now,) = ask(api_server, key, "POST", path, {"inbound_event_id": ids[0]})["events"]
    assert now["kind"] == "ticket_updated"
    mapping = {"problem_types": ["störung"]}
    (then,) = ask(api_server, key, "POST", path, {"inbound_event_id": ids[0], "mapping": mapping})["events"]
    assert (then["kind"], then["problem"]["reference"]) == ("problem_resolved", body["issue"]["key"])
    assert "cannot be read" in ask(api_server, key, "POST", path, {"inbound_event_id": ids[1]})["error"]
    ask(api_server, key, "POST", path, {"inbound_event_id": ids[2]}, 404)
    ask(api_server, key, "POST", path, {"inbound_event_id": ids[0], "mapping": {"steps": 1}}, 422)
    with transaction() as session:
        assert session.scalars(select(Problem)).all() == []
        assert session.execute(text("SELECT count(*) FROM tickets")).scalar_one() == 0
    listed = ask(api_server, key, "GET", "/api/connectors/care/events")
    assert [one["id"] for one in listed] == ids[1::-1]


def test_what_a_playbook_says_to_tickets_is_for_approvers(api_server: Any) -> None:
    from campaigns.playbooks import install_defaults

    with transaction() as session:
        install_defaults(session)
    key, reader = api_server.key(*Permission), api_server.key(Permission.CAMPAIGNS_WRITE)
    path = "/api/playbooks/resolved/tickets"
    ask(api_server, reader, "PUT", path, {"action": "solve", "comment": "Done"}, 403)
    ask(api_server, key, "PUT", path, {"action": "solve", "comment": " "}, 422)
    ask(api_server, key, "PUT", "/api/playbooks/none/tickets", {"action": None}, 404)
    assert ask(api_server, key, "PUT", path, {"action": "solve", "comment": "Done: {fix}"})["action"] == "solve"
