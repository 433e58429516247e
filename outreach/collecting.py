"""The garbage collector and work that makes many objects at once."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock

_counting = Lock()
_holders = 0


@contextmanager
def without_collecting() -> Iterator[None]:
    """Keep the collector from walking a batch again and again as it grows, which takes up to half of the time.

    What is dropped is freed at once all the same; only circles wait, until the block ends or somebody calls
    `collect_young`. Blocks may overlap on several threads.
    """
    global _holders
    with _counting:
        _holders += 1
        gc.disable()
    try:
        yield
    finally:
        with _counting:
            _holders -= 1
            if not _holders:
                gc.enable()


def collect_young() -> None:
    """Free the circles among what was made since the last time."""
    gc.collect(1)
