"""A process does not start with a setting that it could not read later, and says so in words."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from app.checked_settings import check_settings, complaints
from outreach.errors import InvalidInput
from outreach.settings import Settings, get_settings

ROOT = Path(__file__).parents[2]


def test_an_installation_without_any_setting_starts() -> None:
    check_settings()


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("sms_hours", "25-99", "OUTREACH_SMS_HOURS: '25-99' is not a stretch of the day"),
        ("email_hours", "all day", "OUTREACH_EMAIL_HOURS: 'all day'"),
        ("time_zone", "Mars/Olympus", "OUTREACH_TIME_ZONE must be a name such as Europe/Berlin"),
        ("public_url", "care.example.com", "OUTREACH_PUBLIC_URL must be like https://"),
        ("email_from", "care at example", "OUTREACH_EMAIL_FROM must be an email address"),
        ("email_provider", "pigeon", "OUTREACH_EMAIL_PROVIDER must be sendgrid or smtp, not 'pigeon'"),
        ("email_second_provider", "sendgrid", "OUTREACH_EMAIL_SECOND_PROVIDER must be another one"),
        ("sms_from", "+15551230000=many", "OUTREACH_SMS_FROM must be senders with weights"),
        ("postcard_from", "Example|Street", "OUTREACH_POSTCARD_FROM must be: name|line 1|"),
        ("sendgrid_unsubscribe_groups", "service=x", "OUTREACH_SENDGRID_UNSUBSCRIBE_GROUPS holds 'service=x'"),
    ],
)
def test_what_cannot_be_read_is_named_with_its_variable(name: str, value: str, said: str) -> None:
    (found,) = complaints(Settings(_env_file=None, **{name: value}))  # type: ignore[call-arg, arg-type]
    assert said in found


def test_all_are_named_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OUTREACH_TIME_ZONE", "Nowhere")
    monkeypatch.setenv("OUTREACH_SMS_HOURS", "late")
    get_settings.cache_clear()
    with pytest.raises(InvalidInput, match=r"OUTREACH_SMS_HOURS.*OUTREACH_TIME_ZONE"):
        check_settings()


@pytest.mark.parametrize("command", ["api", "worker", "beat", "up"])
def test_each_process_ends_with_a_sentence_and_no_traceback(command: str, tmp_path: Path) -> None:
    environment = os.environ | {
        "OUTREACH_HOME": str(tmp_path), "OUTREACH_TIME_ZONE": "Nowhere", "OUTREACH_SECRET_KEY": "Zk3sX9qLw8TnVb2R" * 3,
    }  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-m", "app.cli", command], cwd=ROOT, env=environment, capture_output=True, text=True,
        timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    said = done.stdout + done.stderr
    assert said.startswith("outreach: OUTREACH_TIME_ZONE must be a name such as Europe/Berlin, not 'Nowhere'.")
    assert "Traceback" not in said
