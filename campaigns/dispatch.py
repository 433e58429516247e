"""Hand the messages of due chunks to a provider, so that a crash at any point loses and doubles nothing.

The protocol, step by step (S numbers of docs/sending.md):
S2 claim a chunk for a lease, its fence rises; S3 gate a window of it in one statement: who is barred or cleared
leaves with a reason, the rest becomes `sending` with an attempt row, and this commits *before* the call; S4 call
the provider with no transaction open, never past the deadline; S5, S6 record the receipts, only where the message
still belongs to this attempt. Whatever a crash leaves open, `reconcile` settles.

Each step of one window comes after the one before, always. What overlaps is the waiting: while one window is at the
provider, the next one is gated, and the chunk after this one is claimed and rendered. A crash leaves at most two
windows in doubt and two chunks to be given back.
"""

import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import copy_context
from dataclasses import dataclass, field
from threading import Lock
from typing import Any

import structlog
from sqlalchemy import text
from sqlalchemy.orm import Session

from campaigns import circuits
from campaigns.envelopes import Envelope, Sender
from campaigns.gate import gate, refuse_unrenderable
from campaigns.poison import isolate
from campaigns.preparing import Claim, Prepared, claim_next, prepare
from campaigns.prices import prices_of
from campaigns.receipts import record
from outreach import clock
from outreach.collecting import collect_young, without_collecting
from outreach.crash import crash_at
from outreach.db import transaction
from outreach.settings import get_settings
from outreach.vocabulary import Channel

log = structlog.get_logger()

# One window at a time is gated or written down: side by side they would be no faster, and an old version of a row can
# be cleared away (which keeps the next update HOT) only when no other transaction is under way.
_WRITING = Lock()

# One at the provider while the next is gated and the one before is written down: no lane waits for a window's tail.
WINDOWS_AT_ONCE = 2

CHUNKS_BETWEEN_COLLECTIONS = 5

_FINISH = text(f"""
UPDATE chunks SET state = 'done', leased_until = NULL, finished_at = moment.now,
       check_at = CASE WHEN :patient OR seen.stuck THEN moment.now ELSE check_at END
FROM (SELECT {clock.NOW_SQL} AS now) moment,
     (SELECT coalesce(bool_or(m.send_state = 'queued'), false) AS waiting,
             bool_or(m.send_state IN ('rejected', 'suppressed', 'cancelled', 'expired', 'dead')) AS stuck
      FROM messages m WHERE m.chunk_id = :chunk_id) seen
WHERE id = :chunk_id AND fence = :fence AND state = 'claimed' AND NOT seen.waiting
""")

# A claim that comes to nothing speaks against its chunk (`poison`); waiting for one's turn must never look like that.
_KEEP = text("""
UPDATE chunks SET leased_until = clock_timestamp() + make_interval(secs => :lease)
WHERE id IN (SELECT k.id FROM chunks k
             JOIN unnest(cast(:ids AS bigint[]), cast(:fences AS int[])) AS held(id, fence) USING (id, fence)
             WHERE k.state = 'claimed' ORDER BY k.id FOR UPDATE OF k SKIP LOCKED)
""")

_RELEASE = text("""
UPDATE chunks SET state = 'ready', owner = NULL, leased_until = NULL, given_back = given_back + 1
WHERE id = :chunk_id AND fence = :fence AND state = 'claimed'
""")


@dataclass(slots=True)
class Dispatched:
    """What one run did: chunks taken, and messages by outcome."""

    chunks: int = 0
    outcomes: dict[str, int] = field(default_factory=dict)
    _lock: Lock = field(default_factory=Lock)

    def add(self, outcome: str, number: int = 1) -> None:
        """Count `number` messages with this outcome."""
        if number:
            with self._lock:
                self.outcomes[outcome] = self.outcomes.get(outcome, 0) + number


class _Chunk:
    """A prepared chunk under way: how many of its windows are not written down yet, and whether it is still ours."""

    def __init__(self, prepared: Prepared, window: int) -> None:
        self.claim, self.prepared, self.lost = prepared.claim, prepared, False
        parts = _even_parts(prepared.envelopes, window)
        self.windows: list[Sequence[Envelope]] = [prepared.envelopes[:1]] if self.claim.probes else list(parts) or [()]
        self._open, self._lock = len(self.windows), Lock()

    def only_one_left(self) -> bool:
        """Tell whether every other window is written down already."""
        with self._lock:
            return self._open == 1

    def close_one(self) -> int:
        """Count one window as written down; returns how many are left."""
        with self._lock:
            self._open -= 1
            return self._open


class _Ahead:
    """The claims whose windows have not all begun, and when their lease was last renewed (`time.monotonic()`)."""

    def __init__(self, lease_seconds: float) -> None:
        self._lease_seconds = lease_seconds
        self._renewed: dict[Claim, float] = {}
        self._lock = Lock()

    def add(self, claim: Claim) -> None:
        """Remember a claim that was just made."""
        with self._lock:
            self._renewed[claim] = time.monotonic()

    def remove(self, claim: Claim) -> None:
        """Forget one whose windows have all begun: the gate renews it."""
        with self._lock:
            del self._renewed[claim]

    def keep(self) -> None:
        """Renew the leases that are a third over; a slow provider makes chunks wait for minutes."""
        now = time.monotonic()
        with self._lock:
            due = [claim for claim, since in self._renewed.items() if now - since > self._lease_seconds / 3]
            self._renewed.update(dict.fromkeys(due, now))
        if due:
            with transaction() as session:
                session.execute(
                    _KEEP,
                    {
                        "ids": [claim.chunk_id for claim in due],
                        "fences": [claim.fence for claim in due],
                        "lease": self._lease_seconds,
                    },
                )


