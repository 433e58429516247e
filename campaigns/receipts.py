"""What a provider answered, written down: once per window, only where the message still belongs to the attempt."""

from collections import Counter
from collections.abc import Sequence
from datetime import timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.orm import Session

from campaigns.providers.base import Outcome, Receipt
from campaigns.providers.lanes import was_called
from campaigns.sending_counts import count
from outreach import clock

# After so many refusals in a row, with growing waits (about six hours in all), a message is given up.
MOST_TRIES = 9
LONGEST_WAIT_SECONDS = 3600

# An attempt whose messages all met the same, which is nearly every one, names them itself; the others come one by one.
_RECORD = text(f"""
WITH moment AS MATERIALIZED (SELECT {clock.NOW_SQL} AS now
), ended AS (
    UPDATE attempts a SET state = r.outcome, finished_at = clock_timestamp(), status_code = r.status, detail = r.detail
    FROM unnest(cast(:attempts AS bigint[]), cast(:outcomes AS text[]), cast(:statuses AS int[]),
                cast(:details AS text[]), cast(:provider_ids AS text[]), cast(:alike AS boolean[]))
         AS r(id, outcome, status, detail, provider_id, alike)
    WHERE a.id = r.id
    RETURNING a.id AS attempt_id, a.message_ids, r.outcome, r.provider_id, r.detail, r.alike
), answered AS (
    SELECT attempt_id, unnest(message_ids) AS id, outcome, provider_id, detail FROM ended WHERE alike
    UNION ALL
    SELECT * FROM unnest(cast(:single_attempts AS bigint[]), cast(:single_ids AS uuid[]),
                         cast(:single_outcomes AS text[]), cast(:single_provider_ids AS text[]),
                         cast(:single_details AS text[]))
), written AS (
    UPDATE messages m
    SET send_state = CASE r.outcome WHEN 'refused' THEN 'queued' ELSE r.outcome END,
        provider_id = coalesce(r.provider_id, m.provider_id),
        sent_at = CASE WHEN r.outcome IN ('accepted', 'unknown') THEN (SELECT now FROM moment) ELSE m.sent_at END,
        failed_at = CASE WHEN r.outcome = 'rejected' THEN (SELECT now FROM moment) ELSE m.failed_at END,
        reason = CASE WHEN r.outcome = 'rejected' THEN 'provider_rejected' ELSE m.reason END,
        delivery_detail = coalesce(r.detail, m.delivery_detail)
    FROM answered r
    WHERE m.id = r.id AND m.attempt_id = r.attempt_id
      -- Queued: it was given up for lost and waits to be sent again, when the answer comes after all.
      AND (m.send_state IN ('sending', 'unknown') OR (m.send_state = 'queued' AND r.outcome = 'accepted'))
    RETURNING m.id, r.outcome
)
SELECT outcome, count(*) AS number, array_agg(id) FILTER (WHERE outcome = 'refused') AS refused
FROM written GROUP BY outcome
""")

# Refused messages go on in a small new chunk that is due later; the old one is never reset.
_RETRY = text("""
WITH made AS (
    INSERT INTO chunks (campaign_id, channel, template_version, due_at, size, tries, wave, zones, closes_at)
    SELECT k.campaign_id, k.channel, k.template_version, cast(:due_at AS timestamptz), cardinality(:ids),
           k.tries + :counts, k.wave, k.zones, k.closes_at
    FROM chunks k WHERE k.id = (SELECT m.chunk_id FROM messages m WHERE m.id = (cast(:ids AS uuid[]))[1])
    RETURNING id
)
UPDATE messages m SET chunk_id = made.id FROM made WHERE m.id = ANY(:ids) AND m.send_state = 'queued'
""")

_GIVE_UP = text("""
UPDATE messages m SET send_state = 'rejected', reason = 'provider_rejected', failed_at = :now
WHERE m.id = ANY(:ids) AND m.send_state = 'queued'
""")

