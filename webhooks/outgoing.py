"""Telling subscribers what happened: events become deliveries, deliveries become signed calls, failures wait.

Triggers write the events (migration 0030). Here one statement fans them out; due deliveries are claimed by pushing
their next try ahead, sent with no transaction open, and recorded. A crash in between sends one again: the id in
`webhook-id` stays the same, so that the receiver can tell. https://www.standardwebhooks.com
"""

import base64
import hashlib
import hmac
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from time import monotonic
from typing import Any

import orjson
import structlog
from sqlalchemy import select, text
from sqlalchemy.orm import Session

from outreach import clock
from outreach.db import transaction
from outreach.errors import Conflict, OutreachError
from outreach.models import OutgoingDelivery, OutgoingEvent, Subscriber
from outreach.permissions import Actor
from outreach.queue import wake
from outreach.safe_http import request
from outreach.vocabulary import OutgoingState
from webhooks import subscriptions
from webhooks.subscriptions import EVERYTHING, TEST_KIND

log = structlog.get_logger()

# After each failed try, how long until the next: three days in all, as the specification proposes.
WAITS = tuple(
    timedelta(seconds=seconds) for seconds in (5, 60, 300, 1800, 7200, 18_000, 36_000, 50_400, 72_000, 74_000)
)
GONE = 410
BATCH = 50
CALLS_AT_ONCE = 10
TIMEOUT_SECONDS = 15.0
CLAIMED_FOR = timedelta(seconds=90)
LONGEST_ANSWER = 500  # characters of an answer that are kept

_FAN_OUT = text("""
WITH taken AS (
    SELECT id, kind FROM outgoing_events WHERE fanned_out_at IS NULL ORDER BY id LIMIT :most FOR UPDATE SKIP LOCKED
), done AS (
    UPDATE outgoing_events e SET fanned_out_at = :now FROM taken WHERE e.id = taken.id
)
INSERT INTO outgoing_deliveries (subscriber_id, event_id, next_try_at, created_at)
SELECT s.id, taken.id, :now, :now FROM taken JOIN subscribers s
  ON s.disabled_at IS NULL AND (s.events @> to_jsonb(taken.kind) OR s.events @> to_jsonb(cast(:everything AS text)))
ORDER BY taken.id, s.id
ON CONFLICT DO NOTHING
""")

_CLAIM = text("""
UPDATE outgoing_deliveries SET next_try_at = :until
WHERE id IN (SELECT id FROM outgoing_deliveries WHERE state = 'waiting' AND next_try_at <= :now
             ORDER BY next_try_at, id LIMIT :most FOR UPDATE SKIP LOCKED)
RETURNING id
""")


