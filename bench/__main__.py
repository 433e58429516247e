"""`python -m bench NAME [--size small|full] --json`: measure, and print one JSON object; logs go to standard error."""

import argparse
import importlib
import json
import pkgutil
import sys
from pathlib import Path
from typing import Any

import structlog

_NOT_BENCHES = {
    "sink",
    "smtp_sink",
    "post_office_stack",
    "sending_machine",
    "sending_rows",
    "naive_stack",
    "prototype",
    "planning_cost",
    "dispatch_worker",
    "webhook_doors",
    "webhook_load",
    "__main__",
    "own_database",
    "programme_year",
    "segment_questions",
}


def names() -> list[str]:
    """Return what can be measured: the modules of this package that have a `run`."""
    return sorted(
        each.name for each in pkgutil.iter_modules([str(Path(__file__).parent)]) if each.name not in _NOT_BENCHES
    )


def main() -> int:
    """Run one bench; exit 1 when a goal is missed."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("name", choices=names())
    parser.add_argument("--size", choices=["small", "full"], default="full")
    parser.add_argument("--json", action="store_true", help="print the result as JSON only")
    given = parser.parse_args()
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    found: dict[str, Any] = importlib.import_module(f"bench.{given.name}").run(given.size)
    if not given.json:
        _show(found)
    print(json.dumps(found, default=str))
    return int(any(goal["holds"] is False for goal in found["goals"]))


def _show(found: dict[str, Any]) -> None:
    for row in found["rows"]:
        print("  ".join(f"{key}={value}" for key, value in row.items()))
    for goal in found["goals"]:
        verdict = {True: "holds", False: "MISSED", None: "not judged"}[goal["holds"]]
        print(f"{goal['goal']}: {goal['value']} (must be {goal['must']}): {verdict}")


if __name__ == "__main__":
    sys.exit(main())
