import base64
import json
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given
from hypothesis import strategies as st

from outreach.errors import NotAuthenticated
from outreach.vocabulary import EventKind, SuppressionReason
from tests.webhooks.samples import flipped, sample, sample_bytes
from webhooks.providers import sendgrid

OUR_ID = "0198c0de-0000-7000-8000-000000000001"
NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


def event(**fields: Any) -> dict[str, Any]:
    base = {"email": "a@example.com", "timestamp": 1_700_000_000, "event": "delivered", "sg_message_id": "abc.filter1"}
    return base | {"message_id": OUR_ID} | fields


def parse_one(**fields: Any) -> Any:
    batch = sendgrid.parse_events(json.dumps([event(**fields)]).encode(), NOW)
    assert batch.malformed == ()
    return batch.events[0]


class Signer:
    def __init__(self) -> None:
        self.private = ec.generate_private_key(ec.SECP256R1())
        der = self.private.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        self.public = base64.b64encode(der).decode()

    def headers(self, body: bytes, timestamp: str = "1700000000") -> dict[str, str]:
        signature = self.private.sign(timestamp.encode() + body, ec.ECDSA(SHA256()))
        return {sendgrid.SIGNATURE: base64.b64encode(signature).decode(), sendgrid.TIMESTAMP: timestamp}


def test_official_signature_vectors_hold() -> None:
    for case in sample("sendgrid/signature_vectors.json")["cases"]:
        headers = {sendgrid.SIGNATURE: case["header_signature"], sendgrid.TIMESTAMP: case["header_timestamp"]}
        try:
            sendgrid.verify(headers, case["body"].encode(), [case["public_key_der_base64"]])
            accepted = True
        except NotAuthenticated:
            accepted = False
        assert accepted == case["valid"], case["name"]


def test_every_flipped_byte_of_a_signed_body_is_refused() -> None:
    case = sample("sendgrid/signature_vectors.json")["cases"][0]
    headers = {sendgrid.SIGNATURE: case["header_signature"], sendgrid.TIMESTAMP: case["header_timestamp"]}
    for body in flipped(case["body"].encode()):
        with pytest.raises(NotAuthenticated):
            sendgrid.verify(headers, body, [case["public_key_der_base64"]])


def test_two_keys_are_accepted_while_one_replaces_the_other() -> None:
    old, new = Signer(), Signer()
    for signer in (old, new):
        sendgrid.verify(signer.headers(b"[]"), b"[]", [old.public, new.public])
    with pytest.raises(NotAuthenticated):
        sendgrid.verify(old.headers(b"[]"), b"[]", [new.public])


@pytest.mark.parametrize("keys", [[], [""], ["  "]])
def test_without_a_key_everything_is_refused(keys: list[str]) -> None:
    with pytest.raises(NotAuthenticated, match="No SendGrid webhook public key is set"):
        sendgrid.verify(Signer().headers(b"[]"), b"[]", keys)


@pytest.mark.parametrize("signature", ["", "not base64 !!", "AAAA", "none", "sha1=00", "é"])
def test_a_signature_that_is_none_is_refused(signature: str) -> None:
    signer = Signer()
    headers = signer.headers(b"[]") | {sendgrid.SIGNATURE: signature}
    with pytest.raises(NotAuthenticated):
        sendgrid.verify(headers, b"[]", [signer.public])


def test_a_header_that_comes_twice_is_refused() -> None:
    signer = Signer()
    headers = signer.headers(b"[]")
    with pytest.raises(NotAuthenticated, match="must be sent once"):
        sendgrid.verify(headers | {sendgrid.SIGNATURE.lower(): "AAAA"}, b"[]", [signer.public])


@pytest.mark.parametrize("key", ["nonsense", "QUJD", base64.b64encode(b"\x00" * 91).decode()])
def test_a_broken_public_key_refuses_instead_of_failing(key: str) -> None:
    with pytest.raises(NotAuthenticated):
        sendgrid.verify(Signer().headers(b"[]"), b"[]", [key])


