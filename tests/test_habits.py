"""The rules of the house that a machine can check; docs/map.md and CONTRIBUTING.md say why they are there."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("outreach", "segments", "campaigns", "webhooks", "app", "sandbox")
FILES = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py") if "versions" not in path.parts)
LONGEST_FILE, LONGEST_FUNCTION = 400, 60


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_files_and_functions_stay_short(path: Path) -> None:
    source = path.read_text()
    assert len(source.splitlines()) <= LONGEST_FILE
    long = [
        f"{node.name} has {node.end_lineno - node.lineno + 1} lines"
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and node.end_lineno is not None
        and node.end_lineno - node.lineno + 1 > LONGEST_FUNCTION
    ]
    assert long == []


def test_file_names_say_something() -> None:
    attic = {"utils", "util", "helpers", "helper", "common", "misc", "manager", "service", "services"}
    assert [str(path) for path in FILES if path.stem in attic] == []


def test_only_the_database_module_commits() -> None:
    commits = [str(path) for path in FILES if re.search(r"\bsession\.commit\(", path.read_text())]
    assert commits == []


def test_only_the_clock_asks_what_time_it_is() -> None:
    asking = [
        str(path.relative_to(ROOT))
        for path in FILES
        if re.search(r"datetime\.now\(|datetime\.utcnow\(|date\.today\(", path.read_text())
    ]
    # The sandbox imports nothing of ours and has its own clock; an adapter reads a provider's times.
    allowed = ("outreach/clock.py", "campaigns/providers/", "sandbox/")
    assert [name for name in asking if not name.startswith(allowed)] == []


def test_no_path_of_one_machine_is_in_the_code() -> None:
    home = re.compile(r"""["'(\s]/(home|Users|root|work)/\w""")
    assert [str(path) for path in FILES if home.search(path.read_text())] == []
