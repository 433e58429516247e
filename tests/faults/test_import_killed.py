"""An import that is killed in the middle leaves nothing of its table behind, and the next one completes it."""

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

from sqlalchemy import text

from outreach.db import transaction
from outreach.imports import ImportReport, run_import

ROOT = Path(__file__).parents[2]
ROWS = 60_000
IMPORTER = """
import sys
from pathlib import Path
from outreach.imports import run_import
run_import(Path(sys.argv[1]), rejects=Path(sys.argv[2]), progress=lambda now: print(now.stage, now.rows, flush=True))
"""


def a_file(tmp_path: Path) -> Path:
    path = tmp_path / "customers.csv"
    with path.open("w") as file:
        file.write("customer_id,name,email\n")
        file.writelines(f"{n},Customer {n},customer-{n}@example.com\n" for n in range(ROWS))
    return path


def count() -> int:
    with transaction() as session:
        return int(session.execute(text("SELECT count(*) FROM customers")).scalar_one())


def test_an_import_killed_in_the_middle_is_repaired_by_the_next(database: str, tmp_path: Path) -> None:
    path = a_file(tmp_path)
    process = subprocess.Popen(
        [sys.executable, "-c", IMPORTER, str(path), str(tmp_path / "rejects.csv")],
        cwd=ROOT,
        env={**os.environ},
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        assert process.stdout is not None
        assert process.stdout.readline().startswith("reading")
        process.send_signal(signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL
    assert count() == 0
    assert run_import(path, rejects=tmp_path / "rejects.csv").tables["customers"].inserted == ROWS
    assert count() == ROWS


def test_two_imports_of_one_file_at_once_bring_each_row_in_once(database: str, tmp_path: Path) -> None:
    path = a_file(tmp_path)
    reports: list[ImportReport] = []
    threads = [
        threading.Thread(target=lambda n=n: reports.append(run_import(path, rejects=tmp_path / f"{n}.csv")))
        for n in range(2)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(report.tables["customers"].inserted for report in reports) == [0, ROWS]
    assert sorted(report.tables["customers"].unchanged for report in reports) == [0, ROWS]
    assert count() == ROWS
