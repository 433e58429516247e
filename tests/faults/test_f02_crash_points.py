"""F2: a worker dies at each named point of the protocol, with each provider; the one after it does the rest.

What the dead one leaves is what the table of docs/sending.md says; in the end the sandbox's record judges.
"""

import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from outreach.crash import POINTS
from outreach.db import transaction
from outreach.vocabulary import Channel
from tests.faults.conftest import Install
from tests.faults.judge import a_campaign_on, expect_everybody_once, record_of, rest
from tests.installation import ROOT, until

PROVIDERS = {Channel.EMAIL: "sendgrid", Channel.SMS: "twilio", Channel.POSTCARD: "lob"}
PEOPLE = 12
# Points that are passed only after something else has gone wrong.
FIRST_CRASH = {"before_sweep_commit": "after_sending_commit"}
CALLS_IN_DOUBT = 2
NEEDS_DOUBT = {"after_look_up", "before_settle_commit", "after_settle"}
NEEDS_WEBHOOKS = {"before_inbox_commit", "after_inbox"}
QUICK = {"after_sending_commit", "after_call", "before_settle_commit"}
FLOORS = ("outreach", "segments", "campaigns", "webhooks", "app")

# By point: the states of our half that may be left, one that must be, and how many people the provider has taken.
# The leases of two calls in doubt end some tenths of a millisecond apart, so that a look may fall between them.
LEFT: dict[str, tuple[set[str], str, int]] = {
    "before_plan_commit": (set(), "", 0),
    "after_plan": ({"queued"}, "queued", 0),
    "after_claim": ({"queued"}, "queued", 0),
    "before_sending_commit": ({"queued"}, "queued", 0),
    "after_sending_commit": ({"sending"}, "sending", 0),
    "after_call": ({"sending"}, "sending", PEOPLE),
    "before_receipts_commit": ({"sending"}, "sending", PEOPLE),
    "after_receipts": ({"accepted"}, "accepted", PEOPLE),
    "before_inbox_commit": ({"accepted"}, "accepted", PEOPLE),
    "after_inbox": ({"accepted"}, "accepted", PEOPLE),
    "before_sweep_commit": ({"sending"}, "sending", 0),
    "after_look_up": ({"accepted", "unknown"}, "unknown", PEOPLE),
    "before_settle_commit": ({"accepted", "unknown"}, "unknown", PEOPLE),
    "after_settle": ({"accepted", "unknown"}, "accepted", PEOPLE),
}


def points() -> list[Any]:
    """Return each point with each channel; a few with email run in the normal suite."""
    return [
        pytest.param(
            point, channel, id=f"{point}-{channel}",
            marks=[] if point in QUICK and channel is Channel.EMAIL else [pytest.mark.faults],
        )
        for point in POINTS for channel in Channel
    ]  # fmt: skip


@pytest.mark.parametrize(("point", "channel"), points())
def test_a_crash_loses_and_doubles_nothing(
    database: str, install: Install, tmp_path: Path, point: str, channel: Channel
) -> None:
    provider = PROVIDERS[channel]
    doubt = {"accept_then_drop": {"first": CALLS_IN_DOUBT}}
    installation = install({provider: doubt} if point in NEEDS_DOUBT else None)
    if point in NEEDS_WEBHOOKS:
        installation.start_api()
    triggers = {name: tmp_path / name for name in (point, FIRST_CRASH.get(point, point))}
    for trigger in triggers.values():
        trigger.touch()
    a_campaign_on(channel, PEOPLE)
    dead = installation.start(
        "tests.faults.plain_worker", channel.value,
        OUTREACH_CRASH_AT=",".join(f"{name}:{trigger}" for name, trigger in triggers.items()),
        PLAIN_WORKER_LIVES=str(len(triggers)),
    )  # fmt: skip
    until(lambda: dead.poll() is not None, what=f"the death of the worker at {point}")
    assert not any(trigger.exists() for trigger in triggers.values())
    assert installation.log().count("worker ended with -9") == len(triggers)
    allowed, certain, taken = LEFT[point]
    found = states()
    assert set(found) <= allowed
    assert found[certain] > 0 or not certain
    assert point != "after_settle" or calls_in_doubt() < CALLS_IN_DOUBT
    assert len(record_of(installation)) == taken
    if point in NEEDS_WEBHOOKS:
        # Not applied, and nothing lost; or applied with everything that follows from it.
        assert (events_applied() > 0) == (point == "after_inbox")
    worker = installation.start("tests.faults.plain_worker", channel.value)
    rest()
    installation.kill(worker)
    expect_everybody_once(installation, PEOPLE)


def states() -> Counter[str]:
    """Count messages by state of our half."""
    with transaction() as session:
        return Counter(session.scalars(text("SELECT send_state FROM messages")))


def calls_in_doubt() -> int:
    """Count calls of which nobody knows yet whether the provider took them."""
    with transaction() as session:
        return int(
            session.scalar(text("SELECT count(DISTINCT attempt_id) FROM messages WHERE send_state = 'unknown'")) or 0
        )


def events_applied() -> int:
    """Count provider events that are folded into their messages."""
    with transaction() as session:
        return int(session.scalar(text("SELECT count(*) FROM delivery_events")) or 0)


def test_every_point_in_the_code_is_killed_at_and_every_name_is_in_the_code() -> None:
    sources = [path.read_text() for floor in FLOORS for path in (ROOT / floor).rglob("*.py")]
    called = Counter(name for source in sources for name in re.findall(r"\bcrash_at\(\s*\"([^\"]*)\"", source))
    assert called == Counter(POINTS)
    assert set(LEFT) == set(POINTS)
    # Names that are put together at run time: only those of `outreach.crash` itself, which F20 kills at.
    calls = sum(len(re.findall(r"\bcrash_at\(", source)) for source in sources)
    assert calls == len(POINTS) + 2
