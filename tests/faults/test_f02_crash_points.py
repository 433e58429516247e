"""F2: a worker dies at each named point of the protocol, with each provider; the one after it does the rest.

The state of the message after each crash is what the table in docs/sending.md (b) says; the sandbox's record judges.
"""

from pathlib import Path
from typing import Any

import pytest

from outreach.crash import POINTS
from outreach.vocabulary import Channel
from tests.faults.conftest import Install
from tests.faults.judge import a_campaign_on, expect_everybody_once, rest
from tests.installation import until

PROVIDERS = {Channel.EMAIL: "sendgrid", Channel.SMS: "twilio", Channel.POSTCARD: "lob"}
PEOPLE = 12
# Points that are passed only after something else has gone wrong.
FIRST_CRASH = {"before_sweep_commit": "after_sending_commit"}
NEEDS_DOUBT = {"after_look_up", "before_settle_commit", "after_settle"}
NEEDS_WEBHOOKS = {"before_inbox_commit", "after_inbox"}
QUICK = {"after_sending_commit", "after_call", "before_settle_commit"}


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
    installation = install({provider: {"accept_then_drop": {"first": 2}}} if point in NEEDS_DOUBT else None)
    if point in NEEDS_WEBHOOKS:
        installation.start_api()
    triggers = {name: tmp_path / name for name in (point, FIRST_CRASH.get(point, point))}
    for trigger in triggers.values():
        trigger.touch()
    a_campaign_on(channel, PEOPLE)
    worker = installation.start(
        "tests.faults.plain_worker", channel.value,
        OUTREACH_CRASH_AT=",".join(f"{name}:{trigger}" for name, trigger in triggers.items()),
    )  # fmt: skip
    until(lambda: not any(trigger.exists() for trigger in triggers.values()), what=f"the crash at {point}")
    until(lambda: installation.log().count("worker ended with -9") >= len(triggers), what="the death of the worker")
    rest()
    installation.kill(worker)
    expect_everybody_once(installation, PEOPLE)
