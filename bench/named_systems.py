"""Email beside a named system on the same machine, in turn: django-post_office, tuned as its documentation says.

It needs a Python of its own: `python -m venv elsewhere`, `elsewhere/bin/pip install django django-post-office
"psycopg[binary]"`, and OUTREACH_BENCH_POST_OFFICE=elsewhere/bin/python. Both use one PostgreSQL, each a database of its
own. post_office speaks SMTP only; the product is measured over SendGrid's door, which is its usual one, and over SMTP.
"""

import os
import smtplib
import statistics
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import make_url

from bench.dispatch import SIZES, STEADY, Measured
from bench.naive_stack import facts_of, words_in
from bench.sending_machine import ROOT, Machine, load, machine
from bench.sending_rows import bare_connection, people
from outreach.db import database_url
from outreach.vocabulary import Channel

ROUNDS = 3
NUMBERS = {"small": (1_000, 10_000, 2_000), "full": (5_000, 100_000, 10_000)}  # post_office, product, product by SMTP
PYTHON = "OUTREACH_BENCH_POST_OFFICE"
DATABASE = "post_office"
# From Liquid to Django's language, as far as our own words use it.
_DIALECT = {
    "elsif": "elif",
    "unless forloop.last": "if not forloop.last",
    "endunless": "endif",
    "items.size": "items|length",
    "tickets.size": "tickets|length",
    " | newline_to_br": "|linebreaksbr",
}


def run(size: str = "small") -> dict[str, Any]:
    """Measure and judge; raises SystemExit with what to do where the other system is not installed."""
    python = os.environ.get(PYTHON, "")
    if not python:
        raise SystemExit(f"{PYTHON} is not set.\n{__doc__}")
    theirs, ours, ours_smtp = NUMBERS[size]
    before = load()
    with machine() as running, _smtp_sink() as port:
        people(ours)
        with bare_connection() as connection:
            connection.execute(f"CREATE DATABASE {DATABASE}".encode())
        measured = Measured(running, SIZES[size])
        smtp = {"OUTREACH_EMAIL_PROVIDER": "smtp", "OUTREACH_SMTP_URL": f"smtp://127.0.0.1:{port}"}
        for _ in range(ROUNDS):
            _post_office(running, measured, python, port, theirs)
            measured.product(Channel.EMAIL, ours, "product")
            known = _received(port)
            measured.product(
                Channel.EMAIL,
                ours_smtp,
                "product by SMTP",
                settings=smtp,
                received=lambda: _received(port) - known,  # noqa: B023
            )
    beside = measured.rates["post_office tuned"]
    ratio = statistics.median(one / other for one, other in zip(measured.rates["product"], beside, strict=True))
    steady = max(beside) / min(beside) <= STEADY
    return {
        "bench": "named_systems",
        "size": size,
        "goals": [
            {
                "goal": "email x post_office tuned",
                "value": round(ratio, 2),
                "must": 8,
                "holds": ratio >= 8 if steady else None,
            }
        ],
        "rows": [
            {"what": what, "per_second": round(statistics.median(rates)), "rounds": [round(rate) for rate in rates]}
            for what, rates in measured.rates.items()
        ],
        "load": [before, load()],
    }


def _post_office(running: Machine, measured: Measured, python: str, port: int, number: int) -> None:
    address = make_url(database_url()).set(drivername="postgresql", database=DATABASE)
    question: dict[str, Any] = {
        "database": address.render_as_string(hide_password=False),
        "smtp_port": port,
        **words_in(_DIALECT),
    }
    question["facts"] = [facts_of(each, each, f"Ann Number{each}") for each in range(number)]
    before = _received(port)
    child = running.start_elsewhere(python, "bench.post_office_stack", str(number), question=question)
    child.go()
    found = child.result()
    if (found["sent"], _received(port) - before) != (number, number):
        raise RuntimeError(f"post_office sent {found['sent']}, {_received(port) - before} came in, of {number}")
    measured.note("post_office tuned", number / found["seconds"])
    measured.note("post_office tuned, sending alone", number / (found["seconds"] - found["queueing_seconds"]))


def _received(port: int) -> int:
    with smtplib.SMTP("127.0.0.1", port) as smtp:
        return int(smtp.docmd("XCOUNT")[1])


@contextmanager
def _smtp_sink() -> Iterator[int]:
    sink = subprocess.Popen(
        [sys.executable, "-m", "bench.smtp_sink"], cwd=ROOT, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True
    )
    try:
        assert sink.stdout is not None
        yield int(sink.stdout.readline())
    finally:
        sink.terminate()
        sink.wait()
