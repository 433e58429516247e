"""A worker without Celery: does in turn what the tasks do, in a child process that may die and is started again.

`python -m tests.faults.plain_worker [CHANNEL …]` runs until SIGTERM. The parent has everything imported, so that a
new child works a moment after the last one was killed. A line per child goes to standard output.
`PLAIN_WORKER_CLOCK_HOURS` puts its clock wrong, in turn by each of several hours parted by commas, so that it jumps;
`PLAIN_WORKER_SENDS=no` leaves it the sweeps and look-ups only; it ends for good after `PLAIN_WORKER_LIVES` children.
"""

import os
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import cycle, repeat
from typing import Any

import time_machine

from campaigns.dispatch import dispatch
from campaigns.envelopes import sender_for
from campaigns.reconcile import reconcile
from campaigns.sweeps import sweep
from outreach.errors import Unavailable
from outreach.vocabulary import Channel
from webhooks.tasks import apply_inbox

PAUSE_SECONDS = 0.05
HOUR_SECONDS = 3600


@contextmanager
def clocks() -> Iterator[Iterator[None]]:
    """Return what sets this process's clock wrong by the next of the hours; nothing where none are wanted."""
    hours = [float(number) for number in os.environ.get("PLAIN_WORKER_CLOCK_HOURS", "").split(",") if number]
    if not hours:
        yield repeat(None)
        return
    with time_machine.travel(time.time() + hours[0] * HOUR_SECONDS) as traveller:
        yield (
            traveller.shift((after - before) * HOUR_SECONDS)
            for before, after in zip(cycle(hours), cycle(hours[1:] + hours[:1]), strict=False)
        )


def work(channels: list[Channel], jumps: Iterator[None]) -> None:
    """Do what is due, again and again."""
    sends = os.environ.get("PLAIN_WORKER_SENDS", "yes") == "yes"
    while True:
        next(jumps)
        try:
            sweep()
            for channel in channels:
                if sends:
                    owner = f"plain:{os.getpid()}"
                    dispatch(channel=channel, sender=sender_for(channel), owner=owner, budget_seconds=5)
                reconcile(channel=channel, sender=sender_for(channel))
            apply_inbox()
        except Unavailable as error:
            sys.stdout.write(f"database away: {error.message}\n")
        time.sleep(PAUSE_SECONDS)


def main() -> None:
    """Keep one child at work."""
    channels = [Channel(name) for name in sys.argv[1:]] or list(Channel)
    child, lives = 0, int(os.environ.get("PLAIN_WORKER_LIVES", "1000000"))

    def stop(*_: Any) -> None:
        os.kill(child, signal.SIGKILL)
        os._exit(0)

    for _ in range(lives):
        child = os.fork()
        if child == 0:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            with clocks() as jumps:
                work(channels, jumps)
        signal.signal(signal.SIGTERM, stop)
        _, status = os.waitpid(child, 0)
        sys.stdout.write(f"worker ended with {os.waitstatus_to_exitcode(status)}\n")
        sys.stdout.flush()
        time.sleep(0.1)


if __name__ == "__main__":
    main()
