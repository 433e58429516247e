"""What the webhook bench compares with: an endpoint that does nothing, one that verifies and inserts, a naive one.

`DOOR=noop|bare|naive uvicorn bench.webhook_doors:app`. The bare one is the limit of this stack: FastAPI, one signature
check, one INSERT on an open connection, nothing else. The naive one is what tutorials show: a list of models, then a
SELECT, an INSERT and an UPDATE per event through the ORM.
"""

import asyncio
import base64
import os
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

import psycopg
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, EllipticCurvePublicKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_der_public_key
from fastapi import FastAPI, Request, Response
from pydantic import BaseModel, ConfigDict
from sqlalchemy import create_engine, select
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

DOOR = os.environ.get("DOOR", "noop")
URL = os.environ.get("DOOR_DATABASE", "")
KINDS = {"processed": 3, "delivered": 4, "open": 5, "click": 6, "bounce": 7, "dropped": 8}

TABLES = """
CREATE TABLE bare_messages (id uuid PRIMARY KEY, status smallint NOT NULL, status_at timestamptz, provider_id text)
    WITH (fillfactor = 70);
INSERT INTO bare_messages SELECT id, 2, now(), 'sg.' || notice_id FROM messages;
CREATE TABLE bare_events (event_id text PRIMARY KEY, message_id uuid NOT NULL, kind smallint NOT NULL,
    at timestamptz NOT NULL);
CREATE TABLE bare_raw (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, provider text NOT NULL,
    received_at timestamptz NOT NULL DEFAULT now(), body bytea NOT NULL, applied_at timestamptz);
CREATE INDEX ON bare_raw (id) WHERE applied_at IS NULL;
"""


class Base(DeclarativeBase):
    """The naive endpoint's tables."""


class Message(Base):
    """A message with its status."""

    __tablename__ = "bare_messages"
    id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    status: Mapped[int]
    status_at: Mapped[datetime | None]


class Event(Base):
    """An event that was seen."""

    __tablename__ = "bare_events"
    event_id: Mapped[str] = mapped_column(primary_key=True)
    message_id: Mapped[uuid.UUID]
    kind: Mapped[int]
    at: Mapped[datetime]


class Given(BaseModel):
    """One event as it comes in."""

    model_config = ConfigDict(extra="allow")
    email: str
    timestamp: int
    event: str
    sg_event_id: str
    sg_message_id: str
    message_id: uuid.UUID


free: asyncio.Queue[psycopg.AsyncConnection[Any]] = asyncio.Queue()


@asynccontextmanager
async def _life(_: FastAPI) -> AsyncIterator[None]:
    for _number in range(4 if DOOR == "bare" else 0):
        free.put_nowait(await psycopg.AsyncConnection.connect(URL, autocommit=True))
    yield


app = FastAPI(lifespan=_life)

if DOOR == "noop":

    @app.post("/webhooks/sendgrid/events")
    async def nothing(request: Request) -> Response:
        """Read the body and answer."""
        await request.body()
        return Response(status_code=204)

elif DOOR == "bare":
    KEY = load_der_public_key(base64.b64decode(os.environ["OUTREACH_SENDGRID_WEBHOOK_PUBLIC_KEY"]))

    @app.post("/webhooks/sendgrid/events")
    async def bare(request: Request) -> Response:
        """Verify and insert."""
        body = await request.body()
        signature = base64.b64decode(request.headers["x-twilio-email-event-webhook-signature"])
        timestamp = request.headers["x-twilio-email-event-webhook-timestamp"].encode()
        assert isinstance(KEY, EllipticCurvePublicKey)
        KEY.verify(signature, timestamp + body, ECDSA(SHA256()))
        connection = await free.get()
        try:
            await connection.execute("INSERT INTO bare_raw (provider, body) VALUES ('sendgrid', %b)", (body,))
        finally:
            free.put_nowait(connection)
        return Response(status_code=204)

else:
    engine = create_engine(URL.replace("postgresql://", "postgresql+psycopg://", 1), pool_size=8)

    @app.post("/webhooks/sendgrid/events", status_code=204)
    def naive(events: list[Given]) -> None:
        """Look up, insert and update, one event after the other."""
        with Session(engine) as session:
            for given in events:
                if session.get(Event, given.sg_event_id):
                    continue
                message = session.scalar(select(Message).where(Message.id == given.message_id))
                at = datetime.fromtimestamp(given.timestamp, UTC)
                if message and KINDS[given.event] > message.status:
                    message.status, message.status_at = KINDS[given.event], at
                kind = KINDS[given.event]
                session.add(Event(event_id=given.sg_event_id, message_id=given.message_id, kind=kind, at=at))
                session.flush()
            session.commit()
