"""Secrets and proofs: passwords, opaque tokens, API keys, signed links and verification codes.

Only hashes are stored: Argon2id for passwords (RFC 9106), SHA-256 for tokens, which are 256 random bits and
need no slow hash. Everything that is signed uses HMAC-SHA256 under `OUTREACH_SECRET_KEY`; several keys, parted
by commas, rotate: the first signs, all verify.
"""

import base64
import hashlib
import hmac
import secrets
import struct
from binascii import b2a_base64
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from uuid import UUID

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from outreach.errors import InvalidInput, NotAuthenticated, Unavailable
from outreach.settings import get_settings

SHORTEST_SECRET = 32  # characters
SHORTEST_PASSWORD, LONGEST_PASSWORD = 12, 256
SECRET_FILE = "secret_key"  # noqa: S105 - the name of the file in OUTREACH_HOME

_hasher = PasswordHasher()
# A link ends in a letter because mail and message programs leave a closing `-` or `_` out of it.
_LINK_END = "a"
_LINK_HEAD = struct.Struct(">4sIB")  # key id, expiry (seconds since 1970; 0: never), whether the subject is a uuid
_TAG = 16  # bytes; RFC 2104 allows half of the digest
_HASH_BLOCK = 64  # bytes, of SHA-256
_URL_SAFE = bytes.maketrans(b"+/", b"-_")


def hash_password(password: str) -> str:
    """Return the Argon2id hash of a password; raises `InvalidInput` for one that is too short or too long."""
    if not SHORTEST_PASSWORD <= len(password) <= LONGEST_PASSWORD:
        raise InvalidInput(
            f"A password has {SHORTEST_PASSWORD} to {LONGEST_PASSWORD} characters; a few unrelated words are good.",
            where="password",
        )
    return _hasher.hash(password)


@lru_cache(maxsize=1)
def _password_of_nobody() -> str:
    """Return what an unknown account is checked against, so that it takes as long as a known one."""
    return _hasher.hash("the password of nobody")


def password_matches(password_hash: str | None, password: str) -> bool:
    """Tell whether a password is right; with no hash (an unknown account) it takes the same time and is wrong."""
    nobody = _password_of_nobody()  # for known accounts too: the first check of a process takes longer for all
    try:
        return _hasher.verify(password_hash or nobody, password[: LONGEST_PASSWORD + 1]) and password_hash is not None
    except (VerificationError, InvalidHashError):
        return False


def password_is_outdated(password_hash: str) -> bool:
    """Tell whether a hash was made with weaker parameters than those of today."""
    return _hasher.check_needs_rehash(password_hash)


def new_token() -> str:
    """Return a new opaque token of 256 random bits."""
    return secrets.token_urlsafe(32)


