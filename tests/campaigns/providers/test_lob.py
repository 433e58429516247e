"""Lob: the request of its official description, the same key on every try, its search, its pace."""

import base64
import gzip
import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import yaml
from pydantic import SecretStr

from campaigns.providers.base import Outcome, Search
from campaigns.providers.lob import Lob, body_for
from campaigns.providers.pace import Pace
from campaigns.providers.transport import DeadlinePassedError
from outreach.vocabulary import NoticeClass
from tests.campaigns.providers.cases import JSON, LOB, message_id, postcard
from tests.campaigns.providers.wire import Wire, as_json, http_server

OPENAPI = Path(__file__).parents[4] / "shared/data/openapi/lob-api-bundled.yml.gz"
SINCE = datetime(2026, 5, 1, tzinfo=UTC)


@contextmanager
def lob(answers: Any, **changes: Any) -> Iterator[tuple[Wire, Lob]]:
    """A server and the adapter pointed at it."""
    with http_server(answers) as wire:
        made = Lob(base_url=wire.url, api_key=SecretStr("test_k"), connections=2, timeout_seconds=2, **changes)
        yield wire, made
        made.close()


def test_every_try_carries_the_same_key_and_our_id() -> None:
    with lob(LOB.answers) as (wire, made):
        for _ in range(2):
            made.send([postcard(1)], deadline=time.monotonic() + 5)
    for call in wire.calls:
        assert call.path == "/v1/postcards"
        assert call.headers["idempotency-key"] == str(message_id(1))
        assert base64.b64decode(call.headers["authorization"].removeprefix("Basic ")) == b"test_k:"
        assert json.loads(call.body)["metadata"] == {"message_id": str(message_id(1))}


@pytest.mark.parametrize(
    ("notice_class", "use_type"),
    [
        (NoticeClass.SAFETY, "operational"),
        (NoticeClass.SERVICE, "operational"),
        (NoticeClass.SUCCESS, "marketing"),
        (NoticeClass.SURVEY, "marketing"),
        (NoticeClass.PROMOTION, "marketing"),
    ],
)
def test_the_class_decides_what_the_mail_is_for(notice_class: NoticeClass, use_type: str) -> None:
    assert body_for(postcard(1, notice_class=notice_class))["use_type"] == use_type


def test_a_key_that_is_being_worked_on_is_unknown() -> None:
    with lob({"accept": (409, JSON, as_json({"error": {"message": "in progress"}}))}) as (_, made):
        (receipt,) = made.send([postcard(1)], deadline=time.monotonic() + 5)
    assert receipt.outcome is Outcome.UNKNOWN


def test_our_id_finds_the_postcard() -> None:
    found = {"data": [{"id": "psc_9", "metadata": {"message_id": str(message_id(1))}}]}
    with lob({"accept": (200, JSON, as_json(found))}) as (wire, made):
        result = made.look_up(message_id(1), "", SINCE)
    assert (result.search, result.provider_id) == (Search.FOUND, "psc_9")
    assert parse_qs(urlsplit(wire.calls[0].path).query)["metadata[message_id]"] == [str(message_id(1))]


@pytest.mark.parametrize(
    ("body", "search"),
    [
        ({"data": []}, Search.ABSENT),
        ({"data": [{"id": "psc_9", "metadata": {"message_id": "another"}}]}, Search.UNABLE),
        ({"data": [{"id": "psc_9"}]}, Search.UNABLE),
        ([], Search.UNABLE),
        ({}, Search.UNABLE),
    ],
)
def test_only_an_empty_list_is_absence(body: Any, search: Search) -> None:
    with lob({"accept": (200, JSON, as_json(body))}) as (_, made):
        assert made.look_up(message_id(1), "", SINCE).search is search


def test_the_pace_keeps_to_the_limit_and_to_the_deadline() -> None:
    with lob(LOB.answers, pace=Pace(3, 0.3)) as (_, made):
        started = time.monotonic()
        receipts = made.send([postcard(n) for n in range(7)], deadline=started + 5)
        assert {r.outcome for r in receipts} == {Outcome.ACCEPTED}
        assert time.monotonic() - started >= 0.6
    pace = Pace(1, 60)
    pace.wait(time.monotonic() + 1)
    with pytest.raises(DeadlinePassedError):
        pace.wait(time.monotonic() + 1)


def test_a_test_key_at_the_real_address_is_named() -> None:
    made = Lob(base_url="https://api.lob.com", api_key=SecretStr("test_k"))
    assert "nothing would be printed" in made.check()[0]
    made.close()


def test_the_official_description_accepts_our_request() -> None:
    if not OPENAPI.exists():
        pytest.skip("the official OpenAPI descriptions are not beside the project (../shared/data)")
    from openapi_schema_validator import OAS30WriteValidator
    from referencing import Registry
    from referencing.jsonschema import DRAFT4

    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    description = yaml.load(gzip.decompress(OPENAPI.read_bytes()), Loader=loader)
    registry: Registry[Any] = Registry().with_resource("urn:lob", DRAFT4.create_resource(description))
    reference = "urn:lob#/paths/~1postcards/post/requestBody/content/application~1json/schema"
    validator = OAS30WriteValidator({"$ref": reference}, registry=registry)
    assert [e.message for e in validator.iter_errors(body_for(postcard(1)))] == []
    assert list(validator.iter_errors({**body_for(postcard(1)), "size": "7x7"}))
