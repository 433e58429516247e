"""`outreach import`: bring customers, products, orders, items, tickets and events in from files."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, TaskID, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bars

from app.printing import AsJson, print_json, print_rows, say, terminal_actor
from outreach.imports import KINDS, ImportReport, Progress, TableCounts, run_import


def import_command(
    source: Annotated[Path, typer.Argument(help="A file with the standard headers, or a folder of SELECT statements.")],
    data: Annotated[Path | None, typer.Option(help="The folder of your files, for a folder of statements.")] = None,
    kind: Annotated[
        str | None, typer.Option(help=f"What a single file holds: {', '.join(KINDS)}. Read from its name if absent.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Do everything, then undo it.")] = False,
    rejects: Annotated[
        Path | None, typer.Option(help="Where refused rows and dropped values are listed (NAME.rejects.csv).")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Import from CSV, CSV.GZ, JSON lines or Parquet; importing the same file again changes nothing."""
    # The bars go to standard error, so that standard output holds the report alone.
    with _bars(Console(stderr=True)) as progress:
        report = run_import(
            source,
            data=data,
            kind=kind,
            dry_run=dry_run,
            rejects=rejects,
            actor=terminal_actor().name,
            progress=progress,
        )
    if as_json:
        print_json(report.as_json())
    else:
        _show(report)


@contextmanager
def _bars(console: Console) -> Iterator[Callable[[Progress], None]]:
    """Show a bar per table; where the size of the input is unknown it only moves."""
    tasks: dict[str, TaskID] = {}
    columns = (
        TextColumn("{task.description:<10}"),
        BarColumn(),
        TextColumn("{task.fields[rows]:>12,} rows"),
        TextColumn("{task.fields[stage]}"),
        TimeElapsedColumn(),
    )
    with Bars(*columns, console=console) as bars:

        def progress(now: Progress) -> None:
            if now.table not in tasks:
                tasks[now.table] = bars.add_task(now.table, total=None, rows=0, stage="")
            share = 1.0 if now.stage == "done" else now.done if now.stage == "reading" else None
            bars.update(
                tasks[now.table],
                total=None if share is None else 1.0,
                completed=share or 0.0,
                rows=now.rows,
                stage=now.stage,
            )

        yield progress


def _show(report: ImportReport) -> None:
    rows = [
        {"rows": name.replace("_", " "), **{kind: getattr(counts, name) for kind, counts in report.tables.items()}}
        for name in (f.name for f in fields(TableCounts))
    ]
    title = "Dry run: nothing was changed" if report.dry_run else ""
    print_rows(rows, ["rows", *report.tables], as_json=False, title=title)
    for note in report.notes:
        say(note)
    if report.rejects:
        say(f"Refused rows and dropped values are listed in {report.rejects}")
    say(f"{report.seconds:.1f} seconds")
