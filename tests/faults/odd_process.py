"""A worker or beat of ours that is odd in one way, for tests: `python -m tests.faults.odd_process COMMAND [OPTION …]`.

`ODD_CLOCK_HOURS` puts its clock wrong. `ODD_UNKNOWN_TASKS` are names, parted by commas, that it has never heard of, as
a worker of an older release has not.
"""

import os
import sys
import time
from contextlib import nullcontext
from typing import Any

import time_machine
from celery.signals import worker_init

from app.cli import main


def forget_tasks(sender: Any, **_: Any) -> None:
    """Make the worker not know what was added after its time."""
    for name in os.environ["ODD_UNKNOWN_TASKS"].split(","):
        sender.app.tasks.unregister(name)


if __name__ == "__main__":
    if os.environ.get("ODD_UNKNOWN_TASKS"):
        worker_init.connect(forget_tasks, weak=False)
    wrong_by = float(os.environ.get("ODD_CLOCK_HOURS", "0")) * 3600
    with time_machine.travel(time.time() + wrong_by) if wrong_by else nullcontext():
        sys.exit(main())  # type: ignore[func-returns-value]
