"""Many calls at once, and none that is known to be useless.

A few lanes (threads) take one group of messages after the other. When one group learns something that
holds for all, such as a rate limit, a bad key or a dead network, the groups that have not started are
refused without a call.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Generic, Protocol, TypeVar
from uuid import UUID

import structlog

from campaigns.providers.base import Outcome, Receipt
from campaigns.providers.pace import Pace
from campaigns.providers.transport import DeadlinePassedError, MaybeSentError, NotSentError

log = structlog.get_logger(__name__)


# Begins the detail of every message for which no call was made: neither the provider's fault nor its answer.
NOT_CALLED = "not called: "
CONNECTION_RETRY_SECONDS = 5.0
# A connection that ends for want of time may do so a little before the deadline: timers count in milliseconds.
TIMER_SECONDS = 0.01


class HasMessageId(Protocol):
    """Anything that is sent."""

    @property
    def message_id(self) -> UUID:
        """Our own id of it."""
        ...


E = TypeVar("E", bound=HasMessageId)

# Send the group as call number n; raise StopLanes to spare the groups that have not started.
Work = Callable[[Sequence[E], int], list[Receipt]]


class StopLanesError(Exception):
    """Carries receipts which say that further calls would fare no better."""

    def __init__(self, receipts: list[Receipt]) -> None:
        super().__init__("further calls would fare no better")
        self.receipts = receipts


def refused(envelopes: Sequence[HasMessageId], detail: str, retry_after: float | None = None) -> list[Receipt]:
    """Return receipts for messages for which no call was made."""
    return [Receipt(e.message_id, Outcome.REFUSED, detail=detail, retry_after_seconds=retry_after) for e in envelopes]


def was_called(receipt: Receipt) -> bool:
    """Tell whether the provider was asked, or at least tried, for this message."""
    return not (receipt.detail or "").startswith(NOT_CALLED)


class Lanes(Generic[E]):
    """The threads of one adapter."""

    def __init__(self, provider: str, lanes: int, *, timeout_seconds: float) -> None:
        self._provider = provider
        self._lanes = max(1, lanes)
        self._timeout_seconds = timeout_seconds
        self._pool = ThreadPoolExecutor(self._lanes, thread_name_prefix=f"send-{provider}")

    def run(
        self, groups: Sequence[Sequence[E]], work: Work[E], *, deadline: float, pace: Pace | None = None
    ) -> list[list[Receipt]]:
        """Return the receipts of each group, in the order of the groups; `work` keeps to the deadline (monotonic)."""
        started = time.monotonic()
        results: list[list[Receipt]] = [[] for _ in groups]
        turn = iter(range(len(groups)))
        shared = Shared(deadline, self._timeout_seconds)

        def paced(group: Sequence[E], number: int) -> list[Receipt]:
            if pace is not None:
                pace.wait(shared.begins_before)
            return work(group, number)

        if len(groups) > 1:
            width = min(self._lanes, len(groups))
            list(self._pool.map(lambda _: self._lane(groups, results, turn, paced, shared), range(width)))
        else:
            self._lane(groups, results, turn, paced, shared)
        self.log(results, started)
        return results

    def close(self) -> None:
        """End the threads."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _lane(
        self,
        groups: Sequence[Sequence[E]],
        results: list[list[Receipt]],
        turn: Iterator[int],
        work: Work[E],
        shared: "Shared",
    ) -> None:
        for number in turn:  # `next` on a range iterator is atomic: each number goes to one lane
            group = groups[number]
            results[number] = self._one(group, number, work, shared) if shared.may_begin() else shared.refuse(group)

    def _one(self, group: Sequence[E], number: int, work: Work[E], shared: "Shared") -> list[Receipt]:
        try:
            return work(group, number)
        except Exception as error:  # noqa: BLE001 - one bad message must not lose the receipts of the rest
            return self.receipts_of_trouble(error, group, number, shared)

    def receipts_of_trouble(self, error: Exception, group: Sequence[E], number: int, shared: "Shared") -> list[Receipt]:
        """Return what an error means for its messages; one that holds for all stops what has not started."""
        if isinstance(error, StopLanesError):
            shared.stop(error.receipts[0].detail, error.receipts[0].retry_after_seconds)
            return error.receipts
        if isinstance(error, NotSentError):
            if isinstance(error, DeadlinePassedError) or shared.over:
                shared.stop(str(error), None)
                return shared.refuse(group)
            shared.stop(str(error), CONNECTION_RETRY_SECONDS)
            return refused(group, str(error), CONNECTION_RETRY_SECONDS)
        if isinstance(error, MaybeSentError):
            return [Receipt(e.message_id, Outcome.UNKNOWN, detail=str(error), call=number) for e in group]
        log.warning("provider.adapter_failed", provider=self._provider, error=type(error).__name__)
        detail = f"the adapter failed ({type(error).__name__})"
        return [Receipt(e.message_id, Outcome.UNKNOWN, detail=detail, call=number) for e in group]

    def log(self, results: Sequence[Sequence[Receipt]], started: float) -> None:
        """Write one line about a run that began at `started` (monotonic)."""
        counts: dict[str, int] = {}
        for receipts in results:
            for receipt in receipts:
                counts[receipt.outcome] = counts.get(receipt.outcome, 0) + 1
        log.info(
            "provider.sent",
            provider=self._provider,
            calls=len(results),
            seconds=round(time.monotonic() - started, 3),
            **counts,
        )


class Shared:
    """What the lanes of one run tell each other."""

    def __init__(self, deadline: float, timeout_seconds: float) -> None:
        self._deadline = deadline
        # A call that the deadline cuts off leaves all of its messages in doubt, one that does not begin leaves none.
        # The last one begins when its whole time-out is left, or half of the time where that is less.
        self.begins_before = deadline - min(timeout_seconds, max(0.0, deadline - time.monotonic()) / 2)
        self._stopped = False
        self._detail = ""
        self._retry_after: float | None = None

    def may_begin(self) -> bool:
        """Tell whether another call makes sense."""
        if not self._stopped and time.monotonic() >= self.begins_before:
            self.stop("the deadline would leave no time for an answer", None)
        return not self._stopped

    @property
    def over(self) -> bool:
        """Tell whether the deadline is reached: no connection by then says that time was short, not who failed."""
        return time.monotonic() >= self._deadline - TIMER_SECONDS

    def stop(self, detail: str | None, retry_after: float | None) -> None:
        """Spare the calls that have not started."""
        self._detail = f"{NOT_CALLED}{detail}"
        self._retry_after = retry_after
        self._stopped = True

    def refuse(self, group: Sequence[HasMessageId]) -> list[Receipt]:
        """Return the receipts of calls that were spared."""
        return refused(group, self._detail, self._retry_after)
