"""When may a customer be written to: her own local hours, exact across midnight and daylight-saving changes.

Nothing here knows a database or a clock. A `Window` holds the local hours of a channel; `next_allowed` answers for
one zone, or for several that are all plausible: then every one of them must agree.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo, available_timezones

from outreach.errors import InvalidInput

_DAY = timedelta(days=1)
# If no moment of three days suits all zones, none ever will.
_FURTHEST = 3 * _DAY
_HOURS = re.compile(r"\s*(\d{1,2})(?::([0-5]\d))?\s*-\s*(\d{1,2})(?::([0-5]\d))?\s*")
# These two files of the zone database are no places.
_NO_PLACES = frozenset({"Factory", "localtime", "posixrules"})


@dataclass(frozen=True, slots=True)
class Window:
    """Local hours, from `opens` up to but not including `closes`; it may run over midnight."""

    opens: time
    closes: time

    def holds(self, local: time) -> bool:
        """Return whether a local time of day lies inside."""
        if self.opens < self.closes:
            return self.opens <= local < self.closes
        return local >= self.opens or local < self.closes


@dataclass(frozen=True, slots=True)
class Slot:
    """A stretch of time (UTC) in which sending is allowed throughout, `closes_at` not included."""

    opens_at: datetime
    closes_at: datetime


def parse_hours(hours: str, *, where: str = "hours") -> Window | None:
    """Return the window that `8-21` or `8:30-20:15` names; none for an empty text: any time is fine."""
    if not hours.strip():
        return None
    found = _HOURS.fullmatch(hours)
    if found is None or int(found[1]) > 23 or int(found[3]) > 24 or (found[3] == "24" and found[4] not in (None, "00")):
        raise InvalidInput(f"{hours!r} is not a stretch of the day; write it like 8-21 or 8:30-20:00.", where=where)
    opens, closes = time(int(found[1]), int(found[2] or 0)), time(int(found[3]) % 24, int(found[4] or 0))
    if opens == closes:
        raise InvalidInput(f"{hours!r} is empty or the whole day; leave it empty for any time.", where=where)
    return Window(opens, closes)


@lru_cache
def zone_names() -> frozenset[str]:
    """Return the names of all time zones that exist."""
    return frozenset(available_timezones()) - _NO_PLACES


def allowed(instant: datetime, zone: ZoneInfo, window: Window) -> bool:
    """Return whether the zone's own clock shows a time inside the window at this instant."""
    return window.holds(instant.astimezone(zone).time().replace(fold=0))


def next_allowed(instant: datetime, zones: Sequence[ZoneInfo], window: Window) -> Slot | None:
    """Return the next stretch, at or after `instant`, in which all zones are inside the window.

    None when there is no such moment: the zones lie too far apart.
    """
    moment = instant.astimezone(UTC)
    while moment - instant < _FURTHEST:
        later = max(_opening(moment, zone, window) for zone in zones)
        if later == moment:
            return Slot(moment, min(_closing(moment, zone, window) for zone in zones))
        moment = later
    return None


def _opening(instant: datetime, zone: ZoneInfo, window: Window) -> datetime:
    if allowed(instant, zone, window):
        return instant
    found = _wall_clock_shows(instant, zone, window.opens)
    changed = _offset_change(instant, found, zone)
    # The clock may jump over the opening hour: then the window opens with the jump.
    return changed if changed is not None and allowed(changed, zone, window) else found


def _closing(instant: datetime, zone: ZoneInfo, window: Window) -> datetime:
    found = _wall_clock_shows(instant, zone, window.closes)
    changed = _offset_change(instant, found, zone)
    # The clock may jump over the closing hour, or back to before the opening hour.
    return changed if changed is not None and not allowed(changed, zone, window) else found


def _wall_clock_shows(after: datetime, zone: ZoneInfo, at: time) -> datetime:
    """Return the first instant later than `after` at which the zone's clock shows `at`.

    On a day whose clock jumps over that time, it is the instant at which it would have shown it.
    """
    today = after.astimezone(zone).date()
    for days in range(4):
        candidates = []
        for fold in (0, 1):
            local = datetime.combine(today + days * _DAY, at.replace(fold=fold), zone)
            instant = local.astimezone(UTC)
            shown = instant.astimezone(zone).replace(tzinfo=None) == local.replace(tzinfo=None)
            if instant > after and (shown or fold == 0):
                candidates.append(instant)
        if candidates:
            return min(candidates)
    raise AssertionError("a clock shows every time of day within four days")


def _offset_change(start: datetime, end: datetime, zone: ZoneInfo) -> datetime | None:
    """Return the instant of the zone's change between the two, to the second; none where its offset is the same."""
    before = start.astimezone(zone).utcoffset()
    if end.astimezone(zone).utcoffset() == before:
        return None
    low, high = start, end
    while high - low > timedelta(milliseconds=1):
        middle = low + (high - low) / 2
        if middle.astimezone(zone).utcoffset() == before:
            low = middle
        else:
            high = middle
    return high.replace(microsecond=0) + (timedelta(seconds=1) if high.microsecond >= 500_000 else timedelta(0))
