"""From a recipient's variables to the envelope of her channel: words rendered, address and headers set."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session

from campaigns.context import Recipient
from campaigns.providers.base import EmailEnvelope, PostalAddress, PostcardEnvelope, Provider, SmsEnvelope, window_of
from campaigns.providers.configured import provider_for, second_provider_for
from campaigns.providers.simulated import with_simulated_recipients
from campaigns.rendering import CompiledContent, Content, Rendered, compile_content
from outreach.errors import InvalidInput, InvalidTemplate
from outreach.models import Template
from outreach.queue import shared_redis
from outreach.settings import Settings, get_settings
from outreach.vocabulary import Channel, NoticeClass

DEFAULT_LANGUAGE = "en"

Envelope = EmailEnvelope | SmsEnvelope | PostcardEnvelope


@dataclass(frozen=True, slots=True)
class Unrenderable:
    """A message whose text or address cannot be made; `why` is for the manager."""

    message_id: UUID
    why: str


class Sender:
    """One channel's provider together with what turns a recipient into its envelope; one per process."""

    def __init__(self, channel: Channel, provider: Provider[Any], settings: Settings) -> None:
        self.channel = channel
        self.provider = provider
        self._settings = settings
        self._compiled: dict[tuple[str, int], dict[str, CompiledContent]] = {}
        self._bound: dict[tuple[str, int], tuple[Mapping[str, Any], dict[str, CompiledContent]]] = {}

    @property
    def reads(self) -> frozenset[str]:
        """The variables that an envelope needs, whatever its words read."""
        return frozenset({"links.unsubscribe"}) if self.channel is Channel.EMAIL else frozenset()

    def window(self, notice_class: NoticeClass | str) -> int:
        """Return how many messages of a class are gated and handed over at a time."""
        return window_of(self.provider, NoticeClass(notice_class))

    def content(self, session: Session, template_key: str, version: int) -> Mapping[str, CompiledContent]:
        """Return the compiled words by language; versions never change, so that they are parsed once."""
        if (template_key, version) not in self._compiled:
            rows = session.scalars(
                select(Template).where(
                    Template.key == template_key, Template.version == version, Template.channel == self.channel
                )
            )
            self._compiled[template_key, version] = {row.language: compile_content(content_of(row)) for row in rows}
        return self._compiled[template_key, version]

    def bound_content(
        self, session: Session, template_key: str, version: int, shared: Mapping[str, Any]
    ) -> Mapping[str, CompiledContent]:
        """Return the words as `content` does, with what `shared` decides written out; kept while it stays the same."""
        kept = self._bound.get((template_key, version))
        if kept is None or kept[0] != shared:
            words = self.content(session, template_key, version)
            kept = shared, {language: compiled.bound(shared) for language, compiled in words.items()}
            self._bound[template_key, version] = kept
        return kept[1]

    def envelope(
        self,
        recipient: Recipient,
        variables: Mapping[str, Any],
        content: Mapping[str, CompiledContent],
        locale: str | None,
        notice_class: NoticeClass,
    ) -> Envelope | Unrenderable:
        """Render one message; what is wrong with one recipient never stops the others."""
        language = _language_of(locale)
        words = content.get(language) or content.get(DEFAULT_LANGUAGE) or next(iter(content.values()), None)
        if words is None:
            return Unrenderable(recipient.message_id, f"The template has no words for {self.channel}.")
        try:
            rendered = words.render(variables)
            return self._enclose(recipient, variables, rendered, notice_class)
        except (InvalidTemplate, InvalidInput) as error:
            return Unrenderable(recipient.message_id, error.message)

    def _enclose(
        self, recipient: Recipient, variables: Mapping[str, Any], rendered: Rendered, notice_class: NoticeClass
    ) -> Envelope:
        settings, customer = self._settings, recipient.customer
        if self.channel is Channel.EMAIL:
            return EmailEnvelope(
                message_id=recipient.message_id,
                to=recipient.address,
                to_name=customer["name"] or None,
                subject=rendered.subject or variables["problem"]["title"],
                html=rendered.html or "",
                text=rendered.text or "",
                from_address=settings.email_from,
                from_name=settings.organisation,
                reply_to=f"reply+{recipient.message_id.hex}@{settings.email_reply_domain}",
                notice_class=notice_class,
                headers={
                    "List-Unsubscribe": f"<{variables['links']['unsubscribe']}>",
                    "List-Unsubscribe-Post": "List-Unsubscribe=One-Click",
                },
            )
        if self.channel is Channel.SMS:
            callback = f"{settings.public_url.rstrip('/')}/webhooks/twilio/status"
            return SmsEnvelope(recipient.message_id, recipient.address, rendered.text or "", status_callback=callback)
        return PostcardEnvelope(
            message_id=recipient.message_id,
            to=PostalAddress(
                name=customer["name"] or "Customer",
                line1=customer["address_line1"],
                line2=customer["address_line2"],
                city=customer["city"],
                region=customer["region"] or None,
                postal_code=customer["postal_code"],
                country=customer["country"],
            ),
            sender=return_address(settings.postcard_from),
            front=rendered.html or "",
            back=rendered.back or "",
            notice_class=notice_class,
            size=rendered.size or "4x6",
        )


@lru_cache(maxsize=1024)
def _language_of(locale: str | None) -> str:
    return (locale or DEFAULT_LANGUAGE).replace("_", "-").split("-")[0].lower()


def content_of(template: Template) -> Content:
    """Return the words of a stored template."""
    return Content(
        channel=template.channel,
        subject=template.subject,
        body=template.body,
        back=template.back,
        language=template.language,
        name=f"{template.key} version {template.version} ({template.channel}, {template.language})",
    )


def return_address(setting: str) -> PostalAddress:
    """Return the return address of postcards; raises `InvalidInput` when the setting is not complete."""
    parts = [part.strip() for part in setting.split("|")]
    if len(parts) != 6 or not all(parts[i] for i in (0, 1, 2, 4, 5)):
        raise InvalidInput(
            "OUTREACH_POSTCARD_FROM must be: name|line 1|city|region|postal code|country (region may be empty)."
        )
    name, line1, city, region, postal_code, country = parts
    return PostalAddress(name, line1, None, city, region or None, postal_code, country)


@lru_cache
def sender_for(channel: Channel) -> Sender:
    """Return this process's sender of a channel, as the settings say."""
    settings = get_settings()
    provider = provider_for(channel, settings, redis=shared_redis)
    return Sender(channel, with_simulated_recipients(provider), settings)


@lru_cache
def stand_in_for(channel: Channel) -> Sender | None:
    """Return this process's sender that sends while the first one's provider rests; none where there is no such."""
    settings = get_settings()
    provider = second_provider_for(channel, settings, redis=shared_redis)
    return None if provider is None else Sender(channel, with_simulated_recipients(provider), settings)


def forget_senders() -> None:
    """Drop this process's senders, for tests that change the settings."""
    sender_for.cache_clear()
    stand_in_for.cache_clear()
