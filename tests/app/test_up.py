"""`outreach up` from nothing: engines, processes, a second start, and an end that leaves nothing behind."""

import os
import re
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
import urllib3

from outreach import embedded

ROOT = Path(__file__).parents[2]


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    """A folder for the data of one installation, whose engines are destroyed afterwards."""
    place = tmp_path / "installation"
    try:
        yield place
    finally:
        embedded.destroy(place)


def command(home: Path, *words: str) -> tuple[list[str], dict[str, str]]:
    """Return how one command is run on `home`, without any setting of a server or a key."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("OUTREACH_")}
    return [sys.executable, "-m", "app.cli", *words], {**environment, "OUTREACH_HOME": str(home)}


def run(home: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Run one command to its end."""
    argv, environment = command(home, *words)
    return subprocess.run(argv, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60, check=False)


def test_up_brings_everything_says_who_holds_it_and_leaves_nothing_running(home: Path, tmp_path: Path) -> None:
    argv, environment = command(home, "up", "--sandbox", "--quiet")
    said = tmp_path / "said"
    with said.open("w") as output:
        up = subprocess.Popen(argv, cwd=ROOT, env=environment, stderr=output)
        try:
            deadline = time.monotonic() + 90
            while "Outreach runs at" not in said.read_text():
                assert up.poll() is None, said.read_text()
                assert time.monotonic() < deadline, said.read_text()
                time.sleep(0.1)
            found = re.search(r"runs at (\S+), the sandbox at (\S+)", said.read_text())
            assert found is not None
            ready = urllib3.request("GET", f"{found[1]}/ready", timeout=5)
            assert ready.json() == {"status": "ready", "database": "up", "redis": "up", "resting": []}
            assert stat.S_IMODE((home / "secret_key").stat().st_mode) == 0o600

            assert run(home, "problem", "report", "A line is missing").returncode == 0
            second = run(home, "up")
            assert second.returncode == 1
            assert f"in use by process {up.pid}" in second.stderr

            children = psutil.Process(up.pid).children(recursive=True)
            assert len(children) >= 4
        finally:
            up.send_signal(signal.SIGINT)
            status = up.wait(timeout=60)
    assert status == 0
    _, alive = psutil.wait_procs(children, timeout=5)
    assert not alive
    after = run(home, "problem", "list")
    assert (after.returncode, "run `outreach up`" in after.stderr) == (1, True)
