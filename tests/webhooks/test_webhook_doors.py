"""What is let in and what is not, over the real API: nothing is 2xx that is not stored, nothing forged is stored."""

import base64
import hashlib
import hmac
import socket
import threading
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import urlencode

import pytest
from sqlalchemy import select, text

from outreach import clock, db
from outreach.db import transaction
from outreach.models import InboundEvent, Message, Response, Suppression
from outreach.permissions import Permission
from outreach.queue import celery_app
from outreach.settings import get_settings
from outreach.vocabulary import InboundState, Intent, SuppressionReason
from tests.webhooks.notices import SendGridSigner, body_of, sendgrid_event, sent_messages
from webhooks import inbox

TOKEN = "twilio-token"
PUBLIC = "https://care.example.com:8443"
LOB_SECRET, DESK_SECRET = "lob-secret", "whsec_" + base64.b64encode(b"a desk secret of 32 bytes, about").decode()


@pytest.fixture
def signer(monkeypatch: pytest.MonkeyPatch) -> SendGridSigner:
    found = SendGridSigner()
    for name, value in {
        "SENDGRID_WEBHOOK_PUBLIC_KEY": found.public, "SENDGRID_INBOUND_TOKEN": "parse-token",
        "TWILIO_AUTH_TOKEN": TOKEN, "PUBLIC_URL": PUBLIC, "LOB_WEBHOOK_SECRET": LOB_SECRET,
        "POSTMARK_WEBHOOK_PASSWORD": "pm:old,pm:new", "BOUNCE_TOKEN": "bounce-token",
    }.items():  # fmt: skip
        monkeypatch.setenv(f"OUTREACH_{name}", value)
    get_settings.cache_clear()
    return found


def stored() -> list[InboundEvent]:
    with transaction() as session:
        return list(session.scalars(select(InboundEvent).order_by(InboundEvent.id)))


def apply() -> None:
    with transaction() as session:
        session.execute(text("UPDATE inbound_events SET next_try_at = now() - interval '1 s' WHERE state = 'waiting'"))
        inbox.apply_due(session)


def twilio_headers(path: str, fields: dict[str, str], token: str = TOKEN, base: str = PUBLIC) -> dict[str, str]:
    signed = base + path + "".join(name + fields[name] for name in sorted(fields))
    signature = base64.b64encode(hmac.new(token.encode(), signed.encode(), hashlib.sha1).digest()).decode()
    return {"X_Twilio_Signature": signature, "content_type": "application/x-www-form-urlencoded"}


def sendgrid_headers(signer: SendGridSigner, body: bytes) -> dict[str, str]:
    return {name.replace("-", "_"): value for name, value in signer.headers(body).items()}


DOORS = [
    "/webhooks/sendgrid/events", "/webhooks/sendgrid/inbound", "/webhooks/twilio/status", "/webhooks/twilio/inbound",
    "/webhooks/lob", "/webhooks/postmark/events", "/webhooks/postmark/inbound", "/webhooks/bounces?token=wrong",
    "/webhooks/desks/generic", "/webhooks/desks/zendesk",
]  # fmt: skip


def test_without_a_secret_every_door_is_shut(api_server: Any) -> None:
    """F14: fail closed."""
    for door in DOORS:
        answer = api_server.ask("POST", door, body=b"{}")
        # A desk that nobody connected has no door at all.
        assert answer.status == (404 if "/desks/" in door else 401), door
    assert stored() == []


@pytest.mark.parametrize("door", DOORS)
def test_forged_signatures_are_refused_and_nothing_is_stored(
    api_server: Any, signer: SendGridSigner, door: str
) -> None:
    """F14 and bad input 47."""
    body = b'[{"event":"delivered"}]'
    other = SendGridSigner()
    good = signer.headers(body)
    forged: list[dict[str, str]] = [
        {}, {"authorization": "Basic bm86bm8="}, {"X_Hub_Signature": "none="}, {"X_Twilio_Signature": ""},
        {"lob_signature": "00", "lob_signature_timestamp": "1"},
        sendgrid_headers(other, body),
        {name.replace("-", "_"): value for name, value in (good | {next(iter(good)): "not base64!"}).items()},
        {name.replace("-", "_"): value + "x" for name, value in good.items()},
        {"webhook_id": "a", "webhook_timestamp": "1", "webhook_signature": "v1,AAAA v2,BBBB none"},
    ]  # fmt: skip
    for headers in forged:
        answer = api_server.ask("POST", door, body=body, **headers)
        assert answer.status in (401, 404), (door, headers)
        assert "Traceback" not in answer.data.decode()
    assert stored() == []


