"""Which child processes belong to a run, on disk, so that the next start can stop what a killed run left behind.

A process id alone proves nothing, since ids are used again. A leftover is stopped only when its id, its start time
and its command all match the record; a grandchild only when it carries the run's token in its environment.
"""

import json
import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

TOKEN = "OUTREACH_RUN_TOKEN"  # noqa: S105 - the name of a variable
_PROC = Path("/proc")


@dataclass(frozen=True)
class Process:
    """One child as it was started; `started` is opaque and equal only for the very same process."""

    name: str
    pid: int
    started: str
    argv: tuple[str, ...]


def new_token() -> str:
    """Return a mark for the environment of one run's processes."""
    return secrets.token_hex(16)


def start_time(pid: int) -> str:
    """Return what tells this process from a later one with the same id; empty when it is gone or a zombie."""
    if sys.platform != "linux":
        state, _, started = _ps(pid, "state=,lstart=").partition(" ")
        return "" if state.startswith("Z") else started.strip()
    fields = _stat(pid)
    if not fields or fields[0] == "Z":
        return ""
    # Ticks since boot (field 22 of proc_pid_stat(5)), hence the boot's own name beside them.
    boot = (_PROC / "sys/kernel/random/boot_id").read_text().strip()
    return f"{boot} {fields[19]}"


def record(home: Path, token: str, processes: Sequence[Process]) -> None:
    """Write the children of the run in progress to `home`, all or nothing."""
    unfinished = home / "children.json.unfinished"
    unfinished.touch(mode=0o600)
    unfinished.write_text(json.dumps({"token": token, "children": [asdict(process) for process in processes]}))
    unfinished.replace(home / "children.json")


def forget(home: Path) -> None:
    """Remove the record, once every child has ended."""
    (home / "children.json").unlink(missing_ok=True)


def stop_leftovers(home: Path, *, seconds: float = 10) -> list[str]:
    """Stop what a killed run left behind and return the names; the caller must hold `home`.

    SIGTERM first, SIGKILL to the whole process group after `seconds`.
    """
    token, known = _read(home)
    ours = [process for process in known if _is_ours(process)]
    for process in ours:
        _signal(process.pid, signal.SIGTERM)
    deadline = time.monotonic() + seconds
    while any(_is_ours(process) for process in ours) and time.monotonic() < deadline:
        time.sleep(0.05)
    for process in ours:
        if _is_ours(process):
            _signal(-process.pid, signal.SIGKILL)
    orphans = _stop_orphans(token)
    forget(home)
    return [process.name for process in ours] + orphans


def _read(home: Path) -> tuple[str, list[Process]]:
    try:
        stored = json.loads((home / "children.json").read_text())
        children = [Process(**{**child, "argv": tuple(child["argv"])}) for child in stored["children"]]
        return str(stored["token"]), children
    except (OSError, ValueError, KeyError, TypeError):
        return "", []  # no record, or one cut short by a full disk


def _is_ours(process: Process) -> bool:
    if not process.started or start_time(process.pid) != process.started:
        return False
    command = _command(process.pid)
    # Without the first word: macOS starts Python by another path than the one it was given.
    return all(word in command for word in process.argv[1:])


def _stop_orphans(token: str) -> list[str]:
    """Kill grandchildren whose own parent is gone; only Linux shows another process's environment."""
    if not token or sys.platform != "linux":
        return []
    mark, stopped = f"{TOKEN}={token}".encode(), []
    for folder in _PROC.iterdir():
        if not folder.name.isdigit() or int(folder.name) == os.getpid():
            continue
        try:
            environment = (folder / "environ").read_bytes()
        except OSError:
            continue
        if mark in environment.split(b"\0"):
            _signal(int(folder.name), signal.SIGKILL)
            stopped.append(f"process {folder.name}")
    return stopped


def _signal(pid: int, number: int) -> None:
    try:
        os.kill(pid, number)
    except (ProcessLookupError, PermissionError):
        return


def _stat(pid: int) -> list[str]:
    """Return the fields of /proc/PID/stat from the state (field 3) on; the name before may hold spaces."""
    try:
        return (_PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []


def _command(pid: int) -> str:
    if sys.platform != "linux":
        return _ps(pid, "command=")
    try:
        return (_PROC / str(pid) / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    except OSError:
        return ""


def _ps(pid: int, columns: str) -> str:
    words = ["ps", "-ww", "-o", columns, "-p", str(pid)]
    environment = {"PATH": os.defpath, "LC_ALL": "C"}
    shown = subprocess.run(words, capture_output=True, text=True, check=False, env=environment)
    return shown.stdout.strip()
