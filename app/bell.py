"""Beat: rings for each task of the schedule every so many seconds, and not where enough rings wait already.

No clock that somebody sets has a say: rings follow the monotonic clock, and whether one is still wanted is seen by the
length of its queue. A date of expiry would be made by the clock of one machine and read by that of another: with a
clock that is behind, every ring would have expired before it was heard.
"""

import time
from collections import Counter
from typing import Any

from celery.beat import ScheduleEntry, Scheduler
from redis.exceptions import RedisError

from app.liveness import note_ring
from outreach.errors import OutreachError
from outreach.queue import shared_redis

# A queue that holds so many rings for each task that beat rings for has nobody who listens, or who has the time.
RINGS_THAT_WAIT = 5


class Bell(Scheduler):
    """A scheduler for Celery's beat whose entries have an interval in seconds; it keeps nothing on disk."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        self._due: dict[str, float] = {}
        super().__init__(*arguments, **options)

    def setup_schedule(self) -> None:
        """Take our own schedule, and none of Celery's entries."""
        self.merge_inplace(self.app.conf.beat_schedule)
        route = self.app.amqp.router.route
        self._queues = {name: str(route({}, entry.task)["queue"].name) for name, entry in self.schedule.items()}
        self._entries = Counter(self._queues.values())

    def tick(self, *_: Any, **__: Any) -> float:
        """Ring for what is due, and return for how many seconds nothing will be."""
        for name, entry in self.schedule.items():
            if self._due.get(name, 0.0) <= time.monotonic():
                self._due[name] = time.monotonic() + entry.schedule.run_every.total_seconds()
                self.ring(name, entry)
        return max(0.0, min(self._due.values()) - time.monotonic())

    def ring(self, name: str, entry: ScheduleEntry) -> None:
        """Publish one wake-up unless too many wait already."""
        queue = self._queues[name]
        if _waiting(queue) >= RINGS_THAT_WAIT * self._entries[queue]:
            note_ring()  # beat does its work all the same
        else:
            self.apply_entry(entry, producer=self.producer)


def _waiting(queue: str) -> int:
    try:
        length: Any = shared_redis().llen(queue)
        return int(length)
    except (RedisError, OSError, OutreachError):
        return 0  # publishing will say what is wrong
