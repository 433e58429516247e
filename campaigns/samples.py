"""What real people would receive: a campaign's words with one recipient's own data, before anything is sent."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import select, text
from sqlalchemy.orm import Session

from campaigns.addresses import ADDRESSES
from campaigns.context import Recipient, contexts, customer_words
from campaigns.envelopes import DEFAULT_LANGUAGE, content_of
from campaigns.rendering import CompiledContent, Rendered, compile_content
from campaigns.sms_segments import SegmentCount, sms_segments
from outreach.errors import InvalidInput, InvalidTemplate
from outreach.models import Campaign, Template
from outreach.vocabulary import Channel, Grade

# A message that does not exist: its links open pages, and belong to nobody.
NOBODY = UUID(int=0)

_PEOPLE = f"""
    SELECT m.grade, m.evidence_items, m.evidence_orders, m.evidence_tickets, c.id AS customer_id, c.external_id,
           c.name, c.email, c.phone, c.city, c.region, c.country, c.locale, c.attributes, c.address_line1,
           c.address_line2, c.postal_code,
           (SELECT jsonb_object_agg(a.channel, a.address) FROM {ADDRESSES} a) AS addresses
    FROM audience_members m JOIN customers c ON c.id = m.customer_id
    WHERE m.segment_id = :segment_id AND m.left_at IS NULL"""
_FEW = text(f"""
SELECT few.* FROM unnest(cast(:grades AS text[])) AS wanted(grade)
CROSS JOIN LATERAL ({_PEOPLE} AND m.grade = wanted.grade ORDER BY m.customer_id LIMIT :each) few
""")
_ONE = text(f"{_PEOPLE} AND c.id = :customer_id")
_BY_NUMBER = text("SELECT id FROM customers WHERE external_id = :number")


@dataclass(frozen=True, slots=True)
class Person:
    """One recipient of the campaign with all that the words can say of her."""

    customer_id: int
    number: str
    name: str | None
    grade: Grade
    locale: str | None
    addresses: Mapping[str, str]
    row: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Received:
    """What one person would get on one channel, or why it cannot be made; `segments` for text messages."""

    channel: Channel
    address: str | None
    rendered: Rendered | None
    why: str | None = None
    segments: SegmentCount | None = None


def people(session: Session, *, campaign: Campaign, each: int = 3) -> list[Person]:
    """Return some recipients of every grade."""
    told = [grade for grade in campaign.grades if grade != Grade.CLEARED]
    found = session.execute(_FEW, {"segment_id": campaign.segment_id, "grades": told, "each": each}).mappings()
    return [_person(dict(row)) for row in found]


def person(session: Session, *, campaign: Campaign, customer_id: int) -> Person:
    """Return one recipient; raises `InvalidInput` for somebody who is not in the audience."""
    given = {"segment_id": campaign.segment_id, "customer_id": customer_id}
    row = session.execute(_ONE, given).mappings().one_or_none()
    if row is None:
        raise InvalidInput("This customer is not in the audience of the campaign.", where="customer")
    return _person(dict(row))


def numbered(session: Session, number: str) -> int:
    """Return the id of the customer with this number; raises `InvalidInput`."""
    found: int | None = session.scalar(_BY_NUMBER, {"number": number})
    if found is None:
        raise InvalidInput(f"There is no customer {number!r}.", where="customer")
    return found


def words_of(session: Session, *, campaign: Campaign, channel: Channel) -> dict[str, CompiledContent]:
    """Return the campaign's words for one channel by language; raises `InvalidTemplate`."""
    rows = session.scalars(
        select(Template).where(
            Template.key == campaign.template_key,
            Template.version == campaign.template_version,
            Template.channel == channel,
        )
    )
    return {row.language: compile_content(content_of(row)) for row in rows}


def variables_of(
    session: Session, *, campaign: Campaign, person: Person, now: datetime, message_id: UUID = NOBODY
) -> dict[str, Any]:
    """Return what the words may say to one person."""
    row = person.row
    recipient = Recipient(
        message_id, "", customer_words(dict(row)), row["grade"],
        row["evidence_items"], row["evidence_orders"], row["evidence_tickets"],
    )  # fmt: skip
    return contexts(session, campaign=campaign, recipients=[recipient], now=now)[message_id]


def as_received(session: Session, *, campaign: Campaign, person: Person, channel: Channel, now: datetime) -> Received:
    """Return what one person would get on one channel; what cannot be made is said, not raised."""
    address = person.addresses.get(channel.value)
    try:
        words = words_of(session, campaign=campaign, channel=channel)
        language = (person.locale or DEFAULT_LANGUAGE).replace("_", "-").split("-")[0].lower()
        chosen = words.get(language) or words.get(DEFAULT_LANGUAGE) or next(iter(words.values()), None)
        if chosen is None:
            return Received(channel, address, None, f"The template has no words for {channel}.")
        rendered = chosen.render(variables_of(session, campaign=campaign, person=person, now=now))
    except (InvalidTemplate, InvalidInput) as error:
        return Received(channel, address, None, error.message)
    count = sms_segments(rendered.text or "") if channel is Channel.SMS else None
    return Received(channel, address, rendered, segments=count)


def _person(row: Mapping[str, Any]) -> Person:
    return Person(
        row["customer_id"], row["external_id"], row["name"], Grade(row["grade"]), row["locale"],
        row["addresses"] or {}, row,
    )  # fmt: skip
