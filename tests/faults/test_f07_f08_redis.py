"""F7, F8: Redis dies under load, forgets everything, is full, or answers nobody; it only carries wake-ups."""

import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Event, Thread

import celery
import kombu
import pytest
import redis
from sqlalchemy import text

from app.supervisor import Child, Supervisor, wait_until
from campaigns.sweeps import plan_all
from outreach import clock, operators
from outreach.db import transaction
from outreach.permissions import Permission, person_at_the_terminal
from outreach.queue import wake
from outreach.vocabulary import Channel
from tests.faults.conftest import Install
from tests.faults.judge import a_campaign_on, expect_everybody_once, make_due, open_messages, record_of, rest
from tests.faults.nemesis import OwnRedis
from tests.installation import Installation, until

BLACK_HOLE_SECONDS = 120


@pytest.fixture
def own_redis(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[OwnRedis]:
    """A Redis that the test may break."""
    made = OwnRedis(tmp_path / "own redis")
    monkeypatch.setenv("OUTREACH_REDIS_URL", made.url)
    yield made
    made.stop()


def accepted(installation: Installation) -> int:
    """Return how many messages were taken."""
    return sum(record_of(installation).values())


def the_api_takes_a_campaign(installation: Installation) -> None:
    """Open another campaign, which waits for approval, over HTTP."""
    with transaction() as session:
        permissions = (Permission.CAMPAIGNS_READ, Permission.CAMPAIGNS_WRITE)
        maker = person_at_the_terminal("test")
        name = f"test {time.monotonic()}"
        _, key = operators.create_api_key(
            session, name=name, permissions=permissions, actor=maker, now=clock.now(session)
        )
    plan = {
        "problem": "P-1", "name": name, "kind": "known", "template_key": "problem-known",
        "ladder": [{"channel": "email"}],
    }  # fmt: skip
    began = time.monotonic()
    answer = installation.http.request(
        "POST", f"{installation.url}/api/campaigns", json=plan, headers={"Authorization": f"Bearer {key}"}, timeout=30
    )
    assert answer.status == 201, answer.data
    assert time.monotonic() - began < 15


def ring(times: int = 20) -> None:
    """Publish wake-ups as fast as a busy API does; they must never raise."""
    for _ in range(times):
        with transaction() as session:
            session.execute(text("SELECT 1"))
            wake(session, "campaigns.sweep")


def test_the_pins_are_the_set_that_survives_a_killed_broker() -> None:
    # docs/adr/0004-celery-pins.md: change them only together with a run of F7.
    assert (celery.__version__, kombu.__version__, redis.__version__[:4]) == ("5.6.3", "5.6.2", "6.4.")


@pytest.mark.faults
@pytest.mark.timeout(400)
@pytest.mark.parametrize("aof", [True, False], ids=["AOF", "no AOF"])
def test_a_redis_killed_five_times_under_load_stops_nothing(
    database: str, own_redis: OwnRedis, install: Install, aof: bool
) -> None:
    if not aof:
        own_redis.keep_nothing()
    installation = install()
    plan_all(a_campaign_on(Channel.EMAIL, 60))
    with transaction() as session:
        session.execute(text("UPDATE chunks SET due_at = clock_timestamp() + interval '1 day'"))
    installation.start_beat()
    worker = installation.start_worker()
    make_due(10)
    until(lambda: accepted(installation) == 10, seconds=60, what="the first messages")
    stopping = Event()
    # Publishing goes on through every death, as in a busy API.
    load = [Thread(target=lambda: [ring(1) for _ in iter(stopping.is_set, True)]) for _ in range(2)]
    for thread in load:
        thread.start()
    try:
        for kill in range(1, 6):
            time.sleep(1)
            own_redis.kill()
            time.sleep(1)
            make_due(10)
            own_redis.start()
            moment, goal = time.monotonic(), 10 + 10 * kill
            until(lambda goal=goal: accepted(installation) >= goal, seconds=30, what="progress")  # type: ignore[misc]
            print(f"new work done {time.monotonic() - moment:.1f} s after the restart")  # noqa: T201
            assert worker.poll() is None, "the worker process ended"
    finally:
        stopping.set()
        for thread in load:
            thread.join()
    with transaction() as session:
        session.execute(text("UPDATE chunks SET due_at = clock_timestamp() WHERE state = 'ready'"))
    rest(60)
    expect_everybody_once(installation, 60)


def test_a_flushed_redis_loses_no_notice(database: str, own_redis: OwnRedis, install: Install) -> None:
    people = 300
    installation = install({"sendgrid": {"latency_ms": 100}}, email_messages_per_call="2")
    client = redis.Redis.from_url(own_redis.url)
    a_campaign_on(Channel.EMAIL, people)
    ring()
    client.flushall()
    installation.start_beat()
    installation.start_worker()
    while accepted(installation) < people // 2:
        client.flushall()
        time.sleep(0.2)
    client.close()
    rest()
    expect_everybody_once(installation, people)


@pytest.mark.faults
@pytest.mark.timeout(500)
@pytest.mark.parametrize("fault", ["restarted empty", "black hole"])
def test_a_broken_redis_delays_and_loses_nothing(
    database: str, own_redis: OwnRedis, install: Install, fault: str
) -> None:
    people = 200
    installation = install({"sendgrid": {"latency_ms": 50}})
    installation.start_api()
    installation.start_beat()
    worker = installation.start_worker()
    until(lambda: "celery@" in installation.log() and "ready" in installation.log(), what="the worker")
    pid = own_redis.pid
    if fault == "restarted empty":
        own_redis.kill()
        own_redis.start(empty=True)
    else:
        os.kill(pid, signal.SIGSTOP)
    began = time.monotonic()
    try:
        # The truth is written all the same, and soon: publishing has a short leash.
        a_campaign_on(Channel.EMAIL, people)
        assert time.monotonic() - began < 15
        the_api_takes_a_campaign(installation)
        if fault == "black hole":
            time.sleep(BLACK_HOLE_SECONDS)
            the_api_takes_a_campaign(installation)
    finally:
        if fault == "black hole":
            os.kill(pid, signal.SIGCONT)
    # The worker is not deaf for longer than this.
    rest(60)
    assert worker.poll() is None, "the worker process ended"
    expect_everybody_once(installation, people)


@pytest.mark.faults
@pytest.mark.timeout(170)
def test_under_the_supervisor_a_full_redis_delays_and_loses_nothing(
    database: str, own_redis: OwnRedis, install: Install, tmp_path: Path
) -> None:
    people = 400
    installation = install({"sendgrid": {"latency_ms": 200}}, email_messages_per_call="1")
    client = redis.Redis.from_url(own_redis.url)
    said: list[str] = []
    processes = [
        Child(name, (sys.executable, "-m", "app.cli", name), restarts=None) for name in ("worker", "beat")
    ]  # fmt: skip
    home = tmp_path / "supervised"
    home.mkdir()
    with Supervisor(home, processes, report=said.append) as supervisor:

        def tended(check: Callable[[], bool], seconds: float, what: str) -> None:
            wait_until(check, seconds, what, meanwhile=supervisor.tend)

        a_campaign_on(Channel.EMAIL, people)
        tended(lambda: accepted(installation) > 0, 60, "the first messages")
        ring(300)
        client.config_set("maxmemory", 1)
        # The truth is written all the same.
        ring(3)
        # A worker that starts now cannot write its bindings and ends: the supervisor tries again, with longer pauses.
        os.kill(supervisor._running[0].process.pid, signal.SIGKILL)
        ended = 2
        tended(lambda: sum("worker ended" in line for line in said) >= ended, 60, "the end of a new worker")
        client.config_set("maxmemory", 0)
        client.close()
        some_late = time.monotonic()
        tended(lambda: open_messages() == 0, 90, "an end of every message")
        print(f"worker ended {ended} times, done {time.monotonic() - some_late:.1f} s after")  # noqa: T201
        tended(lambda: sum("worker runs again" in line for line in said) >= ended, 40, "the worker")
    expect_everybody_once(installation, people)
