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


def event(message_id: UUID, kind: EventKind, detail: str | None = None) -> ParsedEvent:
    return ParsedEvent(message_id, None, kind.value, kind, datetime.now(UTC), detail, None, None, False, {})


def a_message() -> UUID:
    """Plan a campaign to one person and return her message."""
    with transaction() as session:
        campaign_id = a_campaign(session, 1, clock.now(session)).id
    plan_all(campaign_id)
    with transaction() as session:
        message_id: UUID = session.execute(text("SELECT id FROM messages")).scalar_one()
    return message_id


def apply_at_once(first: ParsedEvent, second: ParsedEvent) -> None:
    """Apply the second event while the transaction of the first is still open."""
    second_is_in = threading.Event()

    def beside() -> None:
        with transaction() as session:
            second_is_in.set()
            apply_events(session, [EventSet("sendgrid", [second])])

    with transaction() as session:
        apply_events(session, [EventSet("sendgrid", [first])])
        other = threading.Thread(target=beside)
        other.start()
        second_is_in.wait(5)
        other.join(0.3)  # time for it to reach the lock that this transaction holds
    other.join(10)


def test_a_late_processed_event_never_overwrites_delivered(database: str) -> None:
    message_id = a_message()
    apply_at_once(event(message_id, EventKind.QUEUED), event(message_id, EventKind.DELIVERED))
    with transaction() as session:
        found = session.execute(text("SELECT delivery, delivery_rank, send_state FROM messages")).one()
    assert found == ("delivered", 50, "accepted")


def test_the_words_of_a_lower_rank_never_take_the_place_of_those_that_are_being_stored(database: str) -> None:
    message_id = a_message()
    apply_at_once(
        event(message_id, EventKind.BOUNCED, "no such user"), event(message_id, EventKind.FAILED, "try later")
    )
    with transaction() as session:
        found = session.execute(text("SELECT delivery, delivery_detail FROM messages")).one()
    assert found == ("bounced", "no such user")
