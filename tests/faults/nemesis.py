"""What breaks things: kills and freezes of workers, a PostgreSQL and a Redis of the test's own that can be struck."""

import os
import random
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from outreach import embedded


def children(parent: subprocess.Popen[bytes]) -> list[int]:
    """Return the processes that `parent` has started."""
    try:
        return [int(pid) for pid in Path(f"/proc/{parent.pid}/task/{parent.pid}/children").read_text().split()]
    except OSError:
        return []


def strike(parents: Sequence[subprocess.Popen[bytes]], dice: random.Random, number: int = signal.SIGKILL) -> int:
    """Send a signal to the child of one of these workers; returns its id, 0 when it was between two lives."""
    for pid in children(dice.choice(parents)):
        os.kill(pid, number)
        return pid
    return 0


def freeze(parents: Sequence[subprocess.Popen[bytes]], dice: random.Random, seconds: float) -> bool:
    """Stop one worker as a paused machine does, and let it go on afterwards."""
    pid = strike(parents, dice, signal.SIGSTOP)
    if not pid:
        return False
    time.sleep(seconds)
    os.kill(pid, signal.SIGCONT)
    return True


def keep_killing(
    parents: Sequence[subprocess.Popen[bytes]],
    dice: random.Random,
    *,
    every: float,
    most: int,
    until: Callable[[], bool],
) -> int:
    """Kill a random worker again and again until the work is done; returns the number of kills."""
    kills = 0
    while kills < most and not until():
        time.sleep(every)
        kills += bool(strike(parents, dice))
    return kills


class OwnRedis:
    """A Redis that keeps its address when it is killed and started again."""

    def __init__(self, home: Path) -> None:
        self.url = embedded.start_redis(home)
        self.home, self.folder = home, embedded._engine_root(home) / "redis"
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """The running server."""
        return int((self.folder / "pid").read_text())

    def kill(self) -> None:
        """End it as a power cut does."""
        os.kill(self.pid, signal.SIGKILL)
        (embedded._started.get(self.pid) or self.process or subprocess.Popen(["true"])).wait()

    def start(self, *, empty: bool = False) -> None:
        """Start it again on the same port; `empty` forgets everything it knew."""
        if empty:
            for kept in self.folder.glob("appendonlydir/*"):
                kept.unlink()
        self.process = subprocess.Popen(
            [embedded._redis_binary(), str(self.folder / "valkey.conf")],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
        )  # fmt: skip
        (self.folder / "pid").write_text(str(self.process.pid))

    def keep_nothing(self) -> None:
        """Go on without a file of what was written: what it knew is gone with its death."""
        self.kill()
        config = self.folder / "valkey.conf"
        config.write_text(config.read_text().replace("appendonly yes", "appendonly no"))
        self.start(empty=True)

    def stop(self) -> None:
        """End it for good."""
        embedded.destroy(self.home)
        if self.process is not None:
            self.process.wait()


class OwnPostgres:
    """A PostgreSQL that can be restarted as after a crash."""

    def __init__(self, home: Path) -> None:
        self.url = embedded.start_postgres(home)
        self.home, self.root = home, embedded._engine_root(home)

    def crash_and_restart(self) -> None:
        """Stop without a checkpoint, and start again on the same port: the server recovers from its log."""
        binaries = embedded._postgres_binaries(self.root)
        data = str(self.root / "postgres")
        log = str(self.root / "postgres.log")
        embedded._as_engine_user(
            self.root, [str(binaries / "pg_ctl"), "-D", data, "-w", "-m", "immediate", "-l", log, "restart"]
        )

    def stop(self) -> None:
        """End it for good."""
        embedded.destroy(self.home)
