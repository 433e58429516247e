"""What a provider can do, it can still do with simulated recipients before it: reconciliation depends on it."""

from pydantic import SecretStr

from campaigns.providers.base import SearchesMany
from campaigns.providers.lob import Lob
from campaigns.providers.sendgrid import SendGrid
from campaigns.providers.simulated import with_simulated_recipients


def test_a_provider_that_must_not_send_again_blindly_keeps_saying_so() -> None:
    lob = Lob(base_url="http://127.0.0.1:1", api_key=SecretStr("test_x"))
    sendgrid = SendGrid(base_url="http://127.0.0.1:1", api_key=SecretStr("x"))
    try:
        assert with_simulated_recipients(lob).never_blind
        assert not with_simulated_recipients(sendgrid).never_blind
    finally:
        lob.close()
        sendgrid.close()


def test_a_provider_that_can_be_asked_about_many_can_still_be_asked() -> None:
    sendgrid = SendGrid(base_url="http://127.0.0.1:1", api_key=SecretStr("x"))
    try:
        assert isinstance(with_simulated_recipients(sendgrid), SearchesMany) == isinstance(sendgrid, SearchesMany)
    finally:
        sendgrid.close()
