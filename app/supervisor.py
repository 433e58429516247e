"""What `outreach up` does with its child processes: start, watch, start again, stop.

Each child leads a session of its own, so that Ctrl-C reaches the supervisor alone, which then stops the children
in reverse order. After a `kill -9` of the supervisor the children end by themselves on Linux (`lifeline`), and the
next start stops whatever is left, on every system (`leftovers`).
"""

import errno
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any, Self, TextIO

import urllib3

from app import leftovers, lifeline
from app.child_output import Log
from outreach.errors import OutreachError, Unavailable

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_LOOK_SECONDS = 0.1
_STABLE_SECONDS = 60.0  # a child that ran this long has its earlier deaths forgiven
_FIRST_PAUSE, _LONGEST_PAUSE = 0.5, 30.0  # seconds before a dead child is started again


@dataclass(frozen=True)
class Child:
    """One process to keep alive; `env` is added to our own environment.

    `ready` is asked until it says yes before the next child starts. `restarts` is how many quick deaths in a row
    are forgiven before everything stops; None forgives for ever.
    """

    name: str
    argv: Sequence[str]
    env: Mapping[str, str] = field(default_factory=dict)
    ready: Callable[[], bool] | None = None
    ready_seconds: float = 60
    restarts: int | None = 5


@dataclass
class _Running:
    child: Child
    log: Log
    process: subprocess.Popen[bytes]
    record: leftovers.Process
    since: float
    deaths: int = 0
    again_at: float | None = None


