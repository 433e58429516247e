"""Every setting, read once from `OUTREACH_*` variables and `.env`; secrets never print themselves."""

from functools import lru_cache
from pathlib import Path
from typing import Literal

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

from outreach.vocabulary import Channel


class Settings(BaseSettings):
    """One value per setting; `docs/settings.md` lists them and a test keeps that list complete."""

    model_config = SettingsConfigDict(env_prefix="OUTREACH_", env_file=".env", extra="ignore")

    home: Path = Field(
        default=Path.home() / ".local/share/outreach",
        description="Where the embedded engines keep their data.",
    )
    database_url: SecretStr | None = Field(
        default=None,
        description="A PostgreSQL server (15 or newer); unset: the embedded one of `outreach up`.",
    )
    redis_url: SecretStr | None = Field(
        default=None, description="A Redis server; unset: the embedded one of `outreach up`."
    )
    database_pool_size: int = Field(default=10, description="Connections that one process keeps at the most.")
    statement_timeout_seconds: float = Field(
        default=60, description="Longest statement of a request; bulk work sets its own."
    )

    public_url: str = Field(
        default="http://127.0.0.1:8321",
        description="The address customers and providers use; webhook signatures are checked against it.",
    )
    api_host: str = Field(default="127.0.0.1", description="The address the API listens on.")
    api_port: int = Field(default=8321, description="The port the API listens on.")
    secret_key: SecretStr | None = Field(
        default=None, description="Signs links and sessions; `outreach up` makes one in OUTREACH_HOME."
    )
    organisation: str = Field(default="Your company", description="The name customers know you by.")
    postal_address: str = Field(default="", description="Shown in every email, as the law of most countries asks.")

    email_provider: str = Field(default="sendgrid", description="`sendgrid` or `smtp`.")
    email_second_provider: str = Field(
        default="",
        description="The other one of the two: it sends while the first one fails, what that provably does not have.",
    )
    email_from: str = Field(default="care@example.com", description="The From address of notices.")
    email_reply_domain: str = Field(
        default="reply.example.com",
        description="Domain of the Reply-To addresses; its mail goes to the inbound parse.",
    )
    sendgrid_url: str = Field(default="https://api.sendgrid.com", description="Base address of the SendGrid API.")
    sendgrid_api_key: SecretStr | None = Field(default=None, description="Key of the SendGrid API.")
    sendgrid_email_activity: bool = Field(
        default=False,
        description="Your SendGrid account has the Email Activity add-on: what a crash left open can be looked up.",
    )
    sendgrid_webhook_public_key: str | None = Field(
        default=None, description="Verifies SendGrid's event webhook; two, parted by a comma, while rotating."
    )
    sendgrid_inbound_token: SecretStr | None = Field(
        default=None, description="Secret part of the inbound parse address that you give to SendGrid."
    )
    smtp_url: SecretStr | None = Field(
        default=None, description="smtp://user:password@host:port or smtps://…, for `email_provider=smtp`."
    )
    smtp_connections: int = Field(
        default=8,
        ge=1,
        description="Connections per process to the SMTP server, kept open; fewer where it takes fewer.",
    )

    twilio_url: str = Field(default="https://api.twilio.com", description="Base address of the Twilio API.")
    twilio_account_sid: str | None = Field(default=None, description="Account identifier at Twilio.")
    twilio_auth_token: SecretStr | None = Field(
        default=None, description="Authenticates calls to Twilio and verifies its webhooks."
    )
    sms_from: str = Field(
        default="",
        description="Sending number (E.164) or Messaging Service identifier; several with their shares: "
        "`+15551230000=70,+15551230001=30`. One person always sees the same one.",
    )
    twilio_second_url: str = Field(
        default="https://api.twilio.com", description="Base address of the second account, see below."
    )
    twilio_second_account_sid: str | None = Field(
        default=None,
        description="A second account (at Twilio or where its API is spoken) for what the first provably did not take.",
    )
    twilio_second_auth_token: SecretStr | None = Field(
        default=None, description="Authenticates calls to the second account and verifies its webhooks."
    )
    sms_second_from: str = Field(default="", description="The numbers of the second account, as above.")

    lob_url: str = Field(default="https://api.lob.com", description="Base address of the Lob API.")
    lob_api_key: SecretStr | None = Field(default=None, description="Key of the Lob API.")
    lob_webhook_secret: SecretStr | None = Field(default=None, description="Verifies Lob's webhooks.")
    postcard_from: str = Field(default="", description="Return address: name|line 1|city|region|postal code|country.")

    desk_webhook_secret: SecretStr | None = Field(
        default=None, description="Verifies the generic desk's webhooks (Standard Webhooks, `whsec_…`)."
    )
    zendesk_url: str | None = Field(default=None, description="Base address of your Zendesk.")
    zendesk_email: str | None = Field(default=None, description="The agent whose API token is used.")
    zendesk_api_token: SecretStr | None = Field(default=None, description="API token of that agent.")
    zendesk_webhook_secret: SecretStr | None = Field(default=None, description="Verifies Zendesk's webhooks.")

    postmark_webhook_password: SecretStr | None = Field(
        default=None,
        description="`user:password` that Postmark's webhooks carry; two, parted by a comma, while rotating.",
    )
    bounce_token: SecretStr | None = Field(
        default=None,
        description="Secret part of the address that your mail server posts bounces to; two while rotating.",
    )
    sendgrid_unsubscribe_groups: str = Field(
        default="",
        description="SendGrid's unsubscribe group of each class: `service=1234,success=1235`; unset: none is used.",
    )
    sendgrid_bypass_for_safety: bool = Field(
        default=False,
        description="Class safety passes SendGrid's own suppressions; who said no to us is not written to in any case.",
    )
    soft_bounces_that_bar: int = Field(
        default=3, ge=1, description="So many soft bounces in a row bar an address until somebody lifts the ban."
    )
    soft_bounce_days: int = Field(default=30, ge=1, description="The days within which those bounces are counted.")
    webhooks_out_allowed: str = Field(
        default="",
        description="Origins in your own network, parted by commas, that webhooks out may reach; the public "
        "internet needs no entry.",
    )

    desk_origins: str = Field(
        default="",
        description="Help desks in your own network that connectors may reach, such as `https://desk.local:8443`, "
        "parted by commas; all others must be on the public internet.",
    )
    reopen_after_count: int = Field(
        default=3, ge=1, description="So many customers saying “still broken” reopen a resolved problem…"
    )
    reopen_after_share: float = Field(
        default=0.01, ge=0, le=1, description="…if they are also at least this share of those who were told."
    )

    email_messages_per_call: int = Field(
        default=50, ge=1, le=1000, description="Recipients per SendGrid call for class service; safety has one."
    )
    email_messages_per_bulk_call: int = Field(
        default=200,
        ge=1,
        le=1000,
        description="Recipients per SendGrid call for classes success, survey and promotion: all of them are in doubt "
        "together when its answer is unclear.",
    )
    email_calls_per_second: float = Field(
        default=0, ge=0, description="SendGrid calls per second of all workers together; 0: no bound of ours."
    )
    sms_per_second: float = Field(
        default=0, ge=0, description="Text messages per second of all workers together; 0: no bound of ours."
    )
    sending_processes: int = Field(
        default=8,
        ge=1,
        description="At most so many processes send at a time: while Redis is away each keeps to its part of a rate.",
    )
    circuit_failures: int = Field(
        default=10,
        ge=0,
        description="So many failed calls, and no fewer than half of the last ones, let a provider rest; 0: never.",
    )
    circuit_seconds: float = Field(
        default=15, gt=0, description="The first rest; after it one message is tried, and the rest doubles if it fails."
    )
    provider_connections: int = Field(default=16, ge=1, description="Connections per process to one provider.")
    provider_timeout_seconds: float = Field(default=20, gt=0, description="Total time of one provider call.")
    lease_seconds: float = Field(default=60, gt=0, description="How long a claimed chunk stays with its worker.")
    reconcile_grace_seconds: float = Field(
        default=900,
        ge=0,
        description="Silence before an unknown outcome is looked up; longer than any credible pause.",
    )
    time_zone: str = Field(
        default="UTC", description="Your own time zone (IANA name): for customers about whom nothing is known."
    )
    email_hours: str = Field(
        default="", description="The customer's local hours in which email is sent, like `7-22`; empty: any."
    )
    sms_hours: str = Field(
        default="8-21", description="The customer's local hours in which SMS are sent; empty: any. Safety is exempt."
    )
    cap_per_day: int = Field(
        default=3, ge=0, description="Messages to one person in 24 hours, over all channels; 0: no bound."
    )
    cap_per_week: int = Field(default=7, ge=0, description="Messages to one person in seven days; 0: no bound.")
    cap_action: Literal["skip", "defer"] = Field(
        default="skip", description="What a notice above the cap does: it is skipped, or it waits."
    )
    approval_second_person_above: int = Field(
        default=10_000, ge=0, description="A campaign to more people needs a second person's approval."
    )
    approval_days: int = Field(default=7, ge=1, description="A plan that nobody approves for so long lapses.")
    auto_pause: bool = Field(
        default=True, description="A campaign with too many bounces, complaints or refusals pauses itself."
    )
    waves_from: int = Field(
        default=500, ge=0, description="Campaigns to at least so many people go out in waves; 0: never."
    )
    first_wave: int = Field(default=100, ge=1, description="People in the first wave; each next one has ten times.")
    wave_minutes: float = Field(
        default=60, ge=0, description="The longest that a wave waits for news of the one before."
    )
    replies_per_hour: int = Field(
        default=0, ge=0, description="Replies that your team can take in an hour; waves keep to it. 0: no bound."
    )
    email_cost_cents: float = Field(default=0.1, ge=0, description="What one email costs, in cents.")
    sms_cost_cents: float = Field(default=1.0, ge=0, description="What one segment of an SMS costs, in cents.")
    postcard_cost_cents: float = Field(default=90.0, ge=0, description="What one postcard of 4x6 costs, in cents.")
    postcard_6x9_cost_cents: float = Field(default=110.0, ge=0, description="What one of 6x9 costs, in cents.")
    postcard_6x11_cost_cents: float = Field(default=135.0, ge=0, description="What one of 6x11 costs, in cents.")
    task_seconds: float = Field(
        default=240, ge=2, description="A task that takes longer hangs: its process is killed, another one goes on."
    )
    tick_seconds: float = Field(default=2, description="How often beat wakes the sweeps.")
    demo: bool = Field(default=False, description="Allows the clock to be moved. Never in production.")
    log_level: str = Field(default="INFO", description="Lowest level that is logged.")

    def postcard_cents(self) -> dict[str, float]:
        """Return what one postcard of each size costs, in cents."""
        return {
            "4x6": self.postcard_cost_cents,
            "6x9": self.postcard_6x9_cost_cents,
            "6x11": self.postcard_6x11_cost_cents,
        }

    def cents_per_message(self) -> dict[Channel, float]:
        """Return what one message costs on each channel at the least, in cents."""
        return {
            Channel.EMAIL: self.email_cost_cents,
            Channel.SMS: self.sms_cost_cents,
            Channel.POSTCARD: self.postcard_cost_cents,
        }


@lru_cache
def get_settings() -> Settings:
    """Return the settings of this process; tests call `get_settings.cache_clear()` after changing them."""
    return Settings()
