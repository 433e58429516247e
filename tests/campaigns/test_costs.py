"""What sending costs, where a quiet machine is not needed to tell: statements, updates in place, plans and memory."""

import gc
import re
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from pydantic import SecretStr
from sqlalchemy import event, make_url, text
from sqlalchemy.engine import Engine

from bench.sending_machine import ROOT, memory_megabytes
from campaigns import last_look
from campaigns.dispatch import dispatch
from campaigns.envelopes import Sender
from campaigns.households import notice_reaching
from campaigns.preparing import claim_next, prepare
from campaigns.providers.sendgrid import SendGrid
from campaigns.sweeps import plan_all
from outreach import clock, db
from outreach.db import transaction
from outreach.settings import get_settings
from outreach.vocabulary import Channel
from tests.people import a_campaign

SENT = 6_000


@pytest.fixture
def sender() -> Iterator[Sender]:
    """Email through the real adapter to a provider that only counts."""
    sink = subprocess.Popen([sys.executable, "-m", "bench.sink"], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert sink.stdout is not None
    provider = SendGrid(base_url=f"http://127.0.0.1:{int(sink.stdout.readline())}", api_key=SecretStr("SG.test"))
    yield Sender(Channel.EMAIL, provider, get_settings())
    provider.close()
    sink.terminate()
    sink.communicate()


def queue(number: int) -> int:
    """Plan a campaign over so many customers, all with an email address; returns its id."""
    with transaction() as session:
        campaign_id = a_campaign(session, number, clock.now(session)).id
        session.execute(text("UPDATE customers SET email = external_id || '@example.com'"))
    plan_all(campaign_id)
    return campaign_id


def tidied(url: str) -> None:
    """Vacuum what was planned, as autovacuum would have by the time that it is sent."""
    address = make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)
    with psycopg.connect(address, autocommit=True) as connection:
        connection.execute("VACUUM (ANALYZE) messages, notices, chunks, customers")


