"""F17, F18: opt-outs, pauses and cancellations while workers are sending."""

import sqlite3
import time

from sqlalchemy import text

from campaigns import editing, lifecycle
from campaigns.dispatch import WINDOWS_AT_ONCE
from outreach import clock
from outreach.db import transaction
from outreach.vocabulary import Channel
from tests.faults.conftest import Install
from tests.faults.judge import Judged, a_campaign_on, expect_everybody_once, judge, record_of, rest
from tests.installation import Installation, until

PEOPLE = 240
# Two calls' worth of messages per connection make a window, and two windows are under way at a time.
WINDOW = 5 * 4 * 2 * WINDOWS_AT_ONCE
SLOW = {"sendgrid": {"latency_ms": 150}}


def half_sent(installation: Installation) -> None:
    """Start a worker and wait until it is in the middle."""
    a_campaign_on(Channel.EMAIL, PEOPLE)
    installation.start("tests.faults.plain_worker", "email")
    until(lambda: sum(record_of(installation).values()) >= PEOPLE // 3, what="the first third")


def accepted_after(installation: Installation, moment: float) -> int:
    """Count what the provider took after a moment (Unix seconds)."""
    with sqlite3.connect(installation.home / "sandbox" / "record.sqlite3") as record:
        return int(record.execute("SELECT count(*) FROM accepted WHERE at > ?", (moment,)).fetchone()[0])


def test_an_opt_out_holds_from_the_next_window_on(database: str, install: Install) -> None:
    installation = install(SLOW)
    half_sent(installation)
    with transaction() as session:
        session.execute(
            text("""INSERT INTO suppressions (channel, address, reason, source, created_at)
                    SELECT 'email', address, 'stop', 'test', clock_timestamp() FROM messages
                    WHERE send_state = 'queued'""")
        )
    moment = time.time()
    rest()
    late = accepted_after(installation, moment)
    judged = judge(installation)
    assert late <= WINDOW
    assert judged.doubled == judged.lost == 0
    assert judged.states["suppressed"] >= PEOPLE // 3
    assert judged.states["suppressed"] + judged.states["accepted"] == PEOPLE


def test_a_pause_lets_one_window_out_and_the_rest_goes_after_it(database: str, install: Install) -> None:
    installation = install(SLOW)
    half_sent(installation)
    for _ in range(2):
        with transaction() as session:
            lifecycle.pause(session, campaign=lifecycle.find(session, "C-1"), actor="test", now=clock.now(session))
        moment = time.time()
        time.sleep(1.5)
        assert accepted_after(installation, moment) <= WINDOW
        with transaction() as session:
            lifecycle.resume(session, campaign=lifecycle.find(session, "C-1"), actor="test", now=clock.now(session))
        time.sleep(0.4)
    rest()
    expect_everybody_once(installation, PEOPLE)


def test_a_cancellation_lets_one_window_out_and_accounts_for_everybody(database: str, install: Install) -> None:
    installation = install(SLOW)
    half_sent(installation)
    with transaction() as session:
        lifecycle.cancel(session, campaign=lifecycle.find(session, "C-1"), actor="test", now=clock.now(session))
    moment = time.time()
    rest()
    late = accepted_after(installation, moment)
    judged = judge(installation)
    assert late <= WINDOW
    assert judged == Judged(judged.accepted, 0, 0, {"accepted": judged.accepted, "cancelled": PEOPLE - judged.accepted})


def test_an_edit_in_the_middle_gives_nobody_two_versions(database: str, install: Install) -> None:
    installation = install(SLOW)
    half_sent(installation)
    with transaction() as session:
        session.execute(
            text("""INSERT INTO templates (key, version, channel, language, subject, body, back, author)
                    SELECT key, version + 1, channel, language, 'NEW ' || subject, body, back, author FROM templates
                    WHERE channel = 'email' AND key = (SELECT template_key FROM campaigns)""")
        )
    with transaction() as session:
        editing.edit(session, campaign=lifecycle.find(session, "C-1"), actor="test", now=clock.now(session))
    moment = time.time()
    rest()
    expect_everybody_once(installation, PEOPLE)
    with sqlite3.connect(installation.home / "sandbox" / "record.sqlite3") as record:
        rows = record.execute("SELECT a.at, r.body FROM accepted a JOIN requests r ON r.id = a.request_id").fetchall()
    old_late = [body for at, body in rows if at > moment and "NEW " not in body]
    assert any("NEW " in body for _, body in rows)
    assert len(old_late) <= WINDOW
