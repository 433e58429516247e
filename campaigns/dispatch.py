"""Hand the messages of due chunks to a provider, so that a crash at any point loses and doubles nothing.

The protocol, step by step (S numbers of docs/sending.md):
S2 claim a chunk for a lease, its fence rises; S3 gate a window of it in one statement: who is barred or cleared
leaves with a reason, the rest becomes `sending` with an attempt row, and this commits *before* the call; S4 call
the provider with no transaction open, never past the deadline; S5, S6 record the receipts, only where the message
still belongs to this attempt. Whatever a crash leaves open, `reconcile` settles.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from uuid import UUID

import structlog
from sqlalchemy import text
from sqlalchemy.orm import Session

from campaigns.addresses import barred, refused
from campaigns.context import Recipient, contexts, customer_words
from campaigns.envelopes import Sender, Unrenderable
from campaigns.receipts import record
from outreach import clock
from outreach.crash import crash_at
from outreach.db import transaction
from outreach.models import Campaign
from outreach.settings import get_settings
from outreach.vocabulary import Channel

log = structlog.get_logger()

_CLAIM = text("""
UPDATE chunks SET state = 'claimed', fence = fence + 1, owner = :owner,
                  leased_until = clock_timestamp() + make_interval(secs => :lease)
WHERE id = (SELECT k.id FROM chunks k JOIN campaigns c ON c.id = k.campaign_id
            WHERE k.channel = :channel AND k.state = 'ready' AND k.due_at <= :now
              AND c.state = 'running'
            ORDER BY k.due_at, k.id LIMIT 1 FOR UPDATE OF k SKIP LOCKED)
RETURNING id, campaign_id, fence, tries, template_version
""")

_EXTEND = text("""
UPDATE chunks SET leased_until = clock_timestamp() + make_interval(secs => :lease)
WHERE id = :chunk_id AND fence = :fence AND state = 'claimed'
  AND EXISTS (SELECT 1 FROM campaigns c WHERE c.id = chunks.campaign_id AND c.state = 'running')
""")

_WINDOW = text("""
SELECT m.id AS message_id, m.address, n.grade, n.evidence_items, n.evidence_orders, n.evidence_tickets,
       c.name, c.external_id, c.email, c.phone, c.city, c.region, c.country, c.locale, c.attributes,
       c.address_line1, c.address_line2, c.postal_code
FROM messages m JOIN notices n ON n.id = m.notice_id JOIN customers c ON c.id = m.customer_id
WHERE m.chunk_id = :chunk_id AND m.send_state = 'queued'
ORDER BY m.id LIMIT :window
""")

_GATE = text(f"""
WITH judged AS (
    SELECT m.id,
           CASE WHEN c.erased_at IS NOT NULL THEN 'suppressed'
                WHEN {barred("m.channel", "m.address")} THEN 'suppressed'
                WHEN {refused("m.channel", "m.customer_id")} THEN 'suppressed'
                WHEN cast(:not_after AS timestamptz) < :now THEN 'expired'
                ELSE 'sending' END AS verdict,
           CASE WHEN c.erased_at IS NOT NULL OR {barred("m.channel", "m.address")} THEN 'suppressed'
                WHEN {refused("m.channel", "m.customer_id")} THEN 'no_consent'
                WHEN cast(:not_after AS timestamptz) < :now THEN 'expired' END AS reason
    FROM messages m JOIN customers c ON c.id = m.customer_id
    WHERE m.id = ANY(:message_ids) AND m.chunk_id = :chunk_id AND m.send_state = 'queued'
    ORDER BY m.id FOR UPDATE OF m
)
UPDATE messages m SET send_state = judged.verdict, reason = judged.reason, provider = :provider,
       failed_at = CASE WHEN judged.verdict <> 'sending' THEN cast(:now AS timestamptz) END
