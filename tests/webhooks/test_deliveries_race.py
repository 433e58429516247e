"""Two workers apply events of the same message at the same moment."""

import threading
from datetime import UTC, datetime
from uuid import UUID

from sqlalchemy import text

from campaigns.sweeps import plan_all
from outreach import clock
from outreach.db import transaction
from outreach.vocabulary import EventKind
from tests.people import a_campaign
from webhooks.deliveries import EventSet, apply_events
from webhooks.providers.base import ParsedEvent


def event(message_id: UUID, kind: EventKind) -> ParsedEvent:
    return ParsedEvent(message_id, None, kind.value, kind, datetime.now(UTC), None, None, None, False, {})


def test_a_late_processed_event_never_overwrites_delivered(database: str) -> None:
    with transaction() as session:
        campaign_id = a_campaign(session, 1, clock.now(session)).id
    plan_all(campaign_id)
    with transaction() as session:
        message_id = session.execute(text("SELECT id FROM messages")).scalar_one()
    second_is_in = threading.Event()

    def deliver() -> None:
        with transaction() as session:
            second_is_in.set()
            apply_events(session, [EventSet("sendgrid", [event(message_id, EventKind.DELIVERED)])])

    with transaction() as session:
        apply_events(session, [EventSet("sendgrid", [event(message_id, EventKind.QUEUED)])])
        other = threading.Thread(target=deliver)
        other.start()
        second_is_in.wait(5)
        other.join(0.3)  # time for it to reach the lock that this transaction holds
    other.join(10)
    with transaction() as session:
        found = session.execute(text("SELECT delivery, delivery_rank, send_state FROM messages")).one()
    assert found == ("delivered", 50, "accepted")
