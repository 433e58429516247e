import base64
import json
from datetime import UTC, datetime
from uuid import UUID

import pytest

from outreach.errors import InvalidInput, NotAuthenticated
from outreach.vocabulary import EventKind, SuppressionReason
from tests.webhooks.samples import sample, sample_bytes
from webhooks.providers import postmark

OUR_ID = "0198c0de-0000-7000-8000-000000000001"


@pytest.mark.parametrize(
    ("name", "kind", "bars", "address"),
    [
        ("bounce_event", EventKind.BOUNCED, SuppressionReason.HARD_BOUNCE, "bounce@example.com"),
        ("delivered_event", EventKind.DELIVERED, None, "recipient@example.com"),
        ("open_event", EventKind.OPENED, None, "recipient@example.com"),
        ("click_event", EventKind.CLICKED, None, "recipient@example.com"),
        ("spam_event", EventKind.COMPLAINED, SuppressionReason.COMPLAINT, "spam@example.com"),
        ("unsubscribe", EventKind.UNSUBSCRIBED, SuppressionReason.UNSUBSCRIBED, "john@example.com"),
        ("resubscribe", EventKind.UNKNOWN, None, "john@example.com"),
        ("subscription_change_bounce", EventKind.BOUNCED, SuppressionReason.HARD_BOUNCE, "john@example.com"),
        ("bounce_unsubscribe_variant", EventKind.UNSUBSCRIBED, SuppressionReason.UNSUBSCRIBED, None),
    ],
)
def test_real_events_are_read(name: str, kind: EventKind, bars: SuppressionReason | None, address: str | None) -> None:
    raw = sample("postmark/tracking_events.json")["payloads"][name]
    found = postmark.parse_events(json.dumps(raw).encode()).events[0]
    assert (found.kind, found.bars, found.address) == (kind, bars, address)
    assert found.key == postmark.parse_events(json.dumps(raw).encode()).events[0].key


def test_all_real_events_have_keys_of_their_own() -> None:
    payloads = sample("postmark/tracking_events.json")["payloads"].values()
    keys = [postmark.parse_events(json.dumps(raw).encode()).events[0].key for raw in payloads]
    assert len(set(keys)) == 9


def test_seven_digits_of_a_second_and_metadata_are_read() -> None:
    raw = {
        "RecordType": "Delivery",
        "DeliveredAt": "2014-08-01T13:28:10.2735393-04:00",
        "Metadata": {"message_id": OUR_ID},
    }
    found = postmark.parse_events(json.dumps(raw).encode()).events[0]
    assert found.at == datetime(2014, 8, 1, 17, 28, 10, 273539, tzinfo=UTC)
    assert found.message_id == UUID(OUR_ID)


@pytest.mark.parametrize("kind", ["SoftBounce", "Transient", "Blocked", "DnsError", "Unknown"])
def test_a_bounce_that_may_pass_bars_nothing(kind: str) -> None:
    raw = {"RecordType": "Bounce", "Type": kind, "Email": "a@example.com"}
    assert postmark.parse_events(json.dumps(raw).encode()).events[0].bars is None


@pytest.mark.parametrize("body", [b"", b"{}", b"null", b"[]", b'{"RecordType": []}', b"\xff"])
def test_a_body_that_is_no_event_is_malformed(body: bytes) -> None:
    batch = postmark.parse_events(body)
    assert (batch.events, len(batch.malformed)) == ((), 1)


def test_the_real_inbound_mail_is_read() -> None:
    reply = postmark.parse_inbound(sample_bytes("postmark/inbound.json"))
    assert (reply.sender, reply.subject) == ("support@postmarkapp.com", "Test subject")
    assert reply.text == "This is a test text body."
    assert [(one.name, one.size) for one in reply.attachments] == [("test.txt", 45)]
    assert not reply.automatic


def test_an_inbound_mail_names_our_message_and_machines_are_marked() -> None:
    raw = sample("postmark/inbound.json")
    raw["OriginalRecipient"] = f"reply+{UUID(OUR_ID).hex}@reply.example.com"
    raw["Headers"] = [{"Name": "Auto-Submitted", "Value": "auto-replied"}, 7, {"Name": None}]
    reply = postmark.parse_inbound(json.dumps(raw).encode())
    assert (reply.message_id, reply.automatic) == (UUID(OUR_ID), True)


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b'{"From": "nobody"}'])
def test_an_inbound_mail_that_cannot_be_read_is_refused(body: bytes) -> None:
    with pytest.raises(InvalidInput):
        postmark.parse_inbound(body)


def test_only_the_right_credentials_are_accepted() -> None:
    headers = {"Authorization": "Basic " + base64.b64encode(b"user:password").decode()}
    postmark.verify(headers, ["user:old", "user:password"])
    for given, credentials in ((headers, ["user:other"]), (headers, []), ({}, ["user:password"])):
        with pytest.raises(NotAuthenticated):
            postmark.verify(given, credentials)
