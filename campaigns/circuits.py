"""A circuit breaker per provider: while most of its calls fail, its chunks wait and nobody is marked failed.

The state is a row, so that all workers share it and it outlives them. A failed call is a time-out, a reset, a 5xx, an
unreadable answer, no connection or a bad key; a rate limit (429) is none, it has a Retry-After of its own. When a
failure is written down, the provider's last calls are looked at: at least `OUTREACH_CIRCUIT_FAILURES` failed, and no
fewer than half. Then nobody claims for this provider until `retry_at`. After that one worker tries one message; if it
fails too, the wait doubles up to ten minutes. Calls that go well cost nothing here.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import structlog
from sqlalchemy import text
from sqlalchemy.orm import Session

from campaigns.providers.base import Outcome, Provider, Receipt
from campaigns.providers.lanes import NOT_CALLED, was_called
from outreach.settings import get_settings
from outreach.vocabulary import Channel

log = structlog.get_logger()

LONGEST_REST_SECONDS = 600.0
WINDOW_SECONDS = 60
# Where another provider can take over, little speaks for waiting: a single message fails as often in fifteen seconds.
FAILURES_WITH_STAND_IN = 3
TOO_MANY_REQUESTS = 429

# SQL for statements that bind :provider: while it rests, which spares a claim that `take_probe` would undo; and at any
# time between the opening and the first success.
RESTS = """EXISTS (SELECT 1 FROM provider_circuits circuit
        WHERE circuit.provider = :provider AND circuit.retry_at > clock_timestamp())"""
CIRCUIT = "EXISTS (SELECT 1 FROM provider_circuits circuit WHERE circuit.provider = :provider)"

# Until the probe's own lease is over nobody else tries: a worker that dies with it is followed by another.
_TAKE_PROBE = text("""
UPDATE provider_circuits SET retry_at = clock_timestamp() + make_interval(secs => :lease)
WHERE provider = :provider AND retry_at <= clock_timestamp() RETURNING provider
""")

_CLOSE = text("DELETE FROM provider_circuits WHERE provider = :provider RETURNING provider")

_REST_ON = text("""
UPDATE provider_circuits
SET failed_tries = failed_tries + :failed, detail = coalesce(:detail, detail),
    retry_at = clock_timestamp() + make_interval(secs =>
        CASE WHEN :failed = 0 THEN 0 ELSE least(:longest, :rest * power(2, least(failed_tries + 1, 20))) END)
WHERE provider = :provider
""")

# By number of attempt: the newest few rows, whatever else is sent meanwhile.
_OPEN = text("""
WITH lately AS (
    SELECT a.state IN ('unknown', 'refused') AND coalesce(a.status_code, 0) <> :too_many AS failed
    FROM attempts a
    WHERE a.id > (SELECT max(id) FROM attempts) - 1000 AND a.provider = :provider
      -- What was never called says nothing of the provider: a bad key ends a window after its first calls.
      AND NOT starts_with(coalesce(a.detail, ''), :not_called)
      AND a.finished_at > clock_timestamp() - make_interval(secs => :window)
    ORDER BY a.id DESC LIMIT 2 * :failures
)
INSERT INTO provider_circuits (provider, channel, opened_at, retry_at, detail)
SELECT :provider, :channel, clock_timestamp(), clock_timestamp() + make_interval(secs => :rest), :detail
FROM lately HAVING count(*) FILTER (WHERE failed) >= :failures
ON CONFLICT (provider) DO NOTHING RETURNING provider
""")


@dataclass(frozen=True, slots=True)
class Resting:
    """A provider that fails, so that its messages wait: since when, until the next try, and what it said."""

    provider: str
    channel: Channel
    opened_at: datetime
    retry_at: datetime
    detail: str | None


def resting(session: Session) -> list[Resting]:
    """Return the providers that rest."""
    rows = session.execute(
        text("SELECT provider, channel, opened_at, retry_at, detail FROM provider_circuits ORDER BY channel, provider")
    )
    return [Resting(row.provider, Channel(row.channel), row.opened_at, row.retry_at, row.detail) for row in rows]


def take_probe(session: Session, *, provider: str, lease_seconds: float) -> bool:
    """Claim the right to try a resting provider with one message; false when another worker has it."""
    return session.execute(_TAKE_PROBE, {"provider": provider, "lease": lease_seconds}).first() is not None


def look(session: Session, *, provider: Provider[Any], receipts: Sequence[Receipt], probes: bool) -> None:
    """Open, prolong or close the provider's circuit after a window; its attempts are written already."""
    settings = get_settings()
    failed = [receipt for receipt in receipts if is_trouble(receipt)]
    detail = failed[0].detail if failed else None
    if probes and not failed and any(r.outcome in {Outcome.ACCEPTED, Outcome.REJECTED} for r in receipts):
        if session.execute(_CLOSE, {"provider": provider.name}).first():
            log.warning("provider works again", provider=provider.name)
    elif probes:  # a probe that made no call at all (its customer has left meanwhile) is tried again at once
        values = {"provider": provider.name, "failed": len(failed[:1]), "detail": detail}
        session.execute(_REST_ON, values | {"rest": settings.circuit_seconds, "longest": LONGEST_REST_SECONDS})
    elif failed and settings.circuit_failures:
        failures = settings.circuit_failures
        if provider.channel is Channel.EMAIL and settings.email_second_provider:
            failures = min(failures, FAILURES_WITH_STAND_IN)
        values = {
            "provider": provider.name, "channel": provider.channel, "detail": detail,
            "failures": failures, "window": WINDOW_SECONDS, "rest": settings.circuit_seconds,
            "too_many": TOO_MANY_REQUESTS, "not_called": NOT_CALLED,
        }  # fmt: skip
        if session.execute(_OPEN, values).first():
            log.warning("provider rests", provider=provider.name, detail=detail)


def is_trouble(receipt: Receipt) -> bool:
    """Tell whether a call was made for this message and failed on the provider's side, for now."""
    if receipt.outcome is Outcome.UNKNOWN:
        return True
    return receipt.outcome is Outcome.REFUSED and receipt.status_code != TOO_MANY_REQUESTS and was_called(receipt)
