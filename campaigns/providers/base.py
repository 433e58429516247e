"""The contract of every outbound provider: an envelope goes in, one receipt per envelope comes out.

An adapter knows one provider's wire and nothing of our database. It never raises for trouble at the
provider: what happened is an `Outcome`, and the difference between its members is what keeps a
customer from being told twice or not at all.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, Protocol, TypeVar, runtime_checkable
from uuid import UUID

from campaigns.classes import POLICIES, WhenUnknown
from outreach.errors import InvalidInput
from outreach.values import value_object
from outreach.vocabulary import Channel, NoticeClass, SuppressionReason


class Outcome(StrEnum):
    """What one call did to one message."""

    ACCEPTED = "accepted"  # the provider has it
    REFUSED = "refused"  # provably not accepted, may be tried again: not called, no connection, 429, bad key
    REJECTED = "rejected"  # refused for good: this message will never be accepted as it is
    UNKNOWN = "unknown"  # it may or may not have been accepted: time-out, reset, 5xx, unreadable answer


class Search(StrEnum):
    """What asking the provider about one message showed."""

    FOUND = "found"
    ABSENT = "absent"  # the search covered the time in question and the provider answered
    UNABLE = "unable"  # the provider offers no such search, or it did not answer


@dataclass(frozen=True, slots=True)
class LookUp:
    """The answer of `Provider.look_up`; `provider_id` is there only where it was found."""

    search: Search
    provider_id: str | None = None
    detail: str | None = None


@value_object
class Receipt:
    """What happened to one message.

    `retry_after_seconds` is the shortest wait before trying again, where the provider named one.
    `bars` says that writing to this address again is pointless, and why: bar it. Only ever what is said of the address,
    never of our account or sender.
    `call` numbers the HTTP calls of one `send`: messages with the same number shared one acceptance;
    none: no call was made for it. `detail` is safe to store and to show: no secrets, no addresses.
    """

    message_id: UUID
    outcome: Outcome
    provider_id: str | None = None
    status_code: int | None = None
    detail: str | None = None
    retry_after_seconds: float | None = None
    bars: SuppressionReason | None = None
    call: int | None = None


# Characters that would end a header line and start another (header injection, CPython CVE-2024-6923).
_LINE_BREAKS = frozenset("\r\n\0")


def refuse_line_breaks(**values: str | None) -> None:
    """Raise InvalidInput, naming the field, where a header-bound value holds CR, LF, NUL or half a character."""
    for where, value in values.items():
        if value is None or (value.isascii() and value.isprintable()):
            continue
        if not _LINE_BREAKS.isdisjoint(value):
            raise InvalidInput(f"{where} must be one line: it holds a line break or a NUL.", where=where)
        if not value.isascii() and any("\ud800" <= character <= "\udfff" for character in value):
            raise InvalidInput(f"{where} holds half of a character pair (a lone surrogate).", where=where)


@dataclass(frozen=True, slots=True)
class PostalAddress:
    """Where a postcard goes or comes from; `country` is ISO 3166 alpha-2."""

    name: str
    line1: str
    line2: str | None
    city: str
    region: str | None
    postal_code: str
    country: str

    def __post_init__(self) -> None:
        refuse_line_breaks(
            name=self.name,
            line1=self.line1,
            line2=self.line2,
            city=self.city,
            region=self.region,
            postal_code=self.postal_code,
            country=self.country,
        )


@value_object
class EmailEnvelope:
    """One email to one person; `headers` are the extra ones, such as List-Unsubscribe (RFC 8058)."""

    message_id: UUID
    to: str
    to_name: str | None
    subject: str
    html: str
    text: str
    from_address: str
    from_name: str | None
    reply_to: str | None
    notice_class: NoticeClass
    headers: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        # All at once first: of a million emails hardly one has a letter that must be looked at.
        lines = f"{self.to}{self.to_name}{self.subject}{self.from_address}{self.from_name}{self.reply_to}"
        lines += "".join(self.headers) + "".join(self.headers.values())
        if lines.isascii() and lines.isprintable():
            return
        refuse_line_breaks(
            to=self.to,
            to_name=self.to_name,
            subject=self.subject,
            from_address=self.from_address,
            from_name=self.from_name,
            reply_to=self.reply_to,
        )
        for name, value in self.headers.items():
            refuse_line_breaks(**{f"header {name!r}": value, "header name": name})


@value_object
class SmsEnvelope:
    """One text message; `to` is E.164; `status_callback` is where the provider reports, without our id."""

    message_id: UUID
    to: str
    body: str
    status_callback: str | None = None

    def __post_init__(self) -> None:
        refuse_line_breaks(to=self.to, status_callback=self.status_callback)


@dataclass(frozen=True, slots=True)
class PostcardEnvelope:
    """One postcard; `front` and `back` are HTML of at most 10,000 characters; `size` is one of Lob's."""

    message_id: UUID
    to: PostalAddress
    sender: PostalAddress
    front: str
    back: str
    notice_class: NoticeClass
    size: str = "4x6"

    def __post_init__(self) -> None:
        if self.size != "4x6" and self.to.country.upper() != "US":
            raise InvalidInput(f"A {self.size} postcard goes to the United States only; 4x6 goes everywhere.")


