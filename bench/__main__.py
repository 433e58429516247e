"""`python -m bench NAME [--size small|full] [--json]`: measure the product beside a naive and a bare baseline.

Each benchmark is a module `bench/NAME.py` with `run(size) -> dict` (docs/performance.md says what is in it). One JSON
object is the last line; the exit status is 1 when a goal that had to hold does not.
"""

import argparse
import importlib
import json
import os
import sys
from pathlib import Path

NOT_BENCHMARKS = {"__init__", "__main__"}


def names() -> list[str]:
    """Return the benchmarks there are: the modules with a `run`."""
    files = sorted(Path(__file__).parent.glob("*.py"))
    return [file.stem for file in files if file.stem not in NOT_BENCHMARKS and "\ndef run(" in file.read_text()]


def main() -> int:
    """Run one benchmark and print what it found."""
    options = argparse.ArgumentParser(prog="python -m bench")
    options.add_argument("name", choices=names())
    options.add_argument("--size", choices=("small", "full"), default="small")
    options.add_argument("--json", action="store_true", help="print only the JSON object")
    given = options.parse_args()
    result = importlib.import_module(f"bench.{given.name}").run(given.size)
    result = {"bench": given.name, "size": given.size, **result, "load": list(os.getloadavg())}
    if not given.json:
        for goal in result.get("goals", []):
            verdict = {True: "holds", False: "MISSED"}.get(goal.get("holds"), "not judged")
            print(f"{goal['goal']:<60} {goal['value']:>12} must be {goal.get('must')}  {verdict}")
    print(json.dumps(result, default=str))
    return 1 if any(goal.get("holds") is False for goal in result.get("goals", [])) else 0


if __name__ == "__main__":
    sys.exit(main())
