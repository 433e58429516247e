"""What every provider adapter hands over, whatever the provider calls it; pure values, no I/O.

An adapter is a module with
- `verify(...)`, which raises `NotAuthenticated` unless the raw bytes are genuine (no secret: always refused),
- `parse_events(body, now=...) -> ParsedBatch`,
- where customers can answer, `parse_inbound(...) -> ParsedReply`.

Our own message id travels with each call under `MESSAGE_ID_FIELD`: as a SendGrid custom argument, as Lob and
Postmark metadata, as a query parameter of Twilio's status callback address. So an event finds its message
without the provider's id.
"""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from outreach.vocabulary import Channel, EventKind, SuppressionReason
from webhooks.mime import Attachment

MESSAGE_ID_FIELD = "message_id"

# How long a provider's words may be when we keep them; the raw event has the rest.
LONGEST_DETAIL = 500


class ParsedEvent(NamedTuple):
    """One fact about one message.

    `key` is the natural dedupe key: the same fact, repeated by the provider, has the same key. `bars` says
    that `address` (None: the address of the message) must not be written to again, and why: hard bounce,
    complaint, opt-out, returned mail. `machine` marks an opening that a privacy proxy made, which is no
    evidence of a person. `detail` is the provider's text: hostile, to be shown as text only.
    """

    message_id: UUID | None
    provider_id: str | None
    key: str
    kind: EventKind
    at: datetime | None
    detail: str | None
    bars: SuppressionReason | None
    address: str | None
    machine: bool
    raw: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Malformed:
    """One element of a batch that cannot be read; the others are not affected. `raw` is an excerpt."""

    where: str
    reason: str
    raw: str


class ParsedBatch(NamedTuple):
    """What one webhook body held: the readable events in their order, and the unreadable elements."""

    events: tuple[ParsedEvent, ...]
    malformed: tuple[Malformed, ...]


@dataclass(frozen=True, slots=True)
class ParsedReply:
    """What a customer wrote back, in whole; `webhooks.quoted_text` and `webhooks.intents` say what it means.

    `message_id` comes from the token of the address they answered to (`reply+<32 hex>@domain`); `thread_ids`
    are the Message-IDs of In-Reply-To and References, newest first. `automatic` marks machines (out of office,
    mailing lists, bounces), which must never be answered. `provider_keyword` is the opt-out word that Twilio
    itself acted on (STOP, START or HELP).
    """

    key: str
    channel: Channel
    sender: str
    recipient: str
    subject: str | None
    text: str
    message_id: UUID | None
    thread_ids: tuple[str, ...] = ()
    automatic: bool = False
    attachments: tuple[Attachment, ...] = ()
    provider_keyword: str | None = None
    raw: dict[str, Any] = field(default_factory=dict)
