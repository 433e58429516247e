"""How commands print: tables for people, one JSON object or list for programs."""

import dataclasses
import getpass
import sys
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Annotated, Any

import orjson
import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from outreach.permissions import Actor, person_at_the_terminal

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]


def terminal_actor() -> Actor:
    """Return who acts at this terminal, by the name of the system's account."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):
        user = "unknown"  # in a container without an entry for this user
    return person_at_the_terminal(user)


def say(text: str) -> None:
    """Tell the person something, on the error stream: the output belongs to the result."""
    sys.stderr.write(_harmless(text) + "\n")
    sys.stderr.flush()


def print_json(value: Any) -> None:
    """Print one value as one line of JSON."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        value = dataclasses.asdict(value)
    typer.echo(orjson.dumps(value, option=orjson.OPT_UTC_Z).decode())


def print_rows(rows: Iterable[Mapping[str, Any]], columns: Sequence[str], *, as_json: bool, title: str = "") -> None:
    """Print rows as a table of `columns`, or whole as a JSON list."""
    if as_json:
        print_json([dict(row) for row in rows])
        return
    table = Table(title=title or None, title_justify="left", header_style="bold")
    for column in columns:
        table.add_column(column.replace("_", " "), overflow="fold")
    for row in rows:
        table.add_row(*(_cell(row.get(column)) for column in columns))
    Console().print(table)


def print_fields(fields: Mapping[str, Any], *, as_json: bool) -> None:
    """Print one thing, a line per field that has a value, or whole as a JSON object."""
    if as_json:
        print_json(dict(fields))
        return
    grid = Table.grid(padding=(0, 2))
    for name, value in fields.items():
        if value not in (None, "", [], {}):
            grid.add_row(Text(name.replace("_", " "), style="bold"), _cell(value))
    Console().print(grid)


def _cell(value: Any) -> Text:
    if isinstance(value, datetime):
        return Text(f"{value:%Y-%m-%d %H:%M}")
    if isinstance(value, (list, tuple)):
        return Text(_harmless(", ".join(str(part) for part in value)))
    # Text, not markup: a customer's name must not colour or command the terminal.
    return Text("" if value is None else _harmless(str(value)))


def _harmless(text: str) -> str:
    return "".join(letter if letter.isprintable() or letter == "\n" else "\N{REPLACEMENT CHARACTER}" for letter in text)
