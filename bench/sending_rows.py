"""The people, campaigns and messages of the sending benchmarks, written by set-based SQL outside of what is timed."""

from typing import Any

import psycopg
from sqlalchemy import make_url, text

from campaigns.lifecycle import open_campaign
from campaigns.playbooks import install_defaults
from campaigns.sweeps import plan_all
from outreach import clock, problems
from outreach.db import database_url, transaction
from outreach.models import Campaign
from outreach.vocabulary import CampaignKind, Channel, NoticeClass

_PEOPLE = """
WITH product AS (
    INSERT INTO products (external_id, name) VALUES ('KETTLE', 'Kettle K2')
    ON CONFLICT (external_id) DO UPDATE SET name = excluded.name RETURNING id
), people AS (
    INSERT INTO customers (external_id, name, email, phone, address_line1, city, region, postal_code, country, locale)
    SELECT 'c-' || i, 'Ann Number' || i, 'ann.' || i || '@example.com', '+1555' || lpad(i::text, 7, '0'),
           i || ' Example Street', 'Springfield', 'IL', '62701', 'US', 'en-US'
    FROM generate_series(cast(:first AS bigint), :last) AS i ORDER BY i RETURNING id, external_id
), placed AS (
    INSERT INTO orders (external_id, customer_id, ordered_at, delivered_at)
    SELECT 'o-' || external_id, id, now() - interval '20 days', now() FROM people RETURNING id, customer_id
)
INSERT INTO order_items (external_id, order_id, product_id, customer_id, lot, ordered_at, delivered_at)
SELECT 'i-' || o.id, o.id, product.id, o.customer_id, 'A7', now() - interval '20 days', now() FROM placed o, product
"""

_SCOPE = """
INSERT INTO segments (key, name, problem_id, current_version, refreshed_at)
VALUES (:key, 'scope', :problem_id, 1, now()) RETURNING id
"""

_MEMBERS = """
INSERT INTO audience_members (segment_id, customer_id, grade, version, evidence_items, entered_at, changed_at)
SELECT :segment_id, i.customer_id, 'likely', 1, ARRAY[i.id], now(), now()
FROM (SELECT id, customer_id FROM order_items ORDER BY customer_id LIMIT :number) AS i
"""
_LEDGER = """
INSERT INTO audience_changes (segment_id, customer_id, to_grade, reason, version, at)
VALUES (:segment_id, (SELECT min(id) FROM customers), 'likely', 'bench', 1, now())
"""

LEDGER_TABLES = ("notices", "messages", "chunks", "attempts")


def bare_connection() -> psycopg.Connection[Any]:
    """Return a plain connection that commits each statement, for what cannot run inside a transaction."""
    address = make_url(database_url()).set(drivername="postgresql").render_as_string(hide_password=False)
    return psycopg.connect(address, autocommit=True)


def tidy(*tables: str) -> None:
    """Vacuum tables and write everything to disk, so that each round starts alike."""
    with bare_connection() as connection:
        for table in tables:
            connection.execute(f"VACUUM (ANALYZE) {table}".encode())
        connection.execute("CHECKPOINT")


def people(number: int) -> None:
    """Make sure that there are `number` customers with one item each."""
    with transaction() as session:
        install_defaults(session)
        known = session.execute(text("SELECT count(*) FROM customers")).scalar_one()
        for first in range(known + 1, number + 1, 100_000):
            session.execute(text(_PEOPLE), {"first": first, "last": min(first + 99_999, number)})
        session.execute(text("TRUNCATE customer_changes"))
    tidy("customers", "orders", "order_items", "products")


def scope(number: int) -> tuple[int, int]:
    """Report a problem that touches the first `number` customers; returns the ids of problem and segment."""
    with transaction() as session:
        now = clock.now(session)
        problem = problems.report(
            session, title="A line is missing in the instructions", summary="Instructions of lot A7 lack step 4.",
            author="bench", department="Publications", now=now,
        )  # fmt: skip
        problem.workaround = "Please do not switch it on before you have read step 4 on our website."
        segment_id: int = session.execute(
            text(_SCOPE), {"key": f"scope-{problem.key}", "problem_id": problem.id}
        ).scalar_one()
        session.execute(text(_MEMBERS), {"segment_id": segment_id, "number": number})
        session.execute(text(_LEDGER), {"segment_id": segment_id})
        problem_id = problem.id
    tidy("audience_members")
    return problem_id, segment_id


def campaign(channel: Channel, problem_id: int, segment_id: int) -> int:
    """Open a running campaign of class service on one channel; returns its id."""
    with transaction() as session:
        opened = open_campaign(
            session, name="Instructions", kind=CampaignKind.KNOWN, notice_class=NoticeClass.SERVICE,
            template_key="problem-known", ladder=[{"channel": channel.value}], segment_id=segment_id,
            problem_id=problem_id, author="bench", approved=True, now=clock.now(session),
        )  # fmt: skip
        return opened.id


def forget_sending() -> None:
    """Empty the ledger of sending; campaigns that ran are over."""
    with transaction() as session:
        session.execute(text(f"TRUNCATE {', '.join(LEDGER_TABLES)}"))
        session.execute(text("UPDATE campaigns SET state = 'finished' WHERE state = 'running'"))


def queue_messages(channel: Channel, problem_id: int, segment_id: int) -> Campaign:
    """Plan a new campaign over the scope, so that its messages wait to be sent; earlier rounds are forgotten."""
    forget_sending()
    campaign_id = campaign(channel, problem_id, segment_id)
    plan_all(campaign_id)
    tidy(*LEDGER_TABLES)
    with transaction() as session:
        return session.get_one(Campaign, campaign_id)
