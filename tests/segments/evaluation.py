"""The rule language once more, in plain Python over plain rows: what the SQL has to agree with.

Written from docs/segments.md, not from the compiler; it works on the JSON of a rule.
"""

import re
import unicodedata
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

Row = dict[str, Any]


def fold(text: str) -> str:
    return re.sub("[\u0300-\u036f]", "", unicodedata.normalize("NFKD", text)).lower()


def natural(text: str) -> list[tuple[int, int, str]]:
    parts = re.findall(r"[0-9]+|[^0-9]", re.sub("[a-z]", lambda letter: letter[0].upper(), text))
    return [(0x30, int(part), "") if part.isdigit() else (ord(part), 0, part) for part in parts]


def postal(text: str) -> str:
    return re.sub("[^A-Z0-9]", "", text.upper())


def moment(value: str, *, end: bool = False) -> datetime:
    if len(value) == 10:
        day = date.fromisoformat(value)
        start = datetime(day.year, day.month, day.day, tzinfo=UTC)
        return start + timedelta(days=1, microseconds=-1) if end else start
    return datetime.fromisoformat(value)


def span(value: dict[str, float]) -> timedelta:
    return timedelta(**value)


def read(row: Row, path: str, kind: str | None) -> Any:
    found: Any = row
    head, _, rest = path.partition(".")
    if rest and head != "attributes":
        return read(row.get(head) or {}, rest, kind)
    if head == "attributes":
        found = (row.get("attributes") or {}).get(rest)
        return as_kind(found, kind or "text")
    return row.get(head)


def as_kind(value: Any, kind: str) -> Any:
    if value is None:
        return None
    if kind == "text":
        return str(value).lower() if isinstance(value, bool) else str(value)
    if kind == "boolean":
        return {"true": True, "false": False}.get(str(value).lower() if isinstance(value, bool) else value)
    if kind == "number":
        if isinstance(value, bool):
            return None
        try:
            number = Decimal(str(value))
        except ArithmeticError:
            return None
        return number if number.is_finite() else None
    try:
        found = datetime.fromisoformat(value)
    except (TypeError, ValueError):
        return None
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def compare(row: Row, rule: dict[str, Any], now: datetime) -> bool:
    op, value, kind = rule["op"], rule.get("value"), rule.get("type")
    found = read(row, rule["field"].removeprefix("customer.") if row.get("__customer") else rule["field"], kind)
    if op == "is_missing":
        return found is None
    if found is None:
        return False
    if op == "is_present":
        return True
    is_time = isinstance(found, datetime)
    if isinstance(value, dict) and "field" in value:
        value = read(row, value["field"], kind)
        if value is None:
            return False
        if "plus" in rule["value"]:
            value += span(rule["value"]["plus"])
    elif is_time and isinstance(value, str):
        value = moment(value, end=op in {"after", "until"})
    elif isinstance(found, int | Decimal) and not isinstance(found, bool) and isinstance(value, int | float):
        value = Decimal(repr(value))
    plain = {
        "equals": lambda: found == value,
        "not_equals": lambda: found != value,
        "one_of": lambda: found in value,
        "none_of": lambda: found not in value,
        "contains": lambda: fold(value) in fold(found),
        "contains_any": lambda: any(fold(word) in fold(found) for word in value),
        "starts_with": lambda: fold(found).startswith(fold(value)),
        "ends_with": lambda: fold(found).endswith(fold(value)),
        "equals_text": lambda: fold(found) == fold(value),
        "natural_between": lambda: natural(value["from"]) <= natural(found) <= natural(value["to"]),
        "natural_from": lambda: natural(found) >= natural(value),
        "natural_through": lambda: natural(found) <= natural(value),
        "postal_prefix": lambda: any(postal(found).startswith(postal(prefix)) for prefix in value),
        "less_than": lambda: found < value,
        "at_most": lambda: found <= value,
        "more_than": lambda: found > value,
        "at_least": lambda: found >= value,
        "before": lambda: found < value,
        "after": lambda: found > value,
        "since": lambda: found >= value,
        "until": lambda: found <= value,
        "between": lambda: between(found, value, is_time),
        "in_last": lambda: now - span(value) < found <= now,
        "in_next": lambda: now < found <= now + span(value),
        "more_than_ago": lambda: found < now - span(value),
        "in_past": lambda: found <= now,
        "in_future": lambda: found > now,
    }
    return bool(plain[op]())


def between(found: Any, value: dict[str, Any], is_time: bool) -> bool:
    if is_time:
        return moment(value["from"]) <= found <= moment(value["to"], end=True)
    return Decimal(repr(value["from"])) <= found <= Decimal(repr(value["to"]))


def row_holds(row: Row, rule: dict[str, Any] | None, now: datetime) -> bool:
    if rule is None:
        return True
    if "all" in rule:
        return all(row_holds(row, part, now) for part in rule["all"])
    if "any" in rule:
        return any(row_holds(row, part, now) for part in rule["any"])
    if "not" in rule:
        return not row_holds(row, rule["not"], now)
    return compare(row, rule, now)


def holds(customer: Row, rule: dict[str, Any], now: datetime) -> bool:
    """Return whether a rule holds for a customer; related rows are lists in the customer's row."""
    if "all" in rule:
        return all(holds(customer, part, now) for part in rule["all"])
    if "any" in rule:
        return any(holds(customer, part, now) for part in rule["any"])
    if "not" in rule:
        return not holds(customer, rule["not"], now)
    if "field" in rule:
        return compare(customer | {"__customer": True}, rule, now)
    rows = customer[rule["related"]]
    quantifier = rule.get("quantifier", "any")
    if quantifier == "all":
        among = [row for row in rows if row_holds(row, rule.get("among"), now)]
        return bool(among) and all(row_holds(row, rule["where"], now) for row in among)
    number = sum(row_holds(row, rule.get("where"), now) for row in rows)
    if quantifier == "count":
        limit = rule["value"]
        return {
            "equals": number == limit,
            "at_least": number >= limit,
            "at_most": number <= limit,
            "more_than": number > limit,
            "fewer_than": number < limit,
        }[rule["op"]]
    return number > 0 if quantifier == "any" else number == 0


def grade(customer: Row, definition: dict[str, Any], now: datetime) -> str | None:
    """Return the grade of a customer who was not a member before."""
    found = next(
        (
            each
            for each in ("affected", "likely", "incoming")
            if each in definition and holds(customer, definition[each], now)
        ),
        None,
    )
    if found and "cleared" in definition and holds(customer, definition["cleared"], now):
        return "cleared"
    return found


def evidence_of_any(customer: Row, rule: dict[str, Any], now: datetime) -> set[int]:
    """Return the item ids that a rule made of one `any` over items leaves as evidence."""
    return {row["id"] for row in customer[rule["related"]] if row_holds(row, rule.get("where"), now)}
