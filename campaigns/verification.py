"""The short code in every message, by which a customer can ask "is this really from you?".

The code is the message id, shortened: the second it was made and 30 of its random bits, as 12 letters of Crockford's
alphabet. So it is found by the primary key, without an index of its own, and says nothing about anybody.
"""

from uuid import UUID

from sqlalchemy import text
from sqlalchemy.orm import Session

_ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_PAIRS = [one + other for one in _ALPHABET for other in _ALPHABET]  # ten bits at a time: every message has a code
_LOOKALIKES = str.maketrans("OIL", "011")
_RANDOM_BITS = 30
_RANDOM_MASK = (1 << _RANDOM_BITS) - 1
_EPOCH = 1_704_067_200  # 2024-01-01 UTC; 30 bits of seconds last until 2058

_SAME_SECOND = text("SELECT id FROM messages WHERE id >= :first AND id < :after")


def verification_code(message_id: UUID) -> str:
    """Return the code of a message, such as `7Q4K-9DM2-XW3B`."""
    whole, pairs = message_id.int, _PAIRS
    second, bits = (whole >> 80) // 1000 - _EPOCH, whole & _RANDOM_MASK
    return (
        f"{pairs[second >> 20 & 1023]}{pairs[second >> 10 & 1023]}-{pairs[second & 1023]}"
        f"{pairs[bits >> 20]}-{pairs[bits >> 10 & 1023]}{pairs[bits & 1023]}"
    )


def find_by_code(session: Session, given: str) -> UUID | None:
    """Return the message that the code stands in; look-alike letters, case, spaces and dashes do not matter."""
    letters = "".join(given.upper().translate(_LOOKALIKES).split()).replace("-", "")
    if len(letters) != 12 or any(letter not in _ALPHABET for letter in letters):
        return None
    number = 0
    for letter in letters:
        number = number << 5 | _ALPHABET.index(letter)
    second = (number >> _RANDOM_BITS) + _EPOCH
    first, after = UUID(int=(second * 1000) << 80), UUID(int=((second + 1) * 1000) << 80)
    for found in session.scalars(_SAME_SECOND, {"first": first, "after": after}):
        if verification_code(found).replace("-", "") == letters:
            return UUID(str(found))
    return None
