"""The rules of the house that a machine can check; docs/map.md and CONTRIBUTING.md say why they are there."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("outreach", "segments", "campaigns", "webhooks", "app", "sandbox")
FILES = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py") if "versions" not in path.parts)
LONGEST_FILE, LONGEST_BODY = 400, 50


def body_lines(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Count the lines of a function below its signature; SQL and other long texts count as one line each."""
    inside: set[int] = set()
    for node in ast.walk(function):
        if isinstance(node, ast.JoinedStr) or (isinstance(node, ast.Constant) and isinstance(node.value, str)):
            inside.update(range(node.lineno + 1, (node.end_lineno or node.lineno) + 1))
    lines = range(function.body[0].lineno, (function.end_lineno or function.lineno) + 1)
    return sum(line not in inside for line in lines)


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_files_and_functions_stay_short(path: Path) -> None:
    source = path.read_text()
    assert len(source.splitlines()) <= LONGEST_FILE
    functions = [
        node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    ]
    assert [f"{f.name} has {body_lines(f)} lines" for f in functions if body_lines(f) > LONGEST_BODY] == []


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
    # The sandbox imports nothing of ours and has its own clock; an adapter reads its neighbour's times.
    allowed = ("outreach/clock.py", "campaigns/providers/", "webhooks/desks/", "sandbox/")
    assert [name for name in asking if not name.startswith(allowed)] == []


def test_no_path_of_one_machine_is_in_the_code() -> None:
    home = re.compile(r"""["'(\s]/(home|Users|root|work)/\w""")
    assert [str(path) for path in FILES if home.search(path.read_text())] == []