def test_a_thousand_emails_cost_few_statements_and_updates_in_place_and_no_memory(
    database: str, sender: Sender
) -> None:
    queue(SENT)
    tidied(database)
    statements: list[str] = []

    def note(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        statements.append(statement)

    memory: list[float] = []
    accepted = 0
    event.listen(Engine, "before_cursor_execute", note)
    try:
        # A budget of nothing takes one chunk at a time: between them we look at the memory.
        while (done := dispatch(channel=Channel.EMAIL, sender=sender, owner="test", budget_seconds=0.001)).chunks:
            accepted += done.outcomes["accepted"]
            gc.collect()
            memory.append(memory_megabytes())
    finally:
        event.remove(Engine, "before_cursor_execute", note)
    assert accepted == SENT
    assert len(statements) / SENT * 1000 <= 12
    assert memory[-1] <= memory[1] * 1.15, memory
    db.forget_engine()  # a backend reports its numbers when it ends
    with transaction() as session:
        updated, in_place = session.execute(
            text("SELECT n_tup_upd, n_tup_hot_upd FROM pg_stat_user_tables WHERE relname = 'messages'")
        ).one()
        attempts = session.execute(text("SELECT count(*) FROM attempts WHERE state = 'accepted'")).scalar_one()
    assert updated == 2 * SENT  # sending with its attempt, then accepted
    assert in_place / updated >= 0.9
    assert attempts == SENT / sender.provider.messages_per_call


def test_every_statement_of_sending_finds_its_messages_by_an_index(database: str, sender: Sender) -> None:
    queue(1_500)
    # A small table is read whole because that is cheaper. Told not to, the planner does it only without an index.
    with transaction() as session:
        session.execute(text(f"ALTER DATABASE {make_url(database).database} SET enable_seqscan = off"))
    before = sequential_reads()
    assert dispatch(channel=Channel.EMAIL, sender=sender, owner="test").outcomes == {"accepted": 1_500}
    assert sequential_reads() == before


def sequential_reads() -> int:
    """How many rows of messages were read by sequential scans since the database was made."""
    db.forget_engine()
    with transaction() as session:
        counted = text("SELECT seq_tup_read FROM pg_stat_user_tables WHERE relname = 'messages'")
        return int(session.execute(counted).scalar_one())


def test_the_plan_that_postgres_keeps_for_the_gate_holds_no_message_against_every_other(
    database: str, sender: Sender
) -> None:
    """From its eleventh run on in one connection a statement has a plan that knows nothing of its values."""
    queue(12_000)  # with fewer chunks the planner expects more than one of these messages in one, and joins otherwise
    tidied(database)
    with transaction() as session:
        claim = claim_next(session, channel=Channel.EMAIL, provider="sendgrid", owner="test", lease_seconds=60)
    assert claim is not None
    message_ids = [envelope.message_id for envelope in prepare(claim, sender).envelopes]
    asked: list[tuple[str, dict[str, Any]]] = []

    def note(_connection: object, _cursor: object, statement: str, parameters: dict[str, Any], *_: object) -> None:
        asked.append((statement, parameters))

    for messages_per_call in (1, 50):
        event.listen(Engine, "before_cursor_execute", note)
        try:
            with transaction() as session:
                judged = last_look.judge(
                    session, claim=claim, channel=Channel.EMAIL, message_ids=message_ids, provider="sendgrid",
                    messages_per_call=messages_per_call, prices=[1], now=claim.now,
                )  # fmt: skip
                session.rollback()
        finally:
            event.remove(Engine, "before_cursor_execute", note)
        assert None not in judged.attempts
        assert len(judged.attempts) == 1_000
        plan = kept_plan(database, *next(one for one in reversed(asked) if "judged" in one[0]))
        assert rows_looked_at(plan) <= 30 * 1_000


def kept_plan(url: str, statement: str, parameters: dict[str, Any]) -> dict[str, Any]:
    """Run a statement with the plan that is made without its values; returns that plan and leaves nothing changed."""
    address = make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)
    names = list(dict.fromkeys(re.findall(r"%\((\w+)\)s", statement)))
    numbered = re.sub(r"%\((\w+)\)s", lambda found: f"${names.index(found[1]) + 1}", statement)
    with psycopg.connect(address) as connection:
        connection.execute(f"PREPARE kept AS {numbered}".encode())
        connection.execute("SET plan_cache_mode = force_generic_plan")
        values = psycopg.ClientCursor(connection).mogrify(", ".join(f"%({name})s" for name in names), parameters)
        explain = f"EXPLAIN (ANALYZE, FORMAT JSON) EXECUTE kept({values})"
        (plans,) = connection.execute(explain.encode()).fetchone() or ([],)
        connection.rollback()
    return dict(plans[0]["Plan"])


def rows_looked_at(node: dict[str, Any]) -> float:
    """How many rows a plan made or threw away, in all its nodes and loops."""
    thrown = sum(node.get(f"Rows Removed by {why}", 0) for why in ("Filter", "Join Filter", "Index Recheck"))
    here = (node["Actual Rows"] + thrown) * node["Actual Loops"]
    return float(here + sum(rows_looked_at(inner) for inner in node.get("Plans", ())))


def test_who_else_lives_at_an_address_is_asked_of_the_neighbours_not_of_the_campaign(database: str) -> None:
    """A programme's campaign has one occurrence per notice: looking there first costs as many pages as it has told."""
    queue(3_000)
    lookup = f"""SELECT {notice_reaching("r")} FROM (
        SELECT customer_id, 'email' AS channel, address, 7 AS occurrence
        FROM messages ORDER BY customer_id LIMIT 50) r"""
    with transaction() as session:
        session.execute(text("UPDATE notices SET occurrence = id"))
        campaign_id = session.execute(text("SELECT id FROM campaigns")).scalar_one()
        explain = text(f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {lookup}")
        plan = session.execute(explain, {"campaign_id": campaign_id}).scalar_one()[0]["Plan"]
        bare = session.execute(
            text("""EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON)
                    SELECT customer_id FROM messages ORDER BY customer_id LIMIT 50""")
        ).scalar_one()[0]["Plan"]
    assert (pages_of(plan) - pages_of(bare)) / 50 <= 12


def pages_of(plan: dict[str, int]) -> int:
    """How many pages a plan read, from the disk or not."""
    return plan["Shared Hit Blocks"] + plan["Shared Read Blocks"]
