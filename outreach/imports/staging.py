"""Rows stream by COPY into a temporary table, each value read by its field; refused rows and values are noted."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import orjson
from psycopg import Cursor, sql
from sqlalchemy.orm import Session

from outreach.errors import InvalidInput
from outreach.imports import values
from outreach.imports.headers import Table, check_headers
from outreach.imports.rejects import DROPPED, REFUSED, Rejects
from outreach.imports.reports import Progress, TableCounts
from outreach.imports.sources import Batch, Refuse, Source

PROGRESS_SECONDS = 0.2
Cell = str | None


@dataclass(frozen=True, slots=True)
class Staged:
    """A staging table: `columns` are the standard ones that the source had."""

    table: Table
    name: str
    columns: tuple[str, ...]
    has_attributes: bool


def raw_cursor(session: Session) -> Cursor[Any]:
    """Return a psycopg cursor on the session's own connection and transaction, for COPY."""
    driver: Any = session.connection().connection.driver_connection
    cursor: Cursor[Any] = driver.cursor()
    return cursor


def refuser(table: Table, counts: TableCounts, rejects: Rejects) -> Refuse:
    """Return what a source calls for a row that it cannot even read."""

    def refuse(row: int | str, column: str, value: str | None, reason: str) -> None:
        counts.read += 1
        counts.rejected += 1
        rejects.add(table.kind, row, column, value, REFUSED, reason)

    return refuse


class Reader:
    """Turns batches of raw cells into rows of the staging table."""

    def __init__(self, table: Table, headers: list[str], counts: TableCounts, rejects: Rejects) -> None:
        self.table, self.counts, self.rejects = table, counts, rejects
        self.positions = {name: headers.index(name) for name in headers if table.field(name)}
        self.fields = [f for f in table.fields if f.name in self.positions]
        self.others = [(index, name) for index, name in enumerate(headers) if name and not table.field(name)]

    def rows(self, batch: Batch) -> list[tuple[Any, ...]]:
        """Return (row number, standard cells…, attributes) of the rows that may go in."""
        self.counts.read += len(batch.rows)
        kept = [i for i, row in enumerate(batch.rows) if self._is_storable(batch.numbers[i], row)]
        numbers = [batch.numbers[i] for i in kept]
        rows = [batch.rows[i] for i in kept]
        raw = list(zip(*rows, strict=True)) if rows else [()] * (len(self.positions) + len(self.others))
        refused: set[int] = set()
        columns: dict[str, list[Cell]] = {}
        for field in self.fields:
            cells = [
                "" if c is None else c if isinstance(c, str) else _as_text(c) for c in raw[self.positions[field.name]]
            ]
            regions = columns.get("country") if field.name == "phone" else None
            found, bad = _read_column(field.read, cells, regions)
            for index, reason in bad:
                self._note(numbers[index], field.name, cells[index], field.strict, reason, refused, index)
            if field.required:
                for index, value in enumerate(found):
                    if value is None and index not in refused:
                        self._note(numbers[index], field.name, "", True, "is missing", refused, index)
            columns[field.name] = found
        parts: list[Sequence[Any]] = [numbers, *(columns[f.name] for f in self.fields)]
        if self.others:
            parts.append([_attributes(row, self.others) for row in rows])
        done = list(zip(*parts, strict=True))
        return [row for index, row in enumerate(done) if index not in refused] if refused else done

    def _is_storable(self, number: int, row: Sequence[Any]) -> bool:
        joined = "".join([c for c in row if isinstance(c, str)])
        if joined.isascii():
            reason = "holds a NUL byte" if "\0" in joined else None
        elif "\0" in joined:
            reason = "holds a NUL byte"
        else:
            reason = None if _is_unicode(joined) else "is not UTF-8; save the file as UTF-8"
        if reason:
            self.counts.rejected += 1
            self.rejects.add(self.table.kind, number, "", joined, REFUSED, reason)
        return reason is None

    def _note(
        self, row: int, column: str, value: str, strict: bool, reason: str, refused: set[int], index: int
    ) -> None:
        if index in refused:
            return
        if strict:
            refused.add(index)
            self.counts.rejected += 1
        else:
            self.counts.values_dropped += 1
        self.rejects.add(self.table.kind, row, column, value, REFUSED if strict else DROPPED, reason)


def _read_column(
    read: Callable[[str], Cell], cells: list[str], regions: list[Cell] | None
) -> tuple[list[Cell], list[tuple[int, str]]]:
    pairs: list[Any] = cells if regions is None else list(zip(cells, regions, strict=True))
    known: dict[Any, Cell] = {}
    reasons: dict[Any, str] = {}
    for pair in set(pairs):
        try:
            known[pair] = read(pair) if regions is None else values.phone(*pair)
        except values.Bad as error:
            known[pair] = None
            reasons[pair] = error.message
    bad = [(index, reasons[pair]) for index, pair in enumerate(pairs) if pair in reasons] if reasons else []
    return [known[pair] for pair in pairs], bad


def _as_text(cell: Any) -> str:
    if isinstance(cell, bool):
        return "true" if cell else "false"
    return orjson.dumps(cell).decode() if isinstance(cell, dict | list) else str(cell)


def _is_unicode(value: str) -> bool:
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def _attributes(row: Sequence[Any], others: list[tuple[int, str]]) -> str:
    found = {name: (None if row[index] == "" else row[index]) for index, name in others}
    return orjson.dumps(found, default=str, option=orjson.OPT_NON_STR_KEYS).decode()


def stage(
    session: Session,
    table: Table,
    source: Source,
    reader: Reader,
    progress: Callable[[Progress], None],
) -> Staged:
    """Copy all rows of a source into a temporary table of this transaction and return it."""
    name = f"staged_{table.kind}"
    typed = [sql.SQL("{} {}").format(sql.Identifier(f.name), sql.SQL(f.sql_type)) for f in reader.fields]
    extra = [sql.SQL("attributes jsonb")] if reader.others else []
    columns = sql.SQL(", ").join([sql.SQL("row bigint"), *typed, *extra])
    cursor = raw_cursor(session)
    cursor.execute(sql.SQL("CREATE TEMP TABLE {} ({}) ON COMMIT DROP").format(sql.Identifier(name), columns))
    told = 0.0
    with cursor.copy(sql.SQL("COPY {} FROM STDIN").format(sql.Identifier(name))) as copy:
        for batch in source.batches:
            for row in reader.rows(batch):
                copy.write_row(row)
            if time.monotonic() - told > PROGRESS_SECONDS:
                told = time.monotonic()
                progress(Progress(table.kind, "reading", reader.counts.read, batch.done))
    cursor.execute(sql.SQL("ANALYZE {}").format(sql.Identifier(name)))
    return Staged(table, name, tuple(f.name for f in reader.fields), bool(reader.others))


def open_reader(
    table: Table, source: Source, counts: TableCounts, rejects: Rejects, where: str
) -> tuple[Reader, list[str]]:
    """Check the headers of a source and return its reader, with hints about columns that look misspelt."""
    headers, hints = check_headers(table, source.headers, where)
    if not headers:
        raise InvalidInput(f"{where} has no columns.", where=where)
    return Reader(table, headers, counts, rejects), hints
