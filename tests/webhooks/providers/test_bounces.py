from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from outreach.vocabulary import EventKind, SuppressionReason
from webhooks.providers import bounces

OUR_ID = UUID("0198c0de-0000-7000-8000-000000000001")


def report(
    *recipients: str, to: str = "bounces@example.com", returned: str = f"Message-ID: <{OUR_ID.hex}@mail.example.com>"
) -> bytes:
    groups = "\r\n\r\n".join(recipients)
    return (
        f"From: MAILER-DAEMON@mx.example.net\r\nTo: {to}\r\nDate: Sun, 1 Mar 2026 12:00:00 +0200\r\n"
        'Content-Type: multipart/report; report-type=delivery-status; boundary="b"\r\n\r\n'
        "--b\r\nContent-Type: text/plain\r\n\r\nSorry.\r\n"
        "--b\r\nContent-Type: message/delivery-status\r\n\r\nReporting-MTA: dns; mx.example.net\r\n\r\n"
        f"{groups}\r\n\r\n"
        f"--b\r\nContent-Type: message/rfc822\r\n\r\n{returned}\r\nSubject: x\r\n\r\nhi\r\n--b--\r\n"
    ).encode()


def recipient(action: str = "failed", status: str = "5.1.1", **more: str) -> str:
    fields = {"Final-Recipient": "rfc822; ann@example.com", "Action": action, "Status": status} | more
    return "\r\n".join(f"{name.replace('_', '-')}: {value}" for name, value in fields.items())


def parse_one(*args: Any, **kwargs: Any) -> Any:
    batch = bounces.parse_events(report(*args, **kwargs))
    assert (len(batch.events), batch.malformed) == (1, ())
    return batch.events[0]


@pytest.mark.parametrize(
    ("action", "status", "kind", "bars"),
    [
        ("failed", "5.1.1", EventKind.BOUNCED, SuppressionReason.HARD_BOUNCE),
        ("failed", "5.0.0", EventKind.BOUNCED, SuppressionReason.HARD_BOUNCE),
        ("Failed", "5.1.10 (null MX)", EventKind.BOUNCED, SuppressionReason.HARD_BOUNCE),
        ("failed", "5.2.2", EventKind.BOUNCED, None),
        ("failed", "5.7.1", EventKind.BOUNCED, None),
        ("failed", "4.4.7", EventKind.BOUNCED, None),
        ("delayed", "4.4.1", EventKind.DEFERRED, None),
        ("delivered", "2.0.0", EventKind.DELIVERED, None),
        ("relayed", "2.0.0", EventKind.SENT, None),
        ("teleported", "2.0.0", EventKind.UNKNOWN, None),
    ],
)
def test_actions_and_status_have_a_meaning(
    action: str, status: str, kind: EventKind, bars: SuppressionReason | None
) -> None:
    found = parse_one(recipient(action, status))
    assert (found.kind, found.bars, found.address) == (kind, bars, "ann@example.com")


def test_the_message_is_named_by_what_was_returned() -> None:
    found = parse_one(recipient(Diagnostic_Code="smtp; 550 <b>no such user</b>"))
    assert found.message_id == OUR_ID
    assert found.detail == "failed 5.1.1: smtp; 550 <b>no such user</b>"
    assert found.at == datetime(2026, 3, 1, 10, tzinfo=UTC)


def test_the_message_is_named_by_the_address_of_the_bounce() -> None:
    other = UUID("0198c0de-0000-7000-8000-000000000002")
    assert parse_one(recipient(), to=f"bounce+{other.hex}@reply.example.com").message_id == other


@pytest.mark.parametrize("returned", ["Subject: y", "Message-ID: <abc@x>", f"Message-ID: <0{OUR_ID.hex}@x>"])
def test_a_bounce_of_another_sender_names_no_message(returned: str) -> None:
    assert parse_one(recipient(), returned=returned).message_id is None


def test_several_recipients_are_several_events_and_a_broken_one_is_left_out() -> None:
    second = recipient(Original_Recipient="rfc822; bob@example.com")
    batch = bounces.parse_events(report(recipient(), second, "Action: failed", "Final-Recipient: rfc822; x"))
    assert [one.address for one in batch.events] == ["ann@example.com", "bob@example.com"]
    assert batch.events[0].key != batch.events[1].key
    assert batch == bounces.parse_events(report(recipient(), second, "Action: failed", "Final-Recipient: rfc822; x"))


def test_an_abuse_report_is_a_complaint() -> None:
    raw = (
        'From: fbl@isp.example\r\nContent-Type: multipart/report; report-type=feedback-report; boundary="b"\r\n\r\n'
        "--b\r\nContent-Type: message/feedback-report\r\n\r\n"
        "Feedback-Type: abuse\r\nVersion: 1\r\nOriginal-Rcpt-To: <ann@example.com>\r\n\r\n"
        f"--b\r\nContent-Type: text/rfc822-headers\r\n\r\nMessage-ID: <{OUR_ID}@mail.example.com>\r\n\r\n--b--\r\n"
    )
    found = bounces.parse_events(raw.encode()).events[0]
    assert (found.kind, found.bars) == (EventKind.COMPLAINED, SuppressionReason.COMPLAINT)
    assert (found.address, found.message_id) == ("ann@example.com", OUR_ID)
    other = bounces.parse_events(raw.replace("abuse", "not-spam").encode()).events[0]
    assert (other.kind, other.bars) == (EventKind.UNKNOWN, None)


@pytest.mark.parametrize("body", [b"", b"hello", b"From: a@b.c\r\n\r\nSTOP", b"\xff\x00", report(), b"x" * 6_000_000])
def test_an_email_that_reports_nothing_is_malformed(body: bytes) -> None:
    batch = bounces.parse_events(body)
    assert (batch.events, len(batch.malformed)) == ((), 1)


@given(st.text(max_size=200), st.text(max_size=60), st.text(max_size=60))
def test_no_bounce_whatever_it_holds_raises(group: str, to: str, returned: str) -> None:
    body = report(group, to=to, returned=returned) if group.isascii() else report(recipient(), to=group, returned=to)
    bounces.parse_events(body.decode("utf-8", "replace").encode("utf-8", "replace"))
