"""Reading values that strangers wrote: every function here is total and gives None instead of an error.

PostgreSQL refuses NUL in text and jsonb, and UTF-8 refuses lone surrogates: both are taken out here, so that
no later step can fail on them.
"""

import hashlib
import json
import re
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import orjson

_DEEPEST = 32
_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")
_EARLIEST = datetime(2000, 1, 1, tzinfo=UTC)
_LATEST = datetime(2100, 1, 1, tzinfo=UTC)
_EARLIEST_SECOND, _LATEST_SECOND = _EARLIEST.timestamp(), _LATEST.timestamp()
_IDENTIFIER = re.compile(r"[0-9a-fA-F-]{32,36}")
_REPLY_TOKEN = re.compile(r"(?<![A-Za-z0-9._%+-])[A-Za-z]+\+([0-9a-fA-F]{32})@")


def clean(value: str) -> str:
    """Return the text without what PostgreSQL cannot store (NUL, lone surrogates)."""
    return _UNSTORABLE.sub("", value)


def text(value: object, limit: int = 500) -> str | None:
    """Return a short text, from a string or a number; None for anything else and for blank text."""
    if value is None:
        return None
    if type(value) is str and len(value) <= limit and value.isascii() and value.isprintable():
        return value.strip() or None  # nearly all of them, at a tenth of the cost
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return None
    return clean(str(value)[: limit * 2]).strip()[:limit] or None


def moment(value: object, now: datetime | None = None) -> datetime | None:
    """Return a UTC time from Unix seconds, milli- or microseconds (number or digits) or ISO 8601; else None.

    Times before the year 2000 and more than a day after `now` are not believed. ISO without a zone is UTC.
    """
    if type(value) is int and _EARLIEST_SECOND <= value <= (now.timestamp() if now is not None else _LATEST_SECOND):
        return datetime.fromtimestamp(value, UTC)
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return None
    try:
        if isinstance(value, str) and not re.fullmatch(r"[0-9]{1,19}(\.[0-9]{1,9})?", value.strip()):
            found = datetime.fromisoformat(value.strip())
            found = found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)
        else:
            number = float(value)
            for _ in range(2):  # milli-, then microseconds
                number = number / 1000 if number > 1e11 else number  # 1e11 seconds: the year 5138
            found = datetime.fromtimestamp(number, UTC)
    except (ValueError, OverflowError, OSError):
        return None
    latest = now + timedelta(days=1) if now is not None else _LATEST
    return found if _EARLIEST <= found <= latest else None


def identifier(value: object) -> UUID | None:
    """Return the UUID that a text of 32 hex digits (with or without dashes) spells, else None."""
    if not isinstance(value, str) or not _IDENTIFIER.fullmatch(value):
        return None
    digits = value.replace("-", "")
    return UUID(int=int(digits, 16)) if len(digits) == 32 else None


def reply_token(*addresses: str | None) -> UUID | None:
    """Return our message id from the first address such as `reply+<32 hex>@domain`, else None."""
    for address in addresses:
        if address and (found := _REPLY_TOKEN.search(address)):
            return UUID(found[1])
    return None


def digest(*parts: object) -> str:
    """Return 32 hex digits that are the same for the same parts, whatever they hold."""
    said = repr([p if type(p) is str or p is None else str(p) for p in parts])
    return hashlib.sha256(said.encode("utf-8", "backslashreplace")).hexdigest()[:32]


def load_json(body: bytes) -> Any:
    """Return the value of a JSON body; `ValueError` says in one sentence why it is none."""
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError as strict:
        # Lone surrogates are cut emoji: real bodies have them, and one must not cost the whole batch.
        if b"\\ud" not in body.lower():
            raise ValueError(f"the body is not JSON: {strict}") from None
    try:
        return json.loads(body, parse_constant=_refuse_constant, parse_float=_finite)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"the body is not JSON: {error}") from None


def load_object(body: bytes) -> dict[str, Any]:
    """Return the JSON object of a body; `ValueError` says in one sentence why it is none."""
    value = load_json(body)
    if not isinstance(value, dict):
        raise ValueError(f"the body is a JSON {type(value).__name__}, not an object")
    return value


def storable(value: Any, depth: int = 0) -> Any:
    """Return a JSON value that PostgreSQL accepts as jsonb: no NUL, no lone surrogates, not absurdly deep."""
    if isinstance(value, str):
        return clean(value)
    if isinstance(value, dict | list) and depth >= _DEEPEST:
        return "…"
    if isinstance(value, dict):
        return {clean(str(key)): storable(item, depth + 1) for key, item in value.items()}
    if isinstance(value, list):
        return [storable(item, depth + 1) for item in value]
    return value


def excerpt(value: object) -> str:
    """Return the first 300 characters of whatever it is, for a person to look at."""
    if isinstance(value, bytes):
        return clean(value[:300].decode("utf-8", "replace"))
    try:
        return clean(repr(value)[:300])
    except RecursionError:
        return f"a {type(value).__name__} nested too deep to show"


def object_in(value: object, *path: str) -> dict[str, Any]:
    """Return the object found by following `path` through nested objects; an empty one where there is none."""
    for step in path:
        value = value.get(step) if isinstance(value, dict) else None
    return value if isinstance(value, dict) else {}


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


def _finite(digits: str) -> float:
    number = float(digits)
    if number in (float("inf"), float("-inf")):
        raise ValueError(f"{digits[:20]} is too large a number")
    return number
