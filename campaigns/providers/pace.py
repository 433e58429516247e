"""A provider's rate, kept by all workers together through Redis, and by each one alone while Redis is away.

An exact sliding window: the moments of the newest calls are kept, as many as a period allows. The next call comes at
once while there are fewer, else one period after the oldest of them. At high rates one moment stands for a block of
calls that are reserved together, a hundredth of the rate.
"""

import math
import time
from collections import deque
from collections.abc import Callable
from threading import Lock
from typing import Any

import structlog
from redis.exceptions import RedisError

from campaigns.providers.transport import DeadlinePassedError
from outreach.errors import OutreachError

log = structlog.get_logger(__name__)

# After a failure Redis is left alone for so long, so that calls do not queue up behind its time-outs.
REDIS_REST_SECONDS = 5.0
# What was reserved together is given back to nobody when it is not used soon: late calls would come on top of others.
STALE_SECONDS = 0.25

# Times in microseconds, by Redis' own clock; -1: later than the caller can wait, nothing was reserved.
_RESERVE = """
local now = redis.call('TIME')
now = now[1] * 1000000 + now[2]
local slots, period, longest = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local turn = now
if redis.call('LLEN', KEYS[1]) >= slots then
    turn = math.max(now, tonumber(redis.call('LINDEX', KEYS[1], -slots)) + period)
end
if turn - now > longest then return -1 end
redis.call('RPUSH', KEYS[1], string.format('%.0f', turn))
redis.call('LTRIM', KEYS[1], -slots, -1)
redis.call('PEXPIRE', KEYS[1], math.ceil((turn - now + period) / 1000) + 1000)
return turn - now
"""


class Pace:
    """At most `calls` in any `period_seconds`; `redis` returns the client that the workers share, none: this one alone.

    `processes` is how many may be sending at a time: while Redis does not answer each keeps to its part of the rate.
    """

    def __init__(
        self,
        calls: float,
        period_seconds: float = 1.0,
        *,
        name: str = "",
        redis: Callable[[], Any] | None = None,
        processes: int = 1,
    ) -> None:
        self._block = max(1, int(calls // 100))
        self._slots = max(1, int(calls // self._block))
        self._period = period_seconds if calls >= 1 else period_seconds / calls
        self._key, self._redis, self._processes = f"outreach:pace:{name}", redis, processes if redis else 1
        self._lock = Lock()
        self._left, self._usable_from = 0, 0.0
        # Alone: our part of the moments, over a longer period where there are fewer moments than processes.
        self._own: deque[float] = deque(maxlen=max(1, self._slots // self._processes))
        self._own_period = self._period * max(1.0, self._processes / self._slots)
        self._redis_again_at = 0.0

    def turn(self, deadline: float) -> float:
        """Return how many seconds to wait before the call; raises DeadlinePassedError where `deadline` comes first."""
        with self._lock:
            now = time.monotonic()
            if self._left <= 0 or now > self._usable_from + STALE_SECONDS:
                self._left, wait = self._reserve(now, deadline - now)
                if wait < 0 or now + wait >= deadline:
                    self._left = 0
                    raise DeadlinePassedError("the deadline comes before our next turn at the rate limit")
                self._usable_from = now + wait
            self._left -= 1
            return max(0.0, self._usable_from - now)

    def wait(self, deadline: float) -> None:
        """Wait for a turn; raises DeadlinePassedError where it would come after `deadline`."""
        if seconds := self.turn(deadline):
            time.sleep(seconds)

    def _reserve(self, now: float, longest: float) -> tuple[int, float]:
        if self._redis is not None and now >= self._redis_again_at:
            try:
                microseconds = self._redis().register_script(_RESERVE)(
                    keys=[self._key], args=[self._slots, math.ceil(self._period * 1e6), math.floor(longest * 1e6)]
                )
                return self._block, int(microseconds) / 1e6
            except (RedisError, OSError, OutreachError) as error:
                self._redis_again_at = now + REDIS_REST_SECONDS
                log.warning("pace.redis_away", key=self._key, error=type(error).__name__, processes=self._processes)
        return self._block, self._reserve_alone(now, longest)

    def _reserve_alone(self, now: float, longest: float) -> float:
        turn = max(now, self._own[0] + self._own_period) if len(self._own) == self._own.maxlen else now
        if turn - now > longest:
            return -1.0
        self._own.append(turn)
        return turn - now
