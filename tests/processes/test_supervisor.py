"""The supervisor with real processes: stopping, starting again, and what a kill -9 leaves."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from app import leftovers
from app.supervisor import choose_port, wait_until
from outreach.errors import Unavailable

if TYPE_CHECKING:
    from .conftest import Runs

linux_only = pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a child of its parent's death")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_one_signal_stops_all_children_in_reverse_order(runs: "Runs", number: signal.Signals) -> None:
    parent = runs.start(runs.child("api"), runs.child("worker"), runs.child("beat"))
    pids = [runs.pid(name) for name in ("api", "worker", "beat")]
    parent.send_signal(number)
    runs.output(parent)
    assert parent.returncode == 0
    assert (runs.home / "ended").read_text().split() == ["beat", "worker", "api"]
    assert not any(runs.lives(pid) for pid in pids)
    assert not (runs.home / "children.json").exists()


def test_signal_while_children_still_start_stops_them(runs: "Runs") -> None:
    parent = runs.start(runs.child("api", ready=str(runs.home / "never")), runs.child("worker"))
    pid = runs.pid("api")
    parent.send_signal(signal.SIGINT)
    runs.output(parent)
    assert not runs.lives(pid)
    assert not (runs.home / "worker.pid").exists()


def test_child_that_ignores_sigterm_is_killed_after_the_time_out(runs: "Runs") -> None:
    parent = runs.start(runs.child("worker", "stubborn"), stop_seconds=0.3)
    pid = runs.pid("worker")
    parent.send_signal(signal.SIGTERM)
    assert "worker did not stop in time and is killed" in runs.output(parent)
    assert not runs.lives(pid)


def test_second_signal_kills_at_once(runs: "Runs") -> None:
    parent = runs.start(runs.child("worker", "stubborn"), runs.child("beat"), stop_seconds=600)
    pid = runs.pid("worker")
    runs.pid("beat")
    parent.send_signal(signal.SIGINT)
    runs.until(lambda: (runs.home / "ended").exists())  # beat has gone, the worker is waited for
    assert runs.lives(pid)
    parent.send_signal(signal.SIGINT)
    runs.output(parent)
    assert not runs.lives(pid)


@linux_only
def test_children_end_when_the_supervisor_is_killed(runs: "Runs") -> None:
    parent = runs.start(runs.child("api"), runs.child("worker"))
    pids = [runs.pid("api"), runs.pid("worker")]
    parent.kill()
    runs.until(lambda: not any(runs.lives(pid) for pid in pids))
    assert sorted((runs.home / "ended").read_text().split()) == ["api", "worker"]


def test_next_start_recovers_from_a_killed_run(runs: "Runs") -> None:
    first = runs.start(runs.child("worker", "stubborn"))
    old = runs.pid("worker")
    first.kill()
    first.wait()
    assert runs.lives(old)
    second = runs.start(runs.child("worker"), stop_seconds=1)
    new = runs.pid("worker", other_than=old)
    assert not runs.lives(old)
    assert runs.lives(new)
    second.send_signal(signal.SIGINT)
    assert "stopped what an earlier run had left behind: worker" in runs.output(second)
    assert not runs.lives(new)


@linux_only
def test_grandchild_without_its_parent_is_found_by_its_token(runs: "Runs") -> None:
    first = runs.start(runs.child("worker", "parent"))
    runs.pid("worker")
    grandchild = runs.pid("worker.grandchild")
    first.kill()
    first.wait()
    assert runs.lives(grandchild)  # it has a session of its own and asks for no death signal
    second = runs.start(runs.child("api"))
    runs.pid("api")
    assert not runs.lives(grandchild)
    second.send_signal(signal.SIGINT)
    assert f"process {grandchild}" in runs.output(second)


def test_living_run_on_the_same_data_is_named_and_left_alone(runs: "Runs") -> None:
    first = runs.start(runs.child("api"))
    pid = runs.pid("api")
    second = runs.start(runs.child("api"))
    assert f"in use by process {first.pid}" in runs.output(second)
    assert second.returncode == 3
    assert runs.lives(pid)


@pytest.mark.parametrize(("started", "argv"), [("another time", None), (None, ("python", "another program"))])
def test_stranger_with_a_recorded_process_id_is_left_alone(
    tmp_path: Path, started: str | None, argv: tuple[str, ...] | None
) -> None:
    words = (sys.executable, "-c", "import time; time.sleep(600)")
    with subprocess.Popen(words) as stranger:
        try:
            true_start = leftovers.start_time(stranger.pid)
            assert true_start
            known = leftovers.Process("worker", stranger.pid, started or true_start, argv or words)
            leftovers.record(tmp_path, leftovers.new_token(), [known])
            assert leftovers.stop_leftovers(tmp_path, seconds=1) == []
            assert stranger.poll() is None
            # The same process under its true description is stopped: the check above could have failed.
            leftovers.record(tmp_path, "", [leftovers.Process("worker", stranger.pid, true_start, words)])
            assert leftovers.stop_leftovers(tmp_path, seconds=1) == ["worker"]
        finally:
            stranger.kill()


@pytest.mark.parametrize("text", ["", "{", "[]", '{"token": "x", "children": [{"pid": 1}]}'])
def test_damaged_record_stops_nothing(tmp_path: Path, text: str) -> None:
    (tmp_path / "children.json").write_text(text)
    assert leftovers.stop_leftovers(tmp_path) == []
    assert not (tmp_path / "children.json").exists()


def test_record_is_private(tmp_path: Path) -> None:
    leftovers.record(tmp_path, leftovers.new_token(), [])
    assert (tmp_path / "children.json").stat().st_mode & 0o077 == 0


def test_killed_child_starts_again(runs: "Runs") -> None:
    parent = runs.start(runs.child("api"), runs.child("worker", restarts=None))
    first, neighbour = runs.pid("worker"), runs.pid("api")
    os.kill(first, signal.SIGKILL)
    second = runs.pid("worker", other_than=first)
    runs.until(lambda: str(second) in (runs.home / "children.json").read_text())
    assert runs.lives(second)
    assert runs.lives(neighbour)
    parent.send_signal(signal.SIGINT)
    output = runs.output(parent)
    assert "worker ended (SIGKILL); it starts again in 0.5 seconds" in output
    assert not runs.lives(second)


def test_child_that_keeps_dying_is_tried_with_growing_pauses_then_stops_everything(runs: "Runs") -> None:
    parent = runs.start(runs.child("api"), runs.child("worker", "fails", restarts=2))
    pid = runs.pid("api")
    output = runs.output(parent)
    assert parent.returncode == 1
    assert re.findall(r"starts again in (\S+) seconds", output) == ["0.5", "1"]
    assert "worker ended (exit code 7) 3 times in a row, so everything stops" in output
    assert not runs.lives(pid)


def test_child_that_dies_before_it_is_ready_shows_the_end_of_its_log(runs: "Runs") -> None:
    parent = runs.start(runs.child("api", "fails", ready=str(runs.home / "never")))
    output = runs.output(parent)
    assert parent.returncode == 3
    assert "api ended (exit code 7) before it was ready" in output
    assert output.count("no route to the moon") == 2  # as it came, and in the message


def test_output_goes_to_a_private_log_and_with_a_prefix_to_the_terminal(runs: "Runs") -> None:
    parent = runs.start(runs.child("api"))
    runs.pid("api")
    log = runs.home / "logs" / "api.log"
    parent.send_signal(signal.SIGINT)
    assert "api     | hello from api\n" in runs.output(parent)
    assert log.read_text() == "hello from api\n"
    assert log.stat().st_mode & 0o077 == 0


def test_next_child_waits_until_the_one_before_is_ready(runs: "Runs") -> None:
    gate = runs.home / "gate"
    parent = runs.start(runs.child("api", ready=str(gate)), runs.child("worker"))
    runs.pid("api")
    recorded = json.loads((runs.home / "children.json").read_text())["children"]
    assert [child["name"] for child in recorded] == ["api"]
    gate.touch()
    runs.pid("worker")
    parent.send_signal(signal.SIGINT)
    runs.output(parent)


def test_waiting_ends_with_what_was_waited_for() -> None:
    looks = count()
    wait_until(lambda: next(looks) >= 3, 10, "the counter")
    with pytest.raises(Unavailable, match=r"the API was not ready after 0\.2 seconds"):
        wait_until(lambda: False, 0.2, "the API")


def test_taken_port_gives_way_to_a_free_one_with_a_message() -> None:
    said: list[str] = []
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        found = choose_port("127.0.0.1", port, said.append)
        assert found != port
        assert said == [f"port {port} of 127.0.0.1 is taken by another program; using {found} instead"]
    assert choose_port("127.0.0.1", found, said.append) == found
    assert len(said) == 1


def test_foreign_address_is_refused_with_its_name() -> None:
    with pytest.raises(Unavailable, match=r"Cannot listen on 192\.0\.2\.1 port 8321"):
        choose_port("192.0.2.1", 8321, lambda _: None)