def test_a_signature_header_that_is_sent_twice_is_refused(api_server: Any, signer: SendGridSigner) -> None:
    body = b"[]"
    headers = list(signer.headers(body).items())
    pool = api_server.pool.connection_from_url(api_server.url)
    from urllib3 import HTTPHeaderDict

    doubled = HTTPHeaderDict([*headers, headers[0]])
    answer = pool.request("POST", "/webhooks/sendgrid/events", body=body, headers=doubled)
    assert answer.status == 401
    assert stored() == []


def test_a_genuine_body_is_stored_once_and_either_secret_opens_while_they_rotate(
    api_server: Any, signer: SendGridSigner, monkeypatch: pytest.MonkeyPatch
) -> None:
    newer = SendGridSigner()
    monkeypatch.setenv("OUTREACH_SENDGRID_WEBHOOK_PUBLIC_KEY", f"{signer.public}, {newer.public}")
    get_settings.cache_clear()
    for body in (b'[{"a":1}]', b'[{"b":2}]'):
        for key in (signer, newer):
            answer = api_server.ask("POST", "/webhooks/sendgrid/events", body=body, **sendgrid_headers(key, body))
            assert (answer.status, answer.data) == (204, b"")
    assert [event.body for event in stored()] == [b'[{"a":1}]', b'[{"b":2}]']
    for password in ("old", "new"):
        basic = base64.b64encode(f"pm:{password}".encode()).decode()
        answer = api_server.ask("POST", "/webhooks/postmark/events", body=b"{}", authorization=f"Basic {basic}")
        assert answer.status == 204


def test_bodies_that_are_too_large_are_refused_with_and_without_a_declared_size(
    api_server: Any, signer: SendGridSigner
) -> None:
    """Bad inputs 36 and 51: 40 MB of mail, 3 MB of events, sent in pieces."""

    def pieces(megabytes: int) -> Any:
        yield from (b"x" * 1024 * 1024 for _ in range(megabytes))

    large = api_server.ask("POST", "/webhooks/sendgrid/events", body=b"x" * (3 * 1024 * 1024))
    assert (large.status, large.json()["error"]) == (413, "too_large")
    chunked = api_server.pool.request(
        "POST", f"{api_server.url}/webhooks/lob", body=pieces(3), chunked=True, retries=False
    )
    assert chunked.status == 413
    assert stored() == []


def test_read_only_postgresql_answers_503_and_nothing_is_2xx_that_is_not_stored(
    api_server: Any, signer: SendGridSigner, database: str
) -> None:
    """F23."""
    body = b'[{"event":"delivered"}]'
    name = database.rpartition("/")[2]

    def read_only(state: str) -> None:
        with db.engine().connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.execute(text("SET default_transaction_read_only = off"))
            connection.execute(text(f"ALTER DATABASE {name} SET default_transaction_read_only = {state}"))
            connection.invalidate()
        db.engine().dispose()

    read_only("on")
    refused = api_server.ask("POST", "/webhooks/sendgrid/events", body=body, **sendgrid_headers(signer, body))
    assert (refused.status, refused.json()["error"]) == (503, "unavailable")
    assert refused.headers["Retry-After"] == "5"
    read_only("off")
    assert stored() == []
    taken = api_server.ask("POST", "/webhooks/sendgrid/events", body=body, **sendgrid_headers(signer, body))
    assert taken.status == 204
    assert len(stored()) == 1


def test_a_redis_that_swallows_everything_does_not_delay_the_answer(
    api_server: Any, signer: SendGridSigner, monkeypatch: pytest.MonkeyPatch
) -> None:
    hole = socket.create_server(("127.0.0.1", 0))  # accepts and never says a word
    monkeypatch.setenv("OUTREACH_REDIS_URL", f"redis://127.0.0.1:{hole.getsockname()[1]}/0")
    get_settings.cache_clear()
    celery_app.cache_clear()
    started = time.monotonic()
    for number in range(20):
        body = body_of([{"event": "delivered", "n": number}])
        answer = api_server.ask("POST", "/webhooks/sendgrid/events", body=body, **sendgrid_headers(signer, body))
        assert answer.status == 204
    assert time.monotonic() - started < 3
    assert len(stored()) == 20
    hole.close()


