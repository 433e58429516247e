"""F17, F18: opt-outs, pauses and cancellations while workers are sending."""

import json
import os
import random
import signal
import sqlite3
import time
from pathlib import Path

import pytest
from sqlalchemy import text

from campaigns import editing, lifecycle
from campaigns.dispatch import WINDOWS_AT_ONCE
from outreach import clock
from outreach.db import transaction
from outreach.vocabulary import Channel
from tests.faults.conftest import Install
from tests.faults.judge import Judged, a_campaign_on, expect_everybody_once, judge, open_messages, record_of, rest
from tests.faults.nemesis import children
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


@pytest.mark.parametrize(
    ("point", "told"), [("after_claim", 0), ("before_sending_commit", 1), ("after_sending_commit", 1)]
)
def test_an_opt_out_between_two_steps_counts_up_to_the_gate_and_what_had_passed_is_on_record(
    database: str, install: Install, tmp_path: Path, point: str, told: int
) -> None:
    people, who = 20, "c-7@example.com"
    installation = install(lease_seconds="30")
    trigger = tmp_path / "frozen"
    trigger.touch()
    a_campaign_on(Channel.EMAIL, people)
    worker = installation.start("tests.faults.plain_worker", "email", OUTREACH_CRASH_AT=f"freeze {point}:{trigger}")
    until(lambda: not trigger.exists(), what="the freeze")
    with transaction() as session:
        session.execute(
            text("""INSERT INTO suppressions (channel, address, reason, source, created_at)
                    VALUES ('email', :who, 'stop', 'test', clock_timestamp())"""),
            {"who": who},
        )
    for pid in children(worker):
        os.kill(pid, signal.SIGCONT)
    rest()
    installation.kill(worker)
    with transaction() as session:
        row = session.execute(
            text("""SELECT m.send_state, a.started_at < s.created_at AS had_passed
                    FROM messages m JOIN suppressions s ON s.address = m.address
                    LEFT JOIN attempts a ON a.id = m.attempt_id""")
        ).one()
    # One person at the most, and her attempt says that it began before she opted out.
    assert tuple(row) == (("accepted", True) if told else ("suppressed", None))
    judged = judge(installation)
    others = people - 1 + told
    assert (judged.accepted, judged.doubled, judged.lost) == (others, 0, 0)


@pytest.mark.faults
def test_who_texts_stop_while_the_campaign_runs_is_not_told_any_more(database: str, install: Install) -> None:
    people = 240
    installation = install({"twilio": {"latency_ms": 100}}, provider_connections="2", sms_from="+12025550100")
    installation.start_api()
    a_campaign_on(Channel.SMS, people)
    worker = installation.start("tests.faults.plain_worker", "sms")
    until(lambda: sum(record_of(installation).values()) >= 30, what="the first texts")
    with transaction() as session:
        last = text("SELECT address FROM messages WHERE send_state = 'queued' ORDER BY id DESC LIMIT 5")
        numbers = session.scalars(last).all()
    for number in numbers:
        installation.sandbox("reply", {"channel": "sms", "to": number, "our_number": "+12025550100", "text": "STOP"})
    until(lambda: barred() == len(numbers), what="the opt-outs")
    rest()
    installation.kill(worker)
    with transaction() as session:
        late = session.scalars(
            text("""SELECT m.address FROM messages m JOIN suppressions s USING (channel, address)
                    JOIN attempts a ON a.id = m.attempt_id WHERE a.started_at > s.created_at""")
        ).all()
    assert late == []
    judged = judge(installation)
    assert (judged.accepted, judged.doubled, judged.lost) == (people - len(numbers), 0, 0)
    # Twilio refuses them too, those whose window had passed the gate.
    assert judged.states.get("suppressed", 0) + judged.states.get("rejected", 0) == len(numbers)


def barred() -> int:
    """Count standing opt-outs."""
    with transaction() as session:
        return int(session.scalar(text("SELECT count(*) FROM suppressions WHERE lifted_at IS NULL")) or 0)


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


def new_words() -> None:
    """Give the running campaign another version of its words."""
    with transaction() as session:
        session.execute(
            text("""INSERT INTO templates (key, version, channel, language, subject, body, back, author)
                    SELECT key, version + 1, channel, language, 'NEW ' || subject, body, back, author FROM templates t
                    WHERE channel = 'email' AND key = (SELECT template_key FROM campaigns)
                      AND version = (SELECT max(version) FROM templates WHERE key = t.key)""")
        )
    with transaction() as session:
        editing.edit(session, campaign=lifecycle.find(session, "C-1"), actor="test", now=clock.now(session))


def test_an_edit_in_the_middle_gives_nobody_two_versions(database: str, install: Install) -> None:
    installation = install(SLOW)
    half_sent(installation)
    new_words()
    moment = time.time()
    rest()
    expect_everybody_once(installation, PEOPLE)
    with sqlite3.connect(installation.home / "sandbox" / "record.sqlite3") as record:
        rows = record.execute("SELECT a.at, r.body FROM accepted a JOIN requests r ON r.id = a.request_id").fetchall()
    old_late = [body for at, body in rows if at > moment and "NEW " not in body]
    assert any("NEW " in body for _, body in rows)
    assert len(old_late) <= WINDOW


@pytest.mark.faults
@pytest.mark.parametrize("seed", range(3))
def test_pauses_and_edits_at_random_times_lose_nobody_and_mix_no_versions(
    database: str, install: Install, seed: int
) -> None:
    people, dice = 1200, random.Random(seed)
    installation = install({"sendgrid": {"latency_ms": 100, "accept_then_drop": 0.05}})
    a_campaign_on(Channel.EMAIL, people)
    crowd = [installation.start("tests.faults.plain_worker", "email") for _ in range(2)]
    until(lambda: sum(record_of(installation).values()) > 0, what="the first messages")
    pauses = edits = 0
    while open_messages() > people // 10:
        time.sleep(dice.random() * 0.5)
        if dice.random() < 0.6:
            with transaction() as session:
                campaign = lifecycle.find(session, "C-1")
                lifecycle.pause(session, campaign=campaign, actor="test", now=clock.now(session))
            pauses += 1
            moment = time.time()
            time.sleep(dice.random() * 0.5)
            # Two workers, each with the windows that had passed its gate.
            assert accepted_after(installation, moment) <= 2 * WINDOW
            with transaction() as session:
                campaign = lifecycle.find(session, "C-1")
                lifecycle.resume(session, campaign=campaign, actor="test", now=clock.now(session))
        else:
            new_words()
            edits += 1
    rest()
    for worker in crowd:
        installation.kill(worker)
    expect_everybody_once(installation, people)
    assert pauses > 0
    assert edits > 0
    told = versions_told(installation)
    assert len(set(told.values())) > 1
    with transaction() as session:
        believed = {
            str(row.id): row.template_version
            for row in session.execute(
                text("SELECT m.id, k.template_version FROM messages m JOIN chunks k ON k.id = m.chunk_id")
            )
        }
    # What each was told is the version on record.
    assert told == believed


def versions_told(installation: Installation) -> dict[str, int]:
    """Return the version of the words that each message was accepted with, by the sandbox's record."""
    with sqlite3.connect(installation.home / "sandbox" / "record.sqlite3") as record:
        rows = record.execute(
            "SELECT a.message_id, r.body FROM accepted a JOIN requests r ON r.id = a.request_id"
        ).fetchall()
    # Each edit puts one more word before the subject.
    return {message_id: 1 + json.loads(body)["subject"].count("NEW ") for message_id, body in rows}
