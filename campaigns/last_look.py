"""The last look before a message goes: who is barred, cleared, answered, capped or too late leaves with the reason.

Step S3 of docs/sending.md. It runs in the transaction that records the attempt, on a window of one chunk.
What leaves settles as `suppressed` (its address), `expired`, or `cancelled` (the notice itself is needless now); a
capped one that may wait, and one whose customer has moved to another time zone, go on in a chunk of their own.
What may go is written once: `sending` and its attempt, one row per call, in the same statement.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from itertools import chain, islice, repeat
from typing import Any, Protocol
from uuid import UUID

from sqlalchemy import Row, TextClause, text
from sqlalchemy.orm import Session

from campaigns import caps
from campaigns.addresses import newest_words, refused_among
from campaigns.classes import policy
from campaigns.plausible_zones import PHONE_PREFIX
from campaigns.send_slots import hours_of, slot_in, zones_of
from campaigns.timing import zone_names
from outreach.settings import get_settings
from outreach.vocabulary import Channel, NoticeClass


class Claim(Protocol):
    """What is asked of a claimed chunk."""

    @property
    def chunk_id(self) -> int: ...
    @property
    def fence(self) -> int: ...
    @property
    def now(self) -> datetime: ...
    @property
    def notice_class(self) -> str: ...
    @property
    def not_after(self) -> datetime | None: ...
    @property
    def segment_id(self) -> int | None: ...
    @property
    def problem_id(self) -> int | None: ...
    @property
    def zones(self) -> str | None: ...


# Any answer to the problem since the notice was written; a machine's does not count.
ANSWERED = """EXISTS (SELECT 1 FROM responses r WHERE r.customer_id = {customer} AND r.problem_id = :problem_id
    AND r.intent <> 'out_of_office' AND r.received_at >= {since})"""

_answered = ANSWERED.format(customer="h.customer_id", since="(SELECT created_at FROM notices WHERE id = h.notice_id)")


@lru_cache
def _statement(channel: Channel, *, capped: bool) -> TextClause:
    over = f"WHEN {caps.over_cap('h.customer_id')} THEN :cap_reason" if capped else ""
    # Who is out is read once for the window, not once per message: that is a third of the work of looking.
    return text(f"""
WITH held AS MATERIALIZED (
    SELECT m.id, m.ctid AS place, m.customer_id, m.address, m.step, m.notice_id FROM messages m
    WHERE m.id = ANY(:message_ids) AND m.chunk_id = :chunk_id AND m.send_state = 'queued'
    ORDER BY m.id FOR UPDATE
), erased AS (
    SELECT c.id FROM customers c WHERE c.id = ANY(ARRAY(SELECT customer_id FROM held)) AND c.erased_at IS NOT NULL
), barred AS (
    SELECT s.address FROM suppressions s
    WHERE s.channel = '{channel}' AND s.address = ANY(ARRAY(SELECT address FROM held)) AND s.lifted_at IS NULL
), words AS MATERIALIZED (
    {newest_words("= ANY(ARRAY(SELECT customer_id FROM held))", [channel])}
), cleared AS (
    SELECT a.customer_id FROM audience_members a
    WHERE a.segment_id = :segment_id AND a.customer_id = ANY(ARRAY(SELECT customer_id FROM held))
      AND (a.left_at IS NOT NULL OR a.grade = 'cleared')
), judged AS MATERIALIZED (
    SELECT h.id, h.place,
           CASE WHEN h.customer_id IN (SELECT id FROM erased) OR h.address IN (SELECT address FROM barred)
                THEN 'suppressed'
                WHEN {refused_among("words", channel, "h.customer_id")} THEN 'no_consent'
                WHEN cast(:not_after AS timestamptz) < :now THEN 'expired'
                WHEN h.customer_id IN (SELECT customer_id FROM cleared) THEN 'cleared'
                WHEN h.step > 0 AND {_answered} THEN 'answered'
                {over} END AS reason
    FROM held h
), placed AS MATERIALIZED (
    SELECT id, place, reason, CASE WHEN reason IS NULL
           THEN (count(*) FILTER (WHERE reason IS NULL) OVER (ORDER BY id) - 1) / :messages_per_call + 1 END AS call
    FROM judged WHERE reason IS DISTINCT FROM 'defer'
), calls AS (
    INSERT INTO attempts (chunk_id, fence, provider, message_ids, leased_until)
    SELECT :chunk_id, :fence, :provider, array_agg(id ORDER BY id),
           clock_timestamp() + make_interval(secs => :lease)
    FROM placed WHERE call IS NOT NULL GROUP BY call ORDER BY call
    RETURNING id
), written AS (
    UPDATE messages m
    SET send_state = CASE WHEN placed.reason IS NULL THEN 'sending'
                          WHEN placed.reason IN ('suppressed', 'no_consent') THEN 'suppressed'
                          WHEN placed.reason = 'expired' THEN 'expired' ELSE 'cancelled' END,
        reason = placed.reason, provider = :provider,
        -- Their ids rise as the calls do. Looked up by place: joined, every message would be held against every call.
        attempt_id = coalesce((SELECT array_agg(id ORDER BY id) FROM calls)[placed.call], m.attempt_id),
        failed_at = CASE WHEN placed.reason IS NOT NULL THEN cast(:now AS timestamptz) END,
        cost = CASE WHEN placed.reason IS NULL THEN (cast(:prices AS int[]))[
                   CASE WHEN :one_price THEN 1 ELSE array_position(cast(:message_ids AS uuid[]), m.id) END] END
    FROM placed
    WHERE m.ctid = placed.place AND m.id = placed.id  -- where they were found and locked, without looking again
    RETURNING m.id, placed.reason
)
-- Nearly always all of them pass, and then nobody needs to be named.
SELECT ARRAY(SELECT id FROM calls ORDER BY id) AS attempts,
       array_agg(id) FILTER (WHERE reason IS NOT NULL) AS left,
       CASE WHEN count(*) FILTER (WHERE reason IS NULL) < cardinality(cast(:message_ids AS uuid[]))
            THEN coalesce(array_agg(id) FILTER (WHERE reason IS NULL), '{{}}') END AS passed
