"""The command line as a person or script runs it: a process of its own, its output and its exit status."""

import io
import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import typer
from sqlalchemy import select

from app import cli
from app.command_line import application_for
from outreach.db import transaction
from outreach.models import AuditEntry, Campaign, Customer, Operator
from outreach.permissions import Permission
from outreach.settings import get_settings
from outreach.vocabulary import CampaignKind, CampaignState, NoticeClass

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Done:
    """What a command left: its exit status and what it printed where."""

    returncode: int
    stdout: str
    stderr: str


class Terminal:
    """Runs commands in this process, as `python -m app.cli` would."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        self._monkeypatch = monkeypatch
        self._capsys = capsys

    def run(self, *words: str, given: str = "", **settings: str) -> Done:
        """Run one command, which ends by itself; an error that it does not explain fails the test."""
        for name, value in settings.items():
            self._monkeypatch.setenv(name, value)
        get_settings.cache_clear()
        self._monkeypatch.setattr(sys, "argv", ["outreach", *words])
        self._monkeypatch.setattr(sys, "stdin", io.StringIO(given))
        self._capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            cli.main()
        said = self._capsys.readouterr()
        return Done(int(ended.value.code or 0), said.out, said.err)

    def result(self, *words: str, given: str = "") -> Any:
        """Run one command with --json and return what it printed."""
        done = self.run(*words, "--json", given=given)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)


@pytest.fixture
def terminal(database: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Terminal:
    """A terminal on a database of the test's own."""
    return Terminal(monkeypatch, capsys)


def outreach(*words: str) -> subprocess.CompletedProcess[str]:
    """Run one command in a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "app.cli", *words],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


WORDS = (
    "up", "api", "worker", "beat", "migrate", "sandbox", "demo", "import", "problem", "segment", "scope", "campaign",
    "ledger", "unknown", "programme", "survey", "health", "operator", "key", "inbox", "customer", "inbound", "webhook",
)  # fmt: skip


def test_each_word_brings_what_it_needs_and_help_brings_them_all() -> None:
    words_of = typer.main.get_command
    assert set(words_of(application_for("--help")).list_commands(None)) == set(WORDS)  # type: ignore[attr-defined]
    assert set(words_of(application_for("")).list_commands(None)) == set(WORDS)  # type: ignore[attr-defined]
    for word in WORDS:
        assert word in words_of(application_for(word)).list_commands(None)  # type: ignore[attr-defined]


def test_a_command_reads_nothing_that_others_need() -> None:
    look = """