class Supervisor:
    """Children that run between `with Supervisor(…) as running:` and the end of that block.

    The caller holds `home` (`outreach.embedded.hold`) and enters the block in the main thread. A first SIGINT,
    SIGTERM or SIGHUP raises KeyboardInterrupt in the block; another one while stopping kills what is left at once.
    """

    def __init__(
        self,
        home: Path,
        children: Sequence[Child],
        *,
        report: Callable[[str], None],
        echo: TextIO | None = None,
        stop_seconds: float = 20,
    ) -> None:
        self._home = home
        self._children = children
        self._report = report
        self._echo = echo
        self._stop_seconds = stop_seconds
        self._token = leftovers.new_token()
        self._running: list[_Running] = []
        self._handlers: dict[int, Any] = {}
        self._signals = 0
        self._undisturbed = False

    def __enter__(self) -> Self:
        """Stop what an earlier run left behind, then start every child in order, each once the last is ready."""
        names = leftovers.stop_leftovers(self._home, seconds=self._stop_seconds)
        if names:
            self._report(f"stopped what an earlier run had left behind: {', '.join(names)}")
        for number in _SIGNALS:
            # Under nohup the hang-up of the terminal stays ignored.
            if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN:
                self._handlers[number] = signal.signal(number, self._on_signal)
        try:
            for child in self._children:
                self._start(child)
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop every child, the last one first."""
        self._stop()

    def watch(self) -> int:
        """Keep the children alive until a signal asks to stop; returns the exit code of the whole, 0 or 1."""
        try:
            while True:
                self.tend()
                time.sleep(_LOOK_SECONDS)
        except KeyboardInterrupt:
            return 0
        except Unavailable as error:
            self._report(error.message)
            return 1

    def tend(self) -> None:
        """Look once after every child, without waiting: show its output, start it again when its pause is over.

        Raises Unavailable when a child has died too often.
        """
        for running in self._running:
            running.log.follow()
            if running.again_at is not None:
                if time.monotonic() >= running.again_at:
                    self._start_again(running)
            elif running.process.poll() is not None:
                self._note_death(running)

    def _start(self, child: Child) -> None:
        log = Log(self._home / "logs", child.name, self._echo)
        with self._no_interruption():
            running = _Running(child, log, *self._spawn(child, log), since=time.monotonic())
            self._running.append(running)
            self._record()
        if child.ready is not None:
            wait_until(child.ready, child.ready_seconds, child.name, meanwhile=lambda: self._must_live(running))

    def _spawn(self, child: Child, log: Log) -> tuple[subprocess.Popen[bytes], leftovers.Process]:
        argv = list(child.argv)
        if sys.platform == "linux":
            argv = [sys.executable, "-I", lifeline.__file__, str(os.getpid()), *argv]
        environment = {**os.environ, **child.env, leftovers.TOKEN: self._token}
        with log.open() as output:
            process = subprocess.Popen(
                argv,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        started = leftovers.start_time(process.pid)
        return process, leftovers.Process(child.name, process.pid, started, tuple(child.argv))

    def _record(self) -> None:
        leftovers.record(self._home, self._token, [running.record for running in self._running])

    def _must_live(self, running: _Running) -> None:
        """Raise Unavailable when a child dies before it was ready; trying again would only hide the reason."""
        running.log.follow()
        if running.process.poll() is not None:
            raise Unavailable(f"{_obituary(running)} before it was ready; {running.log.path} ends with:\n"
                              f"{running.log.tail()}")  # fmt: skip

    def _note_death(self, running: _Running) -> None:
        _kill_group(running)
        running.log.follow()
        lived = time.monotonic() - running.since
        running.deaths = 1 if lived >= _STABLE_SECONDS else running.deaths + 1
        forgiven = running.child.restarts
        if forgiven is not None and running.deaths > forgiven:
            raise Unavailable(f"{_obituary(running)} {running.deaths} times in a row, so everything stops;"
                              f" {running.log.path} ends with:\n{running.log.tail()}")  # fmt: skip
        pause = min(_FIRST_PAUSE * 2 ** min(running.deaths - 1, 16), _LONGEST_PAUSE)
        running.again_at = time.monotonic() + pause
        self._report(f"{_obituary(running)}; it starts again in {pause:g} seconds. Its log: {running.log.path}")

    def _start_again(self, running: _Running) -> None:
        with self._no_interruption():
            running.process, running.record = self._spawn(running.child, running.log)
            running.since, running.again_at = time.monotonic(), None
            self._record()
        self._report(f"{running.child.name} runs again")

    def _stop(self) -> None:
        """End the children in reverse order: SIGTERM, then SIGKILL to the group after the time-out."""
        self._undisturbed = True  # from here on a signal is counted, and means: at once
        before = self._signals
        for running in reversed(self._running):
            if running.process.poll() is None:
                running.process.terminate()
                deadline = time.monotonic() + self._stop_seconds
                while running.process.poll() is None and time.monotonic() < deadline and self._signals == before:
                    time.sleep(0.02)
                if running.process.poll() is None:
                    self._report(f"{running.child.name} did not stop in time and is killed")
            if running.again_at is None:  # of a child that waits for its next start nothing is left
                _kill_group(running)
            running.process.wait()
            running.log.follow()
        self._running.clear()
        leftovers.forget(self._home)
        for number, handler in self._handlers.items():
            signal.signal(number, handler)

    def _on_signal(self, _number: int, _frame: FrameType | None) -> None:
        self._signals += 1
        if not self._undisturbed:
            raise KeyboardInterrupt

    @contextmanager
    def _no_interruption(self) -> Iterator[None]:
        """Put a signal off until the end of the block: no child may start without being written down."""
        before, self._undisturbed = self._signals, True
        try:
            yield
        finally:
            self._undisturbed = False
        if self._signals > before:
            raise KeyboardInterrupt


def wait_until(
    check: Callable[[], bool], timeout: float, what: str, *, meanwhile: Callable[[], object] = lambda: None
) -> None:
    """Return as soon as `check` says yes; raises Unavailable after `timeout` seconds.

    `meanwhile` runs between two looks, for example `Supervisor.tend`.
    """
    deadline = time.monotonic() + timeout
    while not check():
        meanwhile()
        if time.monotonic() >= deadline:
            raise Unavailable(f"{what} was not ready after {timeout:g} seconds.")
        time.sleep(_LOOK_SECONDS / 2)


def answers(url: str) -> bool:
    """Tell whether a GET of `url` answers 200 within two seconds."""
    try:
        return urllib3.request("GET", url, timeout=2, retries=False, redirect=False).status == 200
    except urllib3.exceptions.HTTPError:
        return False


def choose_port(host: str, preferred: int, report: Callable[[str], None]) -> int:
    """Return `preferred`, or the next free port with a message why; raises Unavailable for an unusable address."""
    for port in (preferred, *range(preferred + 1, min(preferred + 20, 65_535)), 0):
        found = _bindable(host, port)
        if found is not None:
            if found != preferred:
                report(f"port {preferred} of {host} is taken by another program; using {found} instead")
            return found
    raise Unavailable(f"No free port on {host}.")


def _bindable(host: str, port: int) -> int | None:
    try:
        family, kind, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    except OSError as error:
        raise OutreachError(f"{host!r} is not an address of this machine ({error}).") from None
    with socket.socket(family, kind) as probe:
        # As the server will do it: connections of an earlier run that linger are no obstacle.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(address)
            probe.listen(1)
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                return None
            raise Unavailable(f"Cannot listen on {host} port {port}: {error.strerror}.") from None
        found: int = probe.getsockname()[1]
        return found


def _kill_group(running: _Running) -> None:
    """Kill what is left of a child's session: the child itself, and processes that it had started."""
    try:
        os.killpg(running.process.pid, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        return  # nothing left; macOS says so with the second one when only zombies are


def _obituary(running: _Running) -> str:
    code = running.process.returncode
    how = f"exit code {code}" if code >= 0 else signal.Signals(-code).name
    return f"{running.child.name} ended ({how})"