def dispatch(
    *, channel: Channel, sender: Sender, owner: str, budget_seconds: float = 50, urgent_only: bool = False
) -> Dispatched:
    """Send due chunks of `channel` until none is left or the time budget is used; commits as it goes."""
    done, ends = Dispatched(), time.monotonic() + budget_seconds
    lease, provider = get_settings().lease_seconds, sender.provider.name
    ahead = _Ahead(lease)

    def next_chunk() -> _Chunk | None:
        if time.monotonic() >= ends:
            return None
        with transaction() as session:
            claim = claim_next(
                session, channel=channel, provider=provider, owner=owner, lease_seconds=lease, urgent_only=urgent_only
            )
            if claim is None:
                return None
            if claim.probes and not circuits.take_probe(session, provider=provider, lease_seconds=lease):
                session.rollback()  # another worker finds out; the chunk stays as it was
                return None
            isolate(session, claim)
        ahead.add(claim)
        crash_at("after_claim")
        return _Chunk(prepare(claim, sender), sender.window(claim.notice_class))

    following = next_chunk()  # most wake-ups find nothing to do: no threads for them
    if following is None:
        return done
    with (
        without_collecting(),
        ThreadPoolExecutor(1, thread_name_prefix="prepare") as preparing,
        ThreadPoolExecutor(WINDOWS_AT_ONCE, thread_name_prefix="hand-over") as hands,
    ):
        under_way: deque[Future[None]] = deque()
        while following is not None:
            chunk, waiting = following, _with_context(preparing, next_chunk)
            done.chunks += 1
            if done.chunks % CHUNKS_BETWEEN_COLLECTIONS == 0:
                collect_young()
            for window in chunk.windows:
                while len(under_way) >= WINDOWS_AT_ONCE:
                    under_way.popleft().result()
                under_way.append(_with_context(hands, _hand_over, chunk, window, sender, done))
                ahead.keep()
            ahead.remove(chunk.claim)
            following = waiting.result()
        for future in under_way:
            future.result()
    log.info("dispatched", channel=channel, chunks=done.chunks, **done.outcomes)
    return done


def _hand_over(chunk: _Chunk, window: Sequence[Envelope], sender: Sender, done: Dispatched) -> None:
    """Gate, call, write down: one window, in this order."""
    claim, failures = chunk.claim, chunk.prepared.failures if window is chunk.windows[0] else []
    if chunk.lost:
        return
    # Before the attempt is committed: a worker that is frozen after it must not wake up with time to spare.
    deadline = time.monotonic() + get_settings().lease_seconds / 2
    prices = prices_of(window)
    with _WRITING, transaction() as session:
        gated = gate(session, claim=claim, sender=sender, message_ids=[e.message_id for e in window], prices=prices)
        if not gated.ours:  # paused, cancelled, or the lease ran out
            chunk.lost = True
            release(session, claim)
            return
        if failures:
            refuse_unrenderable(session, failures)
        crash_at("before_sending_commit")
    crash_at("after_sending_commit")
    done.add("gated", gated.left)
    done.add("unrenderable", len(failures))
    attempts = [attempt for attempt in gated.attempts if attempt is not None]
    passed = window
    if len(attempts) < len(window):
        passed = [envelope for envelope, attempt in zip(window, gated.attempts, strict=True) if attempt is not None]
    receipts = sender.provider.send(passed, deadline=deadline) if passed else []
    crash_at("after_call")
    last = chunk.only_one_left()
    with _WRITING, transaction() as session:
        outcomes = record(session, receipts=receipts, attempts=attempts, claim_tries=claim.tries, probes=claim.probes)
        circuits.look(session, provider=sender.provider, receipts=receipts, probes=claim.probes)
        if last:
            _finish(session, chunk)
        if claim.probes:
            release(session, claim)  # one message was the question, the others wait for the answer
        crash_at("before_receipts_commit")
    for outcome, number in outcomes.items():
        done.add(outcome, number)
    crash_at("after_receipts")
    # Two windows that ended at the same time could not see each other's receipts: the later one looks once more.
    if chunk.close_one() == 0 and not last:
        with transaction() as session:
            _finish(session, chunk)


def _finish(session: Session, chunk: _Chunk) -> None:
    """Close a chunk of which nothing is queued any more; one that another worker holds stays as it is."""
    claim = chunk.claim
    session.execute(_FINISH, {"chunk_id": claim.chunk_id, "fence": claim.fence, "patient": chunk.prepared.patient})


def release(session: Session, claim: Claim) -> None:
    """Give a chunk back whose campaign is paused, so that it is ready when the campaign goes on."""
    session.execute(_RELEASE, {"chunk_id": claim.chunk_id, "fence": claim.fence})


def _even_parts(envelopes: Sequence[Envelope], most: int) -> Iterator[Sequence[Envelope]]:
    """Split into as few parts as may be, of the same size: a small last one would cost as much as a full one."""
    parts = -(-len(envelopes) // max(1, most))
    size = -(-len(envelopes) // max(1, parts))
    return (envelopes[start : start + size] for start in range(0, len(envelopes), max(1, size)))


def _with_context(pool: ThreadPoolExecutor, work: Callable[..., Any], *arguments: Any) -> Future[Any]:
    """Run `work` on a thread that logs under the same correlation id."""
    return pool.submit(copy_context().run, work, *arguments)
