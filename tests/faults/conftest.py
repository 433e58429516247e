"""Installations with short leases, for tests that kill and break things."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.installation import Installation

SHORT = {
    "lease_seconds": "2", "reconcile_grace_seconds": "1", "tick_seconds": "0.5", "provider_connections": "4",
    "email_messages_per_call": "5", "sendgrid_email_activity": "true",
    "circuit_seconds": "1",
}  # fmt: skip

Install = Callable[..., Installation]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Install]:
    """Return a function that starts the sandbox with these faults, and stops everything in the end."""
    started: list[Installation] = []

    def start(faults: dict[str, Any] | None = None, **settings: str) -> Installation:
        made = Installation(tmp_path, monkeypatch, "--faults", json.dumps(faults or {}), **{**SHORT, **settings})
        started.append(made)
        return made

    yield start
    for made in started:
        made.stop()
