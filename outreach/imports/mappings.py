"""DuckDB runs SELECT statements over the user's own files: a folder of statements, or one Parquet file.

The statements see the files of one folder and nothing else: no network, no extensions, no writing.
"""

import tempfile
from collections.abc import Iterator
from contextlib import chdir, contextmanager
from pathlib import Path
from threading import Lock

import duckdb

from outreach.errors import InvalidInput
from outreach.imports.headers import TABLES, Table, normal_header
from outreach.imports.sources import BATCH_ROWS, Batch, Refuse, Source

MEMORY_LIMIT = "256MB"  # beyond it, DuckDB sorts and joins on disk
THREADS = 2
PREPARE = "prepare.sql"  # views and macros that the other statements share
NOTES = "notes.sql"  # SELECT text: what the report should say beside its counts

_PLAIN_TYPES = frozenset(
    {"BOOLEAN", "TINYINT", "SMALLINT", "INTEGER", "BIGINT", "UTINYINT", "USMALLINT", "UINTEGER", "FLOAT", "DOUBLE"}
)
Line = tuple[str, int]  # a line of a file
# Relative names in the statements are looked up in the data folder. DuckDB knows only the folder of the
# process for that once outside access is off, and that folder is shared by all threads.
_working_folder = Lock()


def statements(folder: Path) -> dict[str, str]:
    """Return the SELECT statement of each kind that the folder holds, in the order of the import."""
    found = {kind: folder / f"{kind}.sql" for kind in TABLES}
    present = {kind: path.read_text(encoding="utf-8") for kind, path in found.items() if path.is_file()}
    if not present:
        names = ", ".join(f"{kind}.sql" for kind in TABLES)
        raise InvalidInput(
            f"{folder} holds none of {names}; a mapping is a folder of SELECT statements.", where="source"
        )
    known = {*(path.name for path in found.values()), PREPARE, NOTES}
    if strangers := sorted(p.name for p in folder.glob("*.sql") if p.name not in known):
        raise InvalidInput(f"{folder} holds {', '.join(strangers)}, which is the name of no table.", where="source")
    return present


@contextmanager
def open_duckdb(data: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    """Open a DuckDB in memory that reads the files below `data` and nothing else."""
    data = data.resolve()
    if not data.is_dir():
        raise InvalidInput(f"There is no folder {data}; --data names the folder of your files.", where="data")
    with (
        tempfile.TemporaryDirectory(prefix="outreach-import-") as spill,
        duckdb.connect(
            config={"autoinstall_known_extensions": "false", "autoload_known_extensions": "false"}
        ) as connection,
        _working_folder,
        chdir(data),
    ):
        quoted = [str(folder).replace("'", "''") for folder in (data, spill)]
        connection.execute(f"SET memory_limit = '{MEMORY_LIMIT}'; SET threads = {THREADS}; SET timezone = 'UTC'")
        connection.execute(f"SET temp_directory = '{quoted[1]}'")
        connection.execute(f"SET allowed_directories = ['{quoted[0]}/', '{quoted[1]}/']")
        connection.execute("SET enable_external_access = false; SET lock_configuration = true")
        yield connection


def prepare(connection: duckdb.DuckDBPyConnection, folder: Path) -> None:
    """Run the views and macros that the statements of this folder share."""
    path = folder / PREPARE
    if path.is_file():
        with _explained(PREPARE):
            for statement in duckdb.extract_statements(path.read_text(encoding="utf-8")):
                if statement.type not in {duckdb.StatementType.CREATE, duckdb.StatementType.SET}:
                    raise InvalidInput(f"{PREPARE} may hold CREATE and SET VARIABLE only.", where=PREPARE)
                connection.execute(statement)


def notes(connection: duckdb.DuckDBPyConnection, folder: Path) -> list[str]:
    """Return the lines that the mapping wants in the report."""
    path = folder / NOTES
    if not path.is_file():
        return []
    with _explained(NOTES):
        return [
            str(row[0]) for row in connection.execute(_one_select(path.read_text(encoding="utf-8"), NOTES)).fetchall()
        ]


def select(
    connection: duckdb.DuckDBPyConnection, statement: str, table: Table, where: str, seen: set[Line], refuse: Refuse
) -> Source:
    """Run one SELECT and return its rows; standard columns come as text, numbers among the others stay numbers.

    Lines that `read_csv(…, store_rejects = true)` could not read are refused by their line in the file;
    `seen` are those that an earlier statement over the same file has named already.
    """
    with _explained(where):
        inner = _one_select(statement, where).strip().rstrip(";")
        columns = connection.execute(f"DESCRIBE ({inner}\n)").fetchall()
        if repeated := {name for name, *_ in columns if sum(name == other for other, *_ in columns) > 1}:
            raise InvalidInput(f"{where}: the column {min(repeated)} occurs more than once.", where=where)
        cells = ", ".join(_cell(str(name), str(kind), table) for name, kind, *_ in columns)
        connection.execute(f"SELECT {cells} FROM ({inner}\n)")
    return Source([str(name) for name, *_ in columns], _batches(connection, where, seen, refuse))


def _cell(name: str, kind: str, table: Table) -> str:
    quoted = '"' + name.replace('"', '""') + '"'
    other = not table.field(normal_header(name))
    if other and kind.startswith("DECIMAL"):
        return f"CAST({quoted} AS DOUBLE) AS {quoted}"
    plain = kind in _PLAIN_TYPES and other
    return quoted if plain or kind == "VARCHAR" else f"CAST({quoted} AS VARCHAR) AS {quoted}"


def _batches(connection: duckdb.DuckDBPyConnection, where: str, seen: set[Line], refuse: Refuse) -> Iterator[Batch]:
    number = 1
    while True:
        with _explained(where):
            rows = connection.fetchmany(BATCH_ROWS)
        if not rows:
            _refuse_unread_lines(connection, seen, refuse)
            return
        yield Batch(list(range(number, number + len(rows))), list(rows))
        number += len(rows)


def _refuse_unread_lines(connection: duckdb.DuckDBPyConnection, seen: set[Line], refuse: Refuse) -> None:
    try:
        connection.execute(
            "SELECT file_path, line, csv_line, error_message "
            "FROM reject_errors JOIN reject_scans USING (scan_id, file_id) ORDER BY file_path, line"
        )
    except duckdb.CatalogException:
        return  # no statement has asked for it
    while found := connection.fetchmany(BATCH_ROWS):
        for file, line, content, reason in found:
            if (file, line) not in seen:
                seen.add((file, line))
                refuse(f"line {line} of {file}", "", content, reason)


def _one_select(statement: str, where: str) -> str:
    found = duckdb.extract_statements(statement)
    if len(found) != 1 or found[0].type != duckdb.StatementType.SELECT:
        raise InvalidInput(f"{where} must hold one SELECT statement.", where=where)
    return found[0].query


@contextmanager
def _explained(where: str) -> Iterator[None]:
    try:
        yield
    except duckdb.PermissionException as error:
        raise InvalidInput(
            f"{where} asks for something outside the data folder, which it may not read: {error}", where=where
        ) from error
    except duckdb.OutOfMemoryException as error:
        raise InvalidInput(f"{where} needs more than {MEMORY_LIMIT} of memory: {error}", where=where) from error
    except (duckdb.Error, UnicodeError) as error:
        raise InvalidInput(f"{where}: {error}", where=where) from error
