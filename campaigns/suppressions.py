"""The suppression list as people work with it: who is barred and why, a ban by hand, a ban lifted with a reason.

What providers and customers say bars addresses elsewhere (`webhooks.suppressing`). The audit log names the row and
never the address.
"""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import select, text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from campaigns.trial_sends import check_address
from outreach import audit
from outreach.barred_addresses import POSTAL_ADDRESS, as_listed, marks
from outreach.errors import Conflict, InvalidInput, NotFound
from outreach.models import AuditEntry, Suppression
from outreach.pagination import Page, fetch_page
from outreach.vocabulary import Channel, SuppressionReason

_POSTAL = text(f"SELECT {POSTAL_ADDRESS} AS address FROM customers c WHERE c.external_id = :number")


def as_stored(given: str) -> str:
    """Return an address as the list keeps it, from how a person writes it: lower case, telephone without blanks."""
    plain = given.strip()
    if plain.startswith("+"):
        return "".join(sign for sign in plain if sign not in " -()./")
    return plain.lower()


def listed(
    session: Session,
    *,
    address: str = "",
    channel: Channel | None = None,
    reason: SuppressionReason | None = None,
    lifted: bool = False,
    before: int | None = None,
    limit: int = 50,
) -> tuple[Sequence[Suppression], int | None]:
    """Return bans, newest first, and the id to go on `before`; an address is searched whole, lifted ones with it."""
    query = select(Suppression)
    if address:
        plain = as_stored(address)
        query = query.where(Suppression.address.in_({name for each in Channel for name in as_listed(each, plain)}))
    elif lifted:
        query = query.where(Suppression.lifted_at.is_not(None))
    else:
        query = query.where(Suppression.lifted_at.is_(None))
    if channel is not None:
        query = query.where(Suppression.channel == channel)
    if reason is not None:
        query = query.where(Suppression.reason == reason)
    return fetch_page(session, query, Suppression.id, Page(limit=limit, after=before))


def find(session: Session, suppression_id: int) -> Suppression:
    """Return one ban; raises `NotFound`."""
    row = session.get(Suppression, suppression_id)
    if row is None:
        raise NotFound(f"There is no entry {suppression_id} in the suppression list.")
    return row


def bar(session: Session, *, channel: Channel, address: str, why: str, actor: str, now: datetime) -> Suppression:
    """Bar an address by hand; a postal one is named by the number of the customer who lives there.

    Raises `InvalidInput` for what is no address, and `Conflict` for one that is barred already.
    """
    if not why.strip():
        raise InvalidInput("Say why: whoever lifts it one day wants to know.", where="why")
    found = _postal(session, address) if channel is Channel.POSTCARD else check_address(channel, as_stored(address))
    again = Conflict("This address is barred already.", where="address")
    forgotten = select(Suppression.id).where(
        Suppression.channel == channel, Suppression.address.in_(marks(channel, found.lower())),
        Suppression.lifted_at.is_(None),
    )  # fmt: skip
    if session.scalar(forgotten) is not None:
        raise again
    row: Suppression | None = session.scalar(
        insert(Suppression)
        .values(channel=channel, address=found.lower(), reason=SuppressionReason.MANUAL, source=actor, created_at=now)
        .on_conflict_do_nothing(
            index_elements=["channel", "address"], index_where=text("lifted_at IS NULL")
        )
        .returning(Suppression)
    )  # fmt: skip
    if row is None:
        raise again
    _record(session, "suppression.add", row, why, actor, now)
    return row


def lift(session: Session, *, suppression_id: int, why: str, actor: str, now: datetime) -> Suppression:
    """Let an address be written to again; raises `Conflict` where it was lifted before or its owner was erased."""
    if not why.strip():
        raise InvalidInput("Say why it is lifted: somebody asked for the ban, or their provider did.", where="why")
    row = find(session, suppression_id)
    session.refresh(row, with_for_update=True)
    if row.lifted_at is not None:
        raise Conflict("This ban was lifted before.")
    if row.reason is SuppressionReason.ERASED:
        raise Conflict("Its owner asked to be forgotten; this ban stays.")
    row.lifted_at, row.lifted_by = now, actor
    session.flush()
    _record(session, "suppression.lift", row, why, actor, now)
    return row


def why(session: Session, suppression_id: int) -> Sequence[AuditEntry]:
    """Return what people did with one ban and the reasons they gave, newest first."""
    entries, _ = audit.entries(session, subject=f"suppression:{suppression_id}", limit=200)
    return [entry for entry in entries if entry.subject == f"suppression:{suppression_id}"]


def _postal(session: Session, number: str) -> str:
    found: str | None = session.scalar(_POSTAL, {"number": number.strip()})
    if found is None:
        raise InvalidInput(
            "Name the customer whose postal address is meant by their number; this one is not known, or has none.",
            where="address",
        )
    return found


def _record(session: Session, action: str, row: Suppression, why: str, actor: str, now: datetime) -> None:
    detail = {"channel": row.channel.value, "reason": row.reason.value, "why": why.strip()[:500]}
    audit.record(session, actor=actor, action=action, subject=f"suppression:{row.id}", detail=detail, now=now)
