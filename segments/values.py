"""Typed values: what stands in a rule's `value`, checked against the field and the operator."""

import math
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

from outreach.errors import InvalidRule
from segments.fields import FieldRef, Kind
from segments.operators import Operator, Takes

MAX_VALUES = 50_000
MAX_TEXT = 1_000
_LARGEST = 2**63 - 1
_UNITS = {"minutes": 60, "hours": 3_600, "days": 86_400, "weeks": 604_800}
_LONGEST = timedelta(days=36_525)
_DAY_END = timedelta(days=1) - timedelta(microseconds=1)  # PostgreSQL keeps microseconds

Read = tuple[tuple[Any, ...], tuple[str, ...]]


def read_operands(operator: Operator, ref: FieldRef, value: Any, *, where: str) -> Read:
    """Return the operands, typed for binding, and the same in words."""
    if operator.takes is Takes.NOTHING:
        if value is not None:
            raise InvalidRule(f"`{operator.key}` takes no value; leave it out.", where=where)
        return (), ()
    if operator.takes is Takes.DURATION:
        length, words = duration(value, where=where)
        return (length,), (words,)
    if operator.takes is Takes.AREA:
        return _area(value, where)
    if operator.takes is Takes.RANGE:
        return _range(operator, ref, value, where)
    if operator.takes is Takes.VALUES:
        return _list(operator, ref, value, where)
    ends_day = operator.key in {"after", "until"}
    return (scalar(ref, value, where=where, ends_day=ends_day),), (_show(value),)


def scalar(ref: FieldRef, value: Any, *, where: str, ends_day: bool = False) -> Any:
    """Return one value of the field's kind: text, `Decimal`, bool or a time with zone."""
    if ref.kind is Kind.BOOLEAN:
        if not isinstance(value, bool):
            raise InvalidRule(f"{ref.path} is true or false; write true or false without quotes.", where=where)
        return value
    if ref.kind is Kind.NUMBER:
        number = _number(value, where, f"{ref.path} is a number")
        if ref.attribute is None:
            if number != int(number):
                raise InvalidRule(f"{ref.path} counts whole things; compare it with a whole number.", where=where)
            return int(number)
        return number
    if ref.kind is Kind.TIME:
        return _time(value, where, ends_day=ends_day)
    text = _text(value, where, ref)
    if ref.words and text not in ref.words:
        raise InvalidRule(f"{ref.path} is one of {', '.join(ref.words)}, never {text[:100]!r}.", where=where)
    return text


def duration(value: Any, *, where: str) -> tuple[timedelta, str]:
    """Return a length of time and its words: `{"days": 20}`, `{"weeks": 1, "hours": 12}`."""
    if not isinstance(value, dict) or not value or not set(value) <= set(_UNITS):
        raise InvalidRule(f'A duration is an object such as {{"days": 30}}; units: {", ".join(_UNITS)}.', where=where)
    seconds = Decimal(0)
    for unit, amount in value.items():
        number = _number(amount, f"{where}.{unit}", "A duration counts its units with a number")
        if number < 0:
            raise InvalidRule("A duration is not negative.", where=f"{where}.{unit}")
        seconds += number * _UNITS[unit]
    if seconds > Decimal(_LONGEST.total_seconds()):
        raise InvalidRule("A duration is at most 100 years.", where=where)
    words = " and ".join(f"{amount} {unit if amount != 1 else unit[:-1]}" for unit, amount in value.items())
    return timedelta(seconds=float(seconds)), words


def _number(value: Any, where: str, what: str) -> Decimal:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise InvalidRule(f"{what}; write it without quotes.", where=where)
    if not math.isfinite(value) if isinstance(value, float) else abs(value) > _LARGEST:
        raise InvalidRule("Numbers are finite and lie between -(2^63 - 1) and 2^63 - 1.", where=where)
    if abs(value) > _LARGEST:
        raise InvalidRule("Numbers are finite and lie between -(2^63 - 1) and 2^63 - 1.", where=where)
    return Decimal(repr(value))


