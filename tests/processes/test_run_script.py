"""The run script in a fresh clone whose path has a space; no network, so a stand-in plays uv."""

import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).parent.parent.parent

# Takes part in the conversation as uv does: says its version, makes the environment, installs slowly.
UV = """
import json, os, sys, time
from pathlib import Path
log = Path({log!r})
words = sys.argv[1:]
if words == ["--version"]:
    print("uv {version}")
    sys.exit(0)
with log.open("a") as file:
    file.write(json.dumps([word for word in words if word in ("venv", "sync") or word.endswith(".lock")]) + "\\n")
if words[0] == "venv":
    (Path(words[-1]) / "bin").mkdir(parents=True, exist_ok=True)
    link = Path(words[-1]) / "bin" / "python"
    link.unlink(missing_ok=True)
    link.symlink_to(sys.executable)
else:
    assert "--require-hashes" in words
    time.sleep(float(os.environ.get("INSTALL_SECONDS", "0")))
"""


class Clone:
    """A clone of this checkout with a stand-in for uv on the path."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "my checkout"
        subprocess.run(["git", "clone", "--quiet", str(CHECKOUT), str(self.path)], check=True)
        # What is being changed here is what has to work.
        shutil.copy(CHECKOUT / "run", self.path / "run")
        self.log = folder / "uv.log"
        self.tools = folder / "bin"
        self.tools.mkdir()
        self.home = folder / "home"
        self.home.mkdir()
        self.make_uv("0.13.9")

    def make_uv(self, version: str) -> None:
        """Put a stand-in of this version on the path."""
        program = self.tools / "uv.py"
        program.write_text(UV.format(log=str(self.log), version=version))
        uv = self.tools / "uv"
        # By way of the shell, since a path with a space cannot stand after #!.
        uv.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{program}" "$@"\n')
        uv.chmod(0o755)

    def begin(self, *words: str, **variables: str) -> subprocess.Popen[str]:
        """Start `./run WORDS` from another folder than the checkout."""
        environment = {"PATH": f"{self.tools}:/usr/bin:/bin", "HOME": str(self.home), **variables}
        return subprocess.Popen(
            [sys.executable, str(self.path / "run"), *words],
            cwd=self.home,
            env=environment,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )

    def run(self, *words: str, **variables: str) -> tuple[int, str, str]:
        """Run `./run WORDS` to its end; returns exit code, output and errors."""
        process = self.begin(*words, **variables)
        output, errors = process.communicate(timeout=60)
        return process.returncode, output, errors

    def calls(self) -> list[list[str]]:
        """Return what uv was asked to do so far."""
        return [json.loads(line) for line in self.log.read_text().splitlines()] if self.log.exists() else []

    def change(self, lock: str) -> None:
        """Change a lock file, as an upgrade does."""
        with (self.path / lock).open("a") as file:
            file.write("# another release\n")


@pytest.fixture
def clone(tmp_path: Path) -> Clone:
    """A fresh clone."""
    if not (CHECKOUT / ".git").exists():
        pytest.skip("this is no git checkout")
    return Clone(tmp_path)


def until(fact: Callable[[], bool]) -> None:
    """Wait up to 20 seconds for something to become true."""
    deadline = time.monotonic() + 20
    while not fact():
        assert time.monotonic() < deadline, "it did not become true in time"
        time.sleep(0.02)


VENV = ["venv"]
RUNTIME = ["sync", "requirements.lock"]
DEVELOPMENT = ["sync", "requirements-dev.lock"]


def test_help_works_in_a_fresh_clone_and_builds_nothing(clone: Clone) -> None:
    shown = subprocess.run(["./run", "help"], cwd=clone.path, capture_output=True, text=True, check=True).stdout
    for command in ("demo", "outreach", "test", "lint", "bench", "lock"):
        assert f"./run {command}" in shown
    assert not (clone.path / ".venv").exists()
    assert clone.run()[:2] == (0, shown)


def test_unknown_command_is_refused(clone: Clone) -> None:
    code, output, errors = clone.run("deploy")
    assert (code, output) == (2, "")
    assert "'deploy'" in errors
    assert "./run help" in errors
    assert clone.calls() == []


def test_second_run_asks_uv_for_nothing(clone: Clone) -> None:
    clone.run("bench")
    assert clone.calls() == [VENV, RUNTIME]
    _, _, errors = clone.run("bench")
    assert clone.calls() == [VENV, RUNTIME]
    assert "run:" not in errors


def test_arguments_and_exit_code_pass_through_from_any_folder(clone: Clone) -> None:
    bench = clone.path / "bench"
    bench.mkdir(exist_ok=True)
    (bench / "__init__.py").touch()
    (bench / "__main__.py").write_text("import os, sys; print(os.getcwd(), sys.argv[1:]); sys.exit(41)\n")
    # A folder of the same name where the person stands must not take the place of ours.
    (clone.home / "bench").mkdir()
    (clone.home / "bench" / "__main__.py").write_text("print('the wrong one')\n")
    code, output, _ = clone.run("bench", "two words", "--size", "small")
    assert (code, output) == (41, f"{clone.home} ['two words', '--size', 'small']\n")


def test_code_is_compiled_once_also_where_nothing_may_lie_beside_the_sources(clone: Clone) -> None:
    clone.run("bench", PYTHONDONTWRITEBYTECODE="1")
    assert list((clone.path / ".tools" / "bytecode").rglob("bench/__init__.*.pyc"))
    assert not list(clone.path.glob("*/__pycache__"))


def test_signals_reach_the_command_itself(clone: Clone) -> None:
    bench = clone.path / "bench"
    bench.mkdir(exist_ok=True)
    (bench / "__init__.py").touch()
    (bench / "__main__.py").write_text("import time; print('here', flush=True); time.sleep(60)\n")
    process = clone.begin("bench")
    assert process.stdout is not None
    assert process.stdout.readline() == "here\n"
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=10)
    assert process.returncode == -signal.SIGTERM


def test_development_set_serves_the_application_too(clone: Clone) -> None:
    clone.run("test", "--version")
    assert clone.calls() == [VENV, DEVELOPMENT]
    clone.run("bench")
    assert clone.calls() == [VENV, DEVELOPMENT]


def test_tests_add_to_an_environment_that_only_ran_the_application(clone: Clone) -> None:
    clone.run("bench")
    clone.run("test", "--version")
    assert clone.calls() == [VENV, RUNTIME, DEVELOPMENT]


def test_changed_lock_file_is_installed_and_takes_nothing_away(clone: Clone) -> None:
    clone.run("test", "--version")
    clone.change("requirements.lock")
    clone.run("bench")
    assert clone.calls() == [VENV, DEVELOPMENT, DEVELOPMENT]
    clone.change("requirements-dev.lock")
    clone.run("bench")
    assert len(clone.calls()) == 3
    clone.run("test", "--version")
    assert clone.calls()[3:] == [DEVELOPMENT]


def test_environment_of_a_run_killed_while_installing_is_made_anew(clone: Clone) -> None:
    killed = clone.begin("bench", INSTALL_SECONDS="2")
    until(lambda: clone.calls() == [VENV, RUNTIME])
    killed.kill()
    killed.communicate()
    # The installer lives on; the next run has to wait for it before it starts afresh.
    _, _, errors = clone.run("bench")
    assert "another run is building the environment" in errors
    assert clone.calls() == [VENV, RUNTIME, VENV, RUNTIME]


def test_two_runs_at_once_build_once(clone: Clone) -> None:
    first = clone.begin("bench", INSTALL_SECONDS="1")
    second = clone.begin("bench", INSTALL_SECONDS="1")
    said = [process.communicate(timeout=60)[1] for process in (first, second)]
    assert clone.calls() == [VENV, RUNTIME]
    assert sum("another run is building" in text for text in said) == 1


def test_lost_interpreter_is_noticed(clone: Clone) -> None:
    clone.run("bench")
    (clone.path / ".venv/bin/python").unlink()
    clone.run("bench")
    assert clone.calls() == [VENV, RUNTIME, VENV, RUNTIME]


def test_old_uv_is_not_used(clone: Clone) -> None:
    clone.make_uv("0.1.0")
    # Without pip there is no way to fetch a newer one; an empty module of that name is as good as none.
    (clone.home / "pip.py").write_text("raise SystemExit(1)\n")
    code, _, errors = clone.run("bench", PYTHONPATH=str(clone.home))
    assert code == 1
    assert "could not fetch uv" in errors
    assert clone.calls() == []


def test_nothing_that_run_makes_is_seen_by_git(clone: Clone) -> None:
    clone.run("bench")
    made = [".venv/x", ".tools/x", ".mypy_cache/x", ".ruff_cache/x", ".import_linter_cache/x", ".hypothesis/x"]
    ignored = subprocess.run(
        ["git", "check-ignore", *made, "app/__pycache__/x"], cwd=clone.path, capture_output=True, text=True
    ).stdout
    assert ignored.split() == [*made, "app/__pycache__/x"]
    seen = subprocess.run(["git", "status", "--short"], cwd=clone.path, capture_output=True, text=True).stdout
    assert [line for line in seen.splitlines() if not line.endswith(" run")] == []


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_checkout_of_another_user_says_who_has_to_start_it(clone: Clone) -> None:
    clone.path.chmod(0o555)
    try:
        code, _, errors = clone.run("bench")
    finally:
        clone.path.chmod(0o755)
    assert code == 1
    assert "the user who owns it has to start it once" in errors


def test_lock_ends_with_its_holder(clone: Clone) -> None:
    clone.run("bench")
    with (clone.path / ".tools/environment.lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)  # raises when somebody still has it
