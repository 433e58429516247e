"""What holds for every desk adapter, with each one's own way of proving who it is."""

import base64
import dataclasses
import hashlib
import hmac
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from types import ModuleType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from outreach.errors import InvalidInput, NotAuthenticated
from tests.webhooks.samples import flipped, sample
from webhooks.desks import freshdesk, generic, jira, servicenow, zammad, zendesk
from webhooks.desks.base import DeskEvent, DeskEventKind
from webhooks.desks.problem_steps import StepWords
from webhooks.desks.reading import mapping_from_json

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
SECRET = "whsec_" + base64.b64encode(b"a secret of ours").decode()
OTHER = "whsec_" + base64.b64encode(b"another secret").decode()
BODY = b'{"hello": "world"}'
Headers = dict[str, str]


def by_standard(secret: str, body: bytes) -> Headers:
    stamp = str(int(NOW.timestamp()))
    key = base64.b64decode(secret.removeprefix("whsec_"))
    mac = base64.b64encode(hmac.new(key, b"evt-1." + stamp.encode() + b"." + body, hashlib.sha256).digest()).decode()
    return {"webhook-id": "evt-1", "webhook-timestamp": stamp, "webhook-signature": f"v1,AAAA v1,{mac}"}


def by_zendesk(secret: str, body: bytes) -> Headers:
    stamp = "2026-03-01T12:00:00Z"
    mac = base64.b64encode(hmac.new(secret.encode(), stamp.encode() + body, hashlib.sha256).digest()).decode()
    return {zendesk.SIGNATURE: mac, zendesk.TIMESTAMP: stamp}


def by_hub(algorithm: str) -> Callable[[str, bytes], Headers]:
    def signed(secret: str, body: bytes) -> Headers:
        return {"X-Hub-Signature": f"{algorithm}={hmac.new(secret.encode(), body, algorithm).hexdigest()}"}

    return signed


SIGNED: list[tuple[ModuleType, Callable[[str, bytes], Headers]]] = [
    (generic, by_standard),
    (zendesk, by_zendesk),
    (jira, by_hub("sha256")),
    (servicenow, by_hub("sha256")),
    (zammad, by_hub("sha1")),
]
DESKS = [desk for desk, _ in SIGNED] + [freshdesk]
PROOFS = pytest.mark.parametrize(("desk", "sign"), SIGNED, ids=lambda one: getattr(one, "__name__", ""))
EVERY_DESK = pytest.mark.parametrize("desk", DESKS, ids=lambda one: one.__name__.rpartition(".")[2])


@PROOFS
def test_a_genuine_body_is_accepted_and_every_flipped_byte_refused(desk: Any, sign: Any) -> None:
    desk.verify(sign(SECRET, BODY), BODY, [SECRET], NOW)
    for other in flipped(BODY):
        with pytest.raises(NotAuthenticated):
            desk.verify(sign(SECRET, BODY), other, [SECRET], NOW)


@PROOFS
def test_two_secrets_are_accepted_while_one_replaces_the_other(desk: Any, sign: Any) -> None:
    desk.verify(sign(SECRET, BODY), BODY, [OTHER, SECRET + "\n"], NOW)
    with pytest.raises(NotAuthenticated):
        desk.verify(sign(SECRET, BODY), BODY, [OTHER], NOW)


@PROOFS
def test_without_a_secret_everything_is_refused(desk: Any, sign: Any) -> None:
    for secrets in ([], [""], ["  "]):
        with pytest.raises(NotAuthenticated, match="set"):
            desk.verify(sign(SECRET, BODY), BODY, secrets, NOW)


