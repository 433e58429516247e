"""Memory stays flat however long the file is: each size is imported by a process of its own."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[3]
IMPORTER = """
import resource, sys
from pathlib import Path
from outreach.imports import run_import
report = run_import(Path(sys.argv[1]), kind="customers", rejects=Path(sys.argv[2]))
assert report.tables["customers"].inserted == int(sys.argv[3])
unit = 1024 if sys.platform == "darwin" else 1
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // unit)
"""


def peak_kilobytes(tmp_path: Path, first: int, rows: int) -> int:
    """Import that many customers in a new process and return its largest size."""
    path = tmp_path / f"customers-{first}.csv"
    with path.open("w") as file:
        file.write("customer_id,name,email,phone,country,tier,since\n")
        file.writelines(
            f"{n},Customer {n},customer-{n}@example.com,+1202555{n % 100:04},US,gold,2026-01-01\n"
            for n in range(first, first + rows)
        )
    done = subprocess.run(
        [sys.executable, "-c", IMPORTER, str(path), str(tmp_path / "rejects.csv"), str(rows)],
        cwd=ROOT,
        env={**os.environ},
        capture_output=True,
        text=True,
        timeout=150,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return int(done.stdout)


def test_ten_times_the_rows_take_no_more_memory(database: str, tmp_path: Path) -> None:
    small = peak_kilobytes(tmp_path, 0, 6_000)
    large = peak_kilobytes(tmp_path, 1_000_000, 60_000)
    assert large - small < 25_000, f"{small} kB for 6,000 rows, {large} kB for 60,000"
