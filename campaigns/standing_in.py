"""A second provider of a channel sends while the first one rests, and never what the first one may have.

Where `OUTREACH_EMAIL_SECOND_PROVIDER` names one, a provider that fails (`circuits`) holds nothing up: chunks that
nobody has claimed go through the second one until a message gets through the first again. A chunk is of messages that
no provider has been called with, or that no call so far has left with one; what is unclear stays `unknown`, belongs to
the attempt that was made, and is looked up where that was made.
"""

from collections import Counter

from campaigns import circuits
from campaigns.dispatch import Dispatched, dispatch
from campaigns.envelopes import Sender, sender_for, stand_in_for
from campaigns.reconcile import reconcile
from outreach.db import transaction
from outreach.vocabulary import Channel

# Then it is looked again whether the first one works: it is tried by whoever claims for it next.
TURN_SECONDS = 10.0


def send_due(*, channel: Channel, owner: str, budget_seconds: float = 50, urgent_only: bool = False) -> Dispatched:
    """Send what is due on a channel, through the second provider what the first one cannot take now."""
    first, second = sender_for(channel), stand_in_for(channel)
    done = dispatch(channel=channel, sender=first, owner=owner, budget_seconds=budget_seconds, urgent_only=urgent_only)
    if second is None or not _rests(first):
        return done
    turn = min(TURN_SECONDS, budget_seconds)
    instead = dispatch(channel=channel, sender=second, owner=owner, budget_seconds=turn, urgent_only=urgent_only)
    done.chunks += instead.chunks
    for outcome, number in instead.outcomes.items():
        done.add(outcome, number)
    return done


def usable_sender(channel: Channel) -> Sender:
    """Return the first provider's sender, or the second one's while the first rests."""
    first, second = sender_for(channel), stand_in_for(channel)
    return second if second is not None and _rests(first) else first


def sender_named(channel: Channel, provider: str) -> Sender | None:
    """Return the sender of the provider that a call was made with; none where the settings do not name it any more."""
    senders = (sender_for(channel), stand_in_for(channel))
    return next((sender for sender in senders if sender is not None and sender.provider.name == provider), None)


def settle_doubts(*, channel: Channel, budget_seconds: float = 20) -> Counter[str]:
    """Look up what is in doubt on a channel, each attempt at the provider that it was made with."""
    first, second = sender_for(channel), stand_in_for(channel)
    if second is None:
        return reconcile(channel=channel, sender=first, budget_seconds=budget_seconds)
    settled = reconcile(channel=channel, sender=second, budget_seconds=budget_seconds / 2, only_own=True)
    but = second.provider.name
    return settled + reconcile(channel=channel, sender=first, budget_seconds=budget_seconds / 2, but=but)


def _rests(sender: Sender) -> bool:
    with transaction() as session:
        return any(each.provider == sender.provider.name for each in circuits.resting(session))
