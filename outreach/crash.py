"""Named points at which a test may kill the process, to prove that nothing is lost or doubled there."""

import os
import signal

POINTS = ("after_claim", "after_sending_commit", "after_call", "after_receipts")


def crash_at(point: str) -> None:
    """Kill this process with SIGKILL if `OUTREACH_CRASH_AT` names `point`; a file makes it happen only once.

    `OUTREACH_CRASH_AT=point:/path` kills while the file exists and removes it just before.
    """
    wanted = os.environ.get("OUTREACH_CRASH_AT", "")
    if not wanted:
        return
    name, _, trigger = wanted.partition(":")
    if name != point:
        return
    if trigger:
        try:
            os.unlink(trigger)  # noqa: PTH108 - one atomic call decides which process dies
        except FileNotFoundError:
            return
    os.kill(os.getpid(), signal.SIGKILL)
