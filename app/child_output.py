"""The logs of child processes: written by the children themselves, followed and kept small by the parent.

A child writes to its file directly, not through a pipe, so that nothing is lost and nobody blocks when the parent
has been killed.
"""

import os
import shutil
from pathlib import Path
from typing import BinaryIO, TextIO

LARGEST_LOG = 50 * 1024 * 1024  # bytes; one older part of that size is kept beside it


class Log:
    """The log file of one child; `follow` shows what has come since the last look."""

    def __init__(self, folder: Path, name: str, echo: TextIO | None = None) -> None:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.path = folder / f"{name}.log"
        self._prefix = f"{name:<8}| "
        self._echo = echo
        self._shown = self.path.stat().st_size if self.path.exists() else 0
        self._partial = b""

    def open(self) -> BinaryIO:
        """Return the file as the output of a new child; appending, so that two writers never overwrite each other."""
        descriptor = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        return os.fdopen(descriptor, "ab", buffering=0)

    def follow(self) -> None:
        """Show new whole lines with the child's name before each, then make room in a file grown too large."""
        if not self.path.exists():
            return
        if self._echo is not None:
            self._show(self._echo)
        if self.path.stat().st_size > LARGEST_LOG:
            shutil.copyfile(self.path, self.path.with_suffix(".log.1"))
            os.truncate(self.path, 0)

    def tail(self, lines: int = 15) -> str:
        """Return the last lines, to say why a child died."""
        if not self.path.exists():
            return ""
        with self.path.open("rb") as file:
            file.seek(max(0, self.path.stat().st_size - 16_384))
            return "\n".join(file.read().decode(errors="replace").splitlines()[-lines:])

    def _show(self, echo: TextIO) -> None:
        with self.path.open("rb") as file:
            if self.path.stat().st_size < self._shown:
                self._shown = 0  # truncated, by us or by a log rotation
            file.seek(self._shown)
            new = file.read()
        self._shown += len(new)
        *whole, self._partial = (self._partial + new).split(b"\n")
        for line in whole:
            echo.write(self._prefix + line.decode(errors="replace") + "\n")
        if whole:
            echo.flush()
