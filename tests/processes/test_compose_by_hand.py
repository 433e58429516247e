"""What compose would run, run by hand: the same commands, settings, order and health checks, without containers."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml
from sqlalchemy import make_url

from outreach.embedded import free_port

CHECKOUT = Path(__file__).parent.parent.parent
SERVICES: dict[str, dict[str, Any]] = yaml.safe_load((CHECKOUT / "docker-compose.yml").read_text())["services"]
HEALTHY_SECONDS = 60

pytest.importorskip("app.cli")


class Stack:
    """The services of the compose file as processes of this machine."""

    def __init__(self, folder: Path, database_url: str, redis_url: str) -> None:
        database, redis = make_url(database_url), make_url(redis_url)
        self._variables = {
            "POSTGRES_PASSWORD": str(database.password),
            "REDIS_PASSWORD": str(redis.password),
            "OUTREACH_SECRET_KEY": "a key for one test and for nothing else",
            "OUTREACH_PUBLIC_URL": "https://care.example.com",
        }
        self._hosts = {
            "@postgres:5432/outreach": f"@{database.host}:{database.port}/{database.database}",
            "@redis:6379": f"@{redis.host}:{redis.port}",
            "0.0.0.0": "127.0.0.1",
        }
        self._folder = folder
        self._port = str(free_port())

    def settings(self, name: str) -> dict[str, str]:
        """Return the environment of a service, with its variables filled in and its hosts found on this machine."""
        kept = {key: value for key, value in os.environ.items() if not key.startswith("OUTREACH_")}
        for key, value in SERVICES[name]["environment"].items():
            text = re.sub(r"\$\{(\w+)[^}]*\}", lambda found: self._variables[found[1]], value)
            for theirs, ours in self._hosts.items():
                text = text.replace(theirs, ours)
            kept[key] = text
        kept.update(
            OUTREACH_HOME=str(self._folder), OUTREACH_API_PORT=self._port, PYTHONPATH=str(CHECKOUT), PYTHONSAFEPATH="1"
        )
        return kept

    def run(self, name: str, *words: str) -> subprocess.CompletedProcess[str]:
        """Run something to its end with the settings of a service."""
        return subprocess.run(
            [sys.executable, *words],
            cwd=self._folder,
            env=self.settings(name),
            capture_output=True,
            text=True,
            timeout=120,
        )

    @contextmanager
    def service(self, name: str) -> Iterator[subprocess.Popen[bytes]]:
        """Run a service until the end of the block, with its output in a file."""
        words = [sys.executable, "-m", "app.cli", *SERVICES[name]["command"]]
        with (self._folder / f"{name}.log").open("wb") as log:
            process = subprocess.Popen(
                words, cwd=self._folder, env=self.settings(name), stdout=log, stderr=log, start_new_session=True
            )
        try:
            yield process
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()

    def log(self, name: str) -> str:
        """Return what a service has printed."""
        return (self._folder / f"{name}.log").read_text(errors="replace")

    def becomes_healthy(self, name: str) -> bool:
        """Ask its health check until it agrees."""
        deadline = time.monotonic() + HEALTHY_SECONDS
        while time.monotonic() < deadline:
            if self.run(name, *SERVICES[name]["healthcheck"]["test"][2:]).returncode == 0:
                return True
            time.sleep(0.5)
        return False


@pytest.fixture
def stack(tmp_path: Path, database: str, engines: dict[str, str]) -> Stack:
    """The services, on a database and a Redis of this machine."""
    folder = tmp_path / "container"
    folder.mkdir()
    return Stack(folder, database, engines["redis_url"])


def stops(process: subprocess.Popen[bytes]) -> bool:
    """Ask as compose does, and tell whether it ends by itself in time."""
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(timeout=45)
    except subprocess.TimeoutExpired:
        return False
    return True


def test_migration_runs_again_and_every_process_becomes_healthy_and_stops_when_asked(stack: Stack) -> None:
    # The test's database has been migrated before: a second time does no harm.
    assert stack.run("migrate", "-m", "app.cli", *SERVICES["migrate"]["command"]).returncode == 0
    with stack.service("api") as api, stack.service("worker") as worker, stack.service("beat") as beat:
        for name in ("api", "worker", "beat"):
            assert stack.becomes_healthy(name), f"{name}: {stack.log(name)}"
        for name, process in {"beat": beat, "worker": worker, "api": api}.items():
            assert stops(process), f"{name}: {stack.log(name)}"
