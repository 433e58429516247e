"""Customers with orders, put straight into the tables: the start of tests that are about something else."""

from datetime import datetime

from sqlalchemy import text
from sqlalchemy.orm import Session

from campaigns.lifecycle import open_campaign
from campaigns.playbooks import STANDARD_LADDER, install_defaults
from outreach import problems
from outreach.models import Campaign, Problem
from outreach.vocabulary import CampaignKind, NoticeClass


def a_problem(session: Session, now: datetime) -> Problem:
    """Report a problem whose department is known."""
    return problems.report(
        session, title="A line is missing in the instructions", summary="Lot A7 lacks step 4.", author="test",
        department="Publications", now=now,
    )  # fmt: skip


def an_audience(session: Session, problem: Problem, number: int, now: datetime, *, grade: str = "likely") -> int:
    """Add `number` customers who hold one item of lot A7 each, as members of the problem's scope; returns its id.

    Customers with a number divisible by 10 have no email, by 20 no phone either.
    """
    segment_id: int = session.execute(
        text("""INSERT INTO segments (key, name, problem_id, current_version, refreshed_at)
                VALUES (:key, 'scope', :problem_id, 1, :now)
                ON CONFLICT (key) DO UPDATE SET refreshed_at = :now RETURNING id"""),
        {"key": f"scope-{problem.key}", "problem_id": problem.id, "now": now},
    ).scalar_one()
    parameters = {"number": number, "segment_id": segment_id, "now": now, "grade": grade}
    session.execute(
        text("""
        WITH product AS (
            INSERT INTO products (external_id, name) VALUES ('KETTLE', 'Kettle')
            ON CONFLICT (external_id) DO UPDATE SET name = 'Kettle' RETURNING id
        ), people AS (
            INSERT INTO customers (external_id, name, email, phone, address_line1, city, region, postal_code, country)
            SELECT 'c-' || i, 'Ann Number' || i, CASE WHEN i % 10 <> 0 THEN 'ann.' || i || '@example.com' END,
                   CASE WHEN i % 20 <> 0 THEN '+1202555' || lpad((1000 + i)::text, 4, '0') END,
                   i || ' Example Street', 'Springfield', 'IL', '62701', 'US'
            FROM generate_series(1, :number) AS i RETURNING id, external_id
        ), orders_made AS (
            INSERT INTO orders (external_id, customer_id, ordered_at, delivered_at)
            SELECT 'o-' || external_id, id, cast(:now AS timestamptz) - interval '20 days', :now FROM people
            RETURNING id, customer_id
        ), items AS (
            INSERT INTO order_items (external_id, order_id, product_id, customer_id, lot, ordered_at, delivered_at)
            SELECT 'i-' || o.id, o.id, product.id, o.customer_id, 'A7',
                   cast(:now AS timestamptz) - interval '20 days', :now
            FROM orders_made o, product RETURNING id, customer_id
        ), members AS (
            INSERT INTO audience_members
                (segment_id, customer_id, grade, version, evidence_items, entered_at, changed_at)
            SELECT :segment_id, customer_id, :grade, 1, ARRAY[id], :now, :now FROM items
            RETURNING segment_id, customer_id, grade
        )
        INSERT INTO audience_changes (segment_id, customer_id, to_grade, reason, version, at)
        SELECT segment_id, customer_id, grade, 'test', 1, :now FROM members"""),
        parameters,
    )
    return segment_id


def a_campaign(session: Session, number: int, now: datetime, *, approved: bool = True) -> Campaign:
    """Open a running campaign of kind known over `number` new customers."""
    install_defaults(session)
    problem = a_problem(session, now)
    segment_id = an_audience(session, problem, number, now)
    return open_campaign(
        session, name="Instructions", kind=CampaignKind.KNOWN, notice_class=NoticeClass.SERVICE,
        template_key="problem-known",
        ladder=STANDARD_LADDER,
        segment_id=segment_id, problem_id=problem.id, author="test", approved=approved, now=now,
    )  # fmt: skip
