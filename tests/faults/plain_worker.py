"""A worker without Celery: does in turn what the tasks do, in a child process that may die and is started again.

`python -m tests.faults.plain_worker [CHANNEL …]` runs until SIGTERM. The parent has everything imported, so that a
new child works a moment after the last one was killed. A line per child goes to standard output.
`PLAIN_WORKER_CLOCK_HOURS` puts its clock wrong; `PLAIN_WORKER_SENDS=no` leaves it the sweeps and look-ups only.
"""

import os
import signal
import sys
import time
from contextlib import nullcontext
from datetime import UTC, datetime, timedelta
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


def work(channels: list[Channel]) -> None:
    """Do what is due, again and again."""
    sends = os.environ.get("PLAIN_WORKER_SENDS", "yes") == "yes"
    while True:
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
    child = 0

    def stop(*_: Any) -> None:
        os.kill(child, signal.SIGKILL)
        os._exit(0)

    while True:
        child = os.fork()
        if child == 0:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            wrong_by = timedelta(hours=float(os.environ.get("PLAIN_WORKER_CLOCK_HOURS", "0")))
            with time_machine.travel(datetime.now(UTC) + wrong_by) if wrong_by else nullcontext():
                work(channels)
        signal.signal(signal.SIGTERM, stop)
        _, status = os.waitpid(child, 0)
        sys.stdout.write(f"worker ended with {os.waitstatus_to_exitcode(status)}\n")
        sys.stdout.flush()
        time.sleep(0.1)


if __name__ == "__main__":
    main()