@PROOFS
@pytest.mark.parametrize("value", ["", "none", "sha1=", "sha256=", "md5=00", "v1,", "v2,AAAA", "é", "=", "A" * 10_000])
def test_a_signature_that_is_none_is_refused(desk: Any, sign: Any, value: str) -> None:
    headers = sign(SECRET, BODY)
    name = next(one for one in headers if one.lower().endswith("signature"))
    with pytest.raises(NotAuthenticated):
        desk.verify(headers | {name: value}, BODY, [SECRET], NOW)
    with pytest.raises(NotAuthenticated):
        desk.verify({}, BODY, [SECRET], NOW)
    with pytest.raises(NotAuthenticated):
        desk.verify(headers | {name.upper() + "": headers[name], name.lower(): headers[name]}, BODY, [SECRET], NOW)


@pytest.mark.parametrize(("desk", "sign"), SIGNED[:2])
def test_a_signed_time_six_minutes_away_is_refused(desk: Any, sign: Any) -> None:
    for minutes in (-6, 6):
        with pytest.raises(NotAuthenticated, match="5 minutes"):
            desk.verify(sign(SECRET, BODY), BODY, [SECRET], NOW + timedelta(minutes=minutes))


def test_another_algorithm_is_refused_even_when_it_is_right() -> None:
    for desk, algorithm in ((jira, "sha1"), (jira, "md5"), (zammad, "sha256")):
        with pytest.raises(NotAuthenticated):
            desk.verify(by_hub(algorithm)(SECRET, BODY), BODY, [SECRET], NOW)


@pytest.mark.parametrize("desk", [freshdesk, servicenow])
def test_basic_credentials_are_accepted_where_the_desk_cannot_sign(desk: Any) -> None:
    right = {"authorization": "Basic " + base64.b64encode(b"desk:secret").decode()}
    desk.verify(right, BODY, ["desk:old", "desk:secret"], NOW)
    for headers in ({"authorization": "Basic " + base64.b64encode(b"desk:wrong").decode()}, {}):
        with pytest.raises(NotAuthenticated):
            desk.verify(headers, BODY, ["desk:secret"], NOW)
    with pytest.raises(NotAuthenticated):
        desk.verify({"authorization": "Bearer desk:secret"}, BODY, ["desk:secret"], NOW)


def test_freshdesk_is_known_by_its_secret_header() -> None:
    freshdesk.verify({"x-outreach-secret": "s3cret"}, BODY, ["s3cret"], NOW)
    for secrets in (["other"], [], [""]):
        with pytest.raises(NotAuthenticated):
            freshdesk.verify({"X-Outreach-Secret": "s3cret"}, BODY, secrets, NOW)


def accepted(desk: Any, headers: Headers, body: str, secret: str, now: datetime) -> bool:
    try:
        desk.verify(headers, body.encode(), [secret], now)
    except NotAuthenticated:
        return False
    return True


def test_the_published_vectors_hold() -> None:
    for case in sample("standard_webhooks/signature_vectors.json")["cases"]:
        headers = {"webhook-id": case["id"], "webhook-timestamp": case["timestamp"]}
        headers["webhook-signature"] = case["header_signature"]
        then = datetime.fromtimestamp(int(case["timestamp"]), UTC)
        assert accepted(generic, headers, case["body"], case["secret"], then) == case["valid_ignoring_age"]
        assert not accepted(generic, headers, case["body"], case["secret"], then + timedelta(minutes=6))
    for case in sample("jira/signature_vectors.json")["cases"]:
        headers = {"X-Hub-Signature": case["header_signature"]}
        assert accepted(jira, headers, case["body"], case["secret"], NOW) == case["valid"]


def test_the_zendesk_vectors_hold_apart_from_their_age() -> None:
    for case in sample("zendesk/signature_vectors.json")["cases"]:
        headers = {zendesk.SIGNATURE: case["header_signature"], zendesk.TIMESTAMP: case["header_timestamp"]}
        with pytest.raises(NotAuthenticated) as refusal:
            zendesk.verify(headers, case["body"].encode(), [case["signing_secret"]], NOW)
        # The vector's time is 1970: a right signature fails on its age alone.
        assert ("5 minutes" in refusal.value.message) == case["valid"], case["name"]


