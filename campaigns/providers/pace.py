"""A provider's rate, kept by all workers together through Redis, and by each one alone while Redis is away.

The generic cell rate algorithm (ATM Forum, Traffic Management 4.0, 4.4.2): one number per provider, the moment at which
everything reserved so far will have gone out. A reservation moves it on, and says how long to wait. In no period are
more calls made than allowed; a tenth of them may come at once.
"""

import math
import time
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
local interval, burst, calls, longest = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local ends = math.max(tonumber(redis.call('GET', KEYS[1]) or '0'), now) + calls * interval
local wait = math.max(ends - burst * interval - now, 0)
if wait > longest then return -1 end
redis.call('SET', KEYS[1], string.format('%.0f', ends), 'PX', math.ceil((ends - now) / 1000) + 1000)
return math.ceil(wait)
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
        self._burst = max(1, int(calls // 10))
        self._interval = period_seconds / (calls - self._burst + 1) if calls >= 1 else period_seconds / calls
        self._block = max(1, self._burst // 10)
        self._key, self._redis, self._processes = f"outreach:pace:{name}", redis, processes if redis else 1
        self._lock = Lock()
        self._left, self._usable_from = 0, 0.0
        self._ends = 0.0
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
                    keys=[self._key], args=[self._interval * 1e6, self._burst, self._block, math.floor(longest * 1e6)]
                )
                return self._block, int(microseconds) / 1e6
            except (RedisError, OSError, OutreachError) as error:
                self._redis_again_at = now + REDIS_REST_SECONDS
                log.warning("pace.redis_away", key=self._key, error=type(error).__name__, processes=self._processes)
        return 1, self._reserve_alone(now, longest)

    def _reserve_alone(self, now: float, longest: float) -> float:
        interval, burst = self._interval * self._processes, max(1, self._burst // self._processes)
        ends = max(self._ends, now) + interval
        wait = max(ends - burst * interval - now, 0.0)
        if wait > longest:
            return -1.0
        self._ends = ends
        return wait
