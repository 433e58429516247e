"""A dead man's switch: every periodic job writes down that it has ended well; who looks needs no Celery.

Beat may be away, a worker may be deaf, a job may fail each time: in every case the row of the job grows old.
"""

import resource
import sys
import time
from pathlib import Path
from threading import Lock

from sqlalchemy import text
from sqlalchemy.orm import Session

# A job that runs every other second is written down this often by each process.
WRITE_EVERY_SECONDS = 10.0

_WRITE = text("""
INSERT INTO periodic_runs (job, succeeded_at, memory_bytes) VALUES (:job, clock_timestamp(), :memory)
ON CONFLICT (job) DO UPDATE SET succeeded_at = EXCLUDED.succeeded_at, memory_bytes = EXCLUDED.memory_bytes
""")

_written: dict[str, float] = {}
_lock = Lock()


def is_time_to_write(job: str) -> bool:
    """Tell whether this process should write the job down again; whoever is told so is expected to do it."""
    now = time.monotonic()
    with _lock:
        if now - _written.get(job, -WRITE_EVERY_SECONDS) < WRITE_EVERY_SECONDS:
            return False
        _written[job] = now
        return True


def write_success(session: Session, *, job: str) -> None:
    """Write down that a job has just come to a good end in this process."""
    session.execute(_WRITE, {"job": job, "memory": memory_bytes()})


def ages(session: Session) -> dict[str, float]:
    """Return how many seconds ago each job last came to a good end."""
    rows = session.execute(text("SELECT job, extract(epoch FROM clock_timestamp() - succeeded_at) FROM periodic_runs"))
    return {job: float(seconds) for job, seconds in rows}


def memory_bytes() -> int:
    """Return how much memory this process holds now; on systems without /proc, the most that it ever held."""
    statm = Path("/proc/self/statm")
    if statm.exists():
        return int(statm.read_text().split()[1]) * resource.getpagesize()
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else most * 1024
