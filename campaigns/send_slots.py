"""When each recipient's turn is: one slot per channel and time zone, worked out once and joined in SQL.

Customers are told apart by a signature (zone, or country, state and number prefix). A statement asks for the
distinct signatures of its recipients, `slots_of` answers with arrays, and the planning statement joins them.
A chunk keeps its zones, so that one whose hours have passed finds its next morning (`move_closed`).
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import text
from sqlalchemy.orm import Session

from campaigns.classes import policy
from campaigns.plausible_zones import PHONE_PREFIX, plausible_zones
from campaigns.timing import Slot, Window, next_allowed, parse_hours, zone_names
from outreach.models import Campaign
from outreach.settings import get_settings
from outreach.vocabulary import Channel, NoticeClass

# What decides the zone of customer `c`. A zone of her own needs no more; an invalid one is left out.
SIGNATURE = f"""(CASE WHEN c.time_zone = ANY(cast(:zone_names AS text[])) THEN c.time_zone
    ELSE '|' || coalesce(c.country, '') || '|' || coalesce(c.region, '') || '|'
             || coalesce(left(c.phone, {PHONE_PREFIX}), '') END)"""

# The slots as a table: channel and signature, then the chunk's zones and hours.
SLOTS = """unnest(cast(:slot_channels AS text[]), cast(:slot_signatures AS text[]), cast(:slot_zones AS text[]),
    cast(:slot_opens AS timestamptz[]), cast(:slot_closes AS timestamptz[]))
    AS slots(channel, signature, zones, opens_at, closes_at)"""

_CLOSED = text("""
SELECT id, channel, zones, greatest(due_at, cast(:now AS timestamptz)) AS due_at FROM chunks
WHERE state = 'ready' AND closes_at IS NOT NULL AND (closes_at <= :now OR closes_at <= due_at)
ORDER BY id LIMIT 5000 FOR UPDATE SKIP LOCKED
""")

_MOVE = text("""
UPDATE chunks k SET due_at = r.due_at, closes_at = r.closes_at
FROM unnest(cast(:ids AS bigint[]), cast(:dues AS timestamptz[]), cast(:closes AS timestamptz[]))
     AS r(id, due_at, closes_at)
WHERE k.id = r.id AND k.state = 'ready'
""")


@dataclass(slots=True)
class Slots:
    """The slots of some recipients, as arrays; empty where no channel of the campaign has hours."""

    channels: list[str] = field(default_factory=list)
    signatures: list[str] = field(default_factory=list)
    zones: list[str] = field(default_factory=list)
    opens: list[datetime] = field(default_factory=list)
    closes: list[datetime] = field(default_factory=list)

    def parameters(self) -> dict[str, Any]:
        """Return what a statement with `SIGNATURE` and `SLOTS` needs."""
        return {
            "slot_channels": self.channels,
            "slot_signatures": self.signatures,
            "slot_zones": self.zones,
            "slot_opens": self.opens,
            "slot_closes": self.closes,
            "zone_names": sorted(zone_names()) if self.channels else [],
        }


def hours_of(channel: Channel | str, notice_class: NoticeClass) -> Window | None:
    """Return the local hours of a channel; none: any time, as always for postcards and for class safety."""
    if not policy(notice_class).quiet_hours:
        return None
    settings = get_settings()
    hours = {Channel.EMAIL: settings.email_hours, Channel.SMS: settings.sms_hours}.get(Channel(channel), "")
    return parse_hours(hours, where=f"OUTREACH_{Channel(channel).upper()}_HOURS")


def bound_channels(campaign: Campaign) -> dict[str, Window]:
    """Return the channels of the campaign's plan that have hours."""
    found = {step["channel"]: hours_of(step["channel"], campaign.notice_class) for step in campaign.ladder}
    return {channel: window for channel, window in found.items() if window is not None}


def slots_of(signatures: Iterable[str], bound: dict[str, Window], *, due_at: datetime) -> Slots:
    """Return the next slot at or after `due_at` of each signature on each channel that has hours."""
    slots, known = Slots(), {}
    for signature in signatures:
        zones = zones_of(signature, get_settings().time_zone)
        for channel, window in bound.items():
            if (channel, zones) not in known:
                known[channel, zones] = slot_in(zones, window, due_at)
            slot = known[channel, zones]
            slots.channels.append(channel)
            slots.signatures.append(signature)
            slots.zones.append(",".join(zones))
            slots.opens.append(slot.opens_at)
            slots.closes.append(slot.closes_at)
    return slots


def signatures_of(session: Session, customers: str, parameters: dict[str, Any]) -> list[str]:
    """Return the distinct signatures of customers, given as SQL that yields `customer_id`."""
    return list(
        session.scalars(
            text(f"SELECT DISTINCT {SIGNATURE} FROM ({customers}) AS who JOIN customers c ON c.id = who.customer_id"),
            {**parameters, "zone_names": sorted(zone_names())},
        )
    )


@lru_cache(maxsize=100_000)
def zones_of(signature: str, home: str) -> tuple[str, ...]:
    """Return the zones in which somebody with this signature may be."""
    if not signature.startswith("|"):
        return (signature,)
    # A region may hold the separator; country and number cannot.
    country, rest = signature[1:].split("|", 1)
    region, phone = rest.rsplit("|", 1)
    return plausible_zones(time_zone=None, country=country, region=region, phone=phone, home=home)


def slot_in(zones: tuple[str, ...], window: Window, instant: datetime) -> Slot:
    """Return the next slot that suits all zones; where none ever does, that of the house's own zone."""
    found = next_allowed(instant, [ZoneInfo(name) for name in zones], window)
    return found or slot_in((get_settings().time_zone,), window, instant)


def move_closed(session: Session, *, now: datetime) -> int:
    """Give chunks whose hours have passed their next slot; returns how many."""
    rows = session.execute(_CLOSED, {"now": now}).all()
    if not rows:
        return 0
    dues, closes = [], []
    for row in rows:
        # Without hours (the setting was changed) the chunk may go at any time.
        window = hours_of(row.channel, NoticeClass.SERVICE)
        slot = slot_in(tuple(row.zones.split(",")), window, row.due_at) if window else None
        dues.append(slot.opens_at if slot else row.due_at)
        closes.append(slot.closes_at if slot else None)
    session.execute(_MOVE, {"ids": [row.id for row in rows], "dues": dues, "closes": closes})
    return len(rows)
