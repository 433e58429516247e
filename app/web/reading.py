"""How values are shown to people: numbers, money, times in the reader's zone, and words for what is stored."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from markupsafe import Markup

from campaigns.ledger import REASONS

_EXACT = {
    "investigating": "Investigating",
    "check-in": "Check-in",
    "sms": "SMS",
    "smtp": "SMTP",
    "sendgrid": "SendGrid",
    "waiting_approval": "Waiting for approval",
    "owed": "On the way",
    "held_out": "Held out",
    "accepted": "Handed over",
    "unknown": "Outcome open",
    "dead": "Gave up",
    "tips": "Tips",
    "in_transit": "In the post",
    "not_me": "Not me",
}


@dataclass(frozen=True, slots=True)
class Reader:
    """Who reads a page: their time zone, and what time it is."""

    zone: ZoneInfo
    now: datetime | None


_READER: ContextVar[Reader] = ContextVar("reader")


@contextmanager
def reader(zone: str | None, now: datetime | None) -> Iterator[Reader]:
    """Show times as one reader sees them while the block lasts; an unknown zone is UTC."""
    token = _READER.set(Reader(zone_named(zone), now))
    try:
        yield _READER.get()
    finally:
        _READER.reset(token)


def zone_named(name: str | None) -> ZoneInfo:
    """Return a time zone by its name, as the browser tells it; UTC where there is none of that name."""
    try:
        return ZoneInfo((name or "UTC").replace("%2F", "/"))
    except (ValueError, OSError, KeyError):
        return ZoneInfo("UTC")


def number(value: float | None) -> str:
    """Return 12345 as 12,345."""
    return "–" if value is None else f"{value:,.0f}"


def share(part: float, whole: float) -> str:
    """Return part of whole in per cent, with one digit where it says something."""
    if not whole:
        return "–"
    percent = 100 * part / whole
    if 0 < percent < 0.1:
        return "< 0.1 %"
    return f"{percent:.1f} %" if percent < 10 and percent != round(percent) else f"{percent:.0f} %"


def money(cents: float) -> str:
    """Return US cents as dollars."""
    return f"${cents / 100:,.2f}" if abs(cents) < 100_000 else f"${cents / 100:,.0f}"


def label(word: object) -> str:
    """Return a stored word as people read it: `waiting_approval` → Waiting for approval."""
    text = str(word)
    return _EXACT.get(text) or text.replace("_", " ").replace("-", " ").capitalize()


def reason(word: object) -> str:
    """Return why somebody was not told, as a manager reads it."""
    return REASONS.get(str(word)) or label(word).lower()


def clock_time(moment: datetime) -> str:
    """Return a moment in the reader's zone: 17:04 today, 12 Jun 17:04, 12 Jun 2025."""
    seen = _READER.get()
    local, today = moment.astimezone(seen.zone), (seen.now or moment).astimezone(seen.zone)
    if local.date() == today.date():
        return f"{local:%H:%M}"
    if local.year == today.year:
        return f"{local.day} {local:%b}, {local:%H:%M}"
    return f"{local.day} {local:%b %Y}"


def relative(moment: datetime) -> str:
    """Return how far away a moment is: 5 minutes ago, in 3 days."""
    now = _READER.get().now
    if now is None:
        return clock_time(moment)
    distance = moment - now
    length = abs(distance)
    if length < timedelta(seconds=45):
        return "now"
    for unit, size in (("day", 86_400), ("hour", 3_600), ("minute", 60)):
        amount = round(length.total_seconds() / size)
        if length.total_seconds() >= size * (2 if unit == "day" else 1) or unit == "minute":
            amount = max(amount, 1)
            words = f"{amount} {unit}{'s' if amount != 1 else ''}"
            break
    return f"in {words}" if distance > timedelta(0) else f"{words} ago"


def _time(moment: datetime | None, show: Callable[[datetime], str]) -> Markup:
    if moment is None:
        return Markup('<span class="quiet">–</span>')
    seen = _READER.get()
    local = moment.astimezone(seen.zone)
    full = f"{local:%A}, {local.day} {local:%B %Y, %H:%M} ({seen.zone.key})"
    return Markup('<time datetime="{}" title="{}">{}</time>').format(
        moment.astimezone(UTC).isoformat(timespec="seconds"), full, show(moment)
    )


def moment(value: datetime | None) -> Markup:
    """Show a moment by the clock of the reader."""
    return _time(value, clock_time)


def ago(value: datetime | None) -> Markup:
    """Show a moment by its distance."""
    return _time(value, relative)


def local_input(value: datetime | None) -> str:
    """Return a moment as a `datetime-local` field wants it, in the reader's zone."""
    return f"{value.astimezone(_READER.get().zone):%Y-%m-%dT%H:%M}" if value else ""


def zone_name(_: object = None) -> str:
    """Return the name of the reader's zone."""
    return _READER.get().zone.key.replace("_", " ")


def plural(amount: int, one: str, many: str | None = None) -> str:
    """Return 1 reply, 2 replies."""
    return f"{number(amount)} {one if amount == 1 else many or one + 's'}"


def day(value: date) -> str:
    """Return a day of the calendar as 12 Jun; it has no zone."""
    return f"{value.day} {value:%b}"


def epoch(value: datetime) -> int:
    """Return a moment as seconds since 1970, as charts want it."""
    return int(value.timestamp())


FILTERS: Mapping[str, Callable[..., Any]] = {
    "number": number,
    "share": share,
    "money": money,
    "label": label,
    "reason": reason,
    "moment": moment,
    "ago": ago,
    "local_input": local_input,
    "zone_name": zone_name,
    "plural": plural,
    "day": day,
    "epoch": epoch,
}