import sys, typer
from app.command_line import application_for
found = typer.main.get_command(application_for({0!r})).commands[{0!r}]
print(*sys.modules, "words:", *getattr(found, "commands", []))
"""
    loaded, words = {}, {}
    for word in ("beat", "campaign", "import"):
        done = subprocess.run([sys.executable, "-c", look.format(word)], cwd=ROOT, capture_output=True, check=True)
        loaded[word], _, words[word] = done.stdout.decode().partition("words:")
    assert "duckdb" in loaded["import"].split()
    assert "duckdb" not in loaded["beat"].split() + loaded["campaign"].split()
    # Two modules make these: alone it has all that it has among the others.
    whole = typer.main.get_command(application_for("--help")).commands["campaign"]  # type: ignore[attr-defined]
    assert words["campaign"].split() == list(whole.commands)


def test_a_problem_lives_at_the_command_line_and_each_step_is_audited(terminal: Terminal) -> None:
    assert terminal.result("problem", "report", "A line is missing", "--severity", "high")["key"] == "P-1"
    known = terminal.result(
        "problem", "known", "P-1", "--text", "Found", "--next-update-by", "2030-01-01T12:00:00+01:00"
    )
    assert (known["state"], known["next_update_by"]) == ("known", "2030-01-01T11:00:00Z")
    assert terminal.result("problem", "resolve", "P-1", "--fix", "A new line")["fix"] == "A new line"
    shown = terminal.result("problem", "show", "P-1")
    assert [entry["to_state"] for entry in shown["updates"]] == ["investigating", "known", "resolved"]
    assert [row["key"] for row in terminal.result("problem", "list", "--state", "resolved")] == ["P-1"]
    with transaction() as session:
        entries = session.scalars(select(AuditEntry).order_by(AuditEntry.id)).all()
    assert [entry.action for entry in entries] == ["problem.report", "problem.known", "problem.resolve"]
    assert all(entry.actor.startswith("terminal:") for entry in entries)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("problem", "close", "P-404"), "There is no problem P-404."),
        (("campaign", "approve", "C-404"), "There is no campaign C-404."),
        (("ledger", "verify", "C-404", "--json"), "There is no campaign C-404."),
        (("key", "revoke", "0123456789"), "There is no API key"),
        (("problem", "known", "P-404", "--fixed-by", "tomorrow"), "--fixed-by 'tomorrow' is not a time"),
        (("operator", "create", "nobody", "--generate"), "'nobody' is not an email address"),
    ],
)
def test_an_error_is_one_clear_line_with_exit_status_1(terminal: Terminal, words: tuple[str, ...], said: str) -> None:
    done = terminal.run(*words)
    assert done.returncode == 1
    assert done.stdout == ""
    assert said in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_without_a_database_a_command_says_how_to_get_one() -> None:
    done = outreach("problem", "list")
    assert (done.returncode, done.stdout) == (1, "")
    assert "run `outreach up`" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_wrong_setting_is_named(terminal: Terminal) -> None:
    done = terminal.run("migrate", OUTREACH_TICK_SECONDS="often")
    assert done.returncode == 1
    assert "OUTREACH_TICK_SECONDS" in done.stderr


@pytest.mark.parametrize("process", ["api", "beat"])
def test_no_process_starts_with_a_weak_secret_key(terminal: Terminal, process: str) -> None:
    done = terminal.run(process, OUTREACH_SECRET_KEY="changeme")
    assert done.returncode == 1
    assert "OUTREACH_SECRET_KEY is too weak" in done.stderr


def test_an_operator_gets_a_password_from_standard_input_or_a_made_one(terminal: Terminal) -> None:
    made = terminal.result("operator", "create", "anna@example.com", "--role", "admin", "--generate")
    assert len(made["password"]) >= 16
    given = terminal.result("operator", "create", "b@example.com", "--password-stdin", given="four unrelated words\n")
    assert "password" not in given
    short = terminal.run("operator", "create", "c@example.com", "--password-stdin", given="short\n")
    assert (short.returncode, "12 to 256" in short.stderr) == (1, True)
    assert [row["role"] for row in terminal.result("operator", "list")] == ["admin", "viewer"]
    with transaction() as session:
        hashes = session.scalars(select(Operator.password_hash)).all()
    assert all(kept.startswith("$argon2id$") for kept in hashes)


def test_a_key_made_here_opens_the_api_until_it_is_revoked_here(api_server: Any, terminal: Terminal) -> None:
    made = terminal.result("key", "create", "desk", "--allow", Permission.PROBLEMS_READ)
    bearer = f"Bearer {made['key']}"
    assert api_server.ask("GET", "/api/problems", authorization=bearer).status == 200
    assert made["key"] not in terminal.run("key", "list", "--json").stdout
    terminal.result("key", "revoke", made["prefix"])
    assert api_server.ask("GET", "/api/problems", authorization=bearer).status == 401


def test_a_campaign_is_approved_paused_resumed_and_cancelled(terminal: Terminal) -> None:
    with transaction() as session:
        session.add(
            Campaign(
                key="C-1", name="Known", kind=CampaignKind.KNOWN, notice_class=NoticeClass.SERVICE,
                state=CampaignState.WAITING_APPROVAL, template_key="known", template_version=1,
                ladder=[{"channel": "email"}], grades=["affected"], created_by="anna",
            )
        )  # fmt: skip
    states = [terminal.result("campaign", verb, "C-1")["state"] for verb in ("approve", "pause", "resume", "cancel")]
    assert states == ["running", "paused", "running", "cancelled"]
    again = terminal.run("campaign", "approve", "C-1")
    assert (again.returncode, "cancelled" in again.stderr) == (1, True)
    account = terminal.result("ledger", "verify", "C-1")
    assert (account["audience"], account["unaccounted"], account["adds_up"]) == (0, 0, True)


def test_what_customers_write_cannot_command_the_terminal(terminal: Terminal) -> None:
    with transaction() as session:
        session.add(Customer(external_id="C-1"))
    terminal.run("problem", "report", "[red]bold[/red] \x1b[2J\x07 end")
    shown = terminal.run("problem", "list").stdout
    assert "\x1b" not in shown
    assert "\x07" not in shown
    assert "[red]" in shown
