"""What most people would write: one Celery task per recipient, the official SDKs, a row read and a row written.

Celery's worker imports this module; `run` enqueues and waits. The words are those of the product, through Jinja2, and
the SDK clients are made once per process, which is kinder than their own examples.
"""

import os
import signal
import subprocess
import sys
import time
from functools import lru_cache
from pathlib import Path
from typing import Any

import jinja2
from celery import Celery
from sendgrid import SendGridAPIClient
from sendgrid.helpers.mail import Mail
from sqlalchemy import BigInteger, ForeignKey, create_engine, func, select, text
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column, relationship
from twilio.http.http_client import TwilioHttpClient  # type: ignore[import-untyped]
from twilio.rest import Client  # type: ignore[import-untyped]

from bench.sending_machine import ACCOUNT, ROOT, Machine, memory_megabytes
from campaigns.default_templates import default_templates
from campaigns.email_layout import TEXT_BOTTOM, in_layout
from campaigns.markdown_pages import page_of
from outreach.db import database_url, transaction
from outreach.queue import redis_url
from outreach.vocabulary import Channel

PROCESSES = 2
# From Liquid to Jinja2, as far as our own words use it.
_DIALECT = {
    "elsif": "elif",
    "unless forloop.last": "if not loop.last",
    "endunless": "endif",
    "items.size": "items|length",
    "tickets.size": "tickets|length",
}

app = Celery("naive", broker=os.environ.get("OUTREACH_REDIS_URL", ""))
app.conf.update(task_ignore_result=True, worker_prefetch_multiplier=4, worker_hijack_root_logger=False)


class Base(DeclarativeBase):
    """The naive stack's own tables."""


class Person(Base):
    """A customer, as the naive stack sees her."""

    __tablename__ = "customers"
    id: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    name: Mapped[str]
    email: Mapped[str]
    phone: Mapped[str]


class NaiveMessage(Base):
    """One message to one customer, found by its status."""

    __tablename__ = "naive_messages"
    id: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    customer_id: Mapped[int] = mapped_column(ForeignKey("customers.id"))
    status: Mapped[str] = mapped_column(index=True)
    provider_id: Mapped[str | None]
    customer: Mapped[Person] = relationship()


@lru_cache
def _engine() -> Any:
    return create_engine(database_url(), pool_size=2)


def words_in(dialect: dict[str, str]) -> dict[str, str]:
    """Return the words of the product (`subject`, `text`, `html`, `sms`) for an engine that writes them like this."""
    email = default_templates()["problem-known", Channel.EMAIL]
    sms = default_templates()["problem-known", Channel.SMS]
    page = page_of(email.body, "naive")
    sources = {
        "subject": email.subject or "",
        "text": page.text + TEXT_BOTTOM,
        "html": in_layout(page.html, page.preheader, "en"),
        "sms": sms.body,
    }
    for liquid, other in dialect.items():
        sources = {name: source.replace(liquid, other) for name, source in sources.items()}
    return sources


@lru_cache
def _words() -> dict[str, jinja2.Template]:
    made = {}
    for name, source in words_in(_DIALECT).items():
        environment = jinja2.Environment(autoescape=name == "html")
        environment.filters["newline_to_br"] = lambda value: value.replace("\n", "<br />\n")
        made[name] = environment.from_string(source)
    return made


def facts_of(message_id: int, customer_id: int, name: str) -> dict[str, Any]:
    """What the product tells as well; its look-ups of items and its signatures are spared the naive stack."""
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
            "answer": f"https://care.example.com/answer/{message_id:070d}",
            "unsubscribe": f"https://care.example.com/unsubscribe/{message_id:070d}",
            "verify": "https://care.example.com/verify",
        },
        "organisation": {"name": "Example Goods", "postal_address": "1 Example Street, Springfield, IL 62701"},
        "code": f"{message_id:012d}",
    }


def _facts(message: NaiveMessage) -> dict[str, Any]:
    return facts_of(message.id, message.customer_id, message.customer.name)


@lru_cache
def _sendgrid() -> Any:
    return SendGridAPIClient("SG.benchmark", host=os.environ["OUTREACH_SENDGRID_URL"])


@lru_cache
def _twilio() -> Any:
    made = Client(ACCOUNT, "benchmark", http_client=TwilioHttpClient())
    made.api.base_url = os.environ["OUTREACH_TWILIO_URL"]
    return made


