"""What the demo shows: a line per stage, a progress bar per channel, tables; silent where nobody looks."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table

Bars = Callable[[str, int, int], None]


class Screen:
    """Writes to standard error, so that standard output holds the result alone."""

    def __init__(self) -> None:
        self.console = Console(stderr=True, highlight=False)

    def stage(self, title: str, detail: str = "") -> None:
        """Begin a stage of the story."""
        self.console.print(f"\n[bold]{title}[/bold]")
        if detail:
            self.console.print(f"  {detail}", style="dim")

    def say(self, line: str) -> None:
        """Say one thing that happened."""
        self.console.print(f"  {line}", markup=False)

    @contextmanager
    def bars(self) -> Iterator[Bars]:
        """Show progress bars while the block lasts: `show(name, done, total)`."""
        columns = (
            TextColumn("  {task.description:<12}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
        )
        known: dict[str, TaskID] = {}
        with Progress(*columns, console=self.console) as progress:

            def show(name: str, done: int, total: int) -> None:
                if name not in known:
                    known[name] = progress.add_task(name, total=total)
                progress.update(known[name], completed=done, total=total)

            yield show

    def table(self, title: str, header: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
        """Show a table; numbers stand to the right."""
        table = Table(title=title, title_justify="left", title_style="bold")
        for number, name in enumerate(header):
            table.add_column(name, justify="right" if number else "left")
        for row in rows:
            table.add_row(*[str(cell) for cell in row])
        self.console.print()
        self.console.print(table)

    def account(self, accounts: Sequence[Mapping[str, Any]]) -> None:
        """Show the account of each campaign as one column, and every row that does not add up."""
        lines: dict[str, dict[str, int]] = {}
        for account in accounts:
            for line, number in _lines(account):
                lines.setdefault(line, {})[str(account["name"])] = number
        names = [str(account["name"]) for account in accounts]
        rows = [
            (line, *(numbers.get(name, 0) for name in names)) for line, numbers in sorted(lines.items(), key=_place)
        ]
        self.table("The account: every recipient, once", ("recipients", *names), rows)
        for account in accounts:
            for found in account["discrepancies"]:
                self.say(f"{account['name']}: {found['what']} ({found['count']}): {', '.join(found['rows'][:5])}")


# In which order the lines of an account stand; skipped and failed are followed by their reasons.
_ORDER = ("audience", "delivered", "on the way", "skipped", "failed", "held out", "unaccounted")


def _lines(account: Mapping[str, Any]) -> Iterator[tuple[str, int]]:
    for line in ("audience", "delivered", "on the way", "held out", "unaccounted"):
        yield line, account[line.replace(" ", "_")]
    for state in ("skipped", "failed"):
        for reason, number in account[state].items():
            yield f"{state}: {reason.replace('_', ' ')}", number


def _place(line: tuple[str, object]) -> tuple[int, str]:
    return _ORDER.index(line[0].split(":")[0]), line[0]