E_contra = TypeVar("E_contra", contravariant=True)


@dataclass(frozen=True, slots=True)
class Asked:
    """One message that is looked up, its address, and since when the provider may have it."""

    message_id: UUID
    to: str
    since: datetime


@runtime_checkable
class SearchesMany(Protocol):
    """A provider that can be asked about many messages in a few calls."""

    def look_up_many(self, asked: Sequence[Asked]) -> dict[UUID, LookUp]:
        """Return one answer per message, as `Provider.look_up` would."""
        ...


def messages_per_call_of(provider: "Provider[Any]", notice_class: NoticeClass) -> int:
    """Return how many messages of a class share one call: one for safety, most where doubt means giving up."""
    if POLICIES[notice_class].single_calls:
        return 1
    return int(_of(provider, "messages_per_call", notice_class))


def window_of(provider: "Provider[Any]", notice_class: NoticeClass) -> int:
    """Return how many messages of a class to hand over at once."""
    return int(_of(provider, "window", notice_class))


def _of(provider: "Provider[Any]", what: str, notice_class: NoticeClass) -> Any:
    bulk = POLICIES[notice_class].when_unknown is WhenUnknown.GIVE_UP
    return getattr(provider, f"bulk_{what}" if bulk else what, getattr(provider, what))


class Provider(Protocol[E_contra]):
    """An outbound provider of one channel; safe to share between the threads of one process."""

    @property
    def name(self) -> str:
        """The word stored with each message that went through here."""
        ...

    @property
    def channel(self) -> Channel:
        """The channel it serves."""
        ...

    @property
    def messages_per_call(self) -> int:
        """How many messages may share one HTTP call and so one acceptance.

        An unclear answer leaves all of them unknown. Class safety always travels alone.
        """
        ...

    @property
    def window(self) -> int:
        """How many messages to hand to one `send`: what it can have in flight at once.

        A crash during `send` leaves at most one window in doubt.
        """
        ...

    def send(self, envelopes: Sequence[E_contra], *, deadline: float) -> list[Receipt]:
        """Send each envelope and return one receipt per envelope, in the same order.

        `deadline` is a `time.monotonic()` value. No call goes on after it, and none begins that it would leave no
        time for an answer: the receipts of those are REFUSED. Trouble at the provider never raises.
        """
        ...

    def look_up(self, message_id: UUID, to: str, since: datetime, body: str | None = None) -> LookUp:
        """Ask the provider whether it has a message that we handed over at or after `since`.

        `body` is the exact text sent, for providers that cannot be searched by our own id.
        """
        ...

    def check(self) -> list[str]:
        """Return what is wrong with the settings, in words for the person who can mend them."""
        ...

    def close(self) -> None:
        """Let the connections go."""
        ...