@dataclass(frozen=True, slots=True)
class Call:
    """One signed request that is to be made."""

    delivery_id: int
    subscriber_id: int
    url: str
    headers: dict[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a call: the status (none when nobody answered) and the start of what was said."""

    status: int | None
    said: str
    milliseconds: int

    @property
    def taken(self) -> bool:
        """Whether the receiver has it."""
        return self.status is not None and 200 <= self.status < 300


def tell(*, budget_seconds: float = 50) -> int:
    """Fan out what happened and make the calls that are due; returns how many. Commits as it goes."""
    made, ends = 0, monotonic() + budget_seconds
    while monotonic() < ends:
        with transaction() as session:
            fan_out(session)
            calls = claim(session, clock.wall())
        if not calls:
            break
        with ThreadPoolExecutor(CALLS_AT_ONCE) as threads:
            outcomes = list(threads.map(make, calls))
        with transaction() as session:
            for call, outcome in zip(calls, outcomes, strict=True):
                settle(session, call, outcome, clock.wall())
        made += len(calls)
    return made


def fan_out(session: Session, *, most: int = 1000) -> None:
    """Make a delivery of each new event for each subscriber that wants it."""
    session.execute(_FAN_OUT, {"most": most, "now": clock.wall(), "everything": EVERYTHING})


def claim(session: Session, now: datetime) -> list[Call]:
    """Take due deliveries, oldest first, and return their calls, signed for this moment."""
    ids = session.scalars(_CLAIM, {"now": now, "until": now + CLAIMED_FOR, "most": BATCH}).all()
    rows = session.execute(
        select(OutgoingDelivery, OutgoingEvent, Subscriber)
        .join(OutgoingEvent, OutgoingEvent.id == OutgoingDelivery.event_id)
        .join(Subscriber, Subscriber.id == OutgoingDelivery.subscriber_id)
        .where(OutgoingDelivery.id.in_(ids))
        .order_by(OutgoingDelivery.id)
    )
    return [_call(delivery.id, event, subscriber, now) for delivery, event, subscriber in rows]


def make(call: Call) -> Outcome:
    """Make one call; every way to fail is an outcome."""
    started = monotonic()
    try:
        answer = request(
            "POST",
            call.url,
            headers=call.headers,
            body=call.body,
            allow=subscriptions.allowed_origins(),
            timeout_seconds=TIMEOUT_SECONDS,
        )
        status: int | None = answer.status
        said = answer.body[: LONGEST_ANSWER * 4].decode("utf-8", "replace").replace("\0", "")[:LONGEST_ANSWER]
    except OutreachError as error:
        status, said = None, error.message
    return Outcome(status, said, round((monotonic() - started) * 1000))


def settle(session: Session, call: Call, outcome: Outcome, now: datetime) -> None:
    """Write down what a call gave: delivered, tried again later, or given up; 410 disables the subscriber."""
    delivery = session.get(OutgoingDelivery, call.delivery_id, with_for_update=True)
    if delivery is None:
        return  # the subscriber was removed meanwhile
    attempt = {"at": now.isoformat(), "status": outcome.status, "ms": outcome.milliseconds, "said": outcome.said}
    delivery.attempts = [*delivery.attempts, attempt][-50:]
    delivery.tries += 1
    if outcome.taken:
        delivery.state, delivery.done_at = OutgoingState.DELIVERED, now
    elif outcome.status == GONE:
        delivery.state, delivery.done_at = OutgoingState.FAILED, now
        _disable(session, call.subscriber_id, "it answered 410: it wants no more events", now)
    elif delivery.tries > len(WAITS):
        delivery.state, delivery.done_at = OutgoingState.FAILED, now
        log.warning("subscriber not reached for three days", subscriber=call.subscriber_id, delivery=delivery.id)
    else:
        delivery.next_try_at = now + WAITS[delivery.tries - 1]
    session.flush()


def test(session: Session, *, subscriber: Subscriber, actor: Actor, now: datetime) -> OutgoingDelivery:
    """Owe one subscriber a test event, whatever it subscribed to; raises `Conflict` when it is disabled."""
    if subscriber.disabled_at is not None:
        raise Conflict(
            f"The subscriber {subscriber.name} is disabled ({subscriber.disabled_because}); enable it first."
        )
    event = OutgoingEvent(kind=TEST_KIND, data={"words": "This is a test."}, happened_at=now, fanned_out_at=now)
    session.add(event)
    session.flush()
    delivery = OutgoingDelivery(subscriber_id=subscriber.id, event_id=event.id, next_try_at=clock.wall())
    session.add(delivery)
    session.flush()
    wake(session, "webhooks.tell_subscribers")
    subscriptions.record(session, actor, "test", subscriber, now)
    return delivery


def _disable(session: Session, subscriber_id: int, because: str, now: datetime) -> None:
    subscriber = session.get(Subscriber, subscriber_id)
    if subscriber is not None and subscriber.disabled_at is None:
        subscriptions.stop_telling(session, subscriber=subscriber, because=because, now=now)
        log.warning("subscriber disabled", subscriber=subscriber_id, because=because)


def _call(delivery_id: int, event: OutgoingEvent, subscriber: Subscriber, now: datetime) -> Call:
    said: dict[str, Any] = {"type": event.kind, "timestamp": event.happened_at.astimezone(UTC), "data": event.data}
    body = orjson.dumps(said, option=orjson.OPT_UTC_Z)
    message_id = f"evt_{event.public_id.hex}"
    headers = {
        "Content-Type": "application/json",
        "User-Agent": "Outreach",
        "webhook-id": message_id,
        "webhook-timestamp": str(int(now.timestamp())),
        "webhook-signature": _signatures(subscriptions.secrets_of(subscriber, now), message_id, now, body),
    }
    return Call(delivery_id, subscriber.id, subscriber.url, headers, body)


def _signatures(secrets: Sequence[str], message_id: str, now: datetime, body: bytes) -> str:
    """Return one signature per secret, parted by spaces: while secrets rotate, either verifies."""
    signed = f"{message_id}.{int(now.timestamp())}.".encode() + body
    keys = [base64.b64decode(secret.removeprefix("whsec_")) for secret in secrets]
    return " ".join("v1," + base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode() for key in keys)
