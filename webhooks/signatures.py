"""What all webhook signatures share: one header, at least one secret, constant-time comparison, a window.

Several secrets may be given while one replaces the other. Compared are always the raw bytes that came.
"""

import base64
import binascii
import hashlib
import hmac
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta

from outreach.errors import NotAuthenticated
from webhooks.wire import moment

# Only where the sender stamps each retry anew: Lob, Zendesk, Standard Webhooks.
WINDOW = timedelta(minutes=5)

_STANDARD_PREFIX = "whsec_"


def single_header(headers: Mapping[str, str], name: str) -> str:
    """Return the value of the header, which must be there exactly once; any case of its name will do."""
    found = [value.strip() for key, value in headers.items() if key.lower() == name.lower()]
    if len(found) != 1 or not found[0]:
        raise NotAuthenticated(f"The header {name} must be sent once and not be empty.", where=name)
    return found[0]


def usable(secrets: Iterable[str | None], what: str) -> list[str]:
    """Return the secrets that are set; without any, everything is refused."""
    found = [secret.strip() for secret in secrets if secret and secret.strip()]
    if not found:
        raise NotAuthenticated(f"No {what} is set, so nothing can be believed: set it to accept these calls.")
    return found


def require_match(given: str, expected: Iterable[str], where: str) -> None:
    """Refuse unless `given` equals one of `expected`; the time it takes does not tell how much of it is right."""
    offered = given.encode("utf-8", "replace")
    matches = [hmac.compare_digest(offered, candidate.encode()) for candidate in expected]
    if not any(matches):
        raise NotAuthenticated("The signature is wrong.", where=where)


def require_recent(timestamp: str, now: datetime, where: str) -> None:
    """Refuse a signed time that is unreadable or more than five minutes away from `now`."""
    signed_at = moment(timestamp)
    if signed_at is None or abs(now - signed_at) > WINDOW:
        raise NotAuthenticated("The signed time is unreadable or more than 5 minutes away from now.", where=where)


def hmac_hex(secret: str, signed: bytes, algorithm: str = "sha256") -> str:
    """Return the HMAC as lower-case hex."""
    return hmac.new(secret.encode(), signed, algorithm).hexdigest()


def hmac_base64(secret: str, signed: bytes) -> str:
    """Return the HMAC-SHA256 as base64."""
    return base64.b64encode(hmac.new(secret.encode(), signed, hashlib.sha256).digest()).decode()


def verify_basic(headers: Mapping[str, str], credentials: Sequence[str], what: str) -> None:
    """Refuse unless the request carries HTTP basic credentials equal to one of `credentials` (`user:password`)."""
    expected = [base64.b64encode(pair.encode()).decode() for pair in usable(credentials, what)]
    scheme, _, given = single_header(headers, "Authorization").partition(" ")
    if scheme.lower() != "basic":
        raise NotAuthenticated("Basic credentials are expected.", where="Authorization")
    require_match(given.strip(), expected, "Authorization")


def verify_hub(headers: Mapping[str, str], body: bytes, secrets: Sequence[str], algorithm: str, what: str) -> None:
    """Refuse unless `X-Hub-Signature: <algorithm>=<hex HMAC of the body>` is right; no other algorithm will do."""
    accepted = usable(secrets, what)
    method, _, given = single_header(headers, "X-Hub-Signature").partition("=")
    if method != algorithm:
        raise NotAuthenticated(f"The signature must be {algorithm}=…", where="X-Hub-Signature")
    require_match(given, [hmac_hex(secret, body, algorithm) for secret in accepted], "X-Hub-Signature")


def verify_standard(headers: Mapping[str, str], body: bytes, secrets: Sequence[str], now: datetime) -> str:
    """Refuse unless a signature of Standard Webhooks is right, and return the `webhook-id`.

    https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
    """
    keys = [_standard_key(secret) for secret in usable(secrets, "webhook secret (whsec_…)")]
    event_id = single_header(headers, "webhook-id")
    timestamp = single_header(headers, "webhook-timestamp")
    offered = single_header(headers, "webhook-signature").split()[:20]
    require_recent(timestamp, now, "webhook-timestamp")
    signed = b".".join([event_id.encode("utf-8", "replace"), timestamp.encode("utf-8", "replace"), body])
    expected = [base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()) for key in keys]
    matches = [
        hmac.compare_digest(signature[3:].encode("utf-8", "replace"), candidate)
        for signature in offered
        if signature.startswith("v1,")
        for candidate in expected
    ]
    if not any(matches):
        raise NotAuthenticated("None of the signatures is right.", where="webhook-signature")
    return event_id


def _standard_key(secret: str) -> bytes:
    """Return the bytes of a `whsec_` secret; one that is not base64 could never have signed anything."""
    try:
        key = base64.b64decode(secret.removeprefix(_STANDARD_PREFIX), validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if not key:
        raise NotAuthenticated("The webhook secret is not base64: copy it again, with its prefix whsec_.")
    return key
