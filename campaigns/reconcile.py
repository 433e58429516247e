"""Settle what a crash, a time-out or silence left open; every step may run anywhere, any time, again.

S8: a lease that ran out gives its chunk back, and makes its unfinished messages `unknown`.
S9: an unknown message is looked up at the provider once the grace is over: found is accepted, provably absent
is sent again, a provider that cannot be searched leaves it to the events that may still come.
S10: what stays unknown is decided by class, visibly. (S numbers of docs/sending.md.)
"""

import time
from collections import Counter
from collections.abc import Sequence
from datetime import datetime, timedelta
from uuid import UUID

import structlog
from sqlalchemy import Row, text
from sqlalchemy.orm import Session

from campaigns.envelopes import Sender
from campaigns.protocol import Doubt, Verdict, judge_doubt
from campaigns.providers.base import Asked, LookUp, Search, SearchesMany
from campaigns.rewording import texts_of
from campaigns.sending_counts import count
from outreach import clock
from outreach.crash import crash_at
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

# A refused message goes back to a queue that nobody empties any more when its campaign ended during the call.
_ENDED = text("""
WITH ended AS (
    UPDATE chunks k SET state = 'done', finished_at = :now FROM campaigns c
    WHERE c.id = k.campaign_id AND k.state = 'ready' AND c.state IN ('cancelled', 'finished')
    RETURNING k.id
), over AS (
    UPDATE messages m SET send_state = 'cancelled', reason = 'cancelled', failed_at = :now
    FROM ended WHERE m.chunk_id = ended.id AND m.send_state = 'queued'
    RETURNING m.id, m.notice_id
)
UPDATE notices n SET state = 'skipped', reason = 'cancelled', settled_at = :now
FROM over WHERE n.id = over.notice_id AND n.state = 'owed' AND NOT EXISTS (
    SELECT 1 FROM messages other WHERE other.notice_id = n.id AND other.id <> over.id
      AND other.send_state <> 'cancelled')
""")

# The calls whose grace is over, those that were looked up longest ago first; `leased_until` is the next look.
_OPEN_CALLS = text("""
SELECT a.id FROM attempts a
WHERE a.state = 'unknown' AND a.leased_until < clock_timestamp()
  AND a.provider = coalesce(cast(:only AS text), a.provider) AND a.provider IS DISTINCT FROM cast(:but AS text)
  AND a.started_at < clock_timestamp() - make_interval(secs => :grace)
  AND EXISTS (SELECT 1 FROM messages m WHERE m.id = ANY(a.message_ids) AND m.attempt_id = a.id
              AND m.send_state = 'unknown' AND m.channel = :channel)
ORDER BY a.leased_until, a.id LIMIT :most
""")

_DOUBTS = text("""
SELECT m.id, m.address, m.attempt_id, a.provider, a.started_at, c.notice_class, c.state AS campaign_state, m.sent_at
FROM attempts a JOIN messages m ON m.attempt_id = a.id AND m.id = ANY(a.message_ids)
JOIN campaigns c ON c.id = m.campaign_id
WHERE a.id = ANY(:attempt_ids) AND m.send_state = 'unknown'
ORDER BY a.id, m.id
""")

# Each change names the attempt that was looked up: an answer that is about an older one changes nothing.
_STILL = """
still AS (
    SELECT m.id, m.notice_id, m.chunk_id, r.provider_id
    FROM unnest(cast(:ids AS uuid[]), cast(:attempt_ids AS bigint[]), cast(:provider_ids AS text[]))
         AS r(id, attempt_id, provider_id)
    JOIN messages m ON m.id = r.id AND m.attempt_id = r.attempt_id
    WHERE m.send_state = 'unknown' ORDER BY m.id FOR UPDATE OF m
)"""

_ACCEPTED = text(f"""
WITH {_STILL}
UPDATE messages m SET send_state = 'accepted', provider_id = coalesce(still.provider_id, m.provider_id),
                      sent_at = coalesce(m.sent_at, :now)
FROM still WHERE m.id = still.id
""")

