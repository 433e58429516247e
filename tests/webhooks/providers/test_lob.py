import hashlib
import hmac
import json
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from outreach.errors import NotAuthenticated
from outreach.vocabulary import EventKind, SuppressionReason
from tests.webhooks.samples import flipped, sample, sample_bytes
from webhooks.providers import lob

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
STAMP = str(int(NOW.timestamp() * 1000))


def headers(body: bytes, timestamp: str = STAMP, secret: str = "secret") -> dict[str, str]:
    signature = hmac.new(secret.encode(), timestamp.encode() + b"." + body, hashlib.sha256).hexdigest()
    return {"Lob-Signature": signature, "Lob-Signature-Timestamp": timestamp}


def parse_one(word: str, **body: Any) -> Any:
    raw = {"id": "evt_1", "event_type": {"id": word}, "reference_id": "psc_1", "body": {"id": "psc_1"} | body}
    return lob.parse_events(json.dumps(raw | {"date_created": "2026-03-01T11:00:00.000Z"}).encode(), NOW).events[0]


def test_the_computed_vector_holds_and_every_flipped_byte_is_refused() -> None:
    case = sample("lob/signature_vectors_computed.json")["cases"][0]
    given = {"Lob-Signature": case["header_signature"], "Lob-Signature-Timestamp": case["header_timestamp"]}
    then = datetime.fromtimestamp(int(case["header_timestamp"]) / 1000, UTC)
    body = case["body"].encode()
    lob.verify(given, body, [case["secret"]], then)
    for other in flipped(body):
        with pytest.raises(NotAuthenticated):
            lob.verify(given, other, [case["secret"]], then)


@pytest.mark.parametrize("minutes", [-6, 6, 60 * 24])
def test_a_signature_older_or_newer_than_five_minutes_is_refused(minutes: int) -> None:
    lob.verify(headers(b"{}"), b"{}", ["secret"], NOW + timedelta(minutes=4))
    with pytest.raises(NotAuthenticated, match="5 minutes"):
        lob.verify(headers(b"{}"), b"{}", ["secret"], NOW + timedelta(minutes=minutes))


@pytest.mark.parametrize("timestamp", ["", "soon", "-1", "1e400", "９９"])
def test_an_unreadable_signed_time_is_refused(timestamp: str) -> None:
    with pytest.raises(NotAuthenticated):
        lob.verify(headers(b"{}", timestamp), b"{}", ["secret"], NOW)


def test_secrets_fail_closed_and_rotate() -> None:
    lob.verify(headers(b"{}", secret="new"), b"{}", ["old", "new\n"], NOW)
    for secrets in ([], [""], ["old"]):
        with pytest.raises(NotAuthenticated):
            lob.verify(headers(b"{}", secret="new"), b"{}", secrets, NOW)


def test_the_real_event_is_read() -> None:
    found = lob.parse_events(sample_bytes("lob/postcard_created_event.json")).events[0]
    assert (found.kind, found.key) == (EventKind.QUEUED, "evt_d95ff8ffd2b5cfb4")
    assert (found.provider_id, found.message_id) == ("psc_d2d10a2e9cba991c", None)
    assert found.at == datetime(2016, 12, 4, 22, 50, 8, 180000, tzinfo=UTC)


@pytest.mark.parametrize(
    ("word", "kind", "bars"),
    [
        ("postcard.mailed", EventKind.SENT, None),
        ("postcard.in_transit", EventKind.IN_TRANSIT, None),
        ("postcard.re-routed", EventKind.IN_TRANSIT, None),
        ("postcard.delivered", EventKind.DELIVERED, None),
        ("postcard.returned_to_sender", EventKind.RETURNED, SuppressionReason.RETURNED_MAIL),
        ("postcard.failed", EventKind.FAILED, None),
        ("letter.rejected", EventKind.REJECTED, None),
        ("postcard.viewed", EventKind.CLICKED, None),
        ("postcard.eaten_by_dog", EventKind.UNKNOWN, None),
    ],
)
def test_their_words_become_ours(word: str, kind: EventKind, bars: SuppressionReason | None) -> None:
    found = parse_one(word)
    assert (found.kind, found.bars) == (kind, bars)


def test_an_event_finds_its_message_by_metadata() -> None:
    found = parse_one("postcard.mailed", metadata={"message_id": "0198c0de-0000-7000-8000-000000000001"})
    assert found.message_id == UUID("0198c0de-0000-7000-8000-000000000001")


@pytest.mark.parametrize("body", [b"", b"{}", b"null", b"[]", b"[[]]", b"1", b'{"event_type": {"id": []}}'])
def test_a_body_that_is_no_event_is_malformed(body: bytes) -> None:
    batch = lob.parse_events(body)
    assert (batch.events, len(batch.malformed)) == ((), 1)


def test_parts_of_the_wrong_kind_do_no_harm() -> None:
    raw = {"event_type": "postcard.mailed", "body": [1], "id": {}, "date_created": -4, "reference_id": None}
    found = lob.parse_events(json.dumps(raw).encode()).events[0]
    assert (found.kind, found.at, found.provider_id, len(found.key)) == (EventKind.SENT, None, None, 32)
