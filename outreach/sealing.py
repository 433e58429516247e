"""Secrets that must be read back (a desk's API token), sealed before they are stored.

The key is derived from `OUTREACH_SECRET_KEY`, so that a copy of the database alone tells nothing. Several keys,
parted by commas, rotate: the first seals, all open.
"""

import base64

from cryptography.fernet import Fernet, InvalidToken, MultiFernet

from outreach.errors import Conflict
from outreach.security import derived_keys


def seal(secret: str) -> str:
    """Return the secret as it may be stored (Fernet: AES-128-CBC with HMAC-SHA256)."""
    return _box().encrypt(secret.encode()).decode()


def unseal(sealed: str) -> str:
    """Return the secret again; raises `Conflict` when it was sealed under a key that is no longer set."""
    try:
        return _box().decrypt(sealed.encode()).decode()
    except InvalidToken:
        raise Conflict(
            "A stored secret cannot be read: it was sealed under another OUTREACH_SECRET_KEY. Enter it again, or "
            "put the old key behind the new one, parted by a comma."
        ) from None


def _box() -> MultiFernet:
    return MultiFernet([Fernet(base64.urlsafe_b64encode(key)) for key in derived_keys("sealing")])
