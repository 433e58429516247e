"""Messages that were handed over, straight into the tables, and SendGrid's signature: the start of webhook tests."""

import base64
from collections.abc import Sequence
from typing import Any
from uuid import UUID

import orjson
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from sqlalchemy import text
from sqlalchemy.orm import Session

from webhooks.providers import sendgrid

_SENT = text("""
WITH campaign AS (
    INSERT INTO campaigns (key, name, kind, notice_class, state, template_key, template_version, ladder, grades,
                           created_by)
    VALUES ('C-' || (SELECT count(*) + 1 FROM campaigns), 'Instructions', 'known', 'service', 'running', 'known', 1,
            '[{"channel": "email"}]', '["likely"]', 'test') RETURNING id
), people AS (
    INSERT INTO customers (external_id, name, email, phone)
    SELECT 'c-' || i, 'Ann ' || i, 'ann.' || i || '@example.com', '+1202555' || lpad(i::text, 4, '0')
    FROM generate_series(1, :number) AS i ORDER BY i
    ON CONFLICT (external_id) DO UPDATE SET name = excluded.name RETURNING id, email, phone
), owed AS (
    INSERT INTO notices (campaign_id, customer_id, grade, state)
    SELECT campaign.id, people.id, 'likely', 'owed' FROM people, campaign ORDER BY people.id
    RETURNING id, campaign_id, customer_id
), chunk AS (
    INSERT INTO chunks (campaign_id, channel, template_version, state, due_at, size)
    SELECT id, :channel, 1, 'done', now(), :number FROM campaign RETURNING id
)
INSERT INTO messages (notice_id, campaign_id, customer_id, channel, chunk_id, address, send_state, provider, sent_at)
SELECT owed.id, owed.campaign_id, owed.customer_id, :channel, chunk.id,
       CASE :channel WHEN 'email' THEN people.email ELSE people.phone END, 'accepted', :provider, now()
FROM owed JOIN people ON people.id = owed.customer_id, chunk ORDER BY owed.id
RETURNING id
""")


def sent_messages(session: Session, number: int, *, channel: str = "email", provider: str = "sendgrid") -> list[UUID]:
    """Make `number` customers with one accepted message each, in one running campaign; returns the message ids."""
    rows = session.scalars(_SENT, {"number": number, "channel": channel, "provider": provider})
    return [UUID(str(row)) for row in rows]


def sendgrid_event(message_id: UUID | None, event: str = "delivered", at: Any = 1_780_000_000, **more: Any) -> Any:
    """Return one event as SendGrid writes it."""
    said = {"email": "ann@example.com", "timestamp": at, "event": event, "sg_message_id": "abc.recvd-1", **more}
    return said if message_id is None else {**said, "message_id": str(message_id)}


class SendGridSigner:
    """A key pair as SendGrid has one: signs bodies, and gives the public half for the settings."""

    def __init__(self) -> None:
        self._private = ec.generate_private_key(ec.SECP256R1())
        der = self._private.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        self.public = base64.b64encode(der).decode()

    def headers(self, body: bytes, timestamp: str = "1780000000") -> dict[str, str]:
        """Return the signature headers of a body."""
        signature = self._private.sign(timestamp.encode() + body, ec.ECDSA(SHA256()))
        return {sendgrid.SIGNATURE: base64.b64encode(signature).decode(), sendgrid.TIMESTAMP: timestamp}


def body_of(events: Sequence[Any]) -> bytes:
    """Return a webhook body."""
    return orjson.dumps(list(events))
