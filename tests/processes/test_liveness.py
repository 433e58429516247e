"""Health checks against a real worker and a real beat on a real Redis."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

CHECKOUT = Path(__file__).parent.parent.parent

WORKER = """
from outreach.queue import celery_app
celery_app().worker_main(["worker", "--pool=solo", "--loglevel=WARNING", "--without-gossip", "--without-mingle"])
"""

BEAT = """
import datetime, sys
from app import liveness
from outreach.queue import celery_app
liveness.watch_beat()
application = celery_app()
application.conf.beat_schedule = {"tick": {"task": "nobody.listens", "schedule": datetime.timedelta(seconds=0.5)}}
application.Beat(loglevel="WARNING", scheduler_cls="app.bell:Bell").run()
"""


def is_healthy(name: str) -> bool:
    """Run the health check as a container would."""
    environment = {**os.environ, "PYTHONPATH": str(CHECKOUT)}
    return subprocess.run([sys.executable, "-m", "app.liveness", name], env=environment, timeout=60).returncode == 0


def becomes_healthy(name: str) -> bool:
    """Wait up to half a minute, as compose does."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        if is_healthy(name):
            return True
        time.sleep(0.2)
    return False


@contextmanager
def running(program: str) -> Iterator[subprocess.Popen[bytes]]:
    """Run a Python program with the settings of the test."""
    environment = {**os.environ, "PYTHONPATH": str(CHECKOUT)}
    process = subprocess.Popen([sys.executable, "-c", program], env=environment, stderr=subprocess.DEVNULL)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def test_worker_is_healthy_while_it_answers_and_not_after_its_death(database: str) -> None:
    with running(WORKER):
        assert becomes_healthy("worker")
    assert not is_healthy("worker")


def test_beat_is_healthy_once_it_has_published_and_not_when_it_has_fallen_silent(database: str) -> None:
    assert not is_healthy("beat")
    published = Path(os.environ["OUTREACH_HOME"]) / "beat-published"
    with running(BEAT):
        assert becomes_healthy("beat")
    long_ago = time.time() - 3600
    os.utime(published, (long_ago, long_ago))
    assert not is_healthy("beat")


def test_unknown_name_is_refused() -> None:
    environment = {**os.environ, "PYTHONPATH": str(CHECKOUT)}
    words = [sys.executable, "-m", "app.liveness", "postgres"]
    done = subprocess.run(words, env=environment, capture_output=True, text=True)
    assert done.returncode == 2
    assert "api|worker|beat" in done.stderr
