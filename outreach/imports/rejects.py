"""The rejects file: one line per refused row or dropped value, safe to open in a spreadsheet."""

import csv
import os
from pathlib import Path
from typing import IO, Any

COLUMNS = ("table", "row", "column", "value", "outcome", "reason")
REFUSED = "row refused"
DROPPED = "value dropped"
LONGEST_VALUE = 200


def safe_cell(value: str) -> str:
    """Return a cell that no spreadsheet takes for a formula (OWASP, CSV injection): a leading `'` disarms it."""
    return f"'{value}" if value[:1] in {"=", "+", "-", "@", "\t", "\r"} else value


class Rejects:
    """Writes the file when there is a first line to write; only its owner may read it, for it names people."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.lines = 0
        self._file: IO[str] | None = None
        self._writer: Any = None

    def add(self, table: str, row: int | str, column: str, value: str | None, outcome: str, reason: str) -> None:
        """Write one line; `row` counts from 1 after the header, or names a line of the file."""
        if self._writer is None:
            descriptor = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            self._file = os.fdopen(descriptor, "w", encoding="utf-8", errors="backslashreplace", newline="")
            self._writer = csv.writer(self._file)
            self._writer.writerow(COLUMNS)
        shown = (value or "")[:LONGEST_VALUE].replace("\0", "␀")
        cells = [table, str(row), column, shown, outcome, reason]
        self._writer.writerow([safe_cell(c) for c in cells])
        self.lines += 1

    def close(self) -> Path | None:
        """Close the file and return its path, or None if nothing was refused."""
        if self._file is None:
            return None
        self._file.close()
        return self.path
