"""The machine that the sending benchmarks run on: engines of its own, the counting provider, child processes."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import urllib3

from outreach import embedded, queue
from outreach.db import forget_engine
from outreach.schema import migrate
from outreach.settings import get_settings

ROOT = Path(__file__).resolve().parents[1]
ACCOUNT = "AC" + "0" * 32
SETTINGS = {
    "OUTREACH_SECRET_KEY": "a key of the benchmarks which opens nothing else",
    "OUTREACH_SENDGRID_API_KEY": "SG.benchmark",
    "OUTREACH_TWILIO_ACCOUNT_SID": ACCOUNT,
    "OUTREACH_TWILIO_AUTH_TOKEN": "benchmark",
    "OUTREACH_SMS_FROM": "+15550009999",
    "OUTREACH_SMS_HOURS": "",  # at any hour, everybody at once: the benchmark is about speed
    "OUTREACH_WAVES_FROM": "0",
    "OUTREACH_ORGANISATION": "Example Goods",
    "OUTREACH_POSTAL_ADDRESS": "1 Example Street, Springfield, IL 62701",
    "OUTREACH_PUBLIC_URL": "https://care.example.com",
    "OUTREACH_EMAIL_HOURS": "",
}


class Machine:
    """Where everything is; `provider` asks the counting provider something."""

    def __init__(self, home: Path, sink_port: int) -> None:
        self.home = home
        self.sink_url = f"http://127.0.0.1:{sink_port}"
        self._http = urllib3.PoolManager(retries=False)

    def provider(self, question: str) -> dict[str, Any]:
        """Ask the counting provider: `counts`, `reset?every=N` or `latency?ms=N`."""
        found: dict[str, Any] = self._http.request("GET", f"{self.sink_url}/_{question}").json()
        return found

    def start(self, module: str, *arguments: str, **environment: str) -> "Child":
        """Start one of our modules as a child process that says `ready` and waits for a line."""
        return Child(self.home, module, *arguments, environment=environment)

    def start_elsewhere(self, python: str, module: str, *arguments: str, question: dict[str, Any]) -> "Child":
        """Start one of our modules under another Python; it reads `question` before it says `ready`."""
        return Child(self.home, module, *arguments, python=python, question=question)


class Child:
    """A child process that prints JSON lines; `go` lets it begin, `result` is its last line."""

    def __init__(
        self, home: Path, module: str, *arguments: str, python: str = sys.executable,
        question: dict[str, Any] | None = None, environment: dict[str, str] | None = None,
    ) -> None:  # fmt: skip
        with (home / "children.log").open("ab") as log:
            self.process = subprocess.Popen(
                [python, "-m", module, *arguments], cwd=ROOT, env={**os.environ, **(environment or {})},
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True,
            )  # fmt: skip
        self._log = home / "children.log"
        if question is not None:
            self._say(json.dumps(question))
        self.read()

    def read(self) -> dict[str, Any]:
        """Return the next line; raises RuntimeError with the end of the log where the child died."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"a child process ended early:\n{self._log.read_text()[-3000:]}")
        found: dict[str, Any] = json.loads(line)
        return found

    def go(self) -> None:
        """Let it begin."""
        self._say("go")

    def _say(self, line: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(f"{line}\n")
        self.process.stdin.flush()

    def result(self) -> dict[str, Any]:
        """Wait for its answer and its end."""
        found = self.read()
        self.process.communicate()
        return found

    def stop(self) -> None:
        """End it politely."""
        self.process.terminate()
        self.process.communicate()


@contextmanager
def machine() -> Iterator[Machine]:
    """Start PostgreSQL, Redis and the provider on a folder that is thrown away afterwards."""
    home = Path(tempfile.mkdtemp(prefix="outreach-bench-"))
    home.chmod(0o711)
    before = {name: value for name, value in os.environ.items() if name.startswith("OUTREACH_")}
    sink = subprocess.Popen(
        [sys.executable, "-m", "bench.sink"], cwd=ROOT, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True
    )
    try:
        assert sink.stdout is not None
        running = Machine(home, int(sink.stdout.readline()))
        for name in before:
            del os.environ[name]
        os.environ.update(SETTINGS)
        os.environ["OUTREACH_HOME"] = str(home)
        os.environ["OUTREACH_SENDGRID_URL"] = os.environ["OUTREACH_TWILIO_URL"] = running.sink_url
        os.environ["OUTREACH_DATABASE_URL"] = embedded.start_postgres(home)
        os.environ["OUTREACH_REDIS_URL"] = embedded.start_redis(home)
        refresh()
        migrate()
        yield running
    finally:
        forget_engine()
        for name in [name for name in os.environ if name.startswith("OUTREACH_")]:
            del os.environ[name]
        os.environ.update(before)
        refresh()
        sink.terminate()
        sink.wait()
        embedded.destroy(home)
        shutil.rmtree(home, ignore_errors=True)


def refresh() -> None:
    """Make this process see the present settings."""
    get_settings.cache_clear()
    queue.celery_app.cache_clear()
    forget_engine()


def memory_megabytes(process: int | str = "self") -> float:
    """Return the resident memory of a process."""
    for line in Path(f"/proc/{process}/status").read_text().splitlines():
        if line.startswith("VmRSS"):
            return int(line.split()[1]) / 1024
    return 0.0


def load() -> list[float]:
    """Return the machine's load averages."""
    return [round(value, 2) for value in os.getloadavg()]


def processor_seconds() -> tuple[float, float]:
    """Return how long all processors together have worked, and how long they have existed, since the machine began."""
    ticks = [int(value) for value in Path("/proc/stat").read_text().split(maxsplit=9)[1:9]]
    idle = ticks[3] + ticks[4]  # the fourth is idle, the fifth waits for a disk
    return (sum(ticks) - idle) / os.sysconf("SC_CLK_TCK"), sum(ticks) / os.sysconf("SC_CLK_TCK")