@EVERY_DESK
@pytest.mark.parametrize("body", [b"", b"null", b"[]", b"[[]]", b"1", b'"x"', b"{", b"\xff", b'{"a":' * 2000])
def test_a_body_that_is_no_object_is_refused_with_a_reason(desk: Any, body: bytes) -> None:
    with pytest.raises(InvalidInput, match="cannot be read"):
        desk.parse({}, body, desk.Mapping())


@EVERY_DESK
def test_the_mapping_survives_json(desk: Any) -> None:
    mapping = desk.Mapping()
    assert mapping_from_json(desk.Mapping, json.loads(json.dumps(dataclasses.asdict(mapping)))) == mapping


@EVERY_DESK
@pytest.mark.parametrize(
    "value", [{"nonsense": 1}, {"our_actors": "bob"}, {"our_actors": [1]}, {"our_actors": [" "]}, [], "x", None]
)
def test_a_broken_mapping_is_refused(desk: Any, value: object) -> None:
    with pytest.raises(InvalidInput):
        mapping_from_json(desk.Mapping, value)


@pytest.mark.parametrize("steps", [{"known": ["a"], "resolved": ["A "]}, {"solved": []}, {"known": "a"}, [], None])
@pytest.mark.parametrize("desk", DESKS[1:], ids=lambda one: one.__name__.rpartition(".")[2])
def test_broken_steps_are_refused(desk: Any, steps: object) -> None:
    with pytest.raises(InvalidInput):
        desk.Mapping(steps=steps)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=10,
)
KEYS = """type id time detail event subject issue fields user changelog items ticket article problem requester state
status tags labels record previous sys_id sys_mod_count sys_class_name freshdesk_webhook ticket_id ticket_type
webhookEvent issuetype name priority key customer ticket_tags issuelinks""".split()  # noqa: SIM905
WORDS = [
    "problem",
    "jira:issue_updated",
    "zen:event-type:ticket.status_changed",
    "ticket.created",
    "problem.known",
    "1",
]
SHAPED = st.recursive(
    JSON | st.sampled_from(WORDS),
    lambda inner: st.dictionaries(st.sampled_from(KEYS), inner, max_size=6) | st.lists(inner, max_size=3),
    max_leaves=25,
)


@EVERY_DESK
@given(st.dictionaries(st.sampled_from(KEYS), SHAPED, max_size=8))
def test_no_event_whatever_it_holds_raises_anything_else(desk: Any, raw: dict[str, Any]) -> None:
    try:
        events = desk.parse({}, json.dumps(raw).encode(), desk.Mapping())
    except InvalidInput:
        return
    for event in events:
        assert isinstance(event, DeskEvent)
        assert event.key
        json.dumps(event.raw)


KNOWN, WORKAROUND, RESOLVED, REOPENED, IGNORED = (
    DeskEventKind.PROBLEM_KNOWN,
    DeskEventKind.PROBLEM_WORKAROUND,
    DeskEventKind.PROBLEM_RESOLVED,
    DeskEventKind.PROBLEM_REOPENED,
    DeskEventKind.IGNORED,
)


@pytest.mark.parametrize(
    ("before", "now", "kind"),
    [
        (None, "k", KNOWN),
        ("", "k", KNOWN),
        ("k", "k", IGNORED),
        ("k", "k w", WORKAROUND),
        (None, "k w", WORKAROUND),
        ("k", "k r", RESOLVED),
        (None, "r", RESOLVED),
        ("r", "r", IGNORED),
        ("r", "r k", IGNORED),
        ("r", "k", REOPENED),
        ("r", "", REOPENED),
        ("k", "k o", REOPENED),
        (None, "", IGNORED),
        ("x", "y", IGNORED),
    ],
)
def test_a_step_is_what_the_problem_newly_carries(before: str | None, now: str, kind: DeskEventKind) -> None:
    steps = StepWords(known=("K",), workaround=("w",), resolved=("r",), reopened=("o",))
    earlier = None if before is None else frozenset(before.split())
    assert steps.step(frozenset(now.split()), earlier) is kind
