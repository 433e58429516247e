"""`python -m app.liveness api|worker|beat`: exit code 0 when that process on this machine does its work.

For health checks of containers and for `outreach up`. The API answers a request, the worker a ping through Redis;
beat has no ear, so that it touches a file after each task it has published.
"""

import socket
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from app.supervisor import answers
from outreach.errors import OutreachError, Unavailable
from outreach.settings import get_settings


def api_is_healthy() -> bool:
    """Tell whether the API on this machine answers GET /ready with 200: it runs and reaches the database."""
    settings = get_settings()
    host = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(settings.api_host, settings.api_host)  # noqa: S104
    return answers(f"http://{host}:{settings.api_port}/ready")


def worker_is_healthy(seconds: float = 5) -> bool:
    """Tell whether a worker of this machine answers a ping through Redis; raises `Unavailable` without Redis."""
    # Celery only here: loading it takes a second, and the other checks run every few of them.
    from kombu.exceptions import KombuError
    from redis.exceptions import RedisError

    from outreach.queue import celery_app

    options = {"pattern": f"*@{socket.gethostname()}", "matcher": "glob"}
    try:
        with celery_app().connection_for_write() as connection:
            # Ends at the first answer; of several workers on one machine any will do.
            return bool(
                celery_app().control.broadcast(
                    "ping", reply=True, limit=1, timeout=seconds, connection=connection, **options
                )
            )
    except (KombuError, RedisError) as error:
        raise Unavailable(str(error)) from error


def beat_is_healthy() -> bool:
    """Tell whether beat has rung within the last ten ticks, and half a minute more for a slow start."""
    try:
        age = time.time() - _beat_file().stat().st_mtime
    except OSError:
        return False
    return age < 10 * get_settings().tick_seconds + 30


def watch_beat() -> None:
    """Make this process touch the file after each publication, once it has become beat."""
    from celery.signals import beat_init  # as above

    beat_init.connect(_begin, weak=False)


def note_ring(**_: Any) -> None:
    """Note that beat does its work now."""
    _beat_file().touch()


def main(names: list[str]) -> int:
    """Check the named process; 0 healthy, 1 not, 2 for a name that is not known."""
    checks: dict[str, Callable[[], bool]] = {
        "api": api_is_healthy,
        "worker": worker_is_healthy,
        "beat": beat_is_healthy,
    }
    if len(names) != 1 or names[0] not in checks:
        sys.stderr.write(f"usage: python -m app.liveness {'|'.join(checks)}\n")
        return 2
    try:
        healthy = checks[names[0]]()
    except (OutreachError, OSError) as error:
        sys.stderr.write(f"{error}\n")
        healthy = False
    return 0 if healthy else 1


def _beat_file() -> Path:
    return get_settings().home / "beat-published"


def _begin(**_: Any) -> None:
    from celery.signals import after_task_publish  # as above

    _beat_file().parent.mkdir(parents=True, exist_ok=True)
    after_task_publish.connect(note_ring, weak=False)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
