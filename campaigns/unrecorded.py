"""Ids of what is sent beside the ledger (tests, letters to owners): events about it are nobody's business.

Version 8 of RFC 9562 is free for own uses; messages have version 7. Without the difference each test send would leave
events "about messages that we do not know", which somebody would have to look at.
"""

import secrets
from uuid import UUID

VERSION = 8


def new_unrecorded_id() -> UUID:
    """Return an id that no message has."""
    bits = secrets.randbits(128) & ~(0xF << 76) & ~(0b11 << 62)
    return UUID(int=bits | VERSION << 76 | 0b10 << 62)


def is_unrecorded(message_id: UUID | None) -> bool:
    """Tell whether an id is one of those."""
    return message_id is not None and message_id.version == VERSION
