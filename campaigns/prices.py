"""What messages cost at your prices: a text message by its segments, a postcard by its size.

Kept with each message when it is handed over, in thousandths of a cent, so that what was really spent stays true when
prices change. What is expected before a launch comes from the words as some real recipients would get them.
"""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from campaigns import samples
from campaigns.envelopes import Envelope
from campaigns.postcard_sizes import SIZES, size_of
from campaigns.providers.base import PostcardEnvelope, SmsEnvelope
from campaigns.sms_segments import sms_segments
from outreach.errors import InvalidTemplate
from outreach.models import Campaign, Template
from outreach.settings import Settings, get_settings
from outreach.vocabulary import Channel

PER_CENT = 1000
TRIED_EACH = 8  # recipients of each grade whose text messages are made to count their segments


def prices_of(envelopes: Sequence[Envelope]) -> list[int]:
    """Return what each message costs, in thousandths of a cent; one price where all have the same."""
    settings = get_settings()
    if not envelopes or not isinstance(envelopes[0], SmsEnvelope | PostcardEnvelope):
        return [round(settings.email_cost_cents * PER_CENT)]
    return [_price(envelope, settings) for envelope in envelopes]


def _price(envelope: Envelope, settings: Settings) -> int:
    if isinstance(envelope, SmsEnvelope):
        return round(settings.sms_cost_cents * PER_CENT) * sms_segments(envelope.body).segments
    if isinstance(envelope, PostcardEnvelope):
        return round(settings.postcard_cents()[envelope.size] * PER_CENT)
    return round(settings.email_cost_cents * PER_CENT)


def expected_cents(session: Session, *, campaign: Campaign, now: datetime) -> dict[Channel, float]:
    """Return what one message of a campaign is expected to cost on each channel, in cents."""
    price = get_settings().cents_per_message()
    words = session.scalars(
        select(Template).where(
            Template.key == campaign.template_key, Template.version == campaign.template_version,
            Template.channel.in_((Channel.SMS, Channel.POSTCARD)),
        )
    ).all()  # fmt: skip
    if any(each.channel is Channel.SMS for each in words):
        price[Channel.SMS] *= _mean_segments(session, campaign, now)
    sizes = {_size(each) for each in words if each.channel is Channel.POSTCARD}
    if sizes:  # languages may differ: the dearest, so that a budget is kept
        price[Channel.POSTCARD] = max(get_settings().postcard_cents()[size] for size in sizes)
    return price


def _mean_segments(session: Session, campaign: Campaign, now: datetime) -> float:
    people = samples.people(session, campaign=campaign, each=TRIED_EACH)
    made = [samples.as_received(session, campaign=campaign, person=p, channel=Channel.SMS, now=now) for p in people]
    counts = [each.segments.segments for each in made if each.segments]
    return sum(counts) / len(counts) if counts else 1.0


def _size(words: Template) -> str:
    try:
        return size_of(words.body, words.key)
    except InvalidTemplate:
        return next(iter(SIZES))  # the launch is refused for another reason
