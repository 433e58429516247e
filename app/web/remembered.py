"""Figures that many open pages ask for at once: counted once per process, again when they are a little old.

How long they are kept follows from what they cost, so that watching never takes more than a twentieth of a core.
"""

import time
from collections.abc import Callable
from threading import Lock
from typing import Any, TypeVar

Value = TypeVar("Value")

KEPT_AT_LEAST = 1.0  # seconds
COST_FACTOR = 20
MOST = 1_000

_lock = Lock()
_kept: dict[tuple[Any, ...], tuple[float, Any]] = {}
_making: dict[tuple[Any, ...], Lock] = {}


def remembered(key: tuple[Any, ...], make: Callable[[], Value], *, at_least: float = KEPT_AT_LEAST) -> Value:
    """Return the figures of `key`, made anew when they are too old; of many askers at once only one makes them."""
    with _lock:
        found = _kept.get(key)
        turn = _making.setdefault(key, Lock())
    if found is not None and found[0] > time.monotonic():
        value: Value = found[1]
        return value
    with turn:
        found = _kept.get(key)
        if found is not None and found[0] > time.monotonic():
            return found[1]  # type: ignore[no-any-return]
        began = time.monotonic()
        value = make()
        ended = time.monotonic()
        with _lock:
            if len(_kept) > MOST:
                _kept.clear()
                _making.clear()
            _kept[key] = (ended + max(at_least, COST_FACTOR * (ended - began)), value)
        return value


def forget(*beginning: Any) -> None:
    """Drop what is kept under keys that begin so, because it has just been changed from here."""
    with _lock:
        for key in [key for key in _kept if key[: len(beginning)] == beginning]:
            del _kept[key]
