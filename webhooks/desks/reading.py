"""What the desk adapters share in reading: the operator's mapping of words, addresses, and the events they give."""

from collections.abc import Iterable
from typing import Any, ClassVar, Protocol, TypeVar

from outreach.errors import InvalidInput
from webhooks.desks.base import DeskEvent, DeskEventKind
from webhooks.html_words import text_of_html
from webhooks.wire import clean, digest, excerpt, load_object, storable, text

_MOST_WORDS = 100


class FrozenDataclass(Protocol):
    """Any dataclass."""

    __dataclass_fields__: ClassVar[dict[str, Any]]


Kind = TypeVar("Kind", bound=FrozenDataclass)


def words(values: Iterable[object], where: str) -> tuple[str, ...]:
    """Return the operator's words, lower case and without blanks at the ends; `InvalidInput` names what is wrong."""
    if isinstance(values, str) or not isinstance(values, Iterable):
        raise InvalidInput(f"{where} must be a list of words.", where=where)
    found = list(values)
    if len(found) > _MOST_WORDS or any(not isinstance(one, str) or not one.strip() for one in found):
        raise InvalidInput(f"{where} must be at most {_MOST_WORDS} words, none of them empty.", where=where)
    return tuple(str(one).strip().lower() for one in found)


def name(value: object, where: str) -> str:
    """Return the name of a field as the operator gave it, or "" for none; `InvalidInput` when it is no text."""
    if not isinstance(value, str) or len(value) > 100:
        raise InvalidInput(f"{where} must be the name of a field, or empty.", where=where)
    return value.strip()


def mapping_from_json(kind: type[Kind], value: object) -> Kind:
    """Return the mapping that a JSON object describes (`dataclasses.asdict` writes one); errors name the field."""
    if not isinstance(value, dict):
        raise InvalidInput("The mapping must be a JSON object.", where="mapping")
    known = set(kind.__dataclass_fields__)
    unknown = sorted(str(key) for key in value if key not in known)
    if unknown:
        raise InvalidInput(f"The mapping knows no {unknown[0]}; it knows {', '.join(sorted(known))}.", where=unknown[0])
    return kind(**value)


def read_body(body: bytes) -> dict[str, Any]:
    """Return the JSON object of a webhook; `InvalidInput` says why it is none."""
    try:
        found: dict[str, Any] = storable(load_object(body))
    except ValueError as error:
        raise InvalidInput(f"The event cannot be read: {error}.", where="body") from None
    return found


def ignored(key: str, raw: dict[str, Any], actor: str | None = None) -> DeskEvent:
    """Return the event that says: this does not concern us."""
    return DeskEvent(key=key, kind=DeskEventKind.IGNORED, actor=actor, raw=raw)


def content_key(raw: dict[str, Any]) -> str:
    """Return a dedupe key for desks that give their deliveries none: the same content is the same event."""
    return digest("content", sorted((str(key), excerpt(value)) for key, value in raw.items()), repr(raw)[:100_000])


def words_of(value: object) -> frozenset[str]:
    """Return the lower-case words of a list, or of a text parted by blanks or commas (tags, labels)."""
    if isinstance(value, str):
        value = value.replace(",", " ").split()
    listed = value if isinstance(value, list) else []
    return frozenset(word.lower() for item in listed[:500] if (word := text(item, 100)))


def reference(value: object) -> str | None:
    """Return the reference that a link field holds: plain, or inside `{"value": …}`, `{"id": …}`, `{"key": …}`."""
    if isinstance(value, dict):
        value = next((value[key] for key in ("value", "key", "id", "number") if value.get(key)), None)
    return text(value, 200)


def long_text(value: object, limit: int = 20_000) -> str | None:
    """Return a description of many lines; markup is taken out when it is HTML."""
    if not isinstance(value, str):
        return None
    plain = text_of_html(value) if "<" in value and ">" in value else value
    return clean(plain).strip()[:limit] or None


def attributes(value: object) -> dict[str, Any]:
    """Return the desk's own fields that we keep, at most 100 of them."""
    return dict(list(value.items())[:100]) if isinstance(value, dict) else {}