def test_the_inbound_address_needs_its_secret_part() -> None:
    sendgrid.verify_inbound("token-1", ["token-0", "token-1"])
    for token, tokens in (("token-2", ["token-1"]), ("", ["token-1"]), ("", []), ("", [""]), ("é", ["token-1"])):
        with pytest.raises(NotAuthenticated):
            sendgrid.verify_inbound(token, tokens)


def test_all_documented_event_types_are_read() -> None:
    batch = sendgrid.parse_events(sample_bytes("sendgrid/events_all_types.json"))
    assert batch.malformed == ()
    words = [(one.raw["event"], one.kind, one.bars) for one in batch.events]
    assert words == [
        ("processed", EventKind.QUEUED, None),
        ("deferred", EventKind.DEFERRED, None),
        ("delivered", EventKind.DELIVERED, None),
        ("open", EventKind.OPENED, None),
        ("click", EventKind.CLICKED, None),
        ("bounce", EventKind.BOUNCED, SuppressionReason.HARD_BOUNCE),
        ("dropped", EventKind.REJECTED, SuppressionReason.HARD_BOUNCE),
        ("spamreport", EventKind.COMPLAINED, SuppressionReason.COMPLAINT),
        ("unsubscribe", EventKind.UNSUBSCRIBED, SuppressionReason.UNSUBSCRIBED),
        ("group_unsubscribe", EventKind.UNSUBSCRIBED, SuppressionReason.UNSUBSCRIBED),
        ("group_resubscribe", EventKind.UNKNOWN, None),
    ]
    assert {one.at for one in batch.events} == {datetime(2017, 12, 15, 0, 59, 29, tzinfo=UTC)}
    assert {one.address for one in batch.events} == {"example@test.com"}
    assert len({one.key for one in batch.events}) == 11


def test_an_event_finds_its_message_by_our_own_id() -> None:
    found = parse_one()
    assert (found.message_id, found.provider_id) == (UUID(OUR_ID), "abc")


def test_a_repeated_event_has_the_same_key_even_with_another_event_id() -> None:
    assert parse_one(sg_event_id="one").key == parse_one(sg_event_id="two").key
    others = [parse_one(**change).key for change in ({"event": "open"}, {"timestamp": 1}, {"sg_message_id": "x"})]
    clicks = [parse_one(event="click", url=url).key for url in ("https://a", "https://b")]
    assert len({parse_one().key, *others, *clicks}) == 6


@pytest.mark.parametrize(
    ("fields", "bars"),
    [
        ({"event": "bounce", "type": "bounce", "status": "5.1.1"}, SuppressionReason.HARD_BOUNCE),
        ({"event": "bounce", "type": "blocked", "status": "5.7.1"}, None),
        ({"event": "bounce", "type": "bounce", "status": "4.2.2"}, None),
        ({"event": "dropped", "reason": "Unsubscribed Address"}, SuppressionReason.OPTED_OUT_AT_PROVIDER),
        ({"event": "dropped", "reason": "Spam Reporting Address"}, SuppressionReason.COMPLAINT),
        ({"event": "dropped", "reason": "Invalid"}, SuppressionReason.HARD_BOUNCE),
        ({"event": "dropped", "reason": "Spam Content"}, None),
        ({"event": "dropped", "reason": "Recipient List over Package Quota"}, None),
        ({"event": "delivered", "reason": "Bounced Address"}, None),
    ],
)
def test_only_what_is_final_bars_the_address(fields: dict[str, str], bars: SuppressionReason | None) -> None:
    assert parse_one(**fields).bars is bars


def test_an_opening_by_a_privacy_proxy_is_marked() -> None:
    assert parse_one(event="open", sg_machine_open=True).machine
    assert not parse_one(event="open", sg_machine_open=False).machine
    assert not parse_one(event="open").machine


