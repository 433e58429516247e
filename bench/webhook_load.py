"""Signed SendGrid bodies over plain sockets: as fast as they are answered, or at a set rate with each answer timed."""

import asyncio
import base64
import contextlib
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import orjson
import urllib3
import uvloop
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

PATH = "/webhooks/sendgrid/events"
CONNECTIONS = 8
ROOT = Path(__file__).resolve().parents[1]
_dice = random.Random(8)
_numbers = iter(range(10**12))


class Keys:
    """SendGrid's key pair, made for one run."""

    def __init__(self) -> None:
        self._private = ec.generate_private_key(ec.SECP256R1())
        der = self._private.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        self.public = base64.b64encode(der).decode()

    def request(self, body: bytes) -> bytes:
        """Return the bytes of a whole signed request."""
        signature = base64.b64encode(self._private.sign(b"1780000000" + body, ec.ECDSA(SHA256())))
        head = (
            b"POST " + PATH.encode() + b" HTTP/1.1\r\nHost: bench\r\nContent-Type: application/json\r\n"
            b"X-Twilio-Email-Event-Webhook-Signature: " + signature + b"\r\n"
            b"X-Twilio-Email-Event-Webhook-Timestamp: 1780000000\r\nContent-Length: %d\r\n\r\n"
        )  # fmt: skip
        return head % len(body) + body


def events(number: int, message_ids: Sequence[str]) -> list[dict[str, Any]]:
    """Return events as SendGrid writes them, of messages drawn at random; no two are the same."""
    found = []
    for k, n in zip(range(number), _numbers, strict=False):
        place = _dice.randrange(len(message_ids))
        found.append(
            {"email": f"c{place}@example.com", "timestamp": 1780000000 + n % 10**6,
             "smtp-id": f"<{place}.{k}@geopod-ismtpd-1>", "event": "delivered" if k % 3 else "processed",
             "category": ["recall"], "sg_event_id": f"ev{n:018d}{_dice.randrange(10**6):06d}",
             "sg_message_id": f"14c5d75ce93.dfd.64b469.filter0001.16648.5515E0B88.{n}", "response": "250 OK",
             "attempt": "1", "ip": "192.0.2.1", "message_id": message_ids[place], "tls": 1}
        )  # fmt: skip
    return found


def bodies(number: int, size: int, message_ids: Sequence[str]) -> list[bytes]:
    """Return `number` different bodies of `size` events."""
    return [orjson.dumps(events(size, message_ids)) for _ in range(number)]


@contextlib.contextmanager
def door(kind: str, port: int, **environment: str) -> Iterator[None]:
    """Serve one kind of endpoint while the block lasts: `product`, or one of `bench.webhook_doors`."""
    serve = ["-m", "uvicorn", "bench.webhook_doors:app", "--port", str(port), "--no-access-log"]
    command = ["-m", "app.cli", "api"] if kind == "product" else [*serve, "--log-level", "warning"]
    process = subprocess.Popen(
        [sys.executable, *command],
        cwd=ROOT,
        env={**os.environ, **environment, "DOOR": kind, "OUTREACH_API_PORT": str(port)},
    )
    try:
        _wait(port, process)
        yield
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(20)


def _wait(port: int, process: "subprocess.Popen[bytes]") -> None:
    for _ in range(300):
        if process.poll() is not None:
            raise SystemExit("the endpoint did not start")
        try:
            urllib3.request("GET", f"http://127.0.0.1:{port}/health", retries=False, timeout=1)
        except urllib3.exceptions.HTTPError:
            time.sleep(0.1)
        else:
            return
    raise SystemExit("the endpoint did not answer within 30 seconds")


def seconds_for(requests: Sequence[bytes], port: int) -> float:
    """Return how long it takes until all are answered with 204, over a few connections."""

    async def all_of_them() -> float:
        waiting = iter(requests)

        async def one_after_the_other() -> None:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            for request in waiting:
                await _exchange(reader, writer, request)
            writer.close()

        started = time.perf_counter()
        await asyncio.gather(*(one_after_the_other() for _ in range(CONNECTIONS)))
        return time.perf_counter() - started

    return uvloop.run(all_of_them())


def latencies(requests: Sequence[bytes], port: int, per_second: float) -> list[float]:
    """Return the seconds from when each request was due until it was answered, at a fixed rate (an open loop)."""

    async def all_of_them() -> list[float]:
        found: list[float] = []
        started = time.perf_counter() + 0.05
        numbers = iter(range(len(requests)))

        async def due_ones() -> None:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            for number in numbers:
                due = started + number / per_second
                await asyncio.sleep(max(0.0, due - time.perf_counter()))
                await _exchange(reader, writer, requests[number])
                found.append(time.perf_counter() - due)
            writer.close()

        await asyncio.gather(*(due_ones() for _ in range(CONNECTIONS * 2)))
        return found

    return uvloop.run(all_of_them())


async def _exchange(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, request: bytes) -> None:
    writer.write(request)
    head = await reader.readuntil(b"\r\n\r\n")
    if b" 204 " not in head[:20]:
        raise SystemExit(head.decode("latin-1") + (await reader.read(500)).decode("latin-1"))
