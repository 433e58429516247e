"""What every source of rows looks like to staging, whatever file it came from."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

BATCH_ROWS = 10_000
MOST_COLUMNS = 1_000

# Called with (row, column, value, reason) for a row that cannot even be read.
Refuse = Callable[[int | str, str, str | None, str], None]


@dataclass(frozen=True, slots=True)
class Batch:
    """Up to `BATCH_ROWS` rows with their numbers; `done` is the share of the input read so far, if known."""

    numbers: list[int]
    rows: list[Sequence[Any]]
    done: float | None = None


@dataclass(frozen=True, slots=True)
class Source:
    """Headers as they were found, and the rows in batches; a row has one cell per header."""

    headers: list[str]
    batches: Iterator[Batch]
