"""The leanest sending that still claims, sends and writes down: what the product is measured against.

`python -m bench.prototype MODE CHANNEL [CONNECTIONS]` waits for a line, sends all chunks of the channel and prints what
it did. MODE `rendered` loads the customers and renders with the product's own templates; `bare` only pushes bodies that
were made before the clock ran. Neither looks at suppressions, consent, quiet hours, caps, or records attempts.
"""

import asyncio
import json
import os
import resource
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import quote_plus
from uuid import UUID

import orjson
import psycopg
import urllib3

from bench.sending_machine import ACCOUNT, memory_megabytes
from bench.sending_rows import bare_connection
from campaigns.default_templates import default_templates
from campaigns.rendering import compile_content
from outreach.vocabulary import Channel

CLAIM = """UPDATE chunks SET state = 'claimed' WHERE id = (SELECT id FROM chunks WHERE state = 'ready' ORDER BY id
           LIMIT 1 FOR UPDATE SKIP LOCKED) RETURNING id"""
FETCH = """SELECT m.id, m.customer_id, c.email, c.phone, c.name FROM messages m JOIN customers c ON c.id = m.customer_id
           WHERE m.chunk_id = %s AND m.send_state = 'queued'"""
FINISH_ALL = """UPDATE messages SET send_state = 'accepted', provider_id = %s, sent_at = now()
                WHERE chunk_id = %s AND send_state = 'queued'"""
FINISH_EACH = """UPDATE messages m SET send_state = 'accepted', provider_id = x.provider_id, sent_at = now()
                 FROM unnest(%s::uuid[], %s::text[]) AS x(id, provider_id) WHERE m.id = x.id"""
DONE = "UPDATE chunks SET state = 'done' WHERE id = %s"


def _facts(message_id: UUID, customer_id: int, name: str) -> dict[str, Any]:
    return {
        "customer": {"first_name": name.split()[0], "name": name},
        "grade": "likely",
        "problem": {
            "title": "A line is missing in the instructions",
            "summary": "Instructions of lot A7 lack step 4.",
            "workaround": "Please do not switch it on before you have read step 4 on our website.",
            "next_update_by": None,
        },
        "items": [{"product": "Kettle K2", "lot": "A7", "serial": None, "order": f"o-c-{customer_id}"}],
        "tickets": [],
        "links": {
            "answer": f"https://care.example.com/answer/{message_id.hex}{message_id.hex}",
            "unsubscribe": f"https://care.example.com/unsubscribe/{message_id.hex}{message_id.hex}",
            "verify": "https://care.example.com/verify",
        },
        "organisation": {"name": "Example Goods", "postal_address": "1 Example Street, Springfield, IL 62701"},
        "code": message_id.hex[:12],
    }


def _email_body(rows: list[tuple[Any, ...]], render: Callable[[dict[str, Any]], Any]) -> bytes:
    personalizations = []
    for message_id, customer_id, email, _, name in rows:
        made = render(_facts(message_id, customer_id, name))
        personalizations.append(
            {
                "to": [{"email": email}],
                "subject": made.subject,
                "substitutions": {"-text-": made.text, "-html-": made.html},
                "custom_args": {"message_id": str(message_id)},
            }
        )
    return orjson.dumps(
        {
            "personalizations": personalizations,
            "from": {"email": "care@example.com"},
            "content": [{"type": "text/plain", "value": "-text-"}, {"type": "text/html", "value": "-html-"}],
        }
    )