FROM judged WHERE m.id = judged.id
RETURNING m.id, judged.verdict
""")

_ATTEMPTS = text("""
WITH calls AS (
    INSERT INTO attempts (chunk_id, fence, provider, message_ids, leased_until)
    SELECT :chunk_id, :fence, :provider, array_agg(called.id ORDER BY called.place),
           clock_timestamp() + make_interval(secs => :lease)
    FROM unnest(cast(:message_ids AS uuid[])) WITH ORDINALITY AS called(id, place)
    GROUP BY (called.place - 1) / :messages_per_call
    RETURNING id, message_ids
)
UPDATE messages m SET attempt_id = calls.id FROM calls WHERE m.id = ANY(calls.message_ids)
RETURNING m.id, m.attempt_id
""")

_RENDER_FAILED = text("""
UPDATE messages m SET send_state = 'rejected', reason = 'template', delivery_detail = bad.why, failed_at = :now
FROM unnest(cast(:message_ids AS uuid[]), cast(:whys AS text[])) AS bad(id, why)
WHERE m.id = bad.id AND m.send_state = 'queued'
""")

_FINISH = text("""
UPDATE chunks SET state = 'done', leased_until = NULL, finished_at = :now,
       check_at = CASE WHEN EXISTS (SELECT 1 FROM messages m WHERE m.chunk_id = :chunk_id
                                    AND m.send_state IN ('rejected', 'suppressed', 'expired', 'dead')) THEN :now
                       WHEN :patient THEN cast(:now AS timestamptz) ELSE check_at END
WHERE id = :chunk_id AND fence = :fence AND state = 'claimed'
  AND NOT EXISTS (SELECT 1 FROM messages m WHERE m.chunk_id = :chunk_id AND m.send_state = 'queued')
