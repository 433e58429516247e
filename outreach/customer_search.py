"""Find a customer by what somebody knows of her: our reference, an address, how her name begins; by index only."""

from sqlalchemy import ColumnElement, func, or_, select
from sqlalchemy.orm import Session

from outreach.models import Customer

MOST = 25


def search(session: Session, given: str, *, limit: int = MOST) -> list[Customer]:
    """Return customers whose reference, email address or telephone number is `given`, or whose name begins so."""
    words = " ".join(given.replace("\0", "").split())
    if not words:
        return []
    digits = "".join(sign for sign in words if sign not in " -()./")
    exact: list[ColumnElement[bool]] = [Customer.external_id == words, Customer.email == words.lower()]
    if digits.lstrip("+").isdecimal():
        exact.append(Customer.phone == (digits if digits.startswith("+") else f"+{digits}"))
    known = list(session.scalars(select(Customer).where(or_(*exact)).order_by(Customer.id).limit(limit)))
    if len(known) < limit and len(words) > 1:
        named = select(Customer).where(func.lower(Customer.name).like(_beginning(words), escape="\\"))
        seen = {customer.id for customer in known}
        known += [one for one in session.scalars(named.limit(limit)) if one.id not in seen]
    return known[:limit]


def _beginning(words: str) -> str:
    """Return the LIKE pattern of what begins so."""
    escaped = words.lower().replace("\\", "\\\\").replace("%", r"\%").replace("_", r"\_")
    return f"{escaped}%"
