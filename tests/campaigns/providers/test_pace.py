"""The rate limit: never above it, shared through Redis, and cautious without it."""

import random
import time
from collections import deque
from types import SimpleNamespace

import pytest
import redis as client_of

from campaigns.providers import pace as module
from campaigns.providers.pace import Pace
from campaigns.providers.transport import DeadlinePassedError


def granted(paces: list[Pace], seconds: float) -> list[float]:
    """Take turns in rotation for a while; returns the moment of each call."""
    moments, ends = [], time.monotonic() + seconds
    waiting = deque(paces)
    while waiting and time.monotonic() < ends:
        try:
            moments.append(time.monotonic() + waiting[0].turn(ends))
            waiting.rotate()
        except DeadlinePassedError:
            waiting.popleft()
    return sorted(moments)


def most_in_a_period(moments: list[float], period: float) -> int:
    """Return the largest number of calls in any period."""
    return max(sum(start <= other < start + period for other in moments) for start in moments)


@pytest.mark.parametrize("calls", [1, 7, 50, 200])
def test_no_period_holds_more_calls_than_allowed(calls: int, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: now[0]))
    pace, chosen, moments = Pace(calls, 0.2), random.Random(calls), []
    while now[0] < 3:
        wait = pace.turn(now[0] + 10)
        moments.append(now[0] + wait)
        # Whoever calls waits for the turn, and sometimes for longer.
        now[0] += wait + (chosen.random() / 10 if chosen.random() < 0.2 / calls else 0)
    assert most_in_a_period(sorted(moments), 0.2 - 1e-9) <= calls
    assert len(moments) >= calls * 3  # and what is allowed is used


def test_several_workers_share_one_rate(engines: dict[str, str]) -> None:
    def redis() -> client_of.Redis:
        return client_of.Redis.from_url(engines["redis_url"])

    workers = [Pace(60, 0.3, name="shared", redis=redis, processes=8) for _ in range(3)]
    moments = granted(workers, 1.0)
    # What one worker has reserved and not used yet may come a moment later: a block of 1 here.
    assert most_in_a_period(moments, 0.25) <= 60 + len(workers)
    assert len(moments) >= 60 * 3


def test_without_redis_each_worker_keeps_to_its_part() -> None:
    def away() -> client_of.Redis:
        return client_of.Redis(port=1, socket_connect_timeout=0.2)

    workers = [Pace(40, 0.4, name="shared", redis=away, processes=4) for _ in range(4)]
    moments = granted(workers, 1.0)
    assert most_in_a_period(moments, 0.35) <= 40
    assert len(moments) >= 40


def test_redis_is_left_alone_for_a_while_after_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[float] = []

    def away() -> client_of.Redis:
        asked.append(time.monotonic())
        return client_of.Redis(port=1, socket_connect_timeout=0.2)

    pace = Pace(1000, 1, redis=away)
    for _ in range(20):
        pace.turn(time.monotonic() + 5)
    assert len(asked) == 1
    monkeypatch.setattr(module, "REDIS_REST_SECONDS", 0.0)
    pace._redis_again_at = 0.0
    pace._left = 0
    pace.turn(time.monotonic() + 5)
    assert len(asked) == 2


def test_a_turn_after_the_deadline_is_refused_and_reserves_nothing(engines: dict[str, str]) -> None:
    def redis() -> client_of.Redis:
        return client_of.Redis.from_url(engines["redis_url"])

    pace = Pace(1, 2, name="deadline", redis=redis)
    pace.turn(time.monotonic() + 1)
    for _ in range(3):
        with pytest.raises(DeadlinePassedError):
            pace.turn(time.monotonic() + 1)
    assert pace.turn(time.monotonic() + 5) <= 2
