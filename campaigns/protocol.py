"""The sending protocol as tables and pure functions: (state, event) → (state, effects).

Two halves that never write into each other's columns: `advance` is what *we* did with a message, a table of steps
with a fence; `merge` is what the *provider* reported, a join of facts that has the same result in any order and
any number of repetitions. The SQL of `dispatch`, `receipts`, `reconcile` and `webhooks.deliveries` does the same for
many rows at once; tests/campaigns/test_protocol_sql.py holds the two equal, and tests/campaigns/simulation.py plays
this one through crashes by the hundred thousand. (S numbers of docs/sending.md.)
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from functools import reduce
from typing import NamedTuple

from campaigns.classes import WhenUnknown, policy
from campaigns.providers.base import Search
from outreach.vocabulary import DELIVERED_RANK, DELIVERY_RANK, FAILED_RANK, EventKind, NoticeClass, SendState


class Step(StrEnum):
    """What can happen to our half of a message."""

    GATE_PASSED = "gate_passed"  # S3: the attempt is committed, the call follows
    GATE_SUPPRESSED = "gate_suppressed"
    GATE_EXPIRED = "gate_expired"
    UNRENDERABLE = "unrenderable"
    CAMPAIGN_ENDED = "campaign_ended"
    RECEIPT_ACCEPTED = "receipt_accepted"  # S6, of the attempt that it names
    RECEIPT_REFUSED = "receipt_refused"  # provably not accepted
    RECEIPT_REJECTED = "receipt_rejected"
    RECEIPT_UNKNOWN = "receipt_unknown"
    LEASE_RAN_OUT = "lease_ran_out"  # S8
    EVIDENCE = "evidence"  # S7: a provider's event, whatever it says
    FOUND = "found"  # S9, of the attempt that was looked up
    SEND_AGAIN = "send_again"
    NOT_NEEDED = "not_needed"  # absent, and the campaign has ended
    GIVEN_UP = "given_up"  # S10


class Effect(StrEnum):
    """What somebody has to do after a step."""

    CALL = "call"  # call the provider, now, once
    RETRY_LATER = "retry_later"  # put it into a new chunk
    NEXT_CHANNEL = "next_channel"
    ALERT = "alert"  # evidence for a message that we had ended
    FENCED = "fenced"  # the step came too late and changed nothing


class Sending(NamedTuple):
    """Our half of one message; `attempt` is the newest one, whose receipts count."""

    state: SendState = SendState.QUEUED
    attempt: int = 0
    late_evidence: bool = False


_Q, _S, _U, _A = SendState.QUEUED, SendState.SENDING, SendState.UNKNOWN, SendState.ACCEPTED

TRANSITIONS: dict[tuple[SendState, Step], tuple[SendState, tuple[Effect, ...]]] = {
    (_Q, Step.GATE_PASSED): (_S, (Effect.CALL,)),
    (_Q, Step.GATE_SUPPRESSED): (SendState.SUPPRESSED, (Effect.NEXT_CHANNEL,)),
    (_Q, Step.GATE_EXPIRED): (SendState.EXPIRED, (Effect.NEXT_CHANNEL,)),
    (_Q, Step.UNRENDERABLE): (SendState.REJECTED, (Effect.NEXT_CHANNEL,)),
    (_Q, Step.CAMPAIGN_ENDED): (SendState.CANCELLED, ()),
    # It was queued again although the call had worked: the answer, or an event, came after all.
    (_Q, Step.RECEIPT_ACCEPTED): (_A, ()),
    (_Q, Step.EVIDENCE): (_A, ()),
    (_S, Step.RECEIPT_ACCEPTED): (_A, ()),
    (_S, Step.RECEIPT_REFUSED): (_Q, (Effect.RETRY_LATER,)),
    (_S, Step.RECEIPT_REJECTED): (SendState.REJECTED, (Effect.NEXT_CHANNEL,)),
    (_S, Step.RECEIPT_UNKNOWN): (_U, ()),
    (_S, Step.LEASE_RAN_OUT): (_U, ()),
    (_S, Step.EVIDENCE): (_A, ()),
    (_U, Step.RECEIPT_ACCEPTED): (_A, ()),
    (_U, Step.RECEIPT_REFUSED): (_Q, (Effect.RETRY_LATER,)),
    (_U, Step.RECEIPT_REJECTED): (SendState.REJECTED, (Effect.NEXT_CHANNEL,)),
    (_U, Step.RECEIPT_UNKNOWN): (_U, ()),
    (_U, Step.EVIDENCE): (_A, ()),
    (_U, Step.FOUND): (_A, ()),
    (_U, Step.SEND_AGAIN): (_Q, (Effect.RETRY_LATER,)),
    (_U, Step.NOT_NEEDED): (SendState.CANCELLED, ()),
    (_U, Step.GIVEN_UP): (SendState.DEAD, (Effect.NEXT_CHANNEL,)),
    # What we ended stays ended; that the provider has it all the same is kept and told.
    (SendState.REJECTED, Step.EVIDENCE): (SendState.REJECTED, (Effect.ALERT,)),
    (SendState.SUPPRESSED, Step.EVIDENCE): (SendState.SUPPRESSED, (Effect.ALERT,)),
    (SendState.CANCELLED, Step.EVIDENCE): (SendState.CANCELLED, (Effect.ALERT,)),
    (SendState.EXPIRED, Step.EVIDENCE): (SendState.EXPIRED, (Effect.ALERT,)),
    (SendState.DEAD, Step.EVIDENCE): (SendState.DEAD, (Effect.ALERT,)),
}
# Steps that are about one attempt: once a newer one owns the message they change nothing.
OF_ONE_ATTEMPT = frozenset(
    {
        Step.RECEIPT_ACCEPTED, Step.RECEIPT_REFUSED, Step.RECEIPT_REJECTED, Step.RECEIPT_UNKNOWN,
        Step.LEASE_RAN_OUT, Step.FOUND, Step.SEND_AGAIN, Step.NOT_NEEDED, Step.GIVEN_UP,
    }
)  # fmt: skip
_FENCED = (Effect.FENCED,)


def advance(sending: Sending, step: Step, attempt: int = 0) -> tuple[Sending, tuple[Effect, ...]]:
    """Return the next state and what has to be done; a step that has no place in the table changes nothing.

    `attempt` is the one that the step is about: for `GATE_PASSED` the new one.
    """
    found = TRANSITIONS.get((sending.state, step))
    if found is None or (step in OF_ONE_ATTEMPT and attempt != sending.attempt):
        return sending, _FENCED
    state, effects = found
    owner = attempt if step is Step.GATE_PASSED else sending.attempt
    return Sending(state, owner, sending.late_evidence or Effect.ALERT in effects), effects


# After this long without evidence the class decides (S10).
DECIDE_AFTER = timedelta(hours=24)


class Verdict(StrEnum):
    """What becomes of a message whose outcome is in doubt, after a look-up."""

    FOUND = "found"
    ABSENT = "sent_again"
    BETTER_TWICE = "sent_again_in_doubt"  # the only way to a duplicate: class safety, by policy
    CANCELLED = "cancelled"
    GIVEN_UP = "given_up"  # the only way to a loss on this channel, by policy
    STILL_UNKNOWN = "still_unknown"


STEP_OF_VERDICT = {
    Verdict.FOUND: Step.FOUND,
    Verdict.ABSENT: Step.SEND_AGAIN,
    Verdict.BETTER_TWICE: Step.SEND_AGAIN,
    Verdict.CANCELLED: Step.NOT_NEEDED,
    Verdict.GIVEN_UP: Step.GIVEN_UP,
}


@dataclass(frozen=True, slots=True)
class Doubt:
    """What is known of one message in doubt; `never_blind`: its provider can be searched, so nothing goes out twice
    merely because the search does not answer."""

    search: Search
    age: timedelta
    notice_class: NoticeClass
    campaign_goes_on: bool = True
    never_blind: bool = False


def judge_doubt(doubt: Doubt) -> Verdict:
    """Decide by the search, and where that cannot tell, after a day, by the class."""
    if doubt.search is Search.FOUND:
        return Verdict.FOUND
    if doubt.search is Search.ABSENT:
        return Verdict.ABSENT if doubt.campaign_goes_on else Verdict.CANCELLED
    if doubt.age < DECIDE_AFTER:
        return Verdict.STILL_UNKNOWN
    wish = policy(doubt.notice_class).when_unknown
    if wish is WhenUnknown.ASK:
        return Verdict.STILL_UNKNOWN
    if wish is WhenUnknown.SEND_AGAIN and doubt.campaign_goes_on:
        return Verdict.STILL_UNKNOWN if doubt.never_blind else Verdict.BETTER_TWICE
    return Verdict.GIVEN_UP


class Fact(NamedTuple):
    """One parsed provider event; `machine` says that no person opened it."""

    kind: EventKind
    at: datetime
    detail: str | None = None
    machine: bool = False


class Delivery(NamedTuple):
    """The provider's half of one message; `detail_place` orders the words that compete for `detail`."""

    rank: int = 0
    kind: EventKind | None = None
    detail: str | None = None
    detail_place: tuple[float, datetime, str] | None = None
    delivered_at: datetime | None = None
    failed_at: datetime | None = None
    opened_at: datetime | None = None
    clicked_at: datetime | None = None
    complained_at: datetime | None = None
    unsubscribed_at: datetime | None = None


