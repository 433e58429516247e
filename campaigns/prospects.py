"""What one customer would be sent today, by class of notice and channel, and why not: the questions of the last look.

The same SQL as planning and gate ask (`addresses`, `caps`), the same table of classes, the same hours.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Row, text
from sqlalchemy.orm import Session

from campaigns import caps
from campaigns.addresses import ADDRESSES, barred, refused
from campaigns.classes import policy
from campaigns.send_slots import SIGNATURE, hours_of, slot_in, zones_of
from campaigns.timing import zone_names
from outreach.models import Customer
from outreach.settings import get_settings
from outreach.vocabulary import Channel, NoticeClass

# Not `k`: the SQL of `refused` has an alias of that name.
_WAYS = text(f"""
SELECT way.channel, way.address, {SIGNATURE} AS signature,
       (SELECT s.reason FROM suppressions s
        WHERE s.channel = way.channel AND s.address = way.address AND s.lifted_at IS NULL) AS ban,
       {barred("way.channel", "way.address")} AS barred, {refused("way.channel", "c.id")} AS refused,
       {caps.over_cap("c.id")} AS over_cap
FROM customers c CROSS JOIN LATERAL {ADDRESSES} way WHERE c.id = :customer_id
""")
_NOTICES = text("""
SELECT k.key, k.kind, k.name, k.state AS campaign_state, n.state, n.reason, n.created_at,
       (SELECT min(h.due_at) FROM messages m JOIN chunks h ON h.id = m.chunk_id
        WHERE m.notice_id = n.id AND m.send_state = 'queued') AS due_at
FROM notices n JOIN campaigns k ON k.id = n.campaign_id
WHERE n.customer_id = :customer_id ORDER BY n.id DESC LIMIT :limit
""")


@dataclass(frozen=True, slots=True)
class Prospect:
    """Whether a notice of one class would go to one channel: yes, later (`waits_until`), or why not."""

    channel: Channel
    notice_class: NoticeClass
    why_not: str | None = None
    detail: str | None = None
    waits_until: datetime | None = None

    @property
    def goes(self) -> bool:
        """Whether it would go out, now or later today."""
        return self.why_not is None


@dataclass(frozen=True, slots=True)
class OwedNotice:
    """One notice to the customer and how far it has come; `due_at` is when its next message may go."""

    key: str
    kind: str
    name: str
    campaign_state: str
    state: str
    reason: str | None
    created_at: datetime
    due_at: datetime | None


def prospects(session: Session, customer: Customer, *, now: datetime) -> dict[NoticeClass, list[Prospect]]:
    """Return for each class of notice what would happen on each channel."""
    found: dict[NoticeClass, list[Prospect]] = {}
    for notice_class in NoticeClass:
        given = {
            "customer_id": customer.id,
            "notice_class": notice_class.value,
            "now": now,
            "zone_names": sorted(zone_names()),
        }
        rows = session.execute(_WAYS, given | caps.parameters_of(notice_class)).all()
        ways = {Channel(row.channel): row for row in rows}
        found[notice_class] = [_judged(customer, notice_class, channel, ways.get(channel), now) for channel in Channel]
    return found


def notices(session: Session, customer: Customer, *, limit: int = 10) -> Sequence[OwedNotice]:
    """Return the newest notices to a customer, with what became of each."""
    given = {"customer_id": customer.id, "limit": limit}
    return [OwedNotice(*row) for row in session.execute(_NOTICES, given)]


def _judged(
    customer: Customer, notice_class: NoticeClass, channel: Channel, way: Row[tuple[object, ...]] | None, now: datetime
) -> Prospect:
    if customer.erased_at is not None:
        return Prospect(channel, notice_class, "suppressed", "erased")
    if way is None:
        return Prospect(channel, notice_class, "no_address")
    if way.barred:
        return Prospect(channel, notice_class, "suppressed", way.ban)
    if way.refused:
        return Prospect(channel, notice_class, "no_consent")
    if policy(notice_class).capped and way.over_cap:
        return Prospect(channel, notice_class, "capped", None if caps.skips(notice_class) else "waits")
    return Prospect(channel, notice_class, waits_until=_opens(channel, notice_class, way.signature, now))


def _opens(channel: Channel, notice_class: NoticeClass, signature: str, now: datetime) -> datetime | None:
    """Return when quiet hours end where she lives; none while they do not bind."""
    window = hours_of(channel, notice_class)
    if window is None:
        return None
    slot = slot_in(zones_of(signature, get_settings().time_zone), window, now)
    return slot.opens_at if slot.opens_at > now else None
