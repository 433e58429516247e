"""Settle what a crash, a time-out or silence left open; every step may run anywhere, any time, again.

S8: a lease that ran out gives its chunk back, and makes its unfinished messages `unknown`.
S9: an unknown message is looked up at the provider once the grace is over: found is accepted, provably absent
is sent again, a provider that cannot be searched leaves it to the events that may still come.
S10: what stays unknown is decided by class, visibly. (S numbers of docs/sending.md.)
"""

from collections import Counter
from datetime import timedelta
from uuid import UUID

import structlog
from sqlalchemy import text
from sqlalchemy.orm import Session

from campaigns.envelopes import Sender
from campaigns.providers.base import LookUp, Search
from outreach import clock
from outreach.db import transaction
from outreach.settings import get_settings
from outreach.vocabulary import Channel, NoticeClass

log = structlog.get_logger()

_EXPIRED_CHUNKS = text("""
UPDATE chunks SET state = 'ready', owner = NULL, leased_until = NULL
WHERE id IN (SELECT id FROM chunks WHERE state = 'claimed' AND leased_until < clock_timestamp()
             FOR UPDATE SKIP LOCKED)
RETURNING id
""")

_EXPIRED_ATTEMPTS = text("""
WITH lost AS (
    UPDATE attempts SET state = 'unknown'
    WHERE id IN (SELECT id FROM attempts WHERE state = 'sending' AND leased_until < clock_timestamp()
                 ORDER BY id FOR UPDATE SKIP LOCKED)
    RETURNING id, message_ids
)
UPDATE messages m SET send_state = 'unknown', sent_at = coalesce(m.sent_at, :now)
FROM lost WHERE m.id = ANY(lost.message_ids) AND m.attempt_id = lost.id AND m.send_state = 'sending'
RETURNING m.id
""")

# A message without a chunk that will send it again, whose outcome is unknown and whose grace is over.
_IN_DOUBT = text("""
SELECT m.id, m.address, a.id AS attempt_id, a.started_at, m.campaign_id, c.notice_class
FROM attempts a JOIN messages m ON m.attempt_id = a.id AND m.id = ANY(a.message_ids)
JOIN campaigns c ON c.id = m.campaign_id
WHERE a.state = 'unknown' AND m.send_state = 'unknown' AND m.channel = :channel
  AND a.started_at < clock_timestamp() - make_interval(secs => :grace)
ORDER BY a.started_at LIMIT :most
""")

_FOUND = text("""
UPDATE messages SET send_state = 'accepted', provider_id = coalesce(:provider_id, provider_id),
                    sent_at = coalesce(sent_at, :now)
WHERE id = :id AND attempt_id = :attempt_id AND send_state = 'unknown'
""")

_SEND_AGAIN = text("""
WITH made AS (
    INSERT INTO chunks (campaign_id, channel, template_version, due_at, size, tries)
    SELECT k.campaign_id, k.channel, k.template_version, :now, 1, k.tries + 1
    FROM chunks k JOIN messages m ON m.chunk_id = k.id
    JOIN campaigns c ON c.id = k.campaign_id AND c.state IN ('running', 'paused')
    WHERE m.id = :id AND m.attempt_id = :attempt_id AND m.send_state = 'unknown'
    RETURNING id
)
UPDATE messages m SET send_state = 'queued', chunk_id = made.id FROM made WHERE m.id = :id
""")

_GIVE_UP = text("""
WITH dead AS (
    UPDATE messages SET send_state = 'dead', reason = 'unknown_outcome', failed_at = :now
    WHERE id = :id AND attempt_id = :attempt_id AND send_state = 'unknown' RETURNING chunk_id
)
UPDATE chunks SET check_at = :now FROM dead WHERE chunks.id = dead.chunk_id
""")

_CLOSE_ATTEMPTS = text("""
UPDATE attempts a SET state = 'accepted', finished_at = clock_timestamp()
WHERE a.state = 'unknown' AND a.leased_until < clock_timestamp() AND NOT EXISTS (
    SELECT 1 FROM messages m WHERE m.id = ANY(a.message_ids) AND m.attempt_id = a.id
      AND m.send_state IN ('unknown', 'sending'))
""")

# After this long without evidence the class decides (S10).
DECIDE_AFTER = timedelta(hours=24)


def sweep_leases(session: Session) -> Counter[str]:
    """Give back what workers that died were holding."""
    now = clock.now(session)
    unknown = len(session.execute(_EXPIRED_ATTEMPTS, {"now": now}).all())
    chunks = len(session.execute(_EXPIRED_CHUNKS).all())
    if chunks or unknown:
        log.warning("leases ran out", chunks=chunks, unknown_messages=unknown)
    return Counter(chunks=chunks, unknown=unknown)


def reconcile(*, channel: Channel, sender: Sender, most: int = 200) -> Counter[str]:
    """Look up what is in doubt on one channel; asks the provider with no transaction open."""
    settings = get_settings()
    with transaction() as session:
        doubts = session.execute(
            _IN_DOUBT, {"channel": channel, "grace": settings.reconcile_grace_seconds, "most": most}
        ).all()
    result: Counter[str] = Counter()
    for doubt in doubts:
        answer = sender.provider.look_up(doubt.id, doubt.address, doubt.started_at - timedelta(minutes=5))
        with transaction() as session:
            result[_settle(session, doubt.id, doubt.attempt_id, NoticeClass(doubt.notice_class), answer)] += 1
    with transaction() as session:
        session.execute(_CLOSE_ATTEMPTS)
    if result:
        log.info("reconciled", channel=channel, **result)
    return result


def _settle(session: Session, message_id: UUID, attempt_id: int, notice_class: NoticeClass, answer: LookUp) -> str:
    now = clock.now(session)
    known = {"id": message_id, "attempt_id": attempt_id, "now": now}
    if answer.search is Search.FOUND:
        session.execute(_FOUND, {**known, "provider_id": answer.provider_id})
        return "found"
    if answer.search is Search.ABSENT:
        session.execute(_SEND_AGAIN, known)
        return "sent_again"
    age = session.execute(
        text("SELECT :now - coalesce(sent_at, :now) FROM messages WHERE id = :id"), known
    ).scalar_one()
    if age < DECIDE_AFTER:
        return "still_unknown"
    if notice_class is NoticeClass.SAFETY:  # better told twice than not at all
        session.execute(_SEND_AGAIN, known)
        return "sent_again"
    # The message is given up, the notice goes on to its next channel.
    session.execute(_GIVE_UP, known)
    return "given_up"