def delivery_of(fact: Fact) -> Delivery:
    """Return what one event alone says."""
    rank = DELIVERY_RANK.get(fact.kind, 0)
    return Delivery(
        rank=rank,
        kind=fact.kind if rank else None,
        detail=fact.detail,
        detail_place=None if fact.detail is None else (-rank, fact.at, fact.detail),
        delivered_at=fact.at if rank == DELIVERED_RANK else None,
        failed_at=fact.at if rank >= FAILED_RANK else None,
        opened_at=fact.at if fact.kind is EventKind.OPENED and not fact.machine else None,
        clicked_at=fact.at if fact.kind is EventKind.CLICKED else None,
        complained_at=fact.at if fact.kind is EventKind.COMPLAINED else None,
        unsubscribed_at=fact.at if fact.kind is EventKind.UNSUBSCRIBED else None,
    )


def merge(one: Delivery, other: Delivery) -> Delivery:
    """Join what two sets of events say: maxima and minima only, so that order and repetition do not matter."""
    worded = min((side for side in (one, other) if side.detail_place), key=_place, default=one)
    higher = one if one.rank >= other.rank else other
    return Delivery(
        higher.rank,
        higher.kind,
        worded.detail,
        worded.detail_place,
        *(_earliest(mine, theirs) for mine, theirs in zip(one[4:], other[4:], strict=True)),
    )


def fold(facts: Iterable[Fact]) -> Delivery:
    """Return the provider's half after these events, in whatever order they came."""
    return reduce(merge, map(delivery_of, facts), Delivery())


def _place(side: Delivery) -> tuple[float, datetime, str]:
    if side.detail_place is None:
        raise ValueError("these words have no place")
    return side.detail_place


def _earliest(one: datetime | None, other: datetime | None) -> datetime | None:
    if one is None or other is None:
        return one or other
    return min(one, other)
