"""How many segments a text message takes, and so what it costs (3GPP TS 23.038, TS 23.040)."""

from dataclasses import dataclass
from typing import Literal

# One septet each; the position does not matter here.
GSM7_BASIC = frozenset(
    "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?"
    "¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿abcdefghijklmnopqrstuvwxyzäöñüà"
)
# Two septets each: an escape and the character.
GSM7_EXTENDED = frozenset("\f^{}\\[~]|€")
_PLAIN = bytes(sorted(ord(c) for c in GSM7_BASIC if c.isascii()))

MAX_SEGMENTS = 10  # Twilio joins at most this many


@dataclass(frozen=True, slots=True)
class SegmentCount:
    """`units` are septets (GSM-7) or 16-bit units (UCS-2)."""

    encoding: Literal["GSM-7", "UCS-2"]
    segments: int
    units: int


def sms_segments(text: str) -> SegmentCount:
    """Count the segments of a text: 160 septets or 70 units alone, 153 or 67 each when joined."""
    if text.isascii() and not text.encode().translate(None, _PLAIN):  # most texts: a septet each, nothing to look at
        return SegmentCount("GSM-7", 1 if len(text) <= 160 else -(-len(text) // 153), len(text))
    if all(c in GSM7_BASIC or c in GSM7_EXTENDED for c in text):
        sizes = [2 if c in GSM7_EXTENDED else 1 for c in text]
        return SegmentCount("GSM-7", _segments(sizes, alone=160, joined=153), sum(sizes))
    sizes = [2 if ord(c) > 0xFFFF else 1 for c in text]
    return SegmentCount("UCS-2", _segments(sizes, alone=70, joined=67), sum(sizes))


def _segments(sizes: list[int], *, alone: int, joined: int) -> int:
    if sum(sizes) <= alone:
        return 1
    count, used = 1, 0
    for size in sizes:
        if used + size > joined:  # neither an escape nor a surrogate pair is split
            count, used = count + 1, 0
        used += size
    return count