def token_hash(token: str) -> str:
    """Return what is stored of a token."""
    return hashlib.sha256(token.encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class NewKey:
    """A fresh API key: `key` is shown once, `prefix` and `hash` are stored."""

    key: str
    prefix: str
    hash: str


def new_api_key() -> NewKey:
    """Return a new API key, `outreach_<prefix>_<secret>`; the fixed start lets secret scanners find leaked ones."""
    prefix = secrets.token_hex(5)
    key = f"outreach_{prefix}_{new_token()}"
    return NewKey(key=key, prefix=prefix, hash=token_hash(key))


def same(one: str, other: str) -> bool:
    """Compare two secrets in a time that does not depend on where they differ."""
    return hmac.compare_digest(one.encode(), other.encode())


def check_secret_key() -> None:
    """Raise `Unavailable` when this installation has no usable secret key; every process calls it at its start."""
    _keys()


def make_secret_key(home: Path) -> None:
    """Write a new secret key to `home`, readable by its owner alone, unless there is one."""
    home.mkdir(parents=True, exist_ok=True)
    path = home / SECRET_FILE
    if path.exists() and path.read_text().strip():
        return
    path.touch(mode=0o600)
    path.chmod(0o600)
    path.write_text(new_token())


def _keys() -> tuple[bytes, ...]:
    settings = get_settings()
    if settings.secret_key:  # an empty one is none
        return _usable(settings.secret_key.get_secret_value())
    return _usable(_from_file(settings.home / SECRET_FILE))


@lru_cache(maxsize=4)
def _from_file(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        raise Unavailable(
            "No secret key: set OUTREACH_SECRET_KEY, or run `outreach up`, which makes one. "
            "`python3 -c 'import secrets; print(secrets.token_urlsafe(32))'` prints a good one."
        ) from None


@lru_cache(maxsize=4)
def _usable(setting: str) -> tuple[bytes, ...]:
    keys = [part.strip() for part in setting.split(",")]
    for key in keys:
        # A long key of few different characters is a placeholder that somebody forgot to replace.
        if len(key) < SHORTEST_SECRET or len(set(key)) < 10:
            raise Unavailable(
                f"OUTREACH_SECRET_KEY is too weak: each key needs at least {SHORTEST_SECRET} random characters. "
                "`python3 -c 'import secrets; print(secrets.token_urlsafe(32))'` prints a good one."
            )
    return tuple(key.encode() for key in keys)


@lru_cache(maxsize=4)
def _key_id(key: bytes) -> bytes:
    return hashlib.sha256(b"key id\0" + key).digest()[:4]


def _mac(key: bytes, use: str, payload: bytes) -> bytes:
    # The use goes first and ends in NUL, so that a proof made for one use is never one for another.
    return hmac.digest(key, use.encode() + b"\0" + payload, "sha256")  # in one call: every message has two


def derived_keys(use: str) -> tuple[bytes, ...]:
    """Return a key of 32 bytes for another use from each secret key, the newest first."""
    return tuple(_mac(key, f"derive {use}", b"") for key in _keys())


class LinkSigner:
    """Makes many links of one purpose, each as `sign_link` would; what all share is worked out once."""

    def __init__(self, purpose: str) -> None:
        key = _keys()[0]
        self._key_id = _key_id(key)
        # HMAC (RFC 2104) by its two hashes: to copy those takes half as long as to copy `hmac.HMAC`.
        block = (key if len(key) <= _HASH_BLOCK else hashlib.sha256(key).digest()).ljust(_HASH_BLOCK, b"\0")
        self._inner = hashlib.sha256(bytes(byte ^ 0x36 for byte in block) + _link_use(purpose).encode() + b"\0")
        self._outer = hashlib.sha256(bytes(byte ^ 0x5C for byte in block))

    def __call__(self, subject: UUID, ends: int) -> str:
        """Return the token for one subject; it ends at `ends` (seconds since 1970)."""
        payload = _LINK_HEAD.pack(self._key_id, ends, True) + subject.bytes
        inner, outer = self._inner.copy(), self._outer.copy()
        inner.update(payload)
        outer.update(inner.digest())
        return _token(payload, outer.digest())


def sign_link(purpose: str, subject: str | UUID, *, expires_at: datetime | None) -> str:
    """Return an url-safe token that proves `subject` for one `purpose`; without `expires_at` it never ends.

    A subject is an id, never personal data: it can be read by whoever has the link.
    """
    key = _keys()[0]
    raw, is_uuid = (subject.bytes, True) if isinstance(subject, UUID) else _pack(subject)
    ends = int(expires_at.timestamp()) if expires_at else 0
    payload = _LINK_HEAD.pack(_key_id(key), ends, is_uuid) + raw
    return _token(payload, _mac(key, _link_use(purpose), payload))


def _link_use(purpose: str) -> str:
    return f"link {purpose}"


def _token(payload: bytes, mac: bytes) -> str:
    return b2a_base64(payload + mac[:_TAG], newline=False).translate(_URL_SAFE).decode().rstrip("=") + _LINK_END


def read_link(token: str, purpose: str, now: datetime) -> str:
    """Return the subject of a link; raises `NotAuthenticated` with words for the customer who followed it."""
    broken = NotAuthenticated(
        "This link is not complete or not ours. Please open it again from our message, or copy all of it."
    )
    raw = _decode(token)
    if raw is None or len(raw) <= _LINK_HEAD.size + _TAG:
        raise broken
    payload, tag = raw[:-_TAG], raw[-_TAG:]
    key_id, ends, is_uuid = _LINK_HEAD.unpack_from(payload)
    for key in _keys():
        if _key_id(key) == key_id and hmac.compare_digest(_mac(key, _link_use(purpose), payload)[:_TAG], tag):
            break
    else:
        raise broken
    if ends and now.timestamp() >= ends:
        raise NotAuthenticated(f"This link was valid until {datetime.fromtimestamp(ends, UTC):%d %B %Y, %H:%M} UTC.")
    subject = payload[_LINK_HEAD.size :]
    return str(UUID(bytes=subject)) if is_uuid else subject.decode()


def _pack(subject: str) -> tuple[bytes, bool]:
    try:
        found = UUID(subject)
    except ValueError:
        return subject.encode(), False
    # Sixteen bytes instead of 36: a link in an SMS is paid for by its length.
    return (found.bytes, True) if str(found) == subject else (subject.encode(), False)


def _decode(token: str) -> bytes | None:
    if not token.endswith(_LINK_END) or len(token) > 600 or not token.isascii():
        return None
    text = token.removesuffix(_LINK_END)
    try:
        raw = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except ValueError:
        return None
    # The last character of base64 has spare bits; only one spelling of a token is taken.
    return raw if base64.urlsafe_b64encode(raw).decode().rstrip("=") == text else None


def csrf_token(session_token: str) -> str:
    """Return the token which a form or request of that browser session has to carry."""
    return _csrf(_keys()[0], session_token)


def is_csrf_token(session_token: str, given: str) -> bool:
    """Tell whether a CSRF token belongs to a browser session."""
    return any(same(_csrf(key, session_token), given) for key in _keys())


def _csrf(key: bytes, session_token: str) -> str:
    return base64.urlsafe_b64encode(_mac(key, "csrf", session_token.encode())).decode().rstrip("=")