@pytest.mark.parametrize(
    ("timestamp", "expected"),
    [
        (1_700_000_000, datetime(2023, 11, 14, 22, 13, 20, tzinfo=UTC)),
        ("1700000000", datetime(2023, 11, 14, 22, 13, 20, tzinfo=UTC)),
        (1_700_000_000_000, datetime(2023, 11, 14, 22, 13, 20, tzinfo=UTC)),
        ("2023-11-14T22:13:20Z", datetime(2023, 11, 14, 22, 13, 20, tzinfo=UTC)),
        (-5, None),
        (0, None),
        ("soon", None),
        ("", None),
        (None, None),
        (True, None),
        ([1], None),
        (10**30, None),
        (int((NOW + timedelta(days=30)).timestamp()), None),
    ],
)
def test_an_unbelievable_time_is_no_time(timestamp: object, expected: datetime | None) -> None:
    assert parse_one(timestamp=timestamp).at == expected


@pytest.mark.parametrize("body", [b"", b"{}", b"null", b"1", b'"x"', b"{", b"\xff\xfe", b"[1", b"[" * 5000])
def test_a_body_that_is_no_batch_is_one_malformed_element(body: bytes) -> None:
    batch = sendgrid.parse_events(body)
    assert batch.events == ()
    assert [one.where for one in batch.malformed] == ["body"]


def test_an_empty_batch_holds_nothing() -> None:
    assert sendgrid.parse_events(b"[]") == ((), ())


def test_one_bad_element_never_rejects_the_others() -> None:
    elements: list[Any] = [event(), None, [], 7, "x", {}, {"event": 5}, {"event": ["open"]}, event(event="open")]
    batch = sendgrid.parse_events(json.dumps(elements).encode())
    # A number is a word of a kind that we do not know; what has no word at all is malformed.
    assert [one.kind for one in batch.events] == [EventKind.DELIVERED, EventKind.UNKNOWN, EventKind.OPENED]
    assert [one.where for one in batch.malformed] == ["[1]", "[2]", "[3]", "[4]", "[5].event", "[7].event"]


def test_an_unknown_type_is_kept_as_unknown() -> None:
    found = parse_one(event="teleported")
    assert (found.kind, found.detail, found.bars) == (EventKind.UNKNOWN, "teleported", None)


@pytest.mark.parametrize("value", [None, 7, "", "x" * 40, {"a": 1}, "' OR 1=1", OUR_ID + "0"])
def test_an_event_without_our_id_is_kept_without_message(value: object) -> None:
    assert parse_one(message_id=value).message_id is None


def test_nothing_that_postgresql_refuses_survives() -> None:
    body = b'[{"event":"bounce","email":"a\\u0000@b.c","reason":"\\u0000x\\ud800y","z\\u0000":{"q":["\\u0000"]}}]'
    batch = sendgrid.parse_events(body)
    found = batch.events[0]
    assert (found.address, found.detail) == ("a@b.c", "bounce: xy")
    assert found.raw == {"event": "bounce", "email": "a@b.c", "reason": "xy", "z": {"q": [""]}}


def test_a_bounce_reason_with_markup_stays_plain_text_and_is_cut() -> None:
    found = parse_one(event="bounce", reason="<script>alert(1)</script>" + "x" * 10_000)
    assert found.detail.startswith("bounce: <script>alert(1)</script>xxx")
    assert len(found.detail) < 700


def test_custom_arguments_that_collide_with_their_fields_do_no_harm() -> None:
    found = parse_one(sg_message_id={"a": 1}, email=["x"], reason=7, type={}, status=[], url={"u": 1})
    assert (found.provider_id, found.address, found.message_id) == (None, None, UUID(OUR_ID))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=12,
)
FIELDS = ["event", "email", "timestamp", "message_id", "sg_message_id", "reason", "type", "status", "url"]


@given(st.lists(st.dictionaries(st.sampled_from(FIELDS), JSON | st.sampled_from(sorted(sendgrid.KINDS))) | JSON))
def test_no_batch_whatever_it_holds_raises(elements: list[Any]) -> None:
    batch = sendgrid.parse_events(json.dumps(elements).encode())
    assert len(batch.events) + len(batch.malformed) == len(elements)
    for found in batch.events:
        json.dumps(found.raw).encode()
        assert "\x00" not in repr((found.detail, found.address, found.provider_id)).encode().decode("unicode_escape")
