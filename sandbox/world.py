"""The parts that every wire works with, made once per process."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from sandbox.faults import Faults
from sandbox.record import Record
from sandbox.settings import SandboxSettings
from sandbox.signatures import Sign, Signatures
from sandbox.webhooks import Courier, Webhook

Official = Callable[[str, Any], list[str]]


@dataclass(frozen=True)
class World:
    """Settings, record, faults, signatures and courier; `official` asks the official descriptions, if given."""

    settings: SandboxSettings
    record: Record
    faults: Faults
    signatures: Signatures
    courier: Courier
    official: Official

    def post_form(self, provider: str, url: str, fields: dict[str, str], after: float, about: str) -> None:
        """Send a form in Twilio's way, signed for its address."""
        body = urlencode(fields).encode()
        sign = self.signatures.twilio(url)
        webhook = Webhook(provider, url, body, "application/x-www-form-urlencoded", sign, about)
        self.courier.send(webhook, after)

    def post_json(self, provider: str, path: str, payload: Any, sign: Sign, after: float, about: str) -> None:
        """Send a JSON object to a path of Outreach."""
        url = self.settings.webhooks_to.rstrip("/") + path
        body = json.dumps(payload, ensure_ascii=False).encode()
        self.courier.send(Webhook(provider, url, body, "application/json; charset=utf-8", sign, about), after)
