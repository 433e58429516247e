"""Celery's way in: each task is one verb, woken with ids at most, harmless when it runs twice or never."""

import os
import socket

from celery import shared_task

from campaigns.envelopes import sender_for
from campaigns.owners import send_letters
from campaigns.programmes import sweeps as programmes
from campaigns.standing_in import send_due, settle_doubts, usable_sender
from campaigns.sweeps import sweep
from campaigns.withdrawing import withdraw
from outreach.vocabulary import Channel


@shared_task(name="campaigns.sweep")
def sweep_campaigns() -> None:
    """Push everything that is due one step on."""
    sweep()


@shared_task(name="campaigns.sweep_programmes")
def sweep_programmes() -> None:
    """Let people into programmes and out, and push what is due in them one step on; keep health up."""
    programmes.sweep()


@shared_task(name="campaigns.dispatch_email")
def dispatch_email() -> None:
    """Send due email."""
    _dispatch(Channel.EMAIL)


@shared_task(name="campaigns.dispatch_sms")
def dispatch_sms() -> None:
    """Send due text messages."""
    _dispatch(Channel.SMS)


@shared_task(name="campaigns.dispatch_postcard")
def dispatch_postcard() -> None:
    """Send due postcards."""
    _dispatch(Channel.POSTCARD)


@shared_task(name="campaigns.dispatch_email_urgent")
def dispatch_email_urgent() -> None:
    """Send due email of class safety."""
    _dispatch(Channel.EMAIL, urgent_only=True)


@shared_task(name="campaigns.dispatch_sms_urgent")
def dispatch_sms_urgent() -> None:
    """Send due text messages of class safety."""
    _dispatch(Channel.SMS, urgent_only=True)


@shared_task(name="campaigns.dispatch_postcard_urgent")
def dispatch_postcard_urgent() -> None:
    """Send due postcards of class safety."""
    _dispatch(Channel.POSTCARD, urgent_only=True)


@shared_task(name="campaigns.reconcile")
def reconcile_channels() -> None:
    """Settle what is in doubt on every channel, take back what was cancelled, and tell owners what they must know."""
    send_letters(usable_sender(Channel.EMAIL))
    for channel in Channel:
        withdraw(sender_for(channel))
        settle_doubts(channel=channel)


def _dispatch(channel: Channel, *, urgent_only: bool = False) -> None:
    owner = f"{socket.gethostname()}:{os.getpid()}"
    send_due(channel=channel, owner=owner, urgent_only=urgent_only)
