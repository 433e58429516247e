"""Criterion P of the fault matrix: what the sandbox recorded against what we believe, once everything is at rest."""

import sqlite3
from collections import Counter
from dataclasses import dataclass

from sqlalchemy import text

from campaigns import ledger
from campaigns.lifecycle import find
from outreach import clock
from outreach.db import transaction
from outreach.errors import Unavailable
from outreach.vocabulary import Channel, NoticeClass
from tests.installation import Installation, until
from tests.people import a_campaign

_OPEN = text("""
SELECT count(*) FILTER (WHERE send_state IN ('queued', 'sending', 'unknown')) + (count(*) = 0)::int FROM messages
""")
_OPEN_CHUNKS = text("SELECT count(*) FROM chunks WHERE state <> 'done'")


def a_campaign_on(channel: Channel, number: int, notice_class: NoticeClass = NoticeClass.SERVICE) -> int:
    """Open a running campaign over `number` people, all reachable on this one channel; returns its id."""
    with transaction() as session:
        campaign = a_campaign(session, number, clock.now(session))
        campaign.ladder, campaign.notice_class = [{"channel": channel.value}], notice_class
        session.execute(
            text("""UPDATE customers SET email = external_id || '@example.com',
                        phone = '+1202555' || lpad((1000 + id)::text, 4, '0')""")
        )
        return int(campaign.id)


def make_due(number: int) -> None:
    """Make the next `number` messages of the first chunk due, as a chunk of their own that somebody must be woken for.

    The rest of the first chunk is not due yet.
    """
    with transaction() as session:
        first = session.scalar(text("SELECT min(id) FROM chunks"))
        made = session.scalar(
            text("""INSERT INTO chunks (campaign_id, channel, template_version, due_at, size)
                    SELECT campaign_id, channel, template_version, clock_timestamp(), :number FROM chunks
                    WHERE id = :first RETURNING id"""),
            {"first": first, "number": number},
        )
        session.execute(
            text("""UPDATE messages SET chunk_id = :made WHERE id IN (
                        SELECT id FROM messages WHERE chunk_id = :first ORDER BY id LIMIT :number)"""),
            {"made": made, "first": first, "number": number},
        )


def open_messages() -> int:
    """Count messages without an end, and one more where nothing was planned; -1 while the database is away."""
    try:
        with transaction() as session:
            return int(session.scalar(_OPEN) or 0)
    except Unavailable:
        return -1


def planned() -> int:
    """Count the messages that there are."""
    with transaction() as session:
        return int(session.scalar(text("SELECT count(*) FROM messages")) or 0)


def open_chunks() -> int:
    """Count chunks that are not done."""
    with transaction() as session:
        return int(session.scalar(_OPEN_CHUNKS) or 0)


def rest(seconds: float = 60) -> None:
    """Wait until every message and every chunk has come to an end."""
    until(lambda: open_messages() == 0, seconds=seconds, what="an end of every message")
    until(lambda: open_chunks() == 0, seconds=seconds, what="an end of every chunk")


def record_of(installation: Installation) -> Counter[str]:
    """Return how often each message was accepted, by the sandbox's own record."""
    with sqlite3.connect(installation.home / "sandbox" / "record.sqlite3") as record:
        rows = record.execute("SELECT message_id, count(*) FROM accepted GROUP BY message_id").fetchall()
    return Counter(dict(rows))


@dataclass(frozen=True)
class Judged:
    """What came of it."""

    accepted: int
    doubled: int
    lost: int
    states: dict[str, int]


def judge(installation: Installation, *, key: str = "C-1") -> Judged:
    """Compare; the caller asserts on the figures, the account must add up in any case."""
    record = record_of(installation)
    with transaction() as session:
        rows = session.execute(text("SELECT id, send_state FROM messages")).all()
        account = ledger.verify(session, campaign=find(session, key))
    believed = {str(row.id) for row in rows if row.send_state == "accepted"}
    assert account.discrepancies == []
    assert set(record) <= {str(row.id) for row in rows}
    return Judged(
        accepted=len(record),
        doubled=sum(times - 1 for times in record.values()),
        lost=len(believed - set(record)) + len(set(record) - believed),
        states=dict(Counter(row.send_state for row in rows)),
    )


def expect_everybody_once(installation: Installation, number: int) -> None:
    """Fail unless each of `number` people was told exactly once."""
    found, wanted = judge(installation), Judged(number, 0, 0, {"accepted": number})
    assert found == wanted, f"{found}, not {wanted}"
