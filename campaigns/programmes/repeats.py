"""A recurrence as people choose it, and back: "every 3 months", "every 2 weeks on Monday and Friday" ↔ RRULE.

Only what these words can say is drawn as words; any other RRULE stays as it is written.
"""

import re
from dataclasses import dataclass
from typing import Literal

from campaigns.programmes.schedules import checked_rule
from outreach.errors import InvalidInput

Unit = Literal["once", "days", "weeks", "months", "years", "rule"]
WEEKDAYS = {
    "MO": "Monday", "TU": "Tuesday", "WE": "Wednesday", "TH": "Thursday", "FR": "Friday", "SA": "Saturday",
    "SU": "Sunday",
}  # fmt: skip
_FREQUENCY = {"days": "DAILY", "weeks": "WEEKLY", "months": "MONTHLY", "years": "YEARLY"}
_UNIT = {frequency: unit for unit, frequency in _FREQUENCY.items()}


@dataclass(frozen=True, slots=True)
class Repeat:
    """How often: every so many units, in weeks on some weekdays; `rule` is an RRULE that the words cannot say."""

    unit: str = "once"
    every: int = 1
    weekdays: tuple[str, ...] = ()
    rule: str = ""


def repeat_of(rrule: str | None) -> Repeat:
    """Return a stored RRULE as a choice."""
    if rrule is None:
        return Repeat()
    parts = dict(re.findall(r"([A-Z]+)=([^;]*)", rrule))
    unit = _UNIT.get(parts.pop("FREQ", ""))
    every, weekdays = parts.pop("INTERVAL", "1"), parts.pop("BYDAY", "")
    days = tuple(weekdays.split(",")) if weekdays else ()
    if unit is None or parts or not every.isdecimal() or (days and (unit != "weeks" or not set(days) <= set(WEEKDAYS))):
        return Repeat("rule", rule=rrule)
    return Repeat(unit, int(every), days)


def rule_of(repeat: Repeat) -> str | None:
    """Return a choice as an RRULE, none for once; raises `InvalidInput`."""
    if repeat.unit == "once":
        return None
    if repeat.unit == "rule":
        try:
            return checked_rule(repeat.rule)
        except ValueError as error:
            raise InvalidInput(f"The rule cannot be used: {error}.", where="schedule.rrule") from None
    if repeat.unit not in _FREQUENCY:
        raise InvalidInput("Choose how often it comes round.", where="schedule.unit")
    if not 1 <= repeat.every <= 9999:
        raise InvalidInput("Choose a number from 1 to 9999.", where="schedule.every")
    rule = f"FREQ={_FREQUENCY[repeat.unit]}"
    if repeat.every > 1:
        rule += f";INTERVAL={repeat.every}"
    if repeat.unit == "weeks" and repeat.weekdays:
        rule += ";BYDAY=" + ",".join(day for day in WEEKDAYS if day in repeat.weekdays)
    return rule


def repeat_in_words(repeat: Repeat) -> str:
    """Return a choice as people say it: every 3 months."""
    if repeat.unit == "once":
        return "once"
    if repeat.unit == "rule":
        return f"by the rule {repeat.rule}"
    often = f"every {repeat.unit.removesuffix('s')}" if repeat.every == 1 else f"every {repeat.every} {repeat.unit}"
    days = [WEEKDAYS[day] for day in WEEKDAYS if day in repeat.weekdays]
    return often + (f" on {' and '.join(filter(None, [', '.join(days[:-1]), days[-1]]))}" if days else "")
