"""What many emails have in common, so that it travels once per call.

Exact by construction: beginning + middle + end is the text that was rendered, for every person.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from campaigns.providers.base import EmailEnvelope
from outreach.vocabulary import NoticeClass

# With a character that few texts hold: to find that out takes a thirtieth of the time of searching for the tags.
_RARE = "~"
TEXT_TAG = f"-outreach{_RARE}text-"
HTML_TAG = f"-outreach{_RARE}html-"
REPLY_TO_TAG = f"-outreach{_RARE}reply-to-"  # a legal local part, so the address stays one
MAX_SUBSTITUTION_BYTES = 10_000  # per person, SendGrid's limit
# 200: the tags and the reply address, which is at most 64 characters before the @
_MOST_BYTES = MAX_SUBSTITUTION_BYTES - 200


@dataclass(frozen=True, slots=True)
class Shared:
    """The common beginning and end of several texts."""

    beginning: str
    end: str
    identical: bool

    def pattern(self, tag: str) -> str:
        """Return the text with `tag` in the place of what differs."""
        return self.beginning if self.identical else self.beginning + tag + self.end

    def middle(self, text: str) -> str:
        """Return what only this text has."""
        return text[len(self.beginning) : len(text) - len(self.end)]


@dataclass(frozen=True, slots=True)
class SharedParts:
    """The shared parts of one call; `reply_to` is the address pattern, none where all reply to one address."""

    text: Shared
    html: Shared
    reply_to: str | None


def share(group: Sequence[EmailEnvelope]) -> SharedParts:
    """Return what the texts of one call have in common."""
    reply_tos = {e.reply_to for e in group}
    reply_to = None
    if len(reply_tos) > 1:
        reply_to = f"{REPLY_TO_TAG}@{_domain(group[0].reply_to)}"
    return SharedParts(common_parts([e.text for e in group]), common_parts([e.html for e in group]), reply_to)


def common_parts(texts: Sequence[str]) -> Shared:
    """Return the longest common beginning of `texts`, and the longest common end of what remains."""
    low, high = min(texts), max(texts)  # whatever these two share, all share
    if low == high:
        return Shared(low, "", identical=True)
    start = _common_length(low, high, 0)
    first = texts[0]
    end = first[start:]
    for text in texts:
        if not text.endswith(end) or len(text) < start + len(end):
            end = _common_end(end, text[start:])
    return Shared(first[:start], end, identical=False)


def _common_end(end: str, text: str) -> str:
    """The longest common end of two texts, by halving."""
    bottom, top = 0, min(len(end), len(text))
    while bottom < top:
        middle = (bottom + top + 1) // 2
        if text.endswith(end[len(end) - middle :]):
            bottom = middle
        else:
            top = middle - 1
    return end[len(end) - bottom :]


def _common_length(low: str, high: str, start: int) -> int:
    """Length of the common beginning of two texts, by halving."""
    bottom, top = start, min(len(low), len(high))
    while bottom < top:
        middle = (bottom + top + 1) // 2
        if low[bottom:middle] == high[bottom:middle]:
            bottom = middle
        else:
            top = middle - 1
    return bottom


def groups_of(envelopes: Sequence[EmailEnvelope], messages_per_call: int) -> list[list[int]]:
    """Return which envelopes (by position) travel together; class safety and oversized ones travel alone."""
    together: dict[tuple[object, ...], list[int]] = {}
    groups: list[list[int]] = []
    for i, envelope in enumerate(envelopes):
        if envelope.notice_class is NoticeClass.SAFETY or _holds_a_tag(envelope):
            groups.append([i])
            continue
        key = (
            envelope.from_address,
            envelope.from_name,
            envelope.notice_class,
            None if envelope.reply_to is None else _domain(envelope.reply_to),
        )
        together.setdefault(key, []).append(i)
    for numbers in together.values():
        for start in range(0, len(numbers), messages_per_call):
            groups.extend(_without_oversized(envelopes, numbers[start : start + messages_per_call]))
    return groups


def _without_oversized(envelopes: Sequence[EmailEnvelope], numbers: list[int]) -> list[list[int]]:
    """Split off who has more of her own than one personalization may carry."""
    if len(numbers) == 1 or all(_most_bytes(envelopes[i]) <= _MOST_BYTES for i in numbers):
        return [numbers]
    shared = share([envelopes[i] for i in numbers])
    alone: list[int] = []
    rest: list[int] = []
    for i in numbers:
        own = shared.text.middle(envelopes[i].text) + shared.html.middle(envelopes[i].html)
        (alone if _most_bytes_of(own) > _MOST_BYTES and len(own.encode()) > _MOST_BYTES else rest).append(i)
    return [[i] for i in alone] + ([rest] if rest else [])


def _most_bytes(envelope: EmailEnvelope) -> int:
    return _most_bytes_of(envelope.text) + _most_bytes_of(envelope.html)


def _most_bytes_of(text: str) -> int:
    """No letter takes more than four bytes; to count them exactly would take a copy."""
    return len(text) if text.isascii() else 4 * len(text)


def _holds_a_tag(envelope: EmailEnvelope) -> bool:
    """Whether a text contains one of our tags, so that a substitution would change it."""
    if _RARE not in envelope.html and _RARE not in envelope.text and _RARE not in envelope.subject:
        return False
    return any(f"-outreach{_RARE}" in text for text in (envelope.html, envelope.text, envelope.subject))


def _domain(address: str | None) -> str:
    return (address or "").rpartition("@")[2].lower()