def send_email(mode: str) -> Callable[[], int]:
    """Return the work that sends everything; bare bodies are made here, before the clock runs."""
    pool = urllib3.connectionpool.connection_from_url(os.environ["OUTREACH_SENDGRID_URL"])
    render = compile_content(default_templates()["problem-known", Channel.EMAIL]).render
    connection = bare_connection()
    ready: dict[int, bytes] = {}
    if mode == "bare":
        for (chunk,) in connection.execute("SELECT id FROM chunks").fetchall():
            ready[chunk] = _email_body(connection.execute(FETCH, (chunk,)).fetchall(), render)

    def work() -> int:
        sent = 0
        while row := connection.execute(CLAIM).fetchone():
            if not (body := ready.pop(row[0], b"")):
                body = _email_body(connection.execute(FETCH, row, binary=True).fetchall(), render)
            answer = pool.request("POST", "/v3/mail/send", body=body, headers={"Content-Type": "application/json"})
            with connection.transaction():
                written = connection.execute(FINISH_ALL, (answer.headers["X-Message-Id"], row[0]))
                connection.execute(DONE, row)
            sent += written.rowcount
        return sent

    return work


def send_sms(connections: int) -> Callable[[], int]:
    """Return the work that sends everything over kept-alive streams, the next chunk claimed while one is sent."""
    import uvloop

    return lambda: int(uvloop.run(_send_sms(connections)))


async def _send_sms(connections: int) -> int:
    host, port = os.environ["OUTREACH_TWILIO_URL"][7:].split(":")
    render = compile_content(default_templates()["problem-known", Channel.SMS]).render
    streams = [await asyncio.open_connection(host, int(port)) for _ in range(connections)]
    head = (
        f"POST /2010-04-01/Accounts/{ACCOUNT}/Messages.json HTTP/1.1\r\nHost: {host}\r\nAuthorization: Basic x\r\n"
        "Content-Type: application/x-www-form-urlencoded\r\nContent-Length: "
    ).encode()
    database = bare_connection()

    async def lane(rows: Iterator[tuple[Any, ...]], stream: Any, found: tuple[list[UUID], list[str]]) -> None:
        reader, writer = stream
        for message_id, customer_id, _, phone, name in rows:
            text = render(_facts(message_id, customer_id, name)).text or ""
            body = f"To={quote_plus(phone)}&From=%2B15550009999&Body={quote_plus(text)}".encode()
            writer.write(head + b"%d\r\n\r\n%s" % (len(body), body))
            answer = await reader.readuntil(b"\r\n\r\n")
            size = answer.index(b"Content-Length: ") + 16
            data = await reader.readexactly(int(answer[size : answer.index(b"\r", size)]))
            found[0].append(message_id)
            found[1].append(orjson.loads(data)["sid"])

    def claim() -> tuple[int, list[tuple[Any, ...]]] | None:
        row = database.execute(CLAIM).fetchone()
        return row and (row[0], database.execute(FETCH, row, binary=True).fetchall())

    sent, following = 0, await asyncio.to_thread(claim)
    while following:
        (chunk, rows), found = following, (list[UUID](), list[str]())
        turns = iter(rows)
        sending = asyncio.gather(*(lane(turns, stream, found) for stream in streams))
        following = await asyncio.to_thread(claim)
        await sending
        await asyncio.to_thread(_write_down, database, chunk, found)
        sent += len(rows)
    return sent


def _write_down(database: psycopg.Connection[Any], chunk: int, found: tuple[list[UUID], list[str]]) -> None:
    with database.transaction():
        database.execute(FINISH_EACH, found)
        database.execute(DONE, (chunk,))


def main(mode: str, channel: str, connections: int) -> None:
    """Send and report."""
    work = send_email(mode) if channel == "email" else send_sms(connections)
    print(json.dumps({"ready": True}), flush=True)
    sys.stdin.readline()
    used = resource.getrusage(resource.RUSAGE_SELF)
    started = time.perf_counter()
    sent = work()
    seconds, now = time.perf_counter() - started, resource.getrusage(resource.RUSAGE_SELF)
    cpu = now.ru_utime + now.ru_stime - used.ru_utime - used.ru_stime
    found = {"seconds": seconds, "cpu_seconds": cpu, "megabytes": memory_megabytes(), "sent": sent}
    print(json.dumps(found), flush=True)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]) if len(sys.argv) > 3 else 16)
