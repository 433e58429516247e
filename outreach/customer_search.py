"""Find a customer by what somebody knows of her: our reference, an address, words of her name; by index only."""

from collections.abc import Iterator

from sqlalchemy import ColumnElement, func, literal, or_, select
from sqlalchemy.dialects.postgresql import TSQUERY
from sqlalchemy.orm import Session

from outreach.models import Customer

MOST = 25


def search(session: Session, given: str, *, limit: int = MOST) -> list[Customer]:
    """Return customers whose reference, email address or telephone number is `given`, or whose name has these words.

    Names that begin so come before those that have the words anywhere, whole words before beginnings of words.
    """
    found: dict[int, Customer] = {}
    words = " ".join(given.replace("\0", "").split())
    for way in _ways(session, words):
        rows = session.scalars(select(Customer).where(way).limit(limit))
        for customer in sorted(rows, key=lambda one: ((one.name or "").lower(), one.id)):
            found.setdefault(customer.id, customer)
        if len(found) >= limit:
            break
    return list(found.values())[:limit]


def _ways(session: Session, words: str) -> Iterator[ColumnElement[bool]]:
    """Yield the conditions to try, the surest first."""
    if not words:
        return
    digits = "".join(sign for sign in words if sign not in " -()./")
    exact: list[ColumnElement[bool]] = [Customer.external_id == words, Customer.email == words.lower()]
    if digits.lstrip("+").isdecimal():
        exact.append(Customer.phone == (digits if digits.startswith("+") else f"+{digits}"))
    yield or_(*exact)
    if len(words) == 1:
        return
    name = func.lower(Customer.name)
    yield name == words.lower()
    yield name.like(_beginning(words), escape="\\")
    # In the database, so that both sides are taken apart alike; what is left of a word has no sign of its own here.
    parts: list[str] = session.scalar(select(func.name_words(words))) or []
    if parts:
        written = func.array_to_tsvector(func.name_words(Customer.name))
        yield written.bool_op("@@")(literal(" & ".join(f"'{part}'" for part in parts), TSQUERY))
        yield written.bool_op("@@")(literal(" & ".join(f"'{part}':*" for part in parts), TSQUERY))


def _beginning(words: str) -> str:
    """Return the LIKE pattern of what begins so."""
    escaped = words.lower().replace("\\", "\\\\").replace("%", r"\%").replace("_", r"\_")
    return f"{escaped}%"