def test_an_event_of_twilio_moves_its_message_and_21610_bars_the_number(
    api_server: Any, signer: SendGridSigner
) -> None:
    """Bad inputs 48 and 49: checked against the configured address, with its port and query, never the Host header."""
    with transaction() as session:
        first, second = sent_messages(session, 2, channel="sms", provider="twilio")
    for message_id, status, more in ((first, "delivered", {}), (second, "failed", {"ErrorCode": "21610"})):
        path = f"/webhooks/twilio/status?message_id={message_id}"
        fields = {"MessageSid": f"SM{message_id.hex}", "MessageStatus": status, "To": "+12025550001", **more}
        wrong = twilio_headers(path, fields, base=api_server.url)
        body = urlencode(fields).encode()
        assert api_server.ask("POST", path, body=body, **wrong).status == 401
        assert api_server.ask("POST", path, body=body, **twilio_headers(path, fields)).status == 204
        repeated = body + b"&MessageStatus=sent"
        assert api_server.ask("POST", path, body=repeated, **twilio_headers(path, fields)).status == 401
    apply()
    with transaction() as session:
        assert session.get_one(Message, first).delivery_rank == 50
        ban = session.scalars(select(Suppression)).one()
        assert (ban.address, ban.reason) == ("+12025550002", SuppressionReason.OPTED_OUT_AT_PROVIDER)
        consent = session.execute(text("SELECT channel, allowed FROM consents")).all()
        assert [tuple(row) for row in consent] == [("sms", False)]


@pytest.mark.parametrize(
    ("words", "intent"),
    [
        ("Stop.", Intent.STOP), ("STOP ", Intent.STOP), ("opt  out", Intent.STOP), ("ＳＴＯＰ", Intent.STOP),
        ("👍👍", None), ("x" * 1600, None), ("", None), ("don't stop", None),
    ],
)  # fmt: skip
def test_texts_that_customers_send_mean_what_they_say(
    api_server: Any, signer: SendGridSigner, words: str, intent: Intent | None
) -> None:
    """Bad inputs 52."""
    with transaction() as session:
        sent_messages(session, 1, channel="sms", provider="twilio")
    fields = {"MessageSid": "SM1", "From": "+12025550001", "To": "+12025559999", "Body": words, "NumMedia": "0"}
    answer = api_server.ask(
        "POST", "/webhooks/twilio/inbound", body=urlencode(fields).encode(),
        **twilio_headers("/webhooks/twilio/inbound", fields),
    )  # fmt: skip
    assert (answer.status, answer.data) == (200, b"<Response></Response>")
    described = api_server.ask("GET", "/api/openapi.json").json()["paths"]["/webhooks/twilio/inbound"]["post"]
    assert (
        answer.headers["Content-Type"].split(";")[0] in described["responses"]["200"]["content"].keys() == {"text/xml"}
    )
    apply()
    with transaction() as session:
        response = session.scalars(select(Response)).one()
        barred = session.scalar(select(Suppression.address))
    assert (barred == "+12025550001") == (intent is Intent.STOP)
    assert (response.intent is Intent.STOP) == (intent is Intent.STOP)


def bounce(message_id: Any, recipient: str) -> bytes:
    return (
        f"From: MAILER-DAEMON@mx.example.net\r\nTo: reply+{message_id.hex}@reply.example.com\r\n"
        'Content-Type: multipart/report; report-type=delivery-status; boundary="b"\r\nMIME-Version: 1.0\r\n\r\n'
        "--b\r\nContent-Type: message/delivery-status\r\n\r\nReporting-MTA: dns; mx.example.net\r\n\r\n"
        f"Final-Recipient: rfc822; {recipient}\r\nAction: failed\r\nStatus: 5.1.1\r\n"
        "Diagnostic-Code: smtp; 550 <b>no such user</b>\r\n\r\n--b--\r\n"
    ).encode()


def test_a_bounce_over_smtp_bars_the_address_and_a_forged_one_bars_nobody(
    api_server: Any, signer: SendGridSigner
) -> None:
    with transaction() as session:
        first, second = sent_messages(session, 2, provider="smtp")
    for body in (bounce(first, "Ann.1@example.com"), bounce(second, "victim@example.com")):
        answer = api_server.ask(
            "POST", "/webhooks/bounces?token=bounce-token", body=body, content_type="message/rfc822"
        )
        assert answer.status == 204
    apply()
    with transaction() as session:
        assert session.scalars(select(Suppression.address)).all() == ["ann.1@example.com"]
        assert [session.get_one(Message, one).delivery_rank for one in (first, second)] == [62, 0]
    forged = stored()[1]
    assert forged.state is InboundState.DEAD
    assert "another address" in (forged.error or "")


def test_dead_events_are_listed_with_their_reason_and_replayed_over_the_api(
    api_server: Any, signer: SendGridSigner
) -> None:
    body = body_of(["rubbish"])
    api_server.ask("POST", "/webhooks/sendgrid/events", body=body, **sendgrid_headers(signer, body))
    apply()
    key = api_server.key(*Permission)
    (dead,) = api_server.ask("GET", "/api/inbound-events?state=dead", authorization=key).json()["items"]
    assert (dead["source"], dead["error"]) == ("sendgrid", "[0]: not an object")
    shown = api_server.ask("GET", f"/api/inbound-events/{dead['id']}", authorization=key).json()
    assert shown["body"] == '["rubbish"]'
    again = api_server.ask("POST", f"/api/inbound-events/{dead['id']}/replay", authorization=key)
    assert (again.status, again.json()) == (202, {"id": dead["id"], "state": "new"})
    twice = api_server.ask("POST", f"/api/inbound-events/{dead['id']}/replay", authorization=key)
    assert twice.status == 409
    assert api_server.ask("GET", "/api/inbound-events/counts", authorization=key).json() == {"new": 1}


