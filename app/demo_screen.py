"""What the demo shows: a line per stage, a progress bar per channel, tables; silent where nobody looks."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

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

    def account(self, accounts: Sequence[Mapping[str, object]]) -> None:
        """Show the account of each campaign as one row."""
        header = ("campaign", "audience", "delivered", "on the way", "skipped", "failed", "held out", "unaccounted")
        rows = []
        for account in accounts:
            skipped, failed = account["skipped"], account["failed"]
            assert isinstance(skipped, dict)  # noqa: S101 - the API's schema says so
            assert isinstance(failed, dict)  # noqa: S101
            rows.append(
                (
                    account["name"],
                    account["audience"],
                    account["delivered"],
                    account["on_the_way"],
                    _reasons(skipped),
                    _reasons(failed),
                    account["held_out"],
                    account["unaccounted"],
                )
            )
        self.table("The account: every recipient, once", header, rows)
        for account in accounts:
            for found in account["discrepancies"] or ():  # type: ignore[attr-defined]
                self.say(f"{account['name']}: {found['what']} ({found['count']}): {', '.join(found['rows'][:5])}")


def _reasons(counts: Mapping[str, int]) -> str:
    return "\n".join(f"{count} {reason.replace('_', ' ')}" for reason, count in sorted(counts.items())) or "0"
