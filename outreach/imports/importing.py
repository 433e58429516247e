"""The one verb of this package: bring a file, or a folder of SELECT statements, into the tables."""

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import duckdb
from sqlalchemy import text
from sqlalchemy.orm import Session

from outreach import audit, clock
from outreach.db import engine, transaction
from outreach.errors import InvalidInput
from outreach.imports import mappings, textfiles
from outreach.imports.headers import TABLES, Table, guess_kind, table_of
from outreach.imports.merging import merge
from outreach.imports.rejects import Rejects
from outreach.imports.reports import ImportReport, Progress, TableCounts
from outreach.imports.sources import Refuse, Source
from outreach.imports.staging import open_reader, refuser, stage

CSV_ENDINGS = (".csv", ".csv.gz", ".tsv", ".tsv.gz")
JSON_ENDINGS = (".jsonl", ".jsonl.gz", ".ndjson", ".ndjson.gz")
PARQUET_ENDINGS = (".parquet",)
IMPORT_LOCK = 7303  # two imports at once wait for each other


class _Undo(Exception):
    """Rolls a dry run back."""


@dataclass(frozen=True, slots=True)
class _Input:
    table: Table
    where: str
    open: Callable[[Refuse], AbstractContextManager[Source]]


def _silent(_progress: Progress) -> None:
    pass


def run_import(
    source: Path,
    *,
    data: Path | None = None,
    kind: str | None = None,
    dry_run: bool = False,
    rejects: Path | None = None,
    actor: str = "import",
    progress: Callable[[Progress], None] = _silent,
) -> ImportReport:
    """Import one file with the standard headers, or a folder of SELECT statements over the files in `data`.

    Each table is one transaction: all its good rows go in, or none if the process dies; running it again
    repairs that, for an import changes only what differs. A dry run does everything and undoes it. Refused
    rows and dropped values are listed in `rejects` (by default `NAME.rejects.csv` in the current folder).
    `actor` is who did it, for the audit log. Raises `InvalidInput` when nothing can be imported at all,
    `Unavailable` when the database is down.
    """
    started = time.monotonic()
    # Settings and relative paths are read before DuckDB takes the process to the data folder.
    engine()
    source = source.absolute()
    listed = Rejects((rejects or Path(f"{source.name.split('.')[0]}.rejects.csv")).absolute())
    report = ImportReport(source, dry_run)
    try:
        with _inputs(source, data, kind, report) as inputs:
            if dry_run:
                with suppress(_Undo), transaction() as session:
                    for each in inputs:
                        _import_one(session, each, report, listed, actor, progress)
                    raise _Undo
            else:
                for each in inputs:
                    with transaction() as session:
                        _import_one(session, each, report, listed, actor, progress)
    finally:
        report.rejects = listed.close()
    report.seconds = time.monotonic() - started
    return report


def _import_one(
    session: Session,
    each: _Input,
    report: ImportReport,
    rejects: Rejects,
    actor: str,
    progress: Callable[[Progress], None],
) -> None:
    session.execute(text(f"SELECT pg_advisory_xact_lock({IMPORT_LOCK})"))
    # A slow SELECT of the user's leaves this transaction idle for as long as it takes.
    session.execute(text("SET LOCAL idle_in_transaction_session_timeout = 0"))
    session.execute(text("SET LOCAL statement_timeout = 0"))
    session.execute(text("SET LOCAL work_mem = '64MB'"))
    counts = report.tables.setdefault(each.table.kind, TableCounts())
    with each.open(refuser(each.table, counts, rejects)) as source:
        reader, hints = open_reader(each.table, source, counts, rejects, each.where)
        report.notes += hints
        staged = stage(session, each.table, source, reader, progress)
    progress(Progress(each.table.kind, "merging", counts.read, 1.0))
    report.notes += merge(session, staged, counts, rejects)
    audit.record(
        session,
        actor=actor,
        action="import.run",
        subject=f"{each.table.kind}:{report.source.name}",
        detail=asdict(counts),
        now=clock.now(session),
    )
    progress(Progress(each.table.kind, "done", counts.read, 1.0))


@contextmanager
def _inputs(source: Path, data: Path | None, kind: str | None, report: ImportReport) -> Iterator[list[_Input]]:
    if source.is_dir():
        if kind:
            raise InvalidInput("A folder says its kinds itself; --kind is for single files.", where="kind")
        found = mappings.statements(source)
        with mappings.open_duckdb(data or source) as duck:
            mappings.prepare(duck, source)
            seen: set[mappings.Line] = set()
            yield [
                _Input(
                    TABLES[name], f"{name}.sql", partial(_opened, duck, statement, TABLES[name], f"{name}.sql", seen)
                )
                for name, statement in found.items()
            ]
            report.notes += mappings.notes(duck, source)
        return
    if not source.is_file():
        raise InvalidInput(f"There is no file or folder {source}.", where="source")
    if data:
        raise InvalidInput("--data goes with a folder of SELECT statements, not with a single file.", where="data")
    name = source.name.casefold()
    wanted = kind or guess_kind(source.name)
    if not wanted:
        raise InvalidInput(
            f"{source.name} does not say what it holds; give --kind, one of {', '.join(TABLES)}.", where="kind"
        )
    table = table_of(wanted)
    if name.endswith(CSV_ENDINGS):
        yield [_Input(table, source.name, partial(textfiles.open_csv, source))]
    elif name.endswith(JSON_ENDINGS):
        yield [_Input(table, source.name, partial(textfiles.open_json_lines, source))]
    elif name.endswith(PARQUET_ENDINGS):
        with mappings.open_duckdb(source.parent) as duck:
            statement = "SELECT * FROM read_parquet('{}')".format(source.name.replace("'", "''"))
            yield [_Input(table, source.name, partial(_opened, duck, statement, table, source.name, set()))]
    else:
        endings = ", ".join((*CSV_ENDINGS, *JSON_ENDINGS, *PARQUET_ENDINGS))
        raise InvalidInput(f"{source.name} is of no kind we read; it must end with one of {endings}.", where="source")


def _opened(
    duck: duckdb.DuckDBPyConnection, statement: str, table: Table, where: str, seen: set[mappings.Line], refuse: Refuse
) -> AbstractContextManager[Source]:
    return nullcontext(mappings.select(duck, statement, table, where, seen, refuse))
