"""CSV and JSON lines, read line by line so that every refused row can be named and memory stays flat.

DuckDB reads mappings and Parquet; files with the standard headers come through here because a refused line
must neither stop the rest nor shift the numbers of the rows after it.
"""

import codecs
import csv
import gzip
import io
import zlib
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import orjson

from outreach.errors import InvalidInput
from outreach.imports.sources import BATCH_ROWS, MOST_COLUMNS, Batch, Refuse, Source

LONGEST_LINE = 1_000_000  # characters
LONGEST_CELL = 131_072
DELIMITERS = ",;\t|"
_BYTE_ORDER_MARKS = {codecs.BOM_UTF8: "utf-8-sig", codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16"}


class TextFile:
    """An open text file, unpacked if need be; knows how much of it was read and where its lines are."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.size = max(path.stat().st_size, 1)
        self._raw: IO[bytes] = path.open("rb")
        try:
            self._text = self._as_text()
        except BaseException:
            self._raw.close()
            raise

    def _as_text(self) -> io.TextIOWrapper:
        packed = self._raw.read(2) == b"\x1f\x8b"
        self._raw.seek(0)
        binary: Any = gzip.GzipFile(fileobj=self._raw) if packed else self._raw
        start = self._read_start(binary)
        binary.seek(0)
        encoding = next((name for mark, name in _BYTE_ORDER_MARKS.items() if start.startswith(mark)), "utf-8")
        if encoding != "utf-16" and b"\0" in start:
            raise InvalidInput(
                f"{self.path.name} is not a text file, or is UTF-16 without byte order mark; save it as UTF-8.",
                where="source",
            )
        # Bytes that are not UTF-8 survive as lone surrogates, so that only their own row is refused.
        errors = "replace" if encoding == "utf-16" else "surrogateescape"
        return io.TextIOWrapper(binary, encoding=encoding, errors=errors, newline="")

    def _read_start(self, binary: Any) -> bytes:
        try:
            return bytes(binary.read(4096).split(b"\n")[0])
        except (OSError, EOFError, zlib.error) as error:
            raise self._damaged() from error

    def _damaged(self) -> InvalidInput:
        return InvalidInput(f"{self.path.name} is damaged or cut off; nothing of it was imported.", where="source")

    def read_line(self) -> str:
        """Return the next line with its end, at most `LONGEST_LINE` + 1 characters of it; '' at the end of the file."""
        try:
            return self._text.readline(LONGEST_LINE + 1)
        except (OSError, EOFError, zlib.error, UnicodeError) as error:
            raise self._damaged() from error

    def skip_line(self) -> None:
        """Read on to the end of a line that was too long."""
        while (part := self.read_line()) and not part.endswith(("\n", "\r")):
            pass

    def done(self) -> float:
        """Return the share of the file that was read, 0 to 1."""
        return min(self._raw.tell() / self.size, 1.0)

    def close(self) -> None:
        """Close the file."""
        self._text.close()
        self._raw.close()


class _Lines:
    """Feeds csv.reader, and takes lines back when a quote that is never closed has swallowed them."""

    def __init__(self, file: TextFile) -> None:
        self._file = file
        self._back: deque[str] = deque()
        self.taken: list[str] = []
        self.too_long = False

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        found = self._back.popleft() if self._back else self._file.read_line()
        if not found:
            raise StopIteration
        if len(found) > LONGEST_LINE:
            self._file.skip_line()
            self.too_long = True
            found = "\n"
        self.taken.append(found)
        return found

    def give_back(self) -> None:
        """Give all lines of the current record back but its first."""
        self._back.extendleft(reversed(self.taken[1:]))


@contextmanager
def open_csv(path: Path, refuse: Refuse) -> Iterator[Source]:
    """Open a CSV file (comma, semicolon, tab or bar; plain or gzip; UTF-8 or UTF-16 with its mark)."""
    csv.field_size_limit(LONGEST_CELL)
    file = TextFile(path)
    try:
        lines = _Lines(file)
        first = next(lines, "")
        if not first.strip() or lines.too_long:
            raise InvalidInput(f"{path.name} is empty or does not begin with a line of headers.", where="source")
        delimiter = max(DELIMITERS, key=first.count)
        headers = next(csv.reader([first.rstrip("\r\n")], delimiter=delimiter))
        if len(headers) > MOST_COLUMNS:
            raise InvalidInput(
                f"{path.name} has {len(headers):,} columns; {MOST_COLUMNS:,} is the most.", where="source"
            )
        yield Source(headers, _csv_batches(file, lines, delimiter, len(headers), refuse))
    finally:
        file.close()


def _csv_batches(file: TextFile, lines: _Lines, delimiter: str, width: int, refuse: Refuse) -> Iterator[Batch]:
    numbers: list[int] = []
    rows: list[Sequence[Any]] = []
    for number, row in _csv_rows(lines, delimiter, width, refuse):
        numbers.append(number)
        rows.append(row)
        if len(rows) == BATCH_ROWS:
            yield Batch(numbers, rows, file.done())
            numbers, rows = [], []
    if rows:
        yield Batch(numbers, rows, 1.0)


def _csv_rows(lines: _Lines, delimiter: str, width: int, refuse: Refuse) -> Iterator[tuple[int, list[str]]]:
    reader = csv.reader(lines, delimiter=delimiter, strict=True)
    number = 0
    while True:
        lines.taken, lines.too_long = [], False
        try:
            row = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            number += 1
            refuse(number, "", lines.taken[0] if lines.taken else "", f"this line cannot be read as CSV: {error}")
            lines.give_back()
            # A fresh reader: the old one may be at the end of its input.
            reader = csv.reader(lines, delimiter=delimiter, strict=True)
            continue
        if lines.too_long:
            number += 1
            refuse(number, "", "", f"a line of more than {LONGEST_LINE:,} characters")
        elif row:
            number += 1
            if len(row) > width and not any(row[width:]):
                row = row[:width]
            if len(row) == width:
                yield number, row
            else:
                refuse(number, "", delimiter.join(row), f"has {len(row)} cells where the header has {width}")


@contextmanager
def open_json_lines(path: Path, refuse: Refuse) -> Iterator[Source]:
    """Open a file of one JSON object per line, plain or gzip; its headers are all names that occur."""
    headers = _json_names(path)
    file = TextFile(path)
    try:
        yield Source(headers, _json_batches(file, headers, refuse))
    finally:
        file.close()


def _json_objects(file: TextFile, refuse: Refuse | None) -> Iterator[tuple[int, dict[str, Any]]]:
    number = 0
    while found := file.read_line():
        too_long = len(found) > LONGEST_LINE
        if too_long:
            file.skip_line()
        if not found.strip():
            continue
        number += 1
        reason = f"a line of more than {LONGEST_LINE:,} characters" if too_long else "not a JSON object"
        try:
            value = None if too_long else orjson.loads(found)
        except (orjson.JSONDecodeError, UnicodeError) as error:
            value, reason = None, f"not JSON: {error}"
        if isinstance(value, dict):
            yield number, value
        elif refuse:
            refuse(number, "", found[:200], reason)


def _json_names(path: Path) -> list[str]:
    file = TextFile(path)
    names: dict[str, None] = {}
    try:
        for _, value in _json_objects(file, None):
            names.update(dict.fromkeys(value))
            if len(names) > MOST_COLUMNS:
                raise InvalidInput(f"{path.name} has more than {MOST_COLUMNS:,} different names.", where="source")
    finally:
        file.close()
    if not names:
        raise InvalidInput(f"{path.name} holds no JSON object; it takes one per line.", where="source")
    return list(names)


def _json_batches(file: TextFile, headers: list[str], refuse: Refuse) -> Iterator[Batch]:
    numbers: list[int] = []
    rows: list[Sequence[Any]] = []
    for number, value in _json_objects(file, refuse):
        numbers.append(number)
        rows.append([value.get(name) for name in headers])
        if len(rows) == BATCH_ROWS:
            yield Batch(numbers, rows, file.done())
            numbers, rows = [], []
    if rows:
        yield Batch(numbers, rows, 1.0)