# `sent_at` goes back to empty only where the provider is known not to have the message.
_QUEUED = text(f"""
WITH {_STILL}, made AS (
    INSERT INTO chunks (campaign_id, channel, template_version, due_at, size, tries, wave, zones, closes_at)
    SELECT k.campaign_id, k.channel, k.template_version, :now, count(*), max(k.tries) + 1, min(k.wave), k.zones,
           min(k.closes_at)
    FROM still JOIN chunks k ON k.id = still.chunk_id
    GROUP BY k.campaign_id, k.channel, k.template_version, k.zones
    RETURNING id, campaign_id, template_version, zones
)
UPDATE messages m SET send_state = 'queued', chunk_id = made.id,
       sent_at = CASE WHEN :absent THEN NULL ELSE m.sent_at END
FROM still JOIN chunks k ON k.id = still.chunk_id
JOIN made ON made.campaign_id = k.campaign_id AND made.template_version = k.template_version
     AND made.zones IS NOT DISTINCT FROM k.zones
WHERE m.id = still.id
""")

# Its campaign has ended meanwhile, and the provider does not have it: nothing is sent any more.
_CANCELLED = text(f"""
WITH {_STILL}, over AS (
    UPDATE messages m SET send_state = 'cancelled', reason = 'cancelled', failed_at = :now
    FROM still WHERE m.id = still.id RETURNING m.id, m.notice_id
)
UPDATE notices n SET state = 'skipped', reason = 'cancelled', settled_at = :now
FROM over WHERE n.id = over.notice_id AND n.state = 'owed' AND NOT EXISTS (
    SELECT 1 FROM messages other WHERE other.notice_id = n.id AND other.id <> over.id
      AND other.send_state <> 'cancelled')
""")

# The message is given up, the notice goes on to its next channel.
_DEAD = text(f"""
WITH {_STILL}, dead AS (
    UPDATE messages m SET send_state = 'dead', reason = 'unknown_outcome', failed_at = :now
    FROM still WHERE m.id = still.id RETURNING m.chunk_id
)
UPDATE chunks SET check_at = :now WHERE id IN (SELECT chunk_id FROM dead)
""")

_ASK_LATER = text("""
UPDATE attempts SET leased_until = clock_timestamp() + make_interval(secs => :pause)
WHERE id = ANY(:attempt_ids) AND state = 'unknown'
""")

# A call some of whose messages were sent again counts as refused; one whose messages were given up stays unknown.
_CLOSE_ATTEMPTS = text("""
UPDATE attempts a SET finished_at = clock_timestamp(), state = CASE WHEN EXISTS (
    SELECT 1 FROM messages m WHERE m.id = ANY(a.message_ids)
      AND (m.attempt_id <> a.id OR m.send_state IN ('queued', 'cancelled'))) THEN 'refused' ELSE 'accepted' END
WHERE a.state = 'unknown' AND a.leased_until < clock_timestamp() AND NOT EXISTS (
    SELECT 1 FROM messages m WHERE m.id = ANY(a.message_ids) AND m.attempt_id = a.id
      AND m.send_state IN ('unknown', 'sending', 'dead'))
""")

CALLS_AT_A_TIME = 50
MESSAGES_PER_SEARCH = 50


def sweep_leases(session: Session) -> Counter[str]:
    """Give back what workers that died were holding."""
    now = clock.now(session)
    unknown = len(session.execute(_EXPIRED_ATTEMPTS, {"now": now}).all())
    chunks = len(session.execute(_EXPIRED_CHUNKS).all())
    session.execute(_ENDED, {"now": now})
    if chunks or unknown:
        log.warning("leases ran out", chunks=chunks, unknown_messages=unknown)
        count(session, "claim_lease_expired", chunks)
    return Counter(chunks=chunks, unknown=unknown)


def reconcile(
    *, channel: Channel, sender: Sender, budget_seconds: float = 20, only_own: bool = False, but: str | None = None
) -> Counter[str]:
    """Look up what is in doubt on one channel; asks the provider with no transaction open.

    Returns how many messages had which verdict. What cannot be told yet is asked again after a third of the grace.
    `only_own` leaves the attempts of other providers alone, `but` those of this one. Of what is left, the attempts of
    a provider that is not the sender's (which the settings once named) cannot be asked about.
    """
    whose = {"only": sender.provider.name if only_own else None, "but": but}
    result: Counter[str] = Counter()
    ends = time.monotonic() + budget_seconds
    while time.monotonic() < ends:
        with transaction() as session:
            calls, doubts = _open(session, channel, whose)
        if not calls:
            break
        for start in range(0, len(doubts), MESSAGES_PER_SEARCH):
            result += _look_up(sender, doubts[start : start + MESSAGES_PER_SEARCH])
        with transaction() as session:
            pause = max(1.0, get_settings().reconcile_grace_seconds / 3)
            session.execute(_ASK_LATER, {"attempt_ids": calls, "pause": pause})
    with transaction() as session:
        session.execute(_CLOSE_ATTEMPTS)
    if result:
        log.info("reconciled", channel=channel, **result)
    return result


