"""Start a command that ends when its parent ends, even by `kill -9`; Linux only, and a file that runs alone.

Usage: python -I lifeline.py PARENT_PID COMMAND [ARGUMENT …]

It is a program of its own because the alternative, Python code between fork and exec, may deadlock in a parent
with threads. See prctl(2), PR_SET_PDEATHSIG.
"""

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1


def main(parent: int, command: list[str]) -> None:
    """Ask for SIGTERM at the parent's death, which survives exec, and become `command`."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != parent:
        sys.exit("the parent ended before its child began")
    os.execvp(command[0], command)  # noqa: S606 - no shell is wanted


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2:])
