"""Keeping what knocked, before anybody answers 2xx: one statement that commits by itself, and PostgreSQL alone.

Nothing is parsed and nobody is woken: a broken Redis can neither lose an event nor delay the answer. The sweep
finds what was kept within seconds.
"""

import hashlib
from collections.abc import Mapping

import orjson
from sqlalchemy import text

from outreach.db import committing

# What of the headers is kept: what parsing needs, no secrets and no signatures.
KEPT_HEADERS = (
    *("content-type", "webhook-id", "x-zendesk-webhook-id", "x-zendesk-webhook-invocation-id"),
    *("x-atlassian-webhook-identifier", "x-zammad-delivery"),
)
LONGEST_KEY = 200

_KEEP = text("""
INSERT INTO inbound_events (source, key, headers, body) VALUES (:source, :key, cast(:headers AS jsonb), :body)
ON CONFLICT (source, key) DO NOTHING
""")


def keep(*, source: str, key: str | None, headers: Mapping[str, str], query: str, body: bytes) -> bool:
    """Keep a verified event, once per source and key; returns false when it was there already.

    Without a natural key the bytes themselves, with their query string, are the key. Raises `Unavailable` when the
    database did not take it, so that the sender tries again.
    """
    kept = {name: value for name in KEPT_HEADERS if (value := headers.get(name)) is not None}
    with committing() as connection:
        stored = connection.execute(
            _KEEP,
            {
                "source": source,
                "key": key_of(key, query, body),
                "headers": orjson.dumps({**kept, "query": query}).decode().replace("\\u0000", ""),
                "body": body,
            },
        )
        return stored.rowcount == 1


def key_of(key: str | None, query: str, body: bytes) -> str:
    """Return what makes an event the same one: its own key, or the digest of what came."""
    if key is not None and 0 < len(key) <= LONGEST_KEY and key.isprintable():
        return key
    digest = hashlib.sha256(query.encode("utf-8", "replace") + b"\n")
    if key is not None:
        digest.update(key.encode("utf-8", "replace"))
    digest.update(body)
    return digest.hexdigest()
