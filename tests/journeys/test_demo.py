"""The demo is the first thing a stranger runs: it must tell the truth, also after it was killed."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from outreach import embedded

ROOT = Path(__file__).resolve().parents[2]
COMMAND = [sys.executable, "-m", "app.cli", "demo", "--exit", "--json"]


def environment(home: Path) -> dict[str, str]:
    return {**os.environ, "OUTREACH_HOME": str(home), "OUTREACH_API_PORT": "18321"}


def kill_in_the_middle(home: Path, log: Path) -> None:
    """Start a demo and kill it, children and all, once it has begun to send."""
    with log.open("wb") as output:
        process = subprocess.Popen(COMMAND, cwd=ROOT, env=environment(home), stdout=output, stderr=output)
        deadline = time.monotonic() + 60
        while b"A notice" not in log.read_bytes() and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.1)
        assert process.poll() is None, log.read_text()
        os.kill(process.pid, signal.SIGKILL)
        process.wait()


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    """A folder for the demo's data, whose engines are destroyed afterwards: run by root they lie elsewhere."""
    yield tmp_path
    embedded.destroy(tmp_path / "demo" / "data")


@pytest.mark.timeout(240)
def test_the_demo_tells_everybody_once_also_after_a_run_that_was_killed(home: Path) -> None:
    kill_in_the_middle(home, home / "first.log")
    done = subprocess.run(COMMAND, cwd=ROOT, env=environment(home), capture_output=True, timeout=200, check=False)
    assert done.returncode == 0, done.stderr.decode()
    result: dict[str, Any] = json.loads(done.stdout.decode().splitlines()[-1])
    assert (result["unaccounted"], result["duplicates"]) == (0, 0)
    assert set(result["audience"]) == {"affected", "likely", "incoming", "cleared"}
    # The 24 who wrote about it, all who hold or await the lot, and whoever sent it back: known from the files.
    assert result["audience"]["affected"] >= 24
    assert min(result["audience"].values()) > 0
    assert result["messages"]["email"]["delivered"] > result["messages"]["sms"]["delivered"] > 0
    assert result["messages"]["email"]["bounced"] > 0
    assert result["messages"]["postcard"]["delivered"] > 0
    for intent in ("stop", "solved", "still_broken", "question", "not_me"):
        assert result["responses"][intent] >= 1
    assert result["check_ins"] > 100