FROM written
""")


_LOCK_CUSTOMERS = text(caps.LOCK_CUSTOMERS)

# Nothing is ever reset in place: who must wait does so in a new chunk.
_MOVE = text("""
WITH late AS MATERIALIZED (
    SELECT id FROM messages WHERE id = ANY(:message_ids) AND chunk_id = :chunk_id AND send_state = 'queued'
    ORDER BY id FOR UPDATE
), made AS (
    INSERT INTO chunks (campaign_id, channel, template_version, due_at, size, tries, wave, zones, closes_at)
    SELECT k.campaign_id, k.channel, k.template_version, :due_at, (SELECT count(*) FROM late), k.tries, k.wave,
           :zones, :closes_at
    FROM chunks k WHERE k.id = :chunk_id AND EXISTS (SELECT 1 FROM late)
    RETURNING id
)
UPDATE messages m SET chunk_id = made.id FROM made, late WHERE m.id = late.id
RETURNING m.id
""")


@dataclass(frozen=True, slots=True)
class Judged:
    """The attempt of each message, in the order asked; none for one that may not go. `left` counts those that left."""

    attempts: Sequence[int | None]
    left: int = 0


def judge(
    session: Session,
    *,
    claim: Claim,
    channel: Channel,
    message_ids: Sequence[UUID],
    provider: str,
    messages_per_call: int,
    prices: Sequence[int],
    now: datetime,
) -> Judged:
    """Record the attempts of what may go; what may not leaves, and what must wait leaves the chunk.

    `message_ids` rise, as the messages of a chunk are read.
    """
    notice_class = NoticeClass(claim.notice_class)
    rules = policy(notice_class)
    capped = rules.capped
    if capped:
        session.execute(_LOCK_CUSTOMERS, {"message_ids": list(message_ids)}).all()
    parameters = {
        "message_ids": list(message_ids),
        "chunk_id": claim.chunk_id,
        "segment_id": claim.segment_id,
        "problem_id": claim.problem_id,
        "provider": provider,
        "fence": claim.fence,
        "lease": get_settings().lease_seconds,
        "messages_per_call": messages_per_call,
        "prices": list(prices),
        "one_price": len(prices) == 1,
        "notice_class": notice_class.value,
        "not_after": claim.not_after,
        "now": now,
    }
    if capped:
        parameters |= caps.parameters_of(notice_class)
        parameters["cap_reason"] = "capped" if caps.skips(notice_class) else "defer"
    found = session.execute(_statement(channel, capped=capped), parameters).one()
    left = set(found.left or ())
    passed = None if found.passed is None else set(found.passed)
    here = left if passed is None else left | passed
    if capped and passed is not None and (waiting := [each for each in message_ids if each not in here]):
        # `closes_at` in the past makes the sweep look for the slot.
        later = {"due_at": now + caps.LOOK_AGAIN, "zones": claim.zones, "closes_at": now if claim.zones else None}
        session.execute(_MOVE, {"message_ids": waiting, "chunk_id": claim.chunk_id, **later})
    calls = chain.from_iterable(repeat(attempt, messages_per_call) for attempt in found.attempts)
    if passed is None:
        return Judged(list(islice(calls, len(message_ids))))
    return Judged([next(calls) if each in passed else None for each in message_ids], len(left))


def send_elsewhere(session: Session, *, claim: Claim, channel: Channel, rows: Sequence[Row[Any]]) -> set[UUID]:
    """Move the messages whose customer no longer is in the chunk's time zones to their own slot; returns them."""
    window = hours_of(channel, NoticeClass(claim.notice_class))
    if claim.zones is None or window is None:
        return set()
    strays: dict[str, list[UUID]] = {}
    for row in rows:
        found = ",".join(zones_of(_signature(row), get_settings().time_zone))
        if found != claim.zones:
            strays.setdefault(found, []).append(row.id)
    moved: set[UUID] = set()
    for found, ids in strays.items():
        slot = slot_in(tuple(found.split(",")), window, claim.now)
        where = {"due_at": slot.opens_at, "zones": found, "closes_at": slot.closes_at}
        moved.update(session.scalars(_MOVE, {"message_ids": ids, "chunk_id": claim.chunk_id, **where}))
    return moved


def _signature(row: Row[Any]) -> str:
    """Return the signature of one customer, as `send_slots.SIGNATURE` does in SQL."""
    if row.time_zone in zone_names():
        return str(row.time_zone)
    return "|".join(("", row.country or "", row.region or "", (row.phone or "")[:PHONE_PREFIX]))
