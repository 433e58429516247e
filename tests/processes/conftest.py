"""Supervisors as real processes, with children that are small Python programs."""

import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from app.leftovers import start_time

CHECKOUT = Path(__file__).parent.parent.parent

PARENT = """
import json, sys
from pathlib import Path
from app.supervisor import Child, Supervisor
from outreach import embedded
from outreach.errors import OutreachError

home, wanted = Path(sys.argv[1]), json.loads(sys.argv[2])

def tell(text):
    print(text, flush=True)

def ready(path):
    return (lambda: Path(path).exists()) if path else None

children = [
    Child(child["name"], [sys.executable, *child["argv"]], ready=ready(child.get("ready")),
          restarts=child.get("restarts", 5))
    for child in wanted["children"]
]
try:
    with embedded.hold(home), Supervisor(home, children, report=tell, echo=sys.stdout,
                                         stop_seconds=wanted["stop_seconds"]) as running:
        tell("all run")
        sys.exit(running.watch())
except OutreachError as error:
    tell("error: " + error.message)
    sys.exit(3)
"""

CHILD = """
import os, signal, subprocess, sys, time
from pathlib import Path

home, name, behaviour = Path(sys.argv[1]), sys.argv[2], sys.argv[3]

def end(*_):
    with (home / "ended").open("a") as file:
        file.write(name + "\\n")
    sys.exit(0)

signal.signal(signal.SIGTERM, signal.SIG_IGN if behaviour == "stubborn" else end)
if behaviour == "fails":
    print("no route to the moon", flush=True)
    sys.exit(7)
if behaviour == "parent":
    grandchild = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=True)
    (home / (name + ".grandchild")).write_text(str(grandchild.pid))
print("hello from", name, flush=True)
(home / (name + ".new")).write_text(str(os.getpid()))
(home / (name + ".new")).rename(home / (name + ".pid"))
while True:
    time.sleep(0.05)
"""


class Runs:
    """Starts supervisors below one folder and remembers every process, so that none outlives its test."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.parents: list[subprocess.Popen[str]] = []
        self._seen: dict[int, str] = {}
        (home / "parent.py").write_text(textwrap.dedent(PARENT))
        (home / "child.py").write_text(textwrap.dedent(CHILD))

    def child(self, name: str, behaviour: str = "obeys", **more: object) -> dict[str, object]:
        """Describe a child for `start`."""
        argv = [str(self.home / "child.py"), str(self.home), name, behaviour]
        return {"name": name, "argv": argv, **more}

    def start(self, *children: dict[str, object], stop_seconds: float = 20) -> subprocess.Popen[str]:
        """Start a supervisor of these children."""
        wanted = json.dumps({"children": children, "stop_seconds": stop_seconds})
        parent = subprocess.Popen(
            [sys.executable, str(self.home / "parent.py"), str(self.home), wanted],
            env={**os.environ, "PYTHONPATH": str(CHECKOUT)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            # Under nohup the tests ignore hang-ups, and what they start would do so too.
            preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_DFL),
        )
        self.parents.append(parent)
        return parent

    def pid(self, name: str, other_than: int = 0) -> int:
        """Wait for the named child (or NAME.grandchild) to say its process id."""
        path = self.home / (name if "." in name else f"{name}.pid")
        self.until(lambda: path.exists() and int(path.read_text() or 0) not in (0, other_than))
        pid = int(path.read_text())
        self._seen[pid] = start_time(pid)
        return pid

    def until(self, fact: Callable[[], bool], seconds: float = 15) -> None:
        """Wait for something to become true."""
        deadline = time.monotonic() + seconds
        while not fact():
            assert time.monotonic() < deadline, "it did not become true in time"
            time.sleep(0.02)

    def lives(self, pid: int) -> bool:
        """Tell whether the very process that was seen with this id still runs."""
        return bool(self._seen[pid]) and start_time(pid) == self._seen[pid]

    def output(self, parent: subprocess.Popen[str]) -> str:
        """Wait for the supervisor to end and return what it printed."""
        return parent.communicate(timeout=30)[0]

    def clean(self) -> None:
        """Kill what a failed test left."""
        for parent in self.parents:
            if parent.poll() is None:
                parent.kill()
            parent.communicate()
        for pid in self._seen:
            if self.lives(pid):
                os.kill(pid, signal.SIGKILL)


@pytest.fixture
def runs(tmp_path: Path) -> Iterator[Runs]:
    """A folder in which supervisors run."""
    home = tmp_path / "home of outreach"
    home.mkdir()
    started = Runs(home)
    yield started
    started.clean()
