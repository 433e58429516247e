"""What no process starts with: settings that nobody could read later, all of them named at once.

What is only missing (a key, a sending number) stops nothing but its channel: the worker log and /system say so.
"""

from collections.abc import Callable, Iterator
from urllib.parse import urlsplit

from email_validator import EmailNotValidError, validate_email

from campaigns.envelopes import return_address
from campaigns.providers.configured import provider_for, second_provider_for
from campaigns.timing import parse_hours, zone_names
from outreach.errors import InvalidInput
from outreach.settings import Settings, get_settings
from outreach.vocabulary import Channel


def check_settings(*, url_comes_later: bool = False) -> None:
    """Raise `InvalidInput` naming every setting that cannot be read; `url_comes_later` lets the public URL be empty."""
    settings = get_settings()
    if url_comes_later and not settings.public_url:
        settings = settings.model_copy(update={"public_url": "http://127.0.0.1"})
    if found := list(complaints(settings)):
        raise InvalidInput(" ".join(found))


def complaints(settings: Settings) -> Iterator[str]:
    """Return what is wrong, one sentence each."""
    for name, hours in (("EMAIL", settings.email_hours), ("SMS", settings.sms_hours)):
        yield from _said(f"OUTREACH_{name}_HOURS: ", parse_hours, hours)
    if settings.time_zone not in zone_names():
        yield f"OUTREACH_TIME_ZONE must be a name such as Europe/Berlin, not {settings.time_zone!r}."
    address = urlsplit(settings.public_url)
    if address.scheme not in {"http", "https"} or not address.hostname:
        yield f"OUTREACH_PUBLIC_URL must be like https://care.example.com, not {settings.public_url!r}."
    try:
        validate_email(settings.email_from, check_deliverability=False, allow_empty_local=False, test_environment=True)
    except EmailNotValidError as error:
        yield f"OUTREACH_EMAIL_FROM must be an email address, not {settings.email_from!r}: {error}"
    if settings.postcard_from.strip():
        yield from _said("", return_address, settings.postcard_from)
    for channel in Channel:
        for made in (provider_for, second_provider_for):
            yield from _said("", _tried, made, channel, settings)


def _tried(made: Callable[..., object], channel: Channel, settings: Settings) -> None:
    provider = made(channel, settings)
    if provider is not None:
        provider.close()  # type: ignore[attr-defined]


def _said(before: str, reads: Callable[..., object], *given: object) -> Iterator[str]:
    try:
        reads(*given)
    except InvalidInput as error:
        yield f"{before}{error.message}"