""")


@dataclass(frozen=True, slots=True)
class Claim:
    """A chunk that this worker holds; receipts with an older `fence` change nothing."""

    chunk_id: int
    campaign_id: int
    fence: int
    tries: int
    template_version: int


@dataclass(slots=True)
class Dispatched:
    """What one run did: chunks taken, and messages by outcome."""

    chunks: int = 0
    outcomes: dict[str, int] = field(default_factory=dict)

    def add(self, outcome: str, number: int = 1) -> None:
        """Count `number` messages with this outcome."""
        self.outcomes[outcome] = self.outcomes.get(outcome, 0) + number


def dispatch(*, channel: Channel, sender: Sender, owner: str, budget_seconds: float = 50) -> Dispatched:
    """Send due chunks of `channel` until none is left or the time budget is used; commits as it goes."""
    done, ends = Dispatched(), time.monotonic() + budget_seconds
    while time.monotonic() < ends:
        with transaction() as session:
            claim = _claim(session, channel=channel, owner=owner)
        if claim is None:
            break
        done.chunks += 1
        crash_at("after_claim")
        while _send_window(claim, sender, done):
            continue
    if done.chunks:
        log.info("dispatched", channel=channel, chunks=done.chunks, **done.outcomes)
    return done


def _claim(session: Session, *, channel: Channel, owner: str) -> Claim | None:
    row = session.execute(
        _CLAIM,
        {"channel": channel, "owner": owner, "lease": get_settings().lease_seconds, "now": clock.now(session)},
    ).one_or_none()
    return None if row is None else Claim(row.id, row.campaign_id, row.fence, row.tries, row.template_version)


def _send_window(claim: Claim, sender: Sender, done: Dispatched) -> bool:
    """Send the next window of the chunk; false when the chunk is finished or is no longer ours."""
    settings = get_settings()
    with transaction() as session:
        ours = session.execute(
            _EXTEND, {"chunk_id": claim.chunk_id, "fence": claim.fence, "lease": settings.lease_seconds}
        )
        if ours.rowcount == 0:  # type: ignore[attr-defined]  # paused, cancelled, or the lease ran out
            release(session, claim)
            return False
        campaign = session.get_one(Campaign, claim.campaign_id)
        now = clock.now(session)
        rows = session.execute(_WINDOW, {"chunk_id": claim.chunk_id, "window": sender.window}).mappings().all()
        if not rows:
            patient = any(step.get("after_hours") for step in campaign.ladder[1:])
            session.execute(_FINISH, {"chunk_id": claim.chunk_id, "fence": claim.fence, "now": now, "patient": patient})
            return False
        recipients = [
            Recipient(
                row["message_id"], row["address"], {**customer_words(dict(row)), **_postal(row)}, row["grade"],
                row["evidence_items"], row["evidence_orders"], row["evidence_tickets"],
            )
            for row in rows
        ]  # fmt: skip
        variables = contexts(session, campaign=campaign, recipients=recipients, now=now)
        locales = {row["message_id"]: row["locale"] for row in rows}
        content = sender.content(session, campaign.template_key, claim.template_version)
    envelopes, failures = [], []
    for recipient in recipients:
        made = sender.envelope(
            recipient, variables[recipient.message_id], content, locales[recipient.message_id], campaign.notice_class
        )
        if isinstance(made, Unrenderable):
            failures.append(made)
        else:
            envelopes.append(made)
    # Before the attempt is committed: a worker that is frozen after it must not wake up with time to spare.
    deadline = time.monotonic() + settings.lease_seconds / 2
    with transaction() as session:
        attempts = _gate(session, claim, campaign, sender, [e.message_id for e in envelopes], failures, done)
        crash_at("before_sending_commit")
    crash_at("after_sending_commit")
    passed = [envelope for envelope in envelopes if envelope.message_id in attempts]
    receipts = sender.provider.send(passed, deadline=deadline) if passed else []
    crash_at("after_call")
    with transaction() as session:
        outcomes = record(session, receipts=receipts, attempts=attempts, claim_tries=claim.tries)
        crash_at("before_receipts_commit")
    for outcome, number in outcomes.items():
        done.add(outcome, number)
    crash_at("after_receipts")
    return True


def _gate(
    session: Session,
    claim: Claim,
    campaign: Campaign,
    sender: Sender,
    message_ids: Sequence[UUID],
    failures: Sequence[Unrenderable],
    done: Dispatched,
) -> dict[UUID, int]:
    """Let the window through once more and return the attempt id of each message that may be sent now."""
    now = clock.now(session)
    if failures:
        session.execute(
            _RENDER_FAILED,
            {"message_ids": [f.message_id for f in failures], "whys": [f.why for f in failures], "now": now},
        )
        done.add("unrenderable", len(failures))
    ours = session.execute(
        _EXTEND, {"chunk_id": claim.chunk_id, "fence": claim.fence, "lease": get_settings().lease_seconds}
    )
    if ours.rowcount == 0 or not message_ids:  # type: ignore[attr-defined]
        return {}
    judged = session.execute(
        _GATE,
        {
            "message_ids": list(message_ids),
            "chunk_id": claim.chunk_id,
            "provider": sender.provider.name,
            "notice_class": campaign.notice_class.value,
            "not_after": campaign.not_after,
            "now": now,
        },
    ).all()
    verdicts = {row.id: row.verdict for row in judged}
    passed = [message_id for message_id in message_ids if verdicts.get(message_id) == "sending"]
    done.add("gated", len(judged) - len(passed))
    if not passed:
        return {}
    rows = session.execute(
        _ATTEMPTS,
        {
            "chunk_id": claim.chunk_id,
            "fence": claim.fence,
            "provider": sender.provider.name,
            "message_ids": passed,
            "messages_per_call": sender.provider.messages_per_call,
            "lease": get_settings().lease_seconds,
        },
    )
    return {row.id: row.attempt_id for row in rows}


def release(session: Session, claim: Claim) -> None:
    """Give a chunk back whose campaign is paused, so that it is ready when the campaign goes on."""
    session.execute(
        text("""UPDATE chunks SET state = 'ready', owner = NULL, leased_until = NULL
                WHERE id = :chunk_id AND fence = :fence AND state = 'claimed'"""),
        {"chunk_id": claim.chunk_id, "fence": claim.fence},
    )


def _postal(row: object) -> dict[str, str | None]:
    columns = ("address_line1", "address_line2", "postal_code")
    return {column: row[column] for column in columns}  # type: ignore[index]
