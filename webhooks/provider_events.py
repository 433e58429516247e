"""How the stored bodies of each source are read into events, and what is left over of a body that was applied."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import parse_qs

import orjson
from sqlalchemy import text
from sqlalchemy.orm import Session

from outreach.vocabulary import InboundState
from webhooks.providers import bounces, lob, postmark, sendgrid, twilio
from webhooks.providers.base import Malformed, ParsedBatch, ParsedEvent
from webhooks.wire import load_json, storable

MOST_DEAD_PARTS = 100

Read = Callable[[Mapping[str, Any], bytes, datetime], ParsedBatch]

_ADDRESSES = text("SELECT id, address FROM messages WHERE id = ANY(:ids)")


@dataclass(frozen=True, slots=True)
class Part:
    """What could not be applied of a body: an event of its own from now on; `body` is in the body's own format."""

    name: str
    state: InboundState
    body: bytes
    error: str


def _twilio(headers: Mapping[str, Any], body: bytes, _now: datetime) -> ParsedBatch:
    message_id = parse_qs(str(headers.get("query", ""))).get("message_id", [None])[0]
    return twilio.parse_events(body, message_id=message_id)


# By source: the provider's name, and how to read a body.
READERS: Mapping[str, tuple[str, Read]] = {
    "sendgrid": ("sendgrid", lambda _headers, body, now: sendgrid.parse_events(body, now, clean_raw=False)),
    "twilio-status": ("twilio", _twilio),
    "lob": ("lob", lambda _headers, body, now: lob.parse_events(body, now)),
    "postmark": ("postmark", lambda _headers, body, now: postmark.parse_events(body, now)),
    "bounces": ("smtp", lambda _headers, body, now: bounces.parse_events(body, now)),
}

# Their bodies are lists, so that a part of one can stand alone.
LISTS = frozenset({"sendgrid"})

# Anybody can write a bounce: it counts only for the address that our message went to.
FORGEABLE = frozenset({"bounces"})


def read(source: str, headers: Mapping[str, Any], body: bytes, now: datetime) -> ParsedBatch:
    """Return the events of a stored body."""
    return READERS[source][1](headers, body, now)


def believable(session: Session, batch: ParsedBatch) -> ParsedBatch:
    """Return the batch without events that name another address than their message's: those are malformed."""
    named = [event.message_id for event in batch.events if event.message_id]
    addresses = {row.id: row.address for row in session.execute(_ADDRESSES, {"ids": named})}

    def forged(event: ParsedEvent) -> bool:
        ours = addresses.get(event.message_id)
        return ours is not None and (event.address or "").strip().lower() != ours.strip().lower()

    refused = [
        Malformed("recipient", "it names another address than our message went to", event.address or "")
        for event in batch.events
        if forged(event)
    ]
    kept = tuple(event for event in batch.events if not forged(event))
    return ParsedBatch(kept, (*batch.malformed, *refused)) if refused else batch


def parts_of(body: bytes, batch: ParsedBatch, unknown: Sequence[int], *, late: bool) -> list[Part]:
    """Return what is left of a list: the events of unknown messages in one part, each unreadable one in its own.

    An event that names no message at all goes to the orphans at once; so does everything once it is `late`.
    """
    waiting = [batch.events[place] for place in unknown if batch.events[place].message_id is not None]
    nameless = [batch.events[place] for place in unknown if batch.events[place].message_id is None]
    parts = []
    if waiting:
        said = f"{len(waiting)} events name messages that are not known here"
        parts.append(Part("unknown", InboundState.ORPHAN if late else InboundState.WAITING, _list(waiting), said))
    if nameless:
        said = f"{len(nameless)} events name no message of ours (no message_id)"
        parts.append(Part("nameless", InboundState.ORPHAN, _list(nameless), said))
    return parts + _dead(body, batch.malformed)


def _dead(body: bytes, malformed: Sequence[Malformed]) -> list[Part]:
    elements = load_json(body) if malformed else []
    shown = [
        Part(f"bad{bad.where}", InboundState.DEAD, _dumped([_element(elements, bad)]), f"{bad.where}: {bad.reason}")
        for bad in malformed[:MOST_DEAD_PARTS]
    ]
    rest = malformed[MOST_DEAD_PARTS:]
    if rest:
        said = f"{len(rest)} more cannot be read; the first: {rest[0].where}: {rest[0].reason}"
        shown.append(Part("bad-rest", InboundState.DEAD, _dumped([_element(elements, bad) for bad in rest]), said))
    return shown


def _element(elements: Any, bad: Malformed) -> Any:
    place = bad.where.partition("]")[0].lstrip("[")
    return elements[int(place)] if place.isdecimal() else bad.raw


def _list(events: Sequence[ParsedEvent]) -> bytes:
    return _dumped([event.raw for event in events])


def _dumped(elements: list[Any]) -> bytes:
    return orjson.dumps(storable(elements), default=str, option=orjson.OPT_NON_STR_KEYS)
