"""The settings choose the adapters."""

from typing import Any

import pytest
from pydantic import SecretStr

from campaigns.providers.configured import configured_providers, email_provider
from campaigns.providers.sendgrid import SendGrid
from outreach.errors import InvalidInput
from outreach.settings import Settings
from outreach.vocabulary import Channel, NoticeClass
from tests.campaigns.providers.cases import email


def settings(**values: Any) -> Settings:
    """Settings without what this machine happens to have."""
    return Settings(_env_file=None, **values)  # type: ignore[call-arg]


def test_each_channel_has_its_adapter_and_an_empty_installation_is_told_what_is_missing() -> None:
    providers = configured_providers(settings())
    assert [(channel, provider.name) for channel, provider in providers] == [
        (Channel.EMAIL, "sendgrid"),
        (Channel.SMS, "twilio"),
        (Channel.POSTCARD, "lob"),
    ]
    for channel, provider in providers:
        assert provider.channel is channel
        assert provider.check()
        assert provider.window >= provider.messages_per_call >= 1
        provider.close()


def test_smtp_takes_the_place_of_sendgrid() -> None:
    url = SecretStr("smtp://127.0.0.1:2525")
    provider = email_provider(settings(email_provider="smtp", smtp_url=url))
    assert provider.name == "smtp"
    assert provider.check() == []
    provider.close()


def test_an_unknown_email_provider_is_named() -> None:
    with pytest.raises(InvalidInput, match="carrier-pigeon"):
        email_provider(settings(email_provider="carrier-pigeon"))


def test_a_second_email_provider_stands_behind_the_first_and_is_another_one() -> None:
    found = configured_providers(settings(email_second_provider="smtp"))
    assert [provider.name for channel, provider in found if channel is Channel.EMAIL] == ["sendgrid", "smtp"]
    for _, provider in found:
        provider.close()
    with pytest.raises(InvalidInput, match="another one"):
        configured_providers(settings(email_second_provider="sendgrid"))
    with pytest.raises(InvalidInput, match="OUTREACH_EMAIL_SECOND_PROVIDER must be sendgrid or smtp, not 'pigeon'"):
        configured_providers(settings(email_second_provider="pigeon"))


def test_the_unsubscribe_group_of_a_class_and_the_bypass_for_safety_reach_sendgrid() -> None:
    chosen = settings(sendgrid_unsubscribe_groups="service=1234, survey=77", sendgrid_bypass_for_safety=True)
    provider = email_provider(chosen)
    assert isinstance(provider, SendGrid)
    groups = {each: provider.body_for([email(0, notice_class=each)]).get("asm") for each in NoticeClass}
    assert groups == {
        NoticeClass.SERVICE: {"group_id": 1234}, NoticeClass.SURVEY: {"group_id": 77},
        NoticeClass.SAFETY: None, NoticeClass.SUCCESS: None, NoticeClass.PROMOTION: None,
    }  # fmt: skip
    assert provider.body_for([email(0, notice_class=NoticeClass.SAFETY)])["mail_settings"]
    provider.close()
    with pytest.raises(InvalidInput, match="class=number"):
        email_provider(settings(sendgrid_unsubscribe_groups="service=x"))
