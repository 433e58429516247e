"""Who is told of what: subscribers, their secrets and their rotation.

A secret is derived from the installation's key, the subscriber and a version; nothing of it is in the database. It is
shown when it is made and never again. After a rotation the one before signs as well for a day.
"""

import base64
from collections.abc import Collection, Sequence
from datetime import datetime, timedelta

from sqlalchemy import select, text
from sqlalchemy.orm import Session

from outreach import audit
from outreach.errors import Conflict, InvalidInput, NotFound
from outreach.models import OutgoingDelivery, OutgoingEvent, Subscriber
from outreach.permissions import Actor
from outreach.queue import wake
from outreach.safe_http import check_typed_url
from outreach.security import derived_keys
from outreach.settings import get_settings
from outreach.vocabulary import OutgoingState

KINDS: dict[str, str] = {
    "problem.reported": "a problem is under investigation",
    "problem.known": "a problem is marked known; its customers are to be told",
    "problem.monitoring": "a fix is out and watched",
    "problem.resolved": "a problem is resolved",
    "problem.reopened": "a problem is back",
    "problem.closed": "a problem is closed",
    "campaign.waiting_approval": "a campaign waits for somebody's approval",
    "campaign.running": "a campaign started or goes on",
    "campaign.paused": "a campaign is paused",
    "campaign.cancelled": "a campaign is cancelled",
    "campaign.finished": "nobody's notice of a campaign is on the way any more",
    "notice.delivered": "a customer was told",
    "notice.failed": "a customer could not be told on any channel",
    "response.recorded": "a customer answered",
    "customer.unsubscribed": "a customer does not want to hear from us, on a channel, of a class or of all",
    "customer.subscribed": "a customer wants to hear from us again",
}
EVERYTHING = "*"
TEST_KIND = "test"
OVERLAP = timedelta(hours=24)
MOST_SUBSCRIBERS = 100


def allowed_origins() -> list[str]:
    """Return the origins of our own network that subscribers may have."""
    return [part.strip() for part in get_settings().webhooks_out_allowed.split(",") if part.strip()]


def subscribe(
    session: Session, *, name: str, url: str, events: Sequence[str], actor: Actor, now: datetime
) -> tuple[Subscriber, str]:
    """Add a subscriber and return it with its secret, which cannot be shown again.

    Raises `InvalidInput` for an unknown event and for an address that is not on the public internet.
    """
    wanted = _checked_events(events)
    check_typed_url(url, where="url", allow=allowed_origins())
    if (session.scalar(text("SELECT count(*) FROM subscribers")) or 0) >= MOST_SUBSCRIBERS:
        raise Conflict(f"There are {MOST_SUBSCRIBERS} subscribers already; remove one first.")
    row = Subscriber(name=name, url=url, events=wanted, created_by=actor.name, created_at=now)
    session.add(row)
    session.flush()
    record(session, actor, "subscribe", row, now)
    return row, secrets_of(row, now)[0]


def find(session: Session, subscriber_id: int) -> Subscriber:
    """Return a subscriber; raises `NotFound`."""
    row = session.get(Subscriber, subscriber_id)
    if row is None:
        raise NotFound(f"There is no subscriber {subscriber_id}.")
    return row


def find_event(session: Session, event_id: int) -> OutgoingEvent:
    """Return an event; raises `NotFound`."""
    row = session.get(OutgoingEvent, event_id)
    if row is None:
        raise NotFound(f"There is no outgoing event {event_id}.")
    return row


def rotate(session: Session, *, subscriber: Subscriber, actor: Actor, now: datetime) -> str:
    """Give a subscriber a new secret and return it; the one before signs as well for a day."""
    subscriber.secret_version += 1
    subscriber.overlap_until = now + OVERLAP
    session.flush()
    record(session, actor, "rotate", subscriber, now)
    return secrets_of(subscriber, now)[0]


def remove(session: Session, *, subscriber: Subscriber, actor: Actor, now: datetime) -> None:
    """Remove a subscriber and what it is still owed."""
    session.delete(subscriber)
    session.flush()
    record(session, actor, "unsubscribe", subscriber, now)


def stop_telling(session: Session, *, subscriber: Subscriber, because: str, now: datetime) -> None:
    """Disable a subscriber: what it is still owed fails, and nothing more is written down for it."""
    subscriber.disabled_at, subscriber.disabled_because = now, because
    session.flush()
    session.execute(
        text("""UPDATE outgoing_deliveries SET state = 'failed', done_at = :now
                WHERE subscriber_id = :id AND state = 'waiting'"""),
        {"now": now, "id": subscriber.id},
    )


def pause(session: Session, *, subscriber: Subscriber, actor: Actor, now: datetime) -> None:
    """Tell a subscriber nothing until somebody enables it again; pausing twice does no harm."""
    if subscriber.disabled_at is None:
        stop_telling(session, subscriber=subscriber, because=f"paused by {actor.name}", now=now)
        record(session, actor, "pause", subscriber, now)


def enable(session: Session, *, subscriber: Subscriber, actor: Actor, now: datetime) -> None:
    """Tell a disabled subscriber again, from now on."""
    subscriber.disabled_at = subscriber.disabled_because = None
    session.flush()
    record(session, actor, "enable", subscriber, now)


def replay(session: Session, *, delivery_id: int, actor: Actor, now: datetime) -> OutgoingDelivery:
    """Send one event again, delivered or not; raises `Conflict` when its subscriber is disabled."""
    delivery = session.get(OutgoingDelivery, delivery_id, with_for_update=True)
    if delivery is None:
        raise NotFound(f"There is no delivery {delivery_id}.")
    subscriber = find(session, delivery.subscriber_id)
    if subscriber.disabled_at is not None:
        raise Conflict(
            f"The subscriber {subscriber.name} is disabled ({subscriber.disabled_because}); enable it first."
        )
    delivery.state, delivery.tries, delivery.next_try_at, delivery.done_at = OutgoingState.WAITING, 0, now, None
    session.flush()
    record(session, actor, "replay", subscriber, now)
    wake(session, "webhooks.tell_subscribers")
    return delivery


def secrets_of(subscriber: Subscriber, now: datetime) -> list[str]:
    """Return the secrets that sign now (`whsec_…`), the newest first."""
    versions = [subscriber.secret_version]
    if subscriber.overlap_until is not None and subscriber.overlap_until > now:
        versions.append(subscriber.secret_version - 1)
    derived = [
        secret
        for version in versions
        for secret in derived_keys(f"webhooks out {subscriber.id} {subscriber.created_at.timestamp()} {version}")
    ]
    return ["whsec_" + base64.b64encode(secret).decode() for secret in derived]


def listed(session: Session) -> Collection[Subscriber]:
    """Return all subscribers."""
    return session.scalars(select(Subscriber).order_by(Subscriber.id)).all()


def _checked_events(events: Sequence[str]) -> list[str]:
    unknown = [event for event in events if event not in KINDS and event != EVERYTHING]
    if unknown or not events:
        raise InvalidInput(
            f"There is no event {unknown[0][:60]!r}; there are {', '.join(KINDS)}, and * for all of them."
            if unknown
            else f"Name at least one event: {', '.join(KINDS)}, or * for all of them.",
            where="events",
        )
    return list(dict.fromkeys(events))


def record(session: Session, actor: Actor, action: str, row: Subscriber, now: datetime) -> None:
    """Write down in the audit log what somebody did with a subscriber."""
    audit.record(
        session,
        actor=actor.name,
        action=f"subscriber.{action}",
        subject=f"subscriber:{row.id}",
        detail={"name": row.name, "events": row.events},
        now=now,
    )