_BAR = text("""
INSERT INTO suppressions (channel, address, reason, source, created_at)
SELECT m.channel, m.address, said.reason, m.provider, :now
FROM unnest(cast(:ids AS uuid[]), cast(:reasons AS text[])) AS said(id, reason) JOIN messages m USING (id)
ON CONFLICT (channel, address) WHERE lifted_at IS NULL DO NOTHING
""")


def record(
    session: Session,
    *,
    receipts: Sequence[Receipt],
    attempts: Sequence[int],
    claim_tries: int,
    probes: bool = False,
) -> Counter[str]:
    """Write the receipts of one window, each with the attempt it answers; returns how many had which outcome.

    A receipt of an attempt that no longer owns its message changes nothing (outcome `fenced`). A refusal of one that
    `probes` a resting provider does not count as a try: nobody is given up for having been asked to find out.
    """
    if not receipts:
        return Counter()
    written = session.execute(_RECORD, _parameters(receipts, attempts)).all()
    if barred := {r.message_id: r.bars.value for r in receipts if r.bars}:
        bans = {"ids": list(barred), "reasons": list(barred.values()), "now": clock.now(session)}
        session.execute(_BAR, bans)
    if ids := [message_id for row in written for message_id in row.refused or ()]:
        _try_again(session, ids, [r for r in receipts if r.outcome is Outcome.REFUSED], claim_tries, probes=probes)
    outcomes = Counter({row.outcome: row.number for row in written})
    if fenced := len(receipts) - outcomes.total():
        outcomes["fenced"] = fenced
        count(session, "fence_rejected", fenced)
    return outcomes


def _try_again(
    session: Session, ids: Sequence[UUID], refused: Sequence[Receipt], claim_tries: int, *, probes: bool
) -> None:
    """Queue refused messages for later, or give them up after too many tries."""
    now = clock.now(session)
    # What was never called, for want of time or of a turn at the rate limit, has not been tried.
    counts = not probes and any(was_called(receipt) for receipt in refused)
    if counts and claim_tries + 1 >= MOST_TRIES:
        session.execute(_GIVE_UP, {"ids": ids, "now": now})
        return
    asked = max(r.retry_after_seconds or 0 for r in refused)
    wait = max(asked, min(2.0 ** (claim_tries if counts else 0) * 5, LONGEST_WAIT_SECONDS))
    session.execute(_RETRY, {"ids": ids, "due_at": now + timedelta(seconds=wait), "counts": int(counts)})


# Of the outcomes that shared one call, the one that needs most attention names the attempt.
_WORST = [Outcome.UNKNOWN, Outcome.REFUSED, Outcome.REJECTED, Outcome.ACCEPTED]


def _parameters(receipts: Sequence[Receipt], attempts: Sequence[int]) -> dict[str, list[Any]]:
    """Return the arrays of `_RECORD`: a row per attempt, and one per message of attempts with different outcomes."""
    by_attempt: dict[int, list[Receipt]] = {}
    for receipt, attempt in zip(receipts, attempts, strict=True):
        by_attempt.setdefault(attempt, []).append(receipt)
    worst = [
        group[0] if len(group) == 1 else min(group, key=lambda receipt: _WORST.index(receipt.outcome))
        for group in by_attempt.values()
    ]
    alike = [
        all(r.outcome is one.outcome and r.provider_id == one.provider_id and r.detail == one.detail for r in group)
        for one, group in zip(worst, by_attempt.values(), strict=True)
    ]
    singles = [
        (attempt, receipt)
        for (attempt, group), same in zip(by_attempt.items(), alike, strict=True)
        if not same
        for receipt in group
    ]
    return {
        "attempts": list(by_attempt),
        "outcomes": [r.outcome.value for r in worst],
        "statuses": [r.status_code for r in worst],
        "details": [r.detail for r in worst],
        "provider_ids": [r.provider_id for r in worst],
        "alike": alike,
        "single_attempts": [attempt for attempt, _ in singles],
        "single_ids": [r.message_id for _, r in singles],
        "single_outcomes": [r.outcome.value for _, r in singles],
        "single_provider_ids": [r.provider_id for _, r in singles],
        "single_details": [r.detail for _, r in singles],
    }
