"""What a provider answered, written down: once per window, only where the message still belongs to the attempt."""

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import timedelta
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.orm import Session

from campaigns.providers.base import Outcome, Receipt
from campaigns.providers.lanes import NOT_CALLED
from campaigns.sending_counts import count
from outreach import clock
from outreach.vocabulary import AttemptState, SendState

# After so many refusals in a row, with growing waits (about six hours in all), a message is given up.
MOST_TRIES = 9
LONGEST_WAIT_SECONDS = 3600

_STATES = {
    Outcome.ACCEPTED: SendState.ACCEPTED,
    Outcome.REFUSED: SendState.QUEUED,
    Outcome.REJECTED: SendState.REJECTED,
    Outcome.UNKNOWN: SendState.UNKNOWN,
}

_MESSAGES = text(f"""
WITH moment AS MATERIALIZED (SELECT {clock.NOW_SQL} AS now)
UPDATE messages m
SET send_state = r.state, provider_id = coalesce(r.provider_id, m.provider_id),
    sent_at = CASE WHEN r.state IN ('accepted', 'unknown') THEN (SELECT now FROM moment) ELSE m.sent_at END,
    failed_at = CASE WHEN r.state = 'rejected' THEN (SELECT now FROM moment) ELSE m.failed_at END,
    reason = CASE WHEN r.state = 'rejected' THEN 'provider_rejected' ELSE m.reason END,
    delivery_detail = coalesce(r.detail, m.delivery_detail)
FROM unnest(cast(:ids AS uuid[]), cast(:attempts AS bigint[]), cast(:states AS text[]), cast(:provider_ids AS text[]),
            cast(:details AS text[])) AS r(id, attempt_id, state, provider_id, detail)
WHERE m.id = r.id AND m.attempt_id = r.attempt_id
  -- Queued: it was given up for lost and waits to be sent again, when the answer comes after all.
  AND (m.send_state IN ('sending', 'unknown') OR (m.send_state = 'queued' AND r.state = 'accepted'))
RETURNING m.id, m.send_state
""")

_ATTEMPTS = text("""
UPDATE attempts a SET state = r.state, finished_at = clock_timestamp(), status_code = r.status, detail = r.detail
FROM unnest(cast(:ids AS bigint[]), cast(:states AS text[]), cast(:statuses AS int[]), cast(:details AS text[]))
     AS r(id, state, status, detail)
WHERE a.id = r.id
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
SELECT m.channel, m.address, 'opted_out_at_provider', m.provider, :now FROM messages m WHERE m.id = ANY(:ids)
ON CONFLICT (channel, address) WHERE lifted_at IS NULL DO NOTHING
""")


def record(
    session: Session,
    *,
    receipts: Sequence[Receipt],
    attempts: Mapping[UUID, int],
    claim_tries: int,
    probes: bool = False,
) -> Counter[str]:
    """Write the receipts of one window; returns how many messages had which outcome.

    A receipt of an attempt that no longer owns its message changes nothing (outcome `fenced`). A refusal of one that
    `probes` a resting provider does not count as a try: nobody is given up for having been asked to find out.
    """
    if not receipts:
        return Counter()
    written = session.execute(
        _MESSAGES,
        {
            "ids": [r.message_id for r in receipts],
            "attempts": [attempts[r.message_id] for r in receipts],
            "states": [_STATES[r.outcome].value for r in receipts],
            "provider_ids": [r.provider_id for r in receipts],
            "details": [r.detail for r in receipts],
        },
    ).all()
    ours = {row.id for row in written}
    _finish_attempts(session, receipts, attempts)
    if opted_out := [r.message_id for r in receipts if r.opted_out]:
        session.execute(_BAR, {"ids": opted_out, "now": clock.now(session)})
    refused = [r for r in receipts if r.outcome is Outcome.REFUSED and r.message_id in ours]
    if refused:
        ids, now = [r.message_id for r in refused], clock.now(session)
        # What was never called, for want of time or of a turn at the rate limit, has not been tried.
        counts = not probes and any(not (r.detail or "").startswith(NOT_CALLED) for r in refused)
        if counts and claim_tries + 1 >= MOST_TRIES:
            session.execute(_GIVE_UP, {"ids": ids, "now": now})
        else:
            asked = max(r.retry_after_seconds or 0 for r in refused)
            wait = max(asked, min(2.0 ** (claim_tries if counts else 0) * 5, LONGEST_WAIT_SECONDS))
            session.execute(_RETRY, {"ids": ids, "due_at": now + timedelta(seconds=wait), "counts": int(counts)})
    outcomes = Counter(r.outcome.value for r in receipts if r.message_id in ours)
    if fenced := len(receipts) - len(ours):
        outcomes["fenced"] = fenced
        count(session, "fence_rejected", fenced)
    return outcomes


# Of the outcomes that shared one call, the one that needs most attention names the attempt.
_WORST = [Outcome.UNKNOWN, Outcome.REFUSED, Outcome.REJECTED, Outcome.ACCEPTED]


def _finish_attempts(session: Session, receipts: Sequence[Receipt], attempts: Mapping[UUID, int]) -> None:
    worst: dict[int, Receipt] = {}
    for receipt in receipts:
        attempt_id = attempts[receipt.message_id]
        known = worst.get(attempt_id)
        if known is None or _WORST.index(receipt.outcome) < _WORST.index(known.outcome):
            worst[attempt_id] = receipt
    session.execute(
        _ATTEMPTS,
        {
            "ids": list(worst),
            "states": [AttemptState(r.outcome.value).value for r in worst.values()],
            "statuses": [r.status_code for r in worst.values()],
            "details": [r.detail for r in worst.values()],
        },
    )