def _open(
    session: Session, channel: Channel, whose: dict[str, str | None]
) -> tuple[list[int], Sequence[Row[tuple[object, ...]]]]:
    given = {"channel": channel, "grace": get_settings().reconcile_grace_seconds, "most": CALLS_AT_A_TIME}
    calls = session.scalars(_OPEN_CALLS, given | whose).all()
    return list(calls), session.execute(_DOUBTS, {"attempt_ids": calls}).all() if calls else []


def _look_up(sender: Sender, doubts: Sequence[Row[tuple[object, ...]]]) -> Counter[str]:
    texts: dict[UUID, str] = {}
    if sender.channel is Channel.SMS:
        with transaction() as session:
            texts = texts_of(session, sender, [doubt.id for doubt in doubts])
    answers = _ask(sender, doubts, texts)
    crash_at("after_look_up")
    with transaction() as session:
        verdicts = _settle(session, sender, doubts, answers)
        crash_at("before_settle_commit")
    crash_at("after_settle")
    return verdicts


def _ask(sender: Sender, doubts: Sequence[Row[tuple[object, ...]]], texts: dict[UUID, str]) -> dict[UUID, LookUp]:
    # Nobody else knows of what a provider was given: absent there would say nothing.
    foreign = {
        doubt.id: LookUp(Search.UNABLE, detail=f"it was handed to {doubt.provider}")
        for doubt in doubts
        if doubt.provider != sender.provider.name
    }
    # A little before the attempt: the provider's clock is not ours.
    asked = [
        Asked(doubt.id, doubt.address, doubt.started_at - timedelta(minutes=5))
        for doubt in doubts
        if doubt.id not in foreign
    ]
    return foreign | _ask_for(sender, asked, texts)


def _ask_for(sender: Sender, asked: Sequence[Asked], texts: dict[UUID, str]) -> dict[UUID, LookUp]:
    if not asked:
        return {}
    if isinstance(sender.provider, SearchesMany):
        return sender.provider.look_up_many(asked)
    return {
        one.message_id: sender.provider.look_up(one.message_id, one.to, one.since, texts.get(one.message_id))
        for one in asked
    }


def _settle(
    session: Session, sender: Sender, doubts: Sequence[Row[tuple[object, ...]]], answers: dict[UUID, LookUp]
) -> Counter[str]:
    now = clock.now(session)
    judged: dict[Verdict, list[tuple[UUID, int, str | None]]] = {}
    for doubt in doubts:
        answer = answers[doubt.id]
        verdict = judge_doubt(
            Doubt(
                search=answer.search,
                age=now - (doubt.sent_at or now),
                notice_class=NoticeClass(doubt.notice_class),
                campaign_goes_on=doubt.campaign_state in ("running", "paused"),
                never_blind=getattr(sender.provider, "never_blind", False),
            )
        )
        judged.setdefault(verdict, []).append((doubt.id, doubt.attempt_id, answer.provider_id))
    for verdict, rows in judged.items():
        apply_verdict(session, verdict, rows, now)
    return Counter({verdict.value: len(rows) for verdict, rows in judged.items()})


_STATEMENTS = {
    Verdict.FOUND: _ACCEPTED,
    Verdict.ABSENT: _QUEUED,
    Verdict.BETTER_TWICE: _QUEUED,
    Verdict.CANCELLED: _CANCELLED,
    Verdict.GIVEN_UP: _DEAD,
}


def apply_verdict(
    session: Session, verdict: Verdict, rows: Sequence[tuple[UUID, int, str | None]], now: datetime
) -> None:
    """Write one verdict on messages (id, the attempt that was looked up, the provider's id where it was found)."""
    if verdict is Verdict.STILL_UNKNOWN:
        return
    ids, attempt_ids, provider_ids = zip(*rows, strict=True)
    parameters = {"ids": list(ids), "attempt_ids": list(attempt_ids), "provider_ids": list(provider_ids), "now": now}
    if _STATEMENTS[verdict] is _QUEUED:
        parameters["absent"] = verdict is Verdict.ABSENT
    session.execute(_STATEMENTS[verdict], parameters)
