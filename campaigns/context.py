"""What a template may say to one recipient: plain dictionaries, loaded for a whole window with four statements."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from operator import attrgetter
from typing import Any
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.orm import Session

from campaigns.surveys import asking
from campaigns.verification import verification_code
from outreach.models import Campaign, Problem
from outreach.security import LinkSigner
from outreach.settings import get_settings
from outreach.values import value_object

# Links must work long after the message was read; an unsubscribe link for at least 30 days (CAN-SPAM).
LINK_LIFETIME = timedelta(days=365)
_LIFETIME_SECONDS = int(LINK_LIFETIME.total_seconds())

_ITEMS = text("""
SELECT i.id, i.lot, i.serial, i.version, i.quantity, i.ordered_at, i.delivered_at, i.promised_at, i.shipped_at,
       p.name AS product, p.external_id AS sku, o.external_id AS order_reference
FROM order_items i LEFT JOIN products p ON p.id = i.product_id LEFT JOIN orders o ON o.id = i.order_id
WHERE i.id = ANY(:ids)
""")
_ORDERS = text("""
SELECT id, external_id AS order_reference, status, ordered_at, promised_at, shipped_at, delivered_at
FROM orders WHERE id = ANY(:ids)
""")
_NAMES = {"order_reference": "order"}
_TICKETS = text("SELECT id, external_id AS reference, subject FROM tickets WHERE id = ANY(:ids)")
_EVIDENCE = {"items": _ITEMS, "orders": _ORDERS, "tickets": _TICKETS}


@value_object
class Recipient:
    """One message that is about to be written: whom it is for and what put her in scope."""

    message_id: UUID
    address: str
    customer: Mapping[str, Any]
    grade: str
    evidence_items: Sequence[int]
    evidence_orders: Sequence[int]
    evidence_tickets: Sequence[int]


def contexts(
    session: Session,
    *,
    campaign: Campaign,
    recipients: Iterable[Recipient],
    now: datetime,
    shared: Mapping[str, Any] | None = None,
    reads: Collection[str] | None = None,
) -> dict[UUID, dict[str, Any]]:
    """Return the variables of each message by its id; a constant number of statements, whatever the number.

    `shared` is what `shared_words` returned, for whoever has it already. `reads` are the paths that the words read,
    such as `items.lot`: evidence and links that none of them names are neither loaded nor there; without it all are.
    """
    window = list(recipients)
    evidence: dict[str, tuple[dict[int, dict[str, Any]], attrgetter[Sequence[int]]]] = {}
    for name, statement in _EVIDENCE.items():
        if _is_read(name, reads):
            ids_of = attrgetter(f"evidence_{name}")
            evidence[name] = _by_id(session, statement, [i for r in window for i in ids_of(r)]), ids_of
    shared = shared_words(session, campaign) if shared is None else shared
    asked = asking.of_campaign(session, campaign)
    links = Links(now, reads)
    made = {}
    for r in window:
        words = made[r.message_id] = {
            **shared,
            "customer": r.customer,
            "grade": r.grade,
            "links": links.of(r.message_id),
            "code": verification_code(r.message_id),
        }
        for name, (rows, ids_of) in evidence.items():
            words[name] = [rows[i] for i in ids_of(r) if i in rows]
        if asked:
            words["links"] |= asked.links(r.message_id, links.end_at(r.message_id))
            words["survey"] = asked.words(r.customer["language"])
    return made


def _is_read(name: str, reads: Collection[str] | None) -> bool:
    """Whether words that read these paths read `name`, a part of it, or all that it is a part of."""
    return reads is None or any(
        f"{path}.".startswith(f"{name}.") or f"{name}.".startswith(f"{path}.") for path in reads
    )


def shared_words(session: Session, campaign: Campaign) -> dict[str, Any]:
    """Return the variables that are the same for everybody in a campaign."""
    settings = get_settings()
    organisation = {"name": settings.organisation, "postal_address": settings.postal_address}
    return {"problem": problem_words(session, campaign), "organisation": organisation}


class Links:
    """The addresses that a customer can open from one message; nothing personal is in them.

    They end by the age of the message, not of the rendering: a text rendered again is the same to the letter, which
    is what the search of what a crash left open compares.
    """

    def __init__(self, now: datetime, reads: Collection[str] | None = None) -> None:
        self._now, self._ends_from_now = now, int((now + LINK_LIFETIME).timestamp())
        base = get_settings().public_url.rstrip("/")
        self._same = {"verify": f"{base}/verify"}
        self._signed = [
            (name, f"{base}/{name}/", LinkSigner(name))
            for name in ("unsubscribe", "answer")
            if _is_read(f"links.{name}", reads)
        ]

    def of(self, message_id: UUID) -> dict[str, str]:
        """Return the links of one message."""
        # In whole seconds, as a link holds them; a moment made for each of a million messages would cost more.
        whole = message_id.int
        ends = (whole >> 80) // 1000 + _LIFETIME_SECONDS if whole >> 76 & 15 == 7 else self._ends_from_now
        found = dict(self._same)
        for name, address, sign in self._signed:
            found[name] = address + sign(message_id, ends)
        return found

    def end_at(self, message_id: UUID) -> datetime:
        """Return when the links of a message end."""
        return (made_at(message_id) or self._now) + LINK_LIFETIME


def made_at(message_id: UUID) -> datetime | None:
    """Return when a message was made, which its id says (uuid version 7); none for an example's id."""
    return datetime.fromtimestamp((message_id.int >> 80) / 1000, UTC) if message_id.version == 7 else None


def problem_words(session: Session, campaign: Campaign) -> dict[str, Any]:
    """Return what templates may say of the campaign's problem; a campaign without one has its name only."""
    problem = session.get(Problem, campaign.problem_id) if campaign.problem_id else None
    problem = problem or Problem(key="", title=campaign.name, summary="")
    return {
        "key": problem.key,
        "title": problem.title,
        "summary": problem.summary,
        "workaround": problem.workaround,
        "fix": problem.fix,
        "next_update_by": day(problem.next_update_by),
        "fixed_by": day(problem.fixed_by),
    }


def customer_words(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return what templates may say of a customer, from the columns of her row."""
    names = (row["name"] or "").split()
    columns = ("name", "external_id", "email", "phone", "city", "region", "postal_code", "country")
    return {
        **{column: row[column] for column in columns},
        "first_name": names[0] if names else None,
        "language": row["locale"],
        "attributes": row["attributes"],
    }


def day(moment: datetime | None) -> str | None:
    """Return a date as people write it, such as "4 March 2027"."""
    return _written(moment.date()) if moment else None


@lru_cache(maxsize=4096)
def _written(date: date) -> str:
    return f"{date.day} {date:%B %Y}"


def _by_id(session: Session, statement: Any, ids: list[int]) -> dict[int, dict[str, Any]]:
    if not ids:
        return {}
    result = session.execute(statement, {"ids": sorted(set(ids))})
    # A thousand rows at a time: the names are worked out once.
    columns = list(result.keys())
    names = [_NAMES.get(name, name.replace("_at", "_on")) for name in columns]
    dates = [name for name in names if name.endswith("_on")]
    found = {}
    for row in result.all():
        words: dict[str, Any] = dict(zip(names, row, strict=True))
        for name in dates:
            if (moment := words[name]) is not None:
                words[name] = day(moment)
        words.setdefault("order", None)
        found[words.pop("id")] = words
    return found
