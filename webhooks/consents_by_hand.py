"""Consent that an operator writes down for a customer who said so on the telephone, in a letter or in a shop.

A refusal of every kind of notice bars nothing by itself: the last look reads it. Agreeing again to every kind also
ends the ban that the person herself had asked for; one for an address that does not work stays.
"""

from datetime import datetime

from sqlalchemy import text
from sqlalchemy.orm import Session

from campaigns.addresses import ADDRESSES
from outreach import audit
from outreach.errors import Conflict, InvalidInput
from outreach.models import Consent, Customer
from outreach.vocabulary import Channel, NoticeClass
from webhooks import suppressing

SOURCE = "operator"
LONGEST = 500  # characters of how the person said it

_ADDRESS = text(f"""
SELECT k.address FROM customers c, LATERAL {ADDRESSES} k WHERE c.id = :customer_id AND k.channel = :channel
""")


def write_down(
    session: Session,
    *,
    customer: Customer,
    channel: Channel,
    notice_class: NoticeClass | None,
    allowed: bool,
    how: str,
    by: str,
    now: datetime,
) -> Consent:
    """Write down one act of consent or refusal, for a class of notices or (none) all; `how` is what the person said."""
    said = how.replace("\0", "").strip()
    if customer.erased_at is not None:
        raise Conflict("Everything about this person was erased.")
    if not said or len(said) > LONGEST:
        raise InvalidInput(f"Say how and when the person said so, in at most {LONGEST} characters.", where="how")
    act = Consent(
        customer_id=customer.id, channel=channel, notice_class=notice_class, allowed=allowed, acted_at=now,
        source=SOURCE, wording=said,
    )  # fmt: skip
    session.add(act)
    if allowed and notice_class is None:
        address = session.scalar(_ADDRESS, {"customer_id": customer.id, "channel": channel.value})
        if address:
            suppressing.lift(session, channel=channel, address=address, by=by, now=now)
    session.flush()
    detail = {"channel": channel.value, "class": notice_class.value if notice_class else "all", "allowed": allowed}
    subject = f"customer:{customer.external_id}"
    audit.record(session, actor=by, action="customer.consent", subject=subject, detail=detail, now=now)
    return act