def soft_bounces(number: int, between: Callable[[int], list[Any]] = lambda _: []) -> list[str]:
    for round_number in range(number):
        with transaction() as session:
            (message_id,) = sent_messages(session, 1)
            now = int(clock.now(session).timestamp()) - 1000 + round_number * 10
            events = [sendgrid_event(message_id, "bounce", now, type="blocked", reason="mailbox full")]
            session.add(InboundEvent(source="sendgrid", key=f"soft-{message_id}", headers={}, body=body_of(events)))
            for event in between(now + 1):
                (delivered,) = sent_messages(session, 1)
                body = body_of([{**event, "message_id": str(delivered)}])
                session.add(InboundEvent(source="sendgrid", key=f"later-{delivered}", headers={}, body=body))
        apply()
    with transaction() as session:
        return [reason.value for reason in session.scalars(select(Suppression.reason))]


def test_three_soft_bounces_without_a_delivery_bar_the_address(database: str) -> None:
    assert soft_bounces(2) == []
    assert soft_bounces(1) == ["soft_bounces"]


def test_a_delivery_between_soft_bounces_starts_the_count_anew(database: str) -> None:
    assert soft_bounces(3, lambda at: [sendgrid_event(None, "delivered", at)] if at else []) == []


def test_consent_follows_the_persons_own_time_and_a_group_is_one_class_only(
    session: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OUTREACH_SENDGRID_UNSUBSCRIBE_GROUPS", "survey=77,success=78")
    get_settings.cache_clear()
    ids = sent_messages(session, 2)
    left = sendgrid_event(ids[0], "group_unsubscribe", 1_770_000_100, asm_group_id=77)
    back = sendgrid_event(ids[0], "group_resubscribe", 1_770_000_200, asm_group_id=77)
    other = sendgrid_event(ids[1], "group_unsubscribe", 1_770_000_100, asm_group_id=999)
    for place, events in enumerate(([back], [left, left], [other])):
        session.add(InboundEvent(source="sendgrid", key=f"g{place}", headers={}, body=body_of(events)))
    session.flush()
    inbox.apply_due(session)
    rows = session.execute(text("SELECT notice_class, allowed FROM consents ORDER BY acted_at DESC, allowed")).all()
    # The newest act of the known group is the return; a group that nobody told us of stands for everything.
    assert sorted(map(tuple, rows), key=str) == sorted(
        [("survey", True), ("survey", False), (None, False)], key=str
    )  # fmt: skip
    assert session.scalars(select(Suppression.address)).all() == ["ann.2@example.com"]


def test_an_unsubscribe_that_arrives_after_the_person_came_back_bars_nobody(session: Any) -> None:
    (message_id,) = sent_messages(session, 1)
    session.execute(
        text("""INSERT INTO consents (customer_id, channel, allowed, acted_at, source)
                SELECT customer_id, 'email', true, to_timestamp(1770000200), 'preferences' FROM messages""")
    )
    for at, expected in ((1_770_000_100, []), (1_770_000_200, ["ann.1@example.com"])):
        body = body_of([sendgrid_event(message_id, "unsubscribe", at)])
        session.add(InboundEvent(source="sendgrid", key=str(at), headers={}, body=body))
        session.flush()
        inbox.apply_due(session)
        assert session.scalars(select(Suppression.address)).all() == expected  # at the same moment refusal wins


def test_workers_that_apply_at_the_same_time_neither_lose_nor_double_anything(database: str) -> None:
    with transaction() as session:
        ids = sent_messages(session, 40)
        for number in range(60):
            events = [
                sendgrid_event(one, "delivered" if number % 2 else "processed", 1_770_000_000 + number) for one in ids
            ]
            body = body_of(events[number % 7 :] + events[: number % 7])
            session.add(InboundEvent(source="sendgrid", key=str(number), headers={}, body=body))

    def work() -> None:
        for _ in range(30):
            with transaction() as session:
                if not inbox.apply_due(session, most=7):
                    return

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with transaction() as session:
        assert inbox.counts(session) == {"applied": 60}
        assert session.scalar(text("SELECT count(*) FROM delivery_events")) == 40 * 60
        assert set(session.scalars(select(Message.delivery_rank))) == {50}
