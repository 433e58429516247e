"""A small world for programmes: customers in twenty zones with items, segments, and a clock that the test moves."""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import text
from sqlalchemy.orm import Session

ZONES = {
    "America/New_York": "US", "America/Chicago": "US", "America/Los_Angeles": "US", "America/Sao_Paulo": "BR",
    "America/Mexico_City": "MX", "America/Halifax": "CA", "America/St_Johns": "CA", "Europe/London": "GB",
    "Europe/Berlin": "DE", "Europe/Paris": "FR", "Europe/Helsinki": "FI", "Africa/Johannesburg": "ZA",
    "Africa/Lagos": "NG", "Asia/Kolkata": "IN", "Asia/Kathmandu": "NP", "Asia/Tokyo": "JP", "Asia/Singapore": "SG",
    "Australia/Sydney": "AU", "Australia/Adelaide": "AU", "Pacific/Auckland": "NZ",
}  # fmt: skip


def customers(session: Session, number: int, now: datetime, *, start: int = 1) -> None:
    """Add customers 1…number, by turns in each zone, with one delivered item each (delivered up to 200 days ago)."""
    zones, countries = list(ZONES), list(ZONES.values())
    session.execute(
        text("""
WITH product AS (
    INSERT INTO products (external_id, name) VALUES ('PUMP', 'Pump')
    ON CONFLICT (external_id) DO UPDATE SET name = 'Pump' RETURNING id
), people AS (
    INSERT INTO customers (external_id, name, email, phone, time_zone, country, locale, attributes)
    SELECT 'c-' || i, 'Ann Number' || i, 'ann.' || i || '@example.com', '+1202555' || lpad(i::text, 4, '0'),
           (cast(:zones AS text[]))[1 + i % cast(:many AS int)],
           (cast(:countries AS text[]))[1 + i % cast(:many AS int)],
           'en', jsonb_build_object('owner', 'owner-' || i % 3)
    FROM generate_series(cast(:start AS int), cast(:number AS int)) AS i RETURNING id, external_id
), ordered AS (
    INSERT INTO orders (external_id, customer_id, ordered_at, delivered_at)
    SELECT 'o-' || external_id, id, cast(:now AS timestamptz) - make_interval(days => 10 + cast(id * 7 % 190 AS int)),
           cast(:now AS timestamptz) - make_interval(days => cast(id * 7 % 190 AS int)) FROM people
    RETURNING id, customer_id, ordered_at, delivered_at
)
INSERT INTO order_items (external_id, order_id, product_id, customer_id, lot, ordered_at, delivered_at)
SELECT 'i-' || o.id, o.id, product.id, o.customer_id, 'A7', o.ordered_at, o.delivered_at FROM ordered o, product"""),
        {"zones": zones, "countries": countries, "many": len(zones), "start": start, "number": number, "now": now},
    )


def segment(session: Session, key: str, now: datetime, where: str = "true") -> int:
    """Make a segment whose members are the customers `where` says, straight in the ledger; returns its id."""
    made: int = session.execute(
        text("""INSERT INTO segments (key, name, current_version, built_version, refreshed_at)
                VALUES (:key, :key, 1, 1, :now) RETURNING id"""),
        {"key": key, "now": now},
    ).scalar_one()
    join(session, made, now, where)
    return made


def join(session: Session, segment_id: int, now: datetime, where: str, grade: str = "likely") -> None:
    """Let customers enter an audience."""
    session.execute(
        text(f"""
WITH members AS (
    INSERT INTO audience_members (segment_id, customer_id, grade, version, entered_at, changed_at)
    SELECT :segment_id, c.id, :grade, 1, :now, :now FROM customers c WHERE {where}
    ON CONFLICT (segment_id, customer_id) DO UPDATE SET left_at = NULL, grade = :grade, changed_at = :now
    RETURNING customer_id, grade)
INSERT INTO audience_changes (segment_id, customer_id, to_grade, reason, version, at)
SELECT :segment_id, customer_id, grade, 'test', 1, :now FROM members"""),
        {"segment_id": segment_id, "grade": grade, "now": now},
    )


def leave(session: Session, segment_id: int, now: datetime, where: str) -> None:
    """Let customers leave an audience."""
    session.execute(
        text(f"""
WITH gone AS (
    UPDATE audience_members m SET left_at = :now, changed_at = :now FROM customers c
    WHERE m.segment_id = :segment_id AND c.id = m.customer_id AND m.left_at IS NULL AND {where}
    RETURNING m.customer_id, m.grade)
INSERT INTO audience_changes (segment_id, customer_id, from_grade, reason, version, at)
SELECT :segment_id, customer_id, grade, 'test', 1, :now FROM gone"""),
        {"segment_id": segment_id, "now": now},
    )


def at(moment: datetime) -> Callable[[Session], datetime]:
    """Return a clock that stands still."""
    return lambda session: moment


def delivered(session: Session, now: datetime) -> None:
    """Stand in for sending: what may be sent by now was sent and delivered."""
    session.execute(
        text("""
WITH sent AS (
    UPDATE messages m SET send_state = 'accepted', provider = 'test', sent_at = :now, delivered_at = :now,
           delivery = 'delivered', delivery_rank = 50
    FROM chunks k WHERE k.id = m.chunk_id AND m.send_state = 'queued' AND k.due_at <= :now
    RETURNING m.id, m.notice_id, k.id AS chunk_id
), called AS (
    INSERT INTO attempts (chunk_id, fence, provider, message_ids, state, leased_until)
    SELECT chunk_id, 1, 'test', array_agg(id), 'accepted', :now FROM sent GROUP BY chunk_id
), done AS (
    UPDATE chunks SET state = 'done', finished_at = :now WHERE id IN (SELECT chunk_id FROM sent)
)
UPDATE notices SET state = 'delivered', settled_at = :now WHERE id IN (SELECT notice_id FROM sent)"""),
        {"now": now},
    )
    session.execute(
        text("""UPDATE messages m SET attempt_id = a.id FROM attempts a
                WHERE m.attempt_id IS NULL AND m.sent_at = :now AND m.id = ANY(a.message_ids)"""),
        {"now": now},
    )


def message(template: str = "how-is-it-going", **more: Any) -> dict[str, Any]:
    """Return a message step by email."""
    return {"do": "message", "template_key": template, "channels": [{"channel": "email"}], **more}


def survey(key: str, channel: str = "email") -> dict[str, Any]:
    """Return a survey step."""
    return {"do": "survey", "survey": key, "channels": [{"channel": channel}]}


def days(number: float) -> timedelta:
    """Return so many days."""
    return timedelta(days=number)