def _text(value: Any, where: str, ref: FieldRef) -> str:
    if not isinstance(value, str):
        raise InvalidRule(f"{ref.path} is text; write the value in quotes.", where=where)
    if len(value) > MAX_TEXT:
        raise InvalidRule(f"A text is at most {MAX_TEXT} letters long; this one has {len(value)}.", where=where)
    if "\x00" in value or any("\ud800" <= letter <= "\udfff" for letter in value):
        raise InvalidRule("This text holds a letter that no stored text can hold (NUL or half a letter).", where=where)
    return value


def _time(value: Any, where: str, *, ends_day: bool) -> datetime:
    wrong = 'A time is ISO 8601, with a zone: "2018-03-20T12:00:00Z", or a whole UTC day: "2018-03-20".'
    if not isinstance(value, str):
        raise InvalidRule(wrong, where=where)
    try:
        if len(value) == 10:
            day = date.fromisoformat(value)
            start = datetime(day.year, day.month, day.day, tzinfo=UTC)
            found = start + _DAY_END if ends_day else start
        else:
            found = datetime.fromisoformat(value)
            if found.tzinfo is None:
                raise InvalidRule(f"This time has no zone. {wrong}", where=where)
            found = found.astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise InvalidRule(f"{value[:40]!r} is not a time. {wrong}", where=where) from error
    if not 1900 <= found.year <= 2999:
        raise InvalidRule("Times lie between the years 1900 and 2999.", where=where)
    return found


def _range(operator: Operator, ref: FieldRef, value: Any, where: str) -> Read:
    if not isinstance(value, dict) or set(value) != {"from", "to"}:
        raise InvalidRule(f'`{operator.key}` takes {{"from": …, "to": …}}, both ends included.', where=where)
    low = scalar(ref, value["from"], where=f"{where}.from")
    high = scalar(ref, value["to"], where=f"{where}.to", ends_day=True)
    if ref.kind is not Kind.TEXT and low > high:
        raise InvalidRule("`from` lies after `to`; swap them.", where=where)
    return (low, high), (_show(value["from"]), _show(value["to"]))


def _list(operator: Operator, ref: FieldRef, value: Any, where: str) -> Read:
    if not isinstance(value, list) or not 1 <= len(value) <= MAX_VALUES:
        raise InvalidRule(f"`{operator.key}` takes a list of 1 to {MAX_VALUES} values.", where=where)
    found = tuple(scalar(ref, each, where=f"{where}[{position}]") for position, each in enumerate(value))
    if operator.key == "postal_prefix":
        found = tuple(
            "".join(letter for letter in each.upper() if letter.isascii() and letter.isalnum()) for each in found
        )
        if not all(found):
            raise InvalidRule("A postal prefix holds at least one letter A-Z or digit.", where=where)
    few = ", ".join(_show(each) for each in value[:6])
    return (found,), (few + (f" and {len(value) - 6} more" if len(value) > 6 else ""),)


def _area(value: Any, where: str) -> Read:
    if not isinstance(value, dict) or set(value) != {"latitude", "longitude", "km"}:
        raise InvalidRule('An area is {"latitude": -22.9, "longitude": -43.2, "km": 50}.', where=where)
    limits = {"latitude": (-90, 90), "longitude": (-180, 180), "km": (0, 20_100)}
    found = []
    for name, (low, high) in limits.items():
        number = _number(value[name], f"{where}.{name}", f"`{name}` is a number")
        if not low <= number <= high:
            raise InvalidRule(f"`{name}` lies between {low} and {high}.", where=f"{where}.{name}")
        found.append(number)
    return tuple(found), tuple(_show(value[name]) for name in limits)


def _show(value: Any) -> str:
    return {True: "true", False: "false"}[value] if isinstance(value, bool) else str(value)
