"""When a programme comes round: iCalendar recurrence (RFC 5545) from an anchor, on business days, spread out.

Pure: no database, no clock. Days are those of the place where the customer lives.
"""

import re
from collections.abc import Sequence
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from importlib.resources import files
from typing import Annotated
from zoneinfo import ZoneInfo

import holidays
from dateutil.rrule import rrule, rrulestr
from pydantic import BaseModel, ConfigDict, Field, field_validator

from campaigns.timing import Window, next_allowed, parse_hours, zone_names

_DAY = timedelta(days=1)
_FREQUENCIES = ("DAILY", "WEEKLY", "MONTHLY", "YEARLY")
# Parts that would ask for hours of the day: those are the programme's own.
_TOO_FINE = ("BYHOUR", "BYMINUTE", "BYSECOND")
_MOST_SPREAD = 31


class Schedule(BaseModel):
    """How often, counted from the anchor. Without `rrule` once, `offset_days` after it.

    `business_days` moves an occurrence to the next working day of the customer's country; `spread_days` spreads
    the customers of one day over so many (working) days; `hours` are local.
    """

    model_config = ConfigDict(extra="forbid")

    rrule: Annotated[str, Field(max_length=200)] | None = None
    offset_days: Annotated[int, Field(ge=0, le=3650)] = 0
    business_days: bool = True
    spread_days: Annotated[int, Field(ge=1, le=_MOST_SPREAD)] = 1
    hours: Annotated[str, Field(max_length=20)] = "9-17"

    @field_validator("rrule")
    @classmethod
    def _known(cls, value: str | None) -> str | None:
        return None if value is None else checked_rule(value)

    @field_validator("hours")
    @classmethod
    def _a_stretch(cls, value: str) -> str:
        found = parse_hours(value)
        if found is None or found.opens >= found.closes:
            raise ValueError("hours are a stretch of one day, such as 9-17")
        return value

    @property
    def window(self) -> Window:
        """The local hours."""
        found = parse_hours(self.hours)
        assert found is not None  # noqa: S101 - checked when it was read
        return found

    @property
    def window_minutes(self) -> int:
        """Over how many minutes of a day people are spread; the last hour is for what comes late."""
        window = self.window
        minutes = (window.closes.hour - window.opens.hour) * 60 + window.closes.minute - window.opens.minute
        return minutes - 60 if minutes > 120 else minutes


def checked_rule(given: str) -> str:
    """Return the rule in one spelling; raises ValueError unless it is an RRULE of days that comes round at all."""
    rule = given.strip().upper().removeprefix("RRULE:").replace(" ", "")
    frequency = re.search(r"(?:^|;)FREQ=([A-Z]+)(?:;|$)", rule)
    if frequency is None or frequency[1] not in _FREQUENCIES:
        raise ValueError(f"write an RRULE with FREQ one of {', '.join(_FREQUENCIES)}, such as FREQ=MONTHLY;INTERVAL=3")
    if any(part in rule for part in _TOO_FINE) or "\n" in given or "DTSTART" in rule:
        raise ValueError("an RRULE names days only; the hours of the day are `hours`, the start is the anchor")
    # The library would count in circles.
    if re.search(r"(?:^|;)(INTERVAL|COUNT)=(?!0*[1-9]\d{0,3}(?:;|$))", rule):
        raise ValueError("INTERVAL and COUNT are whole numbers from 1 to 9999")
    try:
        found = _rule(rule, date(2024, 1, 31)).after(datetime(2024, 1, 31, 23), inc=False)  # noqa: DTZ001
    except (ValueError, TypeError, KeyError, IndexError) as error:
        raise ValueError(f"{given!r} is not an RRULE: {error}") from None
    if found is None and not re.search(r"(?:^|;)(UNTIL|COUNT)=", rule):
        raise ValueError(f"{given!r} never comes round")
    return rule


