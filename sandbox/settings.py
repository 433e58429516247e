"""Every option of the sandbox: `--name value` on the command line or `SANDBOX_NAME` in the environment."""

import base64
import json
import secrets
from pathlib import Path
from typing import Self

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

SECRET_NAMES = (
    "sendgrid_key",
    "twilio_sid",
    "twilio_token",
    "lob_key",
    "lob_webhook_secret",
    "desk_secret",
    "zendesk_secret",
    "zendesk_token",
    "inbound_token",
    "desks_secret",
    "desks_token",
)


class SandboxSettings(BaseSettings):
    """One value per option; `docs/sandbox.md` explains them. Secrets left out are made and kept in `--home`."""

    model_config = SettingsConfigDict(env_prefix="SANDBOX_", cli_kebab_case=True, cli_prog_name="python -m sandbox")

    host: str = Field(default="127.0.0.1", description="Address to listen on; keep it on loopback.")
    port: int = Field(default=8322, ge=1, le=65535, description="Port to listen on.")
    home: Path = Field(description="Folder of the durable record, the keys and the log of decisions.")
    webhooks_to: str = Field(default="http://127.0.0.1:8321", description="Base address of Outreach.")
    public_url: str | None = Field(
        default=None, description="Base address Twilio signatures are computed for; unset: the one of --webhooks-to."
    )
    seed: int = Field(default=7, description="Seed of every random decision.")
    faults: str = Field(default="{}", description="Knobs as JSON, see docs/sandbox.md.")
    openapi: Path | None = Field(default=None, description="Folder with the official API descriptions.")
    desks: str = Field(
        default="generic",
        description="Desks that send webhooks: some of generic, zendesk, jira, servicenow, freshdesk, zammad.",
    )
    pace_seconds: float = Field(default=0.05, ge=0, description="Time between two steps of a simulated recipient.")
    lob_window_seconds: float = Field(
        default=1.0, ge=0, description="How long a postcard can be cancelled; tracking starts after it."
    )
    webhook_attempts: int = Field(default=8, ge=1, description="Deliveries tried before a webhook is given up.")
    webhook_connections: int = Field(default=8, ge=1, description="Webhooks delivered at the same time.")

    sendgrid_key: SecretStr | None = Field(default=None, description="Bearer key that the email API accepts.")
    twilio_sid: str | None = Field(default=None, description="Account of the SMS API (AC and 32 hex digits).")
    twilio_token: SecretStr | None = Field(default=None, description="Password of that account; signs its webhooks.")
    lob_key: SecretStr | None = Field(default=None, description="User name that the postcard API accepts.")
    lob_webhook_secret: SecretStr | None = Field(default=None, description="Signs the postcard webhooks.")
    desk_secret: SecretStr | None = Field(default=None, description="Signs the generic desk's webhooks (whsec_…).")
    zendesk_secret: SecretStr | None = Field(default=None, description="Signs the Zendesk webhooks.")
    zendesk_token: SecretStr | None = Field(default=None, description="API token that the ticket API accepts.")
    desks_secret: SecretStr | None = Field(
        default=None, description="Signs the webhooks of Jira, ServiceNow, Freshdesk and Zammad."
    )
    desks_token: SecretStr | None = Field(default=None, description="What the APIs of those four accept.")
    inbound_token: SecretStr | None = Field(default=None, description="Token of the inbound parse address.")

    def secret(self, name: str) -> str:
        """Return the plain text of one of `SECRET_NAMES`; `with_secrets` must have filled it."""
        value = getattr(self, name)
        if value is None:
            raise LookupError(f"{name} is not set: call with_secrets() first")
        return value.get_secret_value() if isinstance(value, SecretStr) else str(value)

    @property
    def signed_url(self) -> str:
        """The base address that Outreach believes it has; Twilio signs addresses."""
        return (self.public_url or self.webhooks_to).rstrip("/")

    def with_secrets(self) -> Self:
        """Return the settings with every missing secret taken from, or made and kept in, `home/secrets.json`.

        Made instead of fixed defaults, so that no installation ever shares a known key.
        """
        self.home.mkdir(parents=True, exist_ok=True, mode=0o700)
        file = self.home / "secrets.json"
        kept: dict[str, str] = json.loads(file.read_text()) if file.exists() else {}
        missing = [name for name in SECRET_NAMES if getattr(self, name) is None and name not in kept]
        if missing:
            kept |= {name: _new_secret(name) for name in missing}
            file.touch(mode=0o600)
            file.write_text(json.dumps(kept, indent=2))
        found = {name: kept[name] for name in SECRET_NAMES if getattr(self, name) is None}
        wrapped = {name: value if name == "twilio_sid" else SecretStr(value) for name, value in found.items()}
        return self.model_copy(update=wrapped)


def _new_secret(name: str) -> str:
    if name == "twilio_sid":
        return "AC" + secrets.token_hex(16)
    if name == "desk_secret":
        return "whsec_" + base64.b64encode(secrets.token_bytes(24)).decode()
    return secrets.token_urlsafe(24)
