"""Webhooks out against a real receiver, verified by the reference library of Standard Webhooks."""

import json
import threading
from collections.abc import Iterator
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from sqlalchemy import select, text
from sqlalchemy.orm import Session
from standardwebhooks import Webhook, WebhookVerificationError

from outreach import clock, problem_verbs
from outreach.db import transaction
from outreach.errors import Conflict, InvalidInput
from outreach.models import AuditEntry, OutgoingDelivery, OutgoingEvent, Subscriber
from outreach.permissions import Permission, person_at_the_terminal
from outreach.settings import get_settings
from outreach.vocabulary import OutgoingState
from tests.webhooks.notices import body_of, sendgrid_event, sent_messages
from webhooks import inbox, intake, outgoing, subscriptions

OPERATOR = person_at_the_terminal("test")


class Receiver:
    """Another system: keeps what it is told, and answers as the test says."""

    def __init__(self) -> None:
        self.calls: list[tuple[dict[str, str], bytes]] = []
        self.status = 200
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                receiver.calls.append(({k.lower(): v for k, v in self.headers.items()}, body))
                self.send_response(receiver.status)
                self.send_header("Content-Length", "4")
                self.end_headers()
                self.wfile.write(b"told")

            def log_message(self, *args: Any) -> None:
                """Stay quiet."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()


@pytest.fixture
def receiver(monkeypatch: pytest.MonkeyPatch, database: str) -> Iterator[Receiver]:
    running = Receiver()
    monkeypatch.setenv("OUTREACH_WEBHOOKS_OUT_ALLOWED", running.url)
    get_settings.cache_clear()
    yield running
    running.server.shutdown()
    running.server.server_close()


def subscribe(url: str, *events: str) -> tuple[int, str]:
    with transaction() as session:
        row, secret = subscriptions.subscribe(
            session, name="warehouse", url=url, events=events, actor=OPERATOR, now=clock.now(session)
        )
        return row.id, secret


def known_problem() -> None:
    with transaction() as session:
        now = clock.now(session)
        problem = problem_verbs.report(session, actor=OPERATOR, now=now, title="A line is missing")
        problem_verbs.act(
            session, actor=OPERATOR, now=now, key=problem.key, verb=problem_verbs.Verb.KNOWN, text="Lot A7"
        )


def make_due() -> None:
    with transaction() as session:
        session.execute(text("UPDATE outgoing_deliveries SET next_try_at = now() - interval '1 second'"))


def test_what_happens_is_told_signed_once_and_only_to_those_who_asked(receiver: Receiver) -> None:
    _, secret = subscribe(receiver.url + "/hook", "problem.known", "problem.resolved")
    known_problem()
    assert outgoing.tell() == 1
    assert outgoing.tell() == 0
    ((headers, body),) = receiver.calls
    said = Webhook(secret).verify(body, headers)
    assert said["type"] == "problem.known"
    assert said["data"] == {"problem": "P-1", "title": "A line is missing", "state": "known", "text": "Lot A7"}
    with pytest.raises(WebhookVerificationError):
        Webhook(secret).verify(body.replace(b"P-1", b"P-2"), headers)
    with transaction() as session:
        delivery = session.scalars(select(OutgoingDelivery)).one()
        assert delivery.state is OutgoingState.DELIVERED
        assert [(a["status"], a["said"]) for a in delivery.attempts] == [(200, "told")]


def test_delivered_notices_and_refusals_are_told_of(receiver: Receiver) -> None:
    _, secret = subscribe(receiver.url, "*")
    with transaction() as session:
        ids = sent_messages(session, 2)
    events = [sendgrid_event(ids[0]), sendgrid_event(ids[1], "unsubscribe")]
    intake.store([intake.Knock("sendgrid", None, {}, "", body_of(events))])
    with transaction() as session:
        assert inbox.apply_due(session) == {"applied": 1}
    outgoing.tell()
    told = {}
    for headers, body in receiver.calls:
        said = Webhook(secret).verify(body, headers)
        told[said["type"]] = said["data"]
    assert told["notice.delivered"]["customer"] == "c-1"
    assert told["customer.unsubscribed"] == {"customer": "c-2", "channel": "email", "class": None}
    assert set(told) == {"notice.delivered", "customer.unsubscribed"}
    assert "@" not in json.dumps(list(told.values()))  # nobody's address leaves the house


def test_nothing_is_written_while_nobody_subscribes(database: str) -> None:
    known_problem()
    with transaction() as session:
        assert session.scalar(select(OutgoingEvent.id)) is None


def test_failures_are_tried_again_for_three_days_and_every_attempt_is_kept(receiver: Receiver) -> None:
    subscribe(receiver.url, "problem.known")
    receiver.status = 500
    known_problem()
    for _ in range(len(outgoing.WAITS) + 1):
        outgoing.tell()
        make_due()
    assert sum(outgoing.WAITS, timedelta()) > timedelta(days=3)
    with transaction() as session:
        delivery = session.scalars(select(OutgoingDelivery)).one()
        assert (delivery.state, len(delivery.attempts)) == (OutgoingState.FAILED, len(outgoing.WAITS) + 1)
        assert {a["status"] for a in delivery.attempts} == {500}
        receiver.status = 204
        subscriptions.replay(session, delivery_id=delivery.id, actor=OPERATOR, now=clock.wall())
    assert outgoing.tell() == 1
    ids = {headers["webhook-id"] for headers, _ in receiver.calls}
    assert len(ids) == 1  # the same event, however often: the receiver can tell
    with transaction() as session:
        assert session.scalars(select(OutgoingDelivery.state)).one() is OutgoingState.DELIVERED


def test_a_failed_call_waits_before_the_next_one(receiver: Receiver) -> None:
    subscribe(receiver.url, "problem.known")
    receiver.status = 503
    known_problem()
    assert (outgoing.tell(), outgoing.tell()) == (1, 0)
    with transaction() as session:
        delivery = session.scalars(select(OutgoingDelivery)).one()
        assert delivery.next_try_at > clock.wall()


def test_gone_disables_the_subscriber_until_somebody_enables_it(receiver: Receiver) -> None:
    number, _ = subscribe(receiver.url, "problem.known")
    receiver.status = 410
    known_problem()
    outgoing.tell()
    with transaction() as session:
        row = subscriptions.find(session, number)
        assert row.disabled_because == "it answered 410: it wants no more events"
        delivery_id = session.scalars(select(OutgoingDelivery.id)).one()
        with pytest.raises(Conflict, match="enable it first"):
            subscriptions.replay(session, delivery_id=delivery_id, actor=OPERATOR, now=clock.wall())
        subscriptions.enable(session, subscriber=row, actor=OPERATOR, now=clock.now(session))
    receiver.status = 200
    with transaction() as session:
        subscriptions.replay(session, delivery_id=delivery_id, actor=OPERATOR, now=clock.wall())
    assert outgoing.tell() == 1


def test_both_secrets_sign_for_a_day_after_a_rotation(receiver: Receiver) -> None:
    number, old = subscribe(receiver.url, "problem.known")
    with transaction() as session:
        row = subscriptions.find(session, number)
        new = subscriptions.rotate(session, subscriber=row, actor=OPERATOR, now=clock.now(session))
    known_problem()
    outgoing.tell()
    headers, body = receiver.calls[0]
    assert Webhook(old).verify(body, headers) == Webhook(new).verify(body, headers)
    assert old != new
    with transaction() as session:
        session.execute(text("UPDATE subscribers SET overlap_until = now() - interval '1 second'"))
        outgoing.test(session, subscriber=subscriptions.find(session, number), actor=OPERATOR, now=clock.now(session))
    outgoing.tell()
    headers, body = receiver.calls[1]
    assert Webhook(new).verify(body, headers)["type"] == "test"
    with pytest.raises(WebhookVerificationError):
        Webhook(old).verify(body, headers)


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:9/", "https://127.0.0.1/", "https://[::ffff:10.0.0.1]/", "https://169.254.169.254/latest",
        "https://user:pw@example.com/", "ftp://example.com/", "file:///etc/passwd", "https://localhost./", "https://0x7f000001/",
        "https://erp..example.com/",
    ],
)  # fmt: skip
def test_subscribers_inside_our_own_network_are_refused(session: Session, url: str) -> None:
    with pytest.raises(InvalidInput):
        subscriptions.subscribe(session, name="x", url=url, events=["*"], actor=OPERATOR, now=clock.now(session))
    with pytest.raises(InvalidInput, match="There is no event"):
        subscriptions.subscribe(
            session, name="x", url="https://example.com/", events=["problem.exploded"], actor=OPERATOR,
            now=clock.now(session),
        )  # fmt: skip


def test_an_address_that_moved_into_our_network_is_not_called(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    subscribe(receiver.url, "problem.known")
    monkeypatch.setenv("OUTREACH_WEBHOOKS_OUT_ALLOWED", "")
    get_settings.cache_clear()
    known_problem()
    outgoing.tell()
    assert receiver.calls == []
    with transaction() as session:
        (attempt,) = session.scalars(select(OutgoingDelivery)).one().attempts
        assert attempt["status"] is None
        assert "https" in attempt["said"]


def test_operators_subscribe_test_and_remove_over_the_api(api_server: Any, receiver: Receiver) -> None:
    key = api_server.key(*Permission)
    made = api_server.ask(
        "POST",
        "/api/webhooks-out",
        {"name": "erp", "url": receiver.url, "events": ["problem.known"]},
        authorization=key,
    )
    assert made.status == 201
    secret, number = made.json()["secret"], made.json()["id"]
    listed = api_server.ask("GET", "/api/webhooks-out", authorization=key)
    assert secret not in listed.data.decode()
    tested = api_server.ask("POST", f"/api/webhooks-out/{number}/test", authorization=key)
    assert tested.status == 202
    outgoing.tell()
    headers, body = receiver.calls[0]
    assert Webhook(secret).verify(body, headers)["type"] == "test"
    shown = api_server.ask("GET", f"/api/webhooks-out/{number}/deliveries", authorization=key).json()["items"]
    assert [(d["state"], d["attempts"][0]["status"]) for d in shown] == [("delivered", 200)]
    rotated = api_server.ask("POST", f"/api/webhooks-out/{number}/rotate", authorization=key).json()["secret"]
    again = api_server.ask("POST", f"/api/webhooks-out/deliveries/{shown[0]['id']}/replay", authorization=key)
    assert again.status == 202
    assert api_server.ask("DELETE", f"/api/webhooks-out/{number}", authorization=key).status == 204
    assert api_server.ask("GET", f"/api/webhooks-out/{number}/deliveries", authorization=key).status == 404
    with transaction() as session:
        assert session.scalar(select(Subscriber.id)) is None
        stored = " ".join(str(row) for row in session.execute(text("SELECT * FROM audit_log")))
        actions = session.scalars(select(AuditEntry.action).where(AuditEntry.subject.like("subscriber:%"))).all()
    assert actions == [f"subscriber.{what}" for what in ("subscribe", "test", "rotate", "replay", "unsubscribe")]
    assert not any(one.removeprefix("whsec_") in stored for one in (secret, rotated))
