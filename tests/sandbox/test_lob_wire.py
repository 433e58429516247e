"""The postcard wire: keys, search, cancellation, tracking webhooks."""

import hashlib
import hmac
import json
from typing import Any
from urllib.parse import urlencode

import pytest

from tests.sandbox.running import SECRETS, Sandbox, basic, postcard


def events(sandbox: Sandbox) -> list[dict[str, Any]]:
    sandbox.settle()
    return [json.loads(one.body) for one in sandbox.receiver.at("/webhooks/lob")]


def kinds(sandbox: Sandbox) -> list[str]:
    return [event["event_type"]["id"].removeprefix("postcard.") for event in events(sandbox)]


def to_postal_code(code: str) -> dict[str, Any]:
    return {**postcard()["to"], "address_zip": code}


def test_a_postcard_is_accepted_found_by_metadata_and_fetched(sandbox: Sandbox) -> None:
    answer = sandbox.lob("POST", body=postcard("m-1"))
    assert answer.status == 200
    card = answer.json()
    assert card["id"].startswith("psc_")
    sandbox.lob("POST", body=postcard("m-2"))
    found = sandbox.lob("GET", "?metadata%5Bmessage_id%5D=m-1").json()
    assert [one["id"] for one in found["data"]] == [card["id"]]
    assert sandbox.lob("GET", f"/{card['id']}").json()["to"]["name"] == "Harry Zhang"
    row = sandbox.get("/_sandbox/accepted", provider="lob", message_id="m-1")["accepted"][0]
    assert (row["provider_id"], row["html"], row["text"]) == (card["id"], card_side("front"), card_side("back"))


def card_side(side: str) -> str:
    return f"<html>{side}</html>"


def test_a_form_is_read_like_json(sandbox: Sandbox) -> None:
    card = postcard("m-form")
    form: dict[str, str] = {}
    for name, value in card.items():
        form |= {f"{name}[{key}]": text for key, text in value.items()} if isinstance(value, dict) else {name: value}
    headers = basic(SECRETS["lob_key"], "") | {"Content-Type": "application/x-www-form-urlencoded"}
    answer = sandbox.http.request("POST", sandbox.url + "/v1/postcards", body=urlencode(form), headers=headers)
    assert answer.status == 200
    assert answer.json()["metadata"] == {"message_id": "m-form"}


def test_the_same_key_gives_the_same_postcard_once(sandbox: Sandbox) -> None:
    first = sandbox.lob("POST", body=postcard("m-1"), Idempotency_Key="k-1").json()
    again = sandbox.lob("POST", body=postcard("m-1"), Idempotency_Key="k-1").json()
    assert first["id"] == again["id"]
    assert sandbox.get("/_sandbox/counts")["accepted"] == {"lob": 1}


def test_the_same_key_with_another_body_is_refused(sandbox: Sandbox) -> None:
    sandbox.lob("POST", body=postcard("m-1"), Idempotency_Key="k-1")
    refused = sandbox.lob("POST", body=postcard("m-2"), Idempotency_Key="k-1")
    assert refused.status == 422
    assert refused.json()["error"].keys() == {"message", "status_code", "code"}


def test_tracking_webhooks_are_signed_and_end_with_delivered(sandbox: Sandbox) -> None:
    sandbox.lob("POST", body=postcard("m-1"))
    made = ["created", "rendered_pdf", "rendered_thumbnails"]
    assert sorted(kinds(sandbox)) == sorted(
        [*made, "in_transit", "in_local_area", "processed_for_delivery", "delivered"]
    )
    for one in sandbox.receiver.at("/webhooks/lob"):
        timestamp = one.headers["lob-signature-timestamp"]
        signed = timestamp.encode() + b"." + one.body
        expected = hmac.new(SECRETS["lob_webhook_secret"].encode(), signed, hashlib.sha256).hexdigest()
        assert one.headers["lob-signature"] == expected
        assert json.loads(one.body)["body"]["metadata"] == {"message_id": "m-1"}


@pytest.mark.parametrize(
    ("postal_code", "last", "count"),
    [("00000", "returned_to_sender", 5), ("00001", "failed", 4), ("00003", "delivered", 7), ("00004", "delivered", 6)],
)
def test_the_postal_code_decides_what_happens(sandbox: Sandbox, postal_code: str, last: str, count: int) -> None:
    sandbox.lob("POST", body=postcard(to=to_postal_code(postal_code)))
    found = kinds(sandbox)
    assert last in found
    assert len(found) == count


def test_a_postcard_can_be_cancelled_only_within_the_window(sandbox: Sandbox) -> None:
    early = sandbox.lob("POST", body=postcard("m-1")).json()["id"]
    assert sandbox.lob("DELETE", f"/{early}").json() == {"id": early, "deleted": True}
    assert "deleted" in kinds(sandbox)
    assert "in_transit" not in kinds(sandbox)
    late = sandbox.lob("POST", body=postcard("m-2")).json()["id"]
    sandbox.settle()
    refused = sandbox.lob("DELETE", f"/{late}")
    assert (refused.status, refused.json()["error"]["code"]) == (422, "not_deletable")


def test_a_wrong_key_an_unknown_card_and_a_missing_use_type_are_refused(sandbox: Sandbox) -> None:
    wrong = sandbox.http.request("POST", sandbox.url + "/v1/postcards", json=postcard(), headers=basic("x", ""))
    assert (wrong.status, wrong.json()["error"]["code"]) == (401, "invalid_api_key")
    assert sandbox.lob("GET", "/psc_none").status == 404
    refused = sandbox.lob("POST", body=postcard(use_type=None))
    assert refused.status == 422
    assert "use_type" in refused.json()["error"]["message"]
