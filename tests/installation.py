"""A whole installation for one test: the sandbox and the API as processes, workers when the test wants them."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import urllib3

from app.machine import sandbox_environment
from campaigns.envelopes import forget_senders
from outreach import db, queue
from outreach.settings import get_settings
from tests.serving import serving

ROOT = Path(__file__).resolve().parents[1]


def until(check: Callable[[], Any], *, seconds: float = 30, what: str = "it") -> Any:
    """Return the first true answer of `check`; fails when it takes too long."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if found := check():
            return found
        time.sleep(0.05)
    raise AssertionError(f"{what} did not happen within {seconds} seconds")


def free_port() -> int:
    """Return a port of the loopback address that nobody uses now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Installation:
    """Starts and stops the processes; `settings` are OUTREACH_ variables for them and for the test itself."""

    def __init__(self, home: Path, monkeypatch: pytest.MonkeyPatch, *sandbox_options: str, **settings: str) -> None:
        self.home, self.http = home, urllib3.PoolManager(retries=False, maxsize=8)
        self._monkeypatch = monkeypatch
        self._processes: list[subprocess.Popen[bytes]] = []
        self._serving = ExitStack()
        self.url, self.sandbox_url = (f"http://127.0.0.1:{free_port()}" for _ in range(2))
        port = self.sandbox_url.rsplit(":", 1)[1]
        self.sandbox_process = self.start(
            "sandbox", "--port", port, "--home", str(home / "sandbox"), "--webhooks-to", self.url, *sandbox_options
        )
        until(lambda: self._answers(f"{self.sandbox_url}/_sandbox/keys"), what="the sandbox")
        found = sandbox_environment(self.sandbox_url, home / "sandbox") | {
            "OUTREACH_PUBLIC_URL": self.url,
            "OUTREACH_API_PORT": self.url.rsplit(":", 1)[1],
            "OUTREACH_ORGANISATION": "Example Goods",
            "OUTREACH_POSTAL_ADDRESS": "1 Example Street, Springfield, IL 62701",
            "OUTREACH_DEMO": "true",
        }
        for name, value in (found | {f"OUTREACH_{key.upper()}": value for key, value in settings.items()}).items():
            monkeypatch.setenv(name, value)
        self.refresh()

    def refresh(self) -> None:
        """Make the test's own process see the present settings."""
        get_settings.cache_clear()
        queue.celery_app.cache_clear()
        db.forget_engine()
        forget_senders()

    def start(self, module: str, *arguments: str, **environment: str) -> subprocess.Popen[bytes]:
        """Start one of our modules as a process group of its own."""
        log = (self.home / "processes.log").open("ab")
        # What a process leaves that is killed is thrown away with the rest.
        environment = {**os.environ, "TMPDIR": str(self.home), **environment}
        process = subprocess.Popen(
            [sys.executable, "-m", module, *arguments],
            cwd=ROOT, env=environment, stdout=log, stderr=log, start_new_session=True,
        )  # fmt: skip
        log.close()
        self._processes.append(process)
        return process

    def start_api(self) -> None:
        """Start the API as a process, to which the sandbox sends its webhooks."""
        self.start("app.cli", "api")
        until(lambda: self._answers(f"{self.url}/health"), what="the API")

    def serve_api(self) -> None:
        """Serve the API from the test's own process, where no test depends on its being another."""
        self._serving.enter_context(serving(int(self.url.rsplit(":", 1)[1])))

    def start_worker(self, **environment: str) -> subprocess.Popen[bytes]:
        """Start a Celery worker; it is up when it takes tasks."""
        return self.start("app.cli", "worker", "--concurrency", "2", **environment)

    def start_beat(self, **environment: str) -> subprocess.Popen[bytes]:
        """Start beat, which rings for everything that is due."""
        return self.start("app.cli", "beat", **environment)

    def kill(self, process: subprocess.Popen[bytes]) -> None:
        """Kill a process and its children at once, as a power cut would."""
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        self._processes.remove(process)

    def stop(self) -> None:
        """Stop everything that still runs, children first started last."""
        for process in reversed(self._processes):
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGTERM)
        for process in reversed(self._processes):
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
        self._serving.close()
        self.http.clear()
        self.refresh()

    def sandbox(self, path: str, body: dict[str, Any] | None = None) -> Any:
        """Call a control route of the sandbox: GET without a body, POST with one."""
        method = "GET" if body is None else "POST"
        encoded = None if body is None else json.dumps(body).encode()
        headers = {"Content-Type": "application/json"}
        answer = self.http.request(method, f"{self.sandbox_url}/_sandbox/{path}", body=encoded, headers=headers)
        assert answer.status < 300, answer.data
        return answer.json()

    def wait_until_idle(self) -> None:
        """Wait until the sandbox has delivered all its webhooks."""
        until(lambda: self.sandbox("idle")["idle"], what="the last webhook")

    def log(self) -> str:
        """Return what the processes wrote."""
        return (self.home / "processes.log").read_text(errors="replace")

    def _answers(self, url: str) -> bool:
        try:
            return self.http.request("GET", url).status == 200
        except urllib3.exceptions.HTTPError:
            return False
