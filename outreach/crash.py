"""Named points at which a test may kill the process, to prove that nothing is lost or doubled there."""

import os
import signal
from collections.abc import Iterable

# In the order of the protocol (S numbers of docs/sending.md); tests/faults/test_f02_crash_points.py kills at each.
POINTS = (
    "before_plan_commit",  # S0
    "after_plan",
    "after_claim",  # S2
    "before_sending_commit",  # S3
    "after_sending_commit",
    "after_call",  # S4
    "before_receipts_commit",  # S6
    "after_receipts",
    "before_inbox_commit",  # S7
    "after_inbox",
    "before_sweep_commit",  # S8
    "after_look_up",  # S9
    "before_settle_commit",
    "after_settle",
)


def crash_at(point: str) -> None:
    """Kill this process with SIGKILL if `OUTREACH_CRASH_AT` names `point`; a file makes it happen only once.

    `OUTREACH_CRASH_AT=point:/path` kills while the file exists and removes it just before; commas part several;
    `freeze point:/path` stops the process instead, until somebody sends SIGCONT.
    """
    for wanted in os.environ.get("OUTREACH_CRASH_AT", "").split(","):
        name, _, trigger = wanted.partition(":")
        if name.removeprefix("freeze ") == point and (not trigger or _removed(trigger)):
            os.kill(os.getpid(), signal.SIGSTOP if name.startswith("freeze ") else signal.SIGKILL)


def crash_at_any(point: str, names: Iterable[str]) -> None:
    """Kill this process if one of these names is wanted, as in `OUTREACH_CRASH_AT=rendering c-7`."""
    if os.environ.get("OUTREACH_CRASH_AT"):
        for name in names:
            crash_at(f"{point} {name}")


def _removed(trigger: str) -> bool:
    try:
        os.unlink(trigger)  # noqa: PTH108 - one atomic call decides which process dies
    except FileNotFoundError:
        return False
    return True
