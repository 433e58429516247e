"""Real webhook bodies and signature vectors; tests that want one are skipped where they are absent."""

import json
from pathlib import Path
from typing import Any

import pytest

WEBHOOKS = Path(__file__).parents[3] / "shared" / "data" / "webhooks"


def sample_bytes(name: str) -> bytes:
    """Return the exact bytes of a sample, or skip the test."""
    path = WEBHOOKS / name
    if not path.exists():
        pytest.skip(f"the webhook samples of ../shared/data are not here ({name})")
    return path.read_bytes()


def sample(name: str) -> Any:
    """Return the JSON of a sample, or skip the test."""
    return json.loads(sample_bytes(name))


def flipped(body: bytes) -> list[bytes]:
    """Return the body with one bit changed, once for each of its bytes."""
    return [body[:i] + bytes([body[i] ^ 1]) + body[i + 1 :] for i in range(len(body))]
