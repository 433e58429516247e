"""Recipients that are not there: addresses of our own which always deliver, bounce, complain or answer STOP.

As with the mailbox simulators and magic numbers of other providers: no call is made for them, in production neither,
and what "happened" comes back like any other event (`webhooks.simulated`). The rest goes to the provider inside.
example.com is reserved (RFC 2606), +1 500 555 00xx belongs to nobody.

| email | phone | what happens |
|---|---|---|
| `deliver@simulator.example.com` | +15005550006 | it is delivered |
| `bounce@simulator.example.com` | +15005550001 | it bounces for good |
| `complain@simulator.example.com` | | it is delivered, then reported as spam |
| `stop@simulator.example.com` | +15005550009 | it is delivered, then answered with STOP |

`deliver+1@` to `deliver+20@` and so on are as many more customers.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from campaigns.providers.base import Asked, LookUp, Outcome, Provider, Receipt, Search, SearchesMany
from outreach.vocabulary import Channel

DOMAIN = "simulator.example.com"
MOST = 20
STORIES = ("deliver", "bounce", "complain", "stop")
PHONES = {"+15005550006": "deliver", "+15005550001": "bounce", "+15005550009": "stop"}
EMAILS = {
    f"{story}{label}@{DOMAIN}": story
    for story in STORIES
    for label in ("", *(f"+{number}" for number in range(1, MOST + 1)))
}
PROVIDER_ID = "simulated"


class WithSimulatedRecipients:
    """A provider that keeps simulated recipients to itself and hands all others on."""

    def __init__(self, inner: Provider[Any]) -> None:
        self.inner = inner

    @property
    def name(self) -> str:
        """The word of the provider inside: the same messages, the same ledger."""
        return self.inner.name

    @property
    def channel(self) -> Channel:
        """The channel it serves."""
        return self.inner.channel

    @property
    def messages_per_call(self) -> int:
        """How many messages may share one call."""
        return self.inner.messages_per_call

    @property
    def window(self) -> int:
        """How many messages to hand over at once."""
        return self.inner.window

    @property
    def bulk_messages_per_call(self) -> int:
        """How many messages of the bulk classes may share one call."""
        return int(getattr(self.inner, "bulk_messages_per_call", self.inner.messages_per_call))

    @property
    def bulk_window(self) -> int:
        """How many messages of the bulk classes to hand over at once."""
        return int(getattr(self.inner, "bulk_window", self.inner.window))

    @property
    def never_blind(self) -> bool:
        """Whether the provider inside must never be given a message in doubt again without a search."""
        return bool(getattr(self.inner, "never_blind", False))

    def send(self, envelopes: Sequence[Any], *, deadline: float) -> list[Receipt]:
        """Accept what is for simulated recipients, send the rest, and keep the order."""
        real = [envelope for envelope in envelopes if story_of(envelope.to) is None]
        if len(real) == len(envelopes):
            return self.inner.send(envelopes, deadline=deadline)
        receipts = iter(self.inner.send(real, deadline=deadline) if real else [])
        return [
            next(receipts) if story_of(envelope.to) is None else _accepted(envelope.message_id)
            for envelope in envelopes
        ]

    def look_up(self, message_id: UUID, to: str, since: datetime, body: str | None = None) -> LookUp:
        """Tell whether a message was accepted; one for a simulated recipient always was."""
        if story_of(to) is not None:
            return LookUp(Search.FOUND, provider_id=PROVIDER_ID)
        return self.inner.look_up(message_id, to, since, body)

    def check(self) -> list[str]:
        """Return what is wrong with the settings of the provider inside."""
        return self.inner.check()

    def close(self) -> None:
        """Let the connections of the provider inside go."""
        self.inner.close()


class WithSimulatedRecipientsSearchingMany(WithSimulatedRecipients):
    """The same around a provider that can be asked about many messages at once."""

    def look_up_many(self, asked: Sequence[Asked]) -> dict[UUID, LookUp]:
        """Ask the provider inside about what is for real recipients."""
        answers = {one.message_id: LookUp(Search.FOUND, provider_id=PROVIDER_ID) for one in asked}
        real = [one for one in asked if story_of(one.to) is None]
        return answers | (self.inner.look_up_many(real) if real else {})  # type: ignore[attr-defined]


def with_simulated_recipients(inner: Provider[Any]) -> WithSimulatedRecipients:
    """Return the provider with simulated recipients before it; what it can do, the result can do."""
    searching = isinstance(inner, SearchesMany)
    return (WithSimulatedRecipientsSearchingMany if searching else WithSimulatedRecipients)(inner)


def story_of(to: object) -> str | None:
    """Return what a simulated recipient does; none for a real one."""
    return (EMAILS.get(to) or PHONES.get(to)) if isinstance(to, str) else None


def _accepted(message_id: UUID) -> Receipt:
    return Receipt(message_id, Outcome.ACCEPTED, provider_id=PROVIDER_ID, detail="a simulated recipient")
