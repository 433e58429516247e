"""F16: workers run through the night of several time zones; nobody's phone rings outside her hours, nobody's twice."""

from collections import Counter
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import text

from campaigns.sweeps import plan_all
from outreach import clock
from outreach.db import transaction
from outreach.vocabulary import Channel
from tests.faults.conftest import Install
from tests.faults.judge import a_campaign_on, expect_everybody_once, open_messages
from tests.installation import until

# Half an hour before the clocks go back in New York (at 6 UTC); a clock of ours only moves forward.
NIGHT = datetime(2035, 11, 4, 5, 30, tzinfo=UTC)
ZONES = ("America/New_York", "Europe/London", "Asia/Kolkata", "Australia/Lord_Howe", "Nowhere/Unknown", None)
PEOPLE = 60


@pytest.mark.faults
def test_no_phone_rings_at_night_in_any_zone_while_the_clocks_go_back(database: str, install: Install) -> None:
    installation = install(sms_hours="8-21")
    with transaction() as session:
        clock.advance(session, NIGHT - clock.now(session))
    campaign_id = a_campaign_on(Channel.SMS, PEOPLE)
    with transaction() as session:
        for place, zone in enumerate(ZONES):
            session.execute(
                text("UPDATE customers SET time_zone = :zone WHERE id % :all = :place"),
                {"zone": zone, "all": len(ZONES), "place": place},
            )
    plan_all(campaign_id)
    assert open_messages() == PEOPLE
    crowd = [installation.start("tests.faults.plain_worker", "sms") for _ in range(2)]
    for _ in range(30):  # an hour at a time
        if open_messages() == 0:
            break
        quiet()
        with transaction() as session:
            clock.advance(session, timedelta(hours=1))
    until(lambda: open_messages() == 0, what="an end of every message")
    for worker in crowd:
        installation.kill(worker)
    hours = Counter()  # type: ignore[var-annotated]
    with transaction() as session:
        rows = session.execute(
            text("SELECT c.time_zone, m.sent_at FROM messages m JOIN customers c ON c.id = m.customer_id")
        ).all()
    for zone, sent_at in rows:
        if zone in ZONES[:4]:
            hour = sent_at.astimezone(ZoneInfo(zone)).hour
            hours[zone] += 1
            assert 8 <= hour < 21, f"{zone} at {hour}"
    assert set(hours) == set(ZONES[:4])
    expect_everybody_once(installation, PEOPLE)


def quiet() -> None:
    """Wait until the workers have nothing left to do in this hour."""
    last = -1
    while last != (last := open_messages()):
        until(lambda: due() == 0, what="what is due now")


def due() -> int:
    """Count chunks that may be sent now."""
    with transaction() as session:
        now = clock.now(session)
        return int(
            session.scalar(
                text("""SELECT count(*) FROM chunks WHERE state = 'claimed' OR (state = 'ready' AND due_at <= :now
                        AND (closes_at IS NULL OR closes_at > :now))"""),
                {"now": now},
            )
            or 0
        )
