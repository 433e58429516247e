"""The adapters that the settings ask for, one per channel."""

from collections.abc import Callable
from typing import Any

from campaigns.providers.base import Provider
from campaigns.providers.lob import PERIOD_SECONDS, REQUESTS_PER_PERIOD, Lob
from campaigns.providers.pace import Pace
from campaigns.providers.sendgrid import SendGrid
from campaigns.providers.smtp import Smtp
from campaigns.providers.twilio import Twilio
from campaigns.providers.weighted import WeightedSender, WeightedSenders, parse_senders
from outreach.errors import InvalidInput
from outreach.settings import Settings
from outreach.vocabulary import Channel, NoticeClass

# Returns the client of the Redis through which workers share a rate; none: each process keeps to it by itself.
SharedRedis = Callable[[], Any] | None


def email_provider(settings: Settings, redis: SharedRedis = None, *, second: bool = False) -> SendGrid | Smtp:
    """Return the adapter for email, the one that stands in where `second`; raises InvalidInput for an unknown name."""
    name = settings.email_second_provider if second else settings.email_provider
    if second and name == settings.email_provider:
        raise InvalidInput(
            f"OUTREACH_EMAIL_SECOND_PROVIDER must be another one than OUTREACH_EMAIL_PROVIDER, not {name!r} too.",
            where="email_second_provider",
        )
    if name == "sendgrid":
        return SendGrid(
            base_url=settings.sendgrid_url,
            api_key=settings.sendgrid_api_key,
            messages_per_call=settings.email_messages_per_call,
            messages_per_bulk_call=settings.email_messages_per_bulk_call,
            connections=settings.provider_connections,
            timeout_seconds=settings.provider_timeout_seconds,
            unsubscribe_groups=unsubscribe_groups(settings.sendgrid_unsubscribe_groups),
            bypass_for_safety=settings.sendgrid_bypass_for_safety,
            email_activity=settings.sendgrid_email_activity,
            pace=_pace(settings, redis, "sendgrid", settings.email_calls_per_second),
        )
    if name == "smtp":
        return Smtp(
            url=settings.smtp_url,
            connections=settings.smtp_connections,
            timeout_seconds=settings.provider_timeout_seconds,
        )
    where = "email_second_provider" if second else "email_provider"
    raise InvalidInput(f"OUTREACH_{where.upper()} must be sendgrid or smtp, not {name!r}.", where=where)


def unsubscribe_groups(setting: str) -> dict[NoticeClass, int]:
    """Return SendGrid's group of each class, of `service=1234,success=1235`; raises InvalidInput."""
    found: dict[NoticeClass, int] = {}
    for part in filter(None, (one.strip() for one in setting.split(","))):
        name, _, group = part.partition("=")
        if name.strip() not in set(NoticeClass) or not group.strip().isdecimal():
            raise InvalidInput(
                f"OUTREACH_SENDGRID_UNSUBSCRIBE_GROUPS holds {part[:60]!r}: write class=number, parted by commas; "
                f"the classes are {', '.join(NoticeClass)}.",
                where="sendgrid_unsubscribe_groups",
            )
        found[NoticeClass(name.strip())] = int(group)
    return found


def sms_provider(settings: Settings, redis: SharedRedis = None) -> Twilio | WeightedSenders:
    """Return the adapter for text messages: one sender, or several with their shares and a second account behind."""
    pace = _pace(settings, redis, "twilio", settings.sms_per_second)
    first = parse_senders(settings.sms_from, where="OUTREACH_SMS_FROM") or [("", 1.0)]
    second = parse_senders(settings.sms_second_from, where="OUTREACH_SMS_SECOND_FROM")
    if not settings.twilio_second_account_sid:
        second = []
    connections = max(1, settings.provider_connections // (len(first) + len(second)))
    account: dict[str, Any] = {
        "connections": connections,
        "timeout_seconds": settings.provider_timeout_seconds,
        "pace": pace,
    }
    made: list[WeightedSender] = []
    for label, weight in first:
        adapter = Twilio(
            base_url=settings.twilio_url, account_sid=settings.twilio_account_sid,
            auth_token=settings.twilio_auth_token, sender=label, **account,
        )  # fmt: skip
        if len(first) + len(second) == 1:
            return adapter
        made.append(WeightedSender(label, adapter, weight))
    for label, weight in second:
        adapter = Twilio(
            base_url=settings.twilio_second_url, account_sid=settings.twilio_second_account_sid,
            auth_token=settings.twilio_second_auth_token, sender=label, **account,
        )  # fmt: skip
        made.append(WeightedSender(f"second {label}", adapter, weight, account=1))
    return WeightedSenders(made)


def postcard_provider(settings: Settings, redis: SharedRedis = None) -> Lob:
    """Return the adapter for postcards; few connections, because Lob takes 30 requests a second."""
    return Lob(
        base_url=settings.lob_url,
        api_key=settings.lob_api_key,
        connections=min(8, settings.provider_connections),
        timeout_seconds=settings.provider_timeout_seconds,
        pace=Pace(
            REQUESTS_PER_PERIOD, PERIOD_SECONDS, name="lob", redis=redis, processes=settings.sending_processes
        ),
    )  # fmt: skip


_ADAPTERS: dict[Channel, Callable[[Settings, SharedRedis], Provider[Any]]] = {
    Channel.EMAIL: email_provider,
    Channel.SMS: sms_provider,
    Channel.POSTCARD: postcard_provider,
}


def provider_for(channel: Channel, settings: Settings, *, redis: SharedRedis = None) -> Provider[Any]:
    """Return the adapter of one channel; whether its settings are complete is told by `check`."""
    return _ADAPTERS[channel](settings, redis)


def second_provider_for(channel: Channel, settings: Settings, *, redis: SharedRedis = None) -> Provider[Any] | None:
    """Return the adapter that sends while the first one's provider rests; none where the settings name none.

    Text messages need none: a second account at Twilio is behind the first in the same adapter (`weighted`).
    """
    if channel is not Channel.EMAIL or not settings.email_second_provider:
        return None
    return email_provider(settings, redis, second=True)


def configured_providers(settings: Settings) -> list[tuple[Channel, Provider[Any]]]:
    """Return the adapters of each channel, the one that stands in after the first."""
    found: list[tuple[Channel, Provider[Any]]] = []
    for channel in Channel:
        found.append((channel, provider_for(channel, settings)))
        if (second := second_provider_for(channel, settings)) is not None:
            found.append((channel, second))
    return found


def _pace(settings: Settings, redis: SharedRedis, name: str, per_second: float) -> Pace | None:
    if not per_second:
        return None
    return Pace(per_second, name=name, redis=redis, processes=settings.sending_processes)
