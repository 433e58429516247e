"""What the description of the API promises is what the API does, whatever is sent to it.

Schemathesis makes up requests from the description, good ones and bad ones, sends them to the real application and
compares each answer with what is described. `OPENAPI_EXAMPLES=200 ./run test tests/app/test_openapi.py` sends more of
them, with every limit that the description names, and chains of requests too.
"""

import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from campaigns.programmes.sweeps import sweep
from outreach import clock
from outreach.db import transaction
from outreach.permissions import Permission
from outreach.settings import get_settings
from tests.campaigns.programmes.people import at, join, message, survey
from tests.webhooks.test_personal_data import lived
from tests.webhooks.test_replies import desk
from tests.webhooks.test_webhook_doors import signer

assert desk  # the fixture of a connected desk
assert signer  # the fixture of the secrets that webhooks are signed with
EXAMPLES = int(os.environ.get("OPENAPI_EXAMPLES", "0"))
CHECKS = (
    "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance,"
    "response_headers_conformance"
)
SETTINGS = Path(__file__).with_name("schemathesis.toml")
NOBODY = "http://127.0.0.1:9"  # the discard port: it may be asked, and nobody answers
SCHEDULE = {"hours": "0-23", "business_days": False}

RULE = {"related": "order_items", "where": {"field": "lot", "op": "equals", "value": "A7"}}

ONE_OF_EACH: tuple[tuple[str, Any], ...] = (
    ("PUT", "/api/segments/it", {"name": "It", "definition": RULE}),
    ("POST", "/api/surveys", {"key": "it", "name": "It", "kind": "csat"}),
    (
        "POST",
        "/api/programmes",
        {
            "key": "it", "name": "It", "kind": "check-in", "segment": "it",
            "definition": {"schedule": SCHEDULE, "steps": [survey("it"), message()]},
        },
    ),
    ("POST", "/api/programmes/it/activate", None),
    (
        "POST",
        "/api/connectors",
        {
            "key": "it", "kind": "jira", "name": "It", "base_url": NOBODY, "account": "agent@example.com",
            "api_secret": "a-very-secret-token", "webhook_secrets": ["hook-secret"], "options": {"project": "IT"},
        },
    ),
    ("POST", "/api/webhooks-out", {"name": "It", "url": NOBODY, "events": ["*"]}),
    ("POST", "/api/webhooks-out/1/test", None),
    (
        "POST",
        "/api/operators",
        {"email": "ann@example.com", "name": "Ann", "role": "author", "password": "correct horse battery staple"},
    ),
    ("POST", "/api/api-keys", {"name": "spare", "permissions": ["problems.read"]}),
    ("POST", "/api/sending-stops", {"reason": "test", "channel": "postcard"}),
)  # fmt: skip

MORE = (
    "UPDATE api_keys SET prefix = 'spare' WHERE name = 'spare'",
    "INSERT INTO problem_candidates (fingerprint, sentence, proposed_at) VALUES ('f', 'Five of six', now())",
    """INSERT INTO inbound_events (source, key, body, state, error)
       VALUES ('desk-it', 'e', convert_to('{"webhookEvent": "jira:issue_updated"}', 'UTF8'), 'dead', 'no issue')""",
    """WITH made AS (
           INSERT INTO attempts (chunk_id, fence, provider, message_ids, state, leased_until)
           SELECT 1, 1, 'sendgrid', array_agg(id), 'unknown', now() FROM messages RETURNING id
       ) UPDATE messages SET send_state = 'unknown', attempt_id = made.id FROM made""",
)


@pytest.fixture
def key(api_server: Any, monkeypatch: pytest.MonkeyPatch) -> str:
    """Put one of each thing into the database, most of them called `it`; return a key for everything."""
    monkeypatch.setenv("OUTREACH_DESK_ORIGINS", NOBODY)
    monkeypatch.setenv("OUTREACH_WEBHOOKS_OUT_ALLOWED", NOBODY)
    get_settings.cache_clear()
    with transaction() as session:
        now = clock.now(session)
        lived(session)
        session.execute(text("UPDATE problems SET key = 'it'"))
        session.execute(text("UPDATE campaigns SET key = 'it'"))
    key: str = api_server.key(*Permission)
    for method, path, body in ONE_OF_EACH:
        answer = api_server.ask(method, path, body, authorization=key)
        assert answer.status < 300, (path, answer.data)
    with transaction() as session:
        join(session, session.scalars(text("SELECT id FROM segments WHERE key = 'it'")).one(), now, "true")
    sweep(at(now))
    with transaction() as session:
        for statement in MORE:
            session.execute(text(statement))
    return key


@pytest.fixture(autouse=True)
def _no_names_of_the_world(monkeypatch: pytest.MonkeyPatch) -> None:
    """Addresses that were made up point nowhere, without asking the network."""
    real = socket.getaddrinfo

    def here_only(host: Any, *rest: Any, **more: Any) -> Any:
        if host not in ("127.0.0.1", "localhost", None):
            raise socket.gaierror(socket.EAI_NONAME, "no such name in a test")
        return real(host, *rest, **more)

    monkeypatch.setattr(socket, "getaddrinfo", here_only)


def _complaints(url: str, folder: Path, *options: str) -> str:
    """Send made-up requests; return what is wrong with the answers, empty when nothing is."""
    command = [
        sys.executable, "-m", "schemathesis.cli", "--config-file", str(SETTINGS), "run", f"{url}/api/openapi.json",
        "--checks", CHECKS, "--continue-on-failure", "--no-color", "--workers=1", "--request-timeout=30", *options,
    ]  # fmt: skip
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    sys.stdout.write(done.stdout)
    return done.stdout + done.stderr if done.returncode else ""


@pytest.mark.timeout(EXAMPLES * 30 or 180)
def test_what_is_described_is_what_is_answered(api_server: Any, key: str, tmp_path: Path) -> None:
    long = ("--phases=examples,coverage,fuzzing,stateful", f"--max-examples={EXAMPLES}")
    short = ("--phases=fuzzing", "--max-examples=6", "--generation-deterministic")
    complaints = _complaints(api_server.url, tmp_path, "-H", f"Authorization: {key}", *(long if EXAMPLES else short))
    assert not complaints, complaints


@pytest.mark.timeout(EXAMPLES * 30 or 180)
def test_whoever_brings_no_key_or_a_wrong_signature_is_refused_as_described(
    api_server: Any, signer: Any, tmp_path: Path
) -> None:
    examples = f"--max-examples={EXAMPLES // 10 or 1}"
    options = ("--phases=fuzzing", examples, "--generation-deterministic", "--warnings=off")
    complaints = _complaints(api_server.url, tmp_path, *options)
    assert not complaints, complaints
