"""Several senders of one channel: shares by weight, the same one for the same person, and the next one in need.

Which sender a person has follows from her address alone (weighted rendezvous hashing, Mosharraf and Schindler 2014:
"Weighted distributed hash tables"): it never changes while the senders stay the same, and a new sender takes its share
evenly from the others. Another one takes over only what is known *not* to have been accepted, and never because of a
rate limit: whoever says "slower" is not answered by going elsewhere. Where nobody answered, another number of the same
account would fare no better, so that another account takes over or the messages wait: a person who hears from another
number without need has a second one to answer STOP to. An unclear call is never repeated here.
"""

import hashlib
import math
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import structlog

from campaigns.providers.base import LookUp, Outcome, Provider, Receipt, Search
from campaigns.providers.lanes import was_called
from outreach.errors import InvalidInput
from outreach.vocabulary import Channel

log = structlog.get_logger(__name__)

REST_SECONDS = 60.0  # a sender that failed is asked last for so long


@dataclass(frozen=True, slots=True)
class WeightedSender:
    """One sender, its share, and its account: a later account takes only what all senders before it did not."""

    label: str
    provider: Provider[Any]
    weight: float
    account: int = 0


def parse_senders(setting: str, *, where: str) -> list[tuple[str, float]]:
    """Return senders and weights of `+15551230000=70,+15551230001=30`; one without a weight has 1."""
    found: list[tuple[str, float]] = []
    for part in filter(None, (part.strip() for part in setting.split(","))):
        label, weight = (piece.strip() for piece in (part + "=").split("=")[:2])
        try:
            number = float(weight or 1)
        except ValueError:
            number = 0
        if not label or not 0 < number < 1e9 or label in dict(found):
            raise InvalidInput(f"{where} must be senders with weights such as +15551230000=70,+15551230001=30.")
        found.append((label, number))
    return found


class WeightedSenders:
    """A provider made of several senders of one provider's kind."""

    messages_per_call = 1

    def __init__(self, senders: Sequence[WeightedSender]) -> None:
        self._senders = senders
        self.name: str = senders[0].provider.name
        self.channel: Channel = senders[0].provider.channel
        self.window: int = senders[0].provider.window
        self._rests_until = dict.fromkeys((sender.label for sender in senders), 0.0)
        self._pool = ThreadPoolExecutor(len(senders) * 2, thread_name_prefix=f"senders-{self.name}")

    def order_for(self, to: str) -> list[WeightedSender]:
        """Return the senders in the order in which they serve this address."""
        return sorted(self._senders, key=lambda sender: (sender.account, -_score(to, sender)))

    def send(self, envelopes: Sequence[Any], *, deadline: float) -> list[Receipt]:
        """Send each envelope through its own sender, then through the next where it was provably not accepted."""
        receipts: dict[UUID, Receipt] = {}
        left = {envelope.message_id: self._in_need(self.order_for(envelope.to)) for envelope in envelopes}
        waiting = list(envelopes)
        while waiting and (not receipts or time.monotonic() < deadline):
            parts: dict[str, list[Any]] = {}
            for envelope in waiting:
                parts.setdefault(left[envelope.message_id].pop(0).label, []).append(envelope)
            done = self._pool.map(lambda part: self._through(part[0], part[1], deadline), parts.items())
            for found, failed in done:
                receipts.update((receipt.message_id, receipt) for receipt in found)
                for receipt in found:
                    goes_on = failed and receipt.outcome is Outcome.REFUSED
                    others = left[receipt.message_id] if goes_on else []
                    left[receipt.message_id] = [sender for sender in others if sender.label not in failed]
            waiting = [envelope for envelope in waiting if left[envelope.message_id]]
        return [receipts[envelope.message_id] for envelope in envelopes]

    def look_up(self, message_id: UUID, to: str, since: datetime, body: str | None = None) -> LookUp:
        """Ask every account; absent only where all of them say so."""
        accounts = {sender.account: sender.provider for sender in reversed(self._senders)}
        answers = [provider.look_up(message_id, to, since, body) for _, provider in sorted(accounts.items())]
        for search in (Search.FOUND, Search.UNABLE):
            for answer in answers:
                if answer.search is search:
                    return answer
        return answers[0]

    def check(self) -> list[str]:
        """Return what is wrong with the settings of any sender."""
        return list(dict.fromkeys(problem for sender in self._senders for problem in sender.provider.check()))

    def close(self) -> None:
        """Let connections and threads go."""
        self._pool.shutdown(wait=False, cancel_futures=True)
        for sender in self._senders:
            sender.provider.close()

    def _in_need(self, order: list[WeightedSender]) -> list[WeightedSender]:
        """Put senders that failed a moment ago last."""
        now = time.monotonic()
        return sorted(order, key=lambda sender: self._rests_until[sender.label] > now)

    def _through(self, label: str, envelopes: Sequence[Any], deadline: float) -> tuple[list[Receipt], set[str]]:
        """Send through one sender; returns besides the senders that failed, so that what was refused may go elsewhere.

        That is the one that was asked, or all of its account where nobody answered.
        """
        sender = next(sender for sender in self._senders if sender.label == label)
        receipts = sender.provider.send(envelopes, deadline=deadline)
        refused = [r for r in receipts if r.outcome is Outcome.REFUSED and was_called(r)]
        if not refused or any(r.status_code == 429 for r in receipts):
            return receipts, set()
        failed = {label}
        if all(receipt.status_code is None for receipt in refused):
            failed = {other.label for other in self._senders if other.account == sender.account}
        self._rests_until.update(dict.fromkeys(failed, time.monotonic() + REST_SECONDS))
        detail = refused[0].detail
        log.warning("sender failed", provider=self.name, senders=sorted(name[-4:] for name in failed), detail=detail)
        return receipts, failed


def _score(to: str, sender: WeightedSender) -> float:
    digest = hashlib.blake2b(f"{sender.label}\0{to}".encode(), digest_size=8).digest()
    share = (int.from_bytes(digest) + 0.5) / 2**64  # above 0 and below 1
    return -sender.weight / math.log(share)