@app.task(name="naive.email")  # type: ignore[untyped-decorator]
def email(message_id: int) -> None:
    """Send one email."""
    with Session(_engine()) as session:
        message = session.scalars(select(NaiveMessage).where(NaiveMessage.id == message_id)).one()
        facts, words = _facts(message), _words()
        answer = _sendgrid().send(
            Mail(
                from_email="care@example.com",
                to_emails=message.customer.email,
                subject=words["subject"].render(facts),
                plain_text_content=words["text"].render(facts),
                html_content=words["html"].render(facts),
            )
        )
        message.status, message.provider_id = "sent", answer.headers.get("X-Message-Id")
        session.commit()


@app.task(name="naive.sms")  # type: ignore[untyped-decorator]
def sms(message_id: int) -> None:
    """Send one text message."""
    with Session(_engine()) as session:
        message = session.scalars(select(NaiveMessage).where(NaiveMessage.id == message_id)).one()
        body = _words()["sms"].render(_facts(message))
        sent = _twilio().messages.create(to=message.customer.phone, from_="+15550009999", body=body)
        message.status, message.provider_id = "sent", sent.sid
        session.commit()


def run(machine: Machine, channel: Channel, number: int) -> dict[str, Any]:
    """Send to the first `number` customers with two worker processes; from the first enqueue to the last row."""
    with transaction() as session:
        session.execute(text("DROP TABLE IF EXISTS naive_messages"))
        NaiveMessage.__table__.create(session.connection())  # type: ignore[attr-defined]
        session.execute(
            text("""INSERT INTO naive_messages (id, customer_id, status)
                    SELECT id, id, 'queued' FROM customers ORDER BY id LIMIT :number"""),
            {"number": number},
        )
    machine.provider("reset")
    with (machine.home / "children.log").open("ab") as log:
        worker = subprocess.Popen(
            [sys.executable, "-m", "celery", "-A", "bench.naive_stack", "worker", "-c", str(PROCESSES), "-l", "error",
             "--without-gossip", "--without-mingle", "--without-heartbeat"],
            cwd=ROOT, stdout=log, stderr=log, env={**os.environ, "C_FORCE_ROOT": "1"},
        )  # fmt: skip
    try:
        app.conf.broker_url = redis_url()
        _warm_up(channel, machine)
        return _timed(machine, channel, number, worker.pid)
    finally:
        worker.send_signal(signal.SIGTERM)
        worker.wait()


def _warm_up(channel: Channel, machine: Machine) -> None:
    """Let both processes connect and read their templates before the clock runs."""
    task = email if channel is Channel.EMAIL else sms
    with transaction() as session:
        first = session.scalars(text("SELECT id FROM naive_messages ORDER BY id LIMIT 8")).all()
    for message_id in first:
        task.delay(message_id)
    _wait(len(first), 120)
    machine.provider("reset")


def _timed(machine: Machine, channel: Channel, number: int, worker: int) -> dict[str, Any]:
    task = email if channel is Channel.EMAIL else sms
    with transaction() as session:
        session.execute(text("UPDATE naive_messages SET status = 'queued'"))
        ids = session.scalars(text("SELECT id FROM naive_messages ORDER BY id")).all()
    before, started = _cpu(worker), time.perf_counter()
    for message_id in ids:
        task.delay(message_id)
    _wait(number)
    seconds = time.perf_counter() - started
    processes = [worker, *_children(worker)]
    counted = machine.provider("counts")["messages"]
    if counted != number:
        raise RuntimeError(f"the naive stack sent {counted} of {number}")
    return {
        "per_second": number / seconds,
        "cpu_seconds": _cpu(worker) - before,
        "megabytes": sum(memory_megabytes(process) for process in processes),
        "number": number,
    }


def _wait(number: int, seconds: float = 300) -> None:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        with transaction() as session:
            sent = session.scalar(select(func.count()).where(NaiveMessage.status == "sent"))
        if sent is not None and sent >= number:
            return
        time.sleep(0.1)
    raise RuntimeError("the naive stack did not send in time")


def _children(process: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{process}/task/{process}/children").read_text().split()]


def _cpu(process: int) -> float:
    """CPU seconds of a process and its children."""
    used = 0.0
    for one in [process, *_children(process)]:
        fields = Path(f"/proc/{one}/stat").read_text().rsplit(")", 1)[1].split()
        used += (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return used
