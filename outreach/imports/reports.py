"""What an import says while it runs and when it is done."""

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True)
class Progress:
    """Where an import stands; `done` is the share of the table's input that was read, None where unknown."""

    table: str
    stage: str  # reading, merging
    rows: int
    done: float | None = None


@dataclass(slots=True)
class TableCounts:
    """What became of the rows meant for one table.

    read = inserted + updated + unchanged + repeated + erased + rejected.
    `repeated` rows share their key with a later row of the same input, which won. `erased` rows belong to
    customers who asked to be forgotten. `without_customer` counts rows that went in and reach nobody.
    """

    read: int = 0
    inserted: int = 0
    updated: int = 0
    unchanged: int = 0
    repeated: int = 0
    erased: int = 0
    rejected: int = 0
    values_dropped: int = 0
    without_customer: int = 0


@dataclass(slots=True)
class ImportReport:
    """The result of one import; `rejects` is the file of refused rows and dropped values, if there are any."""

    source: Path
    dry_run: bool
    tables: dict[str, TableCounts] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    rejects: Path | None = None
    seconds: float = 0.0

    def as_json(self) -> dict[str, Any]:
        """Return the report as plain JSON values."""
        return {
            **asdict(self),
            "source": str(self.source),
            "rejects": str(self.rejects) if self.rejects else None,
            "seconds": round(self.seconds, 3),
        }