def occurrences(schedule: Schedule, *, anchor: date, after: date, through: date) -> list[date]:
    """Return the days of the schedule later than `after` up to `through`; the day of the anchor itself is none."""
    return list(_occurrences(schedule.rrule, anchor, schedule.offset_days, after, through))


@lru_cache(maxsize=50_000)
def _occurrences(rule: str | None, anchor: date, offset_days: int, after: date, through: date) -> tuple[date, ...]:
    start = anchor + offset_days * _DAY
    if rule is None:
        return (start,) if after < start <= through else ()
    found = _rule(rule, start).between(_midnight(after + _DAY), _midnight(through), inc=True)
    return tuple(each.date() for each in found if each.date() > anchor)


@lru_cache(maxsize=5_000)
def _rule(rule: str, start: date) -> rrule:
    # On the 29th to 31st a plain month or year would be left out where it has no such day: the last one then,
    # as RFC 7529 says with SKIP=BACKWARD.
    if start.day > 28 and "BY" not in rule:
        days = ",".join(str(day) for day in range(28, start.day + 1))
        if "FREQ=MONTHLY" in rule:
            rule += f";BYMONTHDAY={days};BYSETPOS=-1"
        elif "FREQ=YEARLY" in rule:
            rule += f";BYMONTH={start.month};BYMONTHDAY={days};BYSETPOS=-1"
    found = rrulestr(rule, dtstart=_midnight(start), cache=False)
    if not isinstance(found, rrule):
        raise ValueError("one rule only")
    return found


def business_days(schedule: Schedule, *, start: date, country: str | None) -> list[date]:
    """Return the days over which the customers of one occurrence are spread: the first suitable ones from `start`."""
    found: list[date] = []
    day = start
    while len(found) < schedule.spread_days:
        if not schedule.business_days or is_working_day(day, country):
            found.append(day)
        day += _DAY
    return found


@lru_cache(maxsize=100_000)
def is_working_day(day: date, country: str | None) -> bool:
    """Return whether people work in a country on that day; of an unknown country only its weekend is known."""
    calendar = _calendar(country or "")
    return day.weekday() < 5 if calendar is None else calendar.is_working_day(day)


@lru_cache(maxsize=300)
def _calendar(country: str) -> holidays.HolidayBase | None:
    try:
        return holidays.country_holidays(country.upper())
    except (NotImplementedError, KeyError):
        return None


def next_opening(schedule: Schedule, *, now: datetime, zone: str, country: str | None) -> datetime:
    """Return the next moment, at or after `now`, within the hours of a day on which the programme speaks (UTC)."""
    place, moment = ZoneInfo(zone), now
    for _ in range(60):
        slot = next_allowed(moment, [place], schedule.window)
        assert slot is not None  # noqa: S101 - one zone always has its hours
        day = slot.opens_at.astimezone(place).date()
        if not schedule.business_days or is_working_day(day, country):
            return slot.opens_at
        moment = datetime.combine(day + _DAY, time(0), place).astimezone(UTC)
    return moment


@lru_cache
def zones_by_country() -> dict[str, str]:
    """Return the first zone of each country, as the zone database lists them (the most populous comes first)."""
    table = (files("tzdata") / "zoneinfo" / "zone.tab").read_text(encoding="utf-8")
    found: dict[str, str] = {}
    for line in table.splitlines():
        if not line.startswith("#"):
            country, _, zone = line.split("\t")[:3]
            found.setdefault(country, zone)
    return found


def zone_of(given: str | None, country: str | None, usable: Sequence[str] | frozenset[str] | None = None) -> str:
    """Return the zone that a customer's own words name, else that of her country, else UTC."""
    known = zone_names() if usable is None else usable
    for candidate in (given, zones_by_country().get((country or "").upper())):
        if candidate and candidate in known and candidate in zone_names():
            return candidate
    return "UTC"


def _midnight(day: date) -> datetime:
    return datetime.combine(day, time(0))
