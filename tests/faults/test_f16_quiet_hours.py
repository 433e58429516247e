"""F16: workers run through nights in several time zones; nobody's phone rings outside her hours, nobody's twice."""

from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import text

from campaigns.plausible_zones import plausible_zones
from campaigns.sweeps import plan_all
from outreach import clock
from outreach.db import transaction
from outreach.vocabulary import Channel
from tests.faults.conftest import Install
from tests.faults.judge import a_campaign_on, expect_everybody_once, open_messages
from tests.installation import until

# A clock of ours only moves forward.
NIGHTS = {
    "overlap": datetime(2035, 11, 4, 5, 30, tzinfo=UTC),  # the clocks go back in New York at 6 UTC
    "gap": datetime(2036, 3, 9, 6, 30, tzinfo=UTC),  # and forward at 7 UTC
    "leap day": datetime(2036, 2, 29, 2, 30, tzinfo=UTC),
}
ZONES = ("America/New_York", "Europe/London", "Asia/Kolkata", "Australia/Lord_Howe", "Nowhere/Unknown", None)
PEOPLE = 60
HOME = "UTC"


@pytest.mark.faults
@pytest.mark.parametrize("night", NIGHTS)
def test_no_phone_rings_at_night_in_any_zone_whatever_the_clocks_do(
    database: str, install: Install, night: str
) -> None:
    installation = install(sms_hours="8-21", time_zone=HOME)
    with transaction() as session:
        clock.advance(session, NIGHTS[night] - clock.now(session))
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
    for hour in range(30):  # an hour at a time
        if open_messages() == 0:
            break
        quiet()
        if hour == 1:
            some_move()
        with transaction() as session:
            clock.advance(session, timedelta(hours=1))
    until(lambda: open_messages() == 0, what="an end of every message")
    for worker in crowd:
        installation.kill(worker)
    with transaction() as session:
        rows = session.execute(
            text("""SELECT c.time_zone, c.country, c.region, c.phone, m.sent_at
                    FROM messages m JOIN customers c ON c.id = m.customer_id""")
        ).all()
    seen: Counter[str | None] = Counter()
    for row in rows:
        seen[row.time_zone] += 1
        # Whose zone is not known, or is none, is left alone unless it is day wherever she may be.
        zones = plausible_zones(
            time_zone=row.time_zone, country=row.country, region=row.region, phone=row.phone, home=HOME
        )
        assert awake(row.sent_at, zones), f"{row.time_zone} ({zones}) at {row.sent_at}"
    assert set(seen) == set(ZONES)
    expect_everybody_once(installation, PEOPLE)


def awake(moment: datetime, zones: Sequence[str]) -> bool:
    """Tell whether it is day in all of these zones."""
    return all(8 <= moment.astimezone(ZoneInfo(zone)).hour < 21 for zone in zones)


def some_move() -> None:
    """Let some of those who wait move to the other side of the world after their turn was planned."""
    with transaction() as session:
        session.execute(
            text("""UPDATE customers SET time_zone = CASE time_zone WHEN 'America/New_York' THEN 'Asia/Kolkata'
                                                     ELSE 'America/New_York' END
                    WHERE id / 6 % 2 = 0 AND time_zone IN ('America/New_York', 'Asia/Kolkata', 'Nowhere/Unknown')
                      AND id IN (SELECT customer_id FROM messages WHERE send_state = 'queued')""")
        )


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
