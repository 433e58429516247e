"""Signs webhooks exactly as each provider and desk does."""

import base64
import hashlib
import hmac
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import parse_qsl

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from sandbox.settings import SandboxSettings

Sign = Callable[[bytes], Mapping[str, str]]
"""From the body to the headers that prove it; called once per attempt, so that timestamps are fresh."""


def unsigned(_body: bytes) -> Mapping[str, str]:
    """Sign nothing: inbound parse carries a token in its address, one-click unsubscribe has no proof."""
    return {}


class Signatures:
    """Holds the secrets and the SendGrid key pair, which is made in `home` at the first start."""

    def __init__(self, settings: SandboxSettings) -> None:
        self._twilio_token = settings.secret("twilio_token").encode()
        self._lob_secret = settings.secret("lob_webhook_secret").encode()
        self._zendesk_secret = settings.secret("zendesk_secret").encode()
        self._desks_secret = settings.secret("desks_secret")
        self._desk_secret = _standard_webhooks_key(settings.secret("desk_secret"))
        self._key = _key_pair(settings.home)

    @property
    def sendgrid_public_key(self) -> str:
        """The public key as SendGrid's settings API gives it: base64 of the DER form."""
        return _public_text(self._key)

    def sendgrid(self, body: bytes) -> Mapping[str, str]:
        """ECDSA P-256 over SHA-256 of timestamp and raw body (docs: event webhook security features)."""
        timestamp = str(int(time.time()))
        signature = self._key.sign(timestamp.encode() + body, ec.ECDSA(hashes.SHA256()))
        return {
            "X-Twilio-Email-Event-Webhook-Signature": base64.b64encode(signature).decode(),
            "X-Twilio-Email-Event-Webhook-Timestamp": timestamp,
        }

    def twilio(self, url: str) -> Sign:
        """HMAC-SHA1 over the address and the sorted form fields (docs: validating signatures from Twilio)."""

        def sign(body: bytes) -> Mapping[str, str]:
            fields = sorted(set(parse_qsl(body.decode(), keep_blank_values=True)))
            text = url + "".join(name + value for name, value in fields)
            digest = hmac.digest(self._twilio_token, text.encode(), "sha1")
            return {"X-Twilio-Signature": base64.b64encode(digest).decode()}

        return sign

    def lob(self, body: bytes) -> Mapping[str, str]:
        """Hex HMAC-SHA256 over the timestamp in milliseconds, a dot and the raw body."""
        timestamp = str(time.time_ns() // 1_000_000)
        signature = hmac.new(self._lob_secret, timestamp.encode() + b"." + body, hashlib.sha256).hexdigest()
        return {"Lob-Signature": signature, "Lob-Signature-Timestamp": timestamp}

    def standard(self, identity: str) -> Sign:
        """HMAC-SHA256 over id, timestamp and body (standardwebhooks.com specification, v1)."""

        def sign(body: bytes) -> Mapping[str, str]:
            timestamp = str(int(time.time()))
            digest = hmac.digest(self._desk_secret, f"{identity}.{timestamp}.".encode() + body, "sha256")
            return {
                "webhook-id": identity,
                "webhook-timestamp": timestamp,
                "webhook-signature": "v1," + base64.b64encode(digest).decode(),
            }

        return sign

    def hub(self, algorithm: str, more: Mapping[str, str]) -> Sign:
        """Hex HMAC over the raw body, in the way of GitHub's and Jira's `X-Hub-Signature`; `more` goes along."""

        def sign(body: bytes) -> Mapping[str, str]:
            digest = hmac.new(self._desks_secret.encode(), body, algorithm).hexdigest()
            return {"X-Hub-Signature": f"{algorithm}={digest}", **more}

        return sign

    def header(self, name: str) -> Sign:
        """The bare secret in a header, for a desk that cannot sign."""

        def sign(_body: bytes) -> Mapping[str, str]:
            return {name: self._desks_secret}

        return sign

    def zendesk(self, invocation: str) -> Sign:
        """HMAC-SHA256 over the timestamp (RFC 3339) and the raw body (docs: verifying webhooks)."""

        def sign(body: bytes) -> Mapping[str, str]:
            timestamp = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
            digest = hmac.digest(self._zendesk_secret, timestamp.encode() + body, "sha256")
            return {
                "X-Zendesk-Webhook-Signature": base64.b64encode(digest).decode(),
                "X-Zendesk-Webhook-Signature-Timestamp": timestamp,
                "X-Zendesk-Webhook-Id": "01SANDBOXWEBHOOK",
                "X-Zendesk-Webhook-Invocation-Id": invocation,
                "X-Zendesk-Account-Id": "1",
            }

        return sign


def _standard_webhooks_key(secret: str) -> bytes:
    text = secret.removeprefix("whsec_")
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except ValueError as error:
        raise ValueError("the desk secret must be whsec_ followed by base64, e.g. whsec_MfKQ9r8GKYqr…") from error


def _key_pair(home: Path) -> ec.EllipticCurvePrivateKey:
    file = home / "sendgrid_private_key.pem"
    if not file.exists():
        made = ec.generate_private_key(ec.SECP256R1())
        file.touch(mode=0o600)
        file.write_bytes(
            made.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )
    key = serialization.load_pem_private_key(file.read_bytes(), password=None)
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise TypeError(f"{file} does not hold an elliptic curve key: remove it and start again")
    (home / "sendgrid_public_key").write_text(_public_text(key))
    return key


def _public_text(key: ec.EllipticCurvePrivateKey) -> str:
    der = key.public_key().public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    return base64.b64encode(der).decode()
