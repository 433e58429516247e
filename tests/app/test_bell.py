"""Beat rings by no clock that somebody sets, and leaves a queue alone in which enough rings wait."""

import json
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
import time_machine

from app import bell
from app.bell import RINGS_THAT_WAIT, Bell
from app.worker import create_worker
from outreach.queue import shared_redis
from outreach.settings import get_settings


@pytest.fixture
def made(database: str) -> Iterator[Bell]:
    """Return a bell whose tasks are due at every look, on an empty Redis."""
    application = create_worker()
    application.conf.beat_schedule = {
        name: {"task": name, "schedule": 0.001}
        for name in ("campaigns.sweep", "segments.sweep", "campaigns.dispatch_email", "webhooks.apply_inbox")
    }
    get_settings().home.mkdir(parents=True)
    shared_redis.cache_clear()
    shared_redis().flushdb()
    yield Bell(application)
    shared_redis().flushdb()
    shared_redis.cache_clear()


def rings(queue: str) -> Counter[str]:
    """Count what waits in a queue, by task."""
    waiting: Any = shared_redis().lrange(queue, 0, -1)
    return Counter(json.loads(message)["headers"]["task"] for message in waiting)


def test_each_task_is_rung_for_in_turn_until_enough_rings_wait(made: Bell) -> None:
    made.tick()
    assert rings("periodic") == {"campaigns.sweep": 1, "segments.sweep": 1}
    assert rings("email") == {"campaigns.dispatch_email": 1}
    for _ in range(20):
        for name in made.schedule:
            made.ring(name, made.schedule[name])
    assert rings("periodic") == dict.fromkeys(("campaigns.sweep", "segments.sweep"), RINGS_THAT_WAIT)
    assert rings("email") == {"campaigns.dispatch_email": RINGS_THAT_WAIT}
    # Somebody listens again.
    shared_redis().lpop("email", 3)
    made.ring("campaigns.dispatch_email", made.schedule["campaigns.dispatch_email"])
    assert rings("email").total() == RINGS_THAT_WAIT - 2


def test_a_clock_that_is_set_back_or_forward_neither_silences_nor_doubles(
    made: Bell, monkeypatch: pytest.MonkeyPatch
) -> None:
    heard: list[str] = []
    monkeypatch.setattr(made, "ring", lambda name, entry: heard.append(name))
    now = [1000.0]
    monkeypatch.setattr(bell, "time", type("Steady", (), {"monotonic": staticmethod(lambda: now[0])}))
    made.app.conf.beat_schedule = {"campaigns.sweep": {"task": "campaigns.sweep", "schedule": 2.0}}
    made.data.clear()
    made.setup_schedule()
    with time_machine.travel("2030-01-01") as traveller:
        for jump in (0, -7200, 7200, 3600, -86_400):
            traveller.shift(jump)
            assert made.tick() == 2.0
            assert made.tick() == 2.0
            now[0] += 2.0
    assert heard == ["campaigns.sweep"] * 5


def test_no_ring_carries_a_date_of_expiry(made: Bell) -> None:
    made.tick()
    waiting: Any = shared_redis().lrange("periodic", 0, -1)
    assert [json.loads(message)["headers"]["expires"] for message in waiting] == [None, None]
