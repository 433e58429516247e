"""The adapters that the settings ask for, one per channel."""

from collections.abc import Callable
from typing import Any

from campaigns.providers.base import Provider
from campaigns.providers.lob import Lob
from campaigns.providers.sendgrid import SendGrid
from campaigns.providers.smtp import Smtp
from campaigns.providers.twilio import Twilio
from outreach.errors import InvalidInput
from outreach.settings import Settings
from outreach.vocabulary import Channel


def email_provider(settings: Settings) -> SendGrid | Smtp:
    """Return the adapter for email; raises InvalidInput for a name that does not exist."""
    if settings.email_provider == "sendgrid":
        return SendGrid(
            base_url=settings.sendgrid_url,
            api_key=settings.sendgrid_api_key,
            messages_per_call=settings.email_messages_per_call,
            connections=settings.provider_connections,
            timeout_seconds=settings.provider_timeout_seconds,
            email_activity=settings.sendgrid_email_activity,
        )
    if settings.email_provider == "smtp":
        return Smtp(url=settings.smtp_url, timeout_seconds=settings.provider_timeout_seconds)
    raise InvalidInput(
        f"OUTREACH_EMAIL_PROVIDER must be sendgrid or smtp, not {settings.email_provider!r}.",
        where="email_provider",
    )


def sms_provider(settings: Settings) -> Twilio:
    """Return the adapter for text messages."""
    return Twilio(
        base_url=settings.twilio_url,
        account_sid=settings.twilio_account_sid,
        auth_token=settings.twilio_auth_token,
        sender=settings.sms_from,
        connections=settings.provider_connections,
        timeout_seconds=settings.provider_timeout_seconds,
    )


def postcard_provider(settings: Settings) -> Lob:
    """Return the adapter for postcards; few connections, because Lob takes 30 requests a second."""
    return Lob(
        base_url=settings.lob_url,
        api_key=settings.lob_api_key,
        connections=min(8, settings.provider_connections),
        timeout_seconds=settings.provider_timeout_seconds,
    )


_ADAPTERS: dict[Channel, Callable[[Settings], Provider[Any]]] = {
    Channel.EMAIL: email_provider,
    Channel.SMS: sms_provider,
    Channel.POSTCARD: postcard_provider,
}


def provider_for(channel: Channel, settings: Settings) -> Provider[Any]:
    """Return the adapter of one channel; whether its settings are complete is told by `check`."""
    return _ADAPTERS[channel](settings)


def configured_providers(settings: Settings) -> dict[Channel, Provider[Any]]:
    """Return one adapter per channel."""
    return {channel: provider_for(channel, settings) for channel in Channel}
