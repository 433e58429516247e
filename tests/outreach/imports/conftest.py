from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from outreach.db import transaction
from outreach.imports import ImportReport, run_import

ROOT = Path(__file__).parents[3]


@pytest.fixture
def examples() -> Path:
    """The folder of mappings."""
    return ROOT / "examples"


@pytest.fixture
def rejects(tmp_path: Path) -> Path:
    """Where the test's refused rows go."""
    return tmp_path / "rejects.csv"


@pytest.fixture
def bring(database: str, tmp_path: Path, rejects: Path) -> Callable[..., ImportReport]:
    """Import text or bytes as a file of that kind, e.g. `bring("customers", "customer_id,email\\n1,a@example.com")`."""

    def run(kind: str, content: str | bytes, *, name: str = "input.csv", dry_run: bool = False) -> ImportReport:
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return run_import(path, kind=kind, rejects=rejects, dry_run=dry_run)

    return run


@pytest.fixture
def ask(database: str) -> Callable[..., Sequence[Any]]:
    """Run a SELECT and return its rows."""

    def run(statement: str, **values: Any) -> Sequence[Any]:
        with transaction() as session:
            return [tuple(row) for row in session.execute(text(statement), values)]

    return run
