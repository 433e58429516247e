"""What people do with a reply in the inbox, each act with its audit entry: correct, assign, put aside, hand over."""

from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from outreach import audit, operators, problems
from outreach.errors import Conflict, InvalidInput, NotFound
from outreach.models import Customer, Response, Ticket
from outreach.vocabulary import Intent
from webhooks import reply_effects
from webhooks.answering import find

LONGEST_SNOOZE = timedelta(days=366)


def correct(
    session: Session,
    *,
    response_id: int,
    by: str,
    now: datetime,
    intent: Intent | None = None,
    customer: str | None = None,
    problem: str | None = None,
    ticket: tuple[str, str] | None = None,
    handled: bool | None = None,
) -> Response:
    """Say what a response really means, whose it is, what it is about, or that it is dealt with (or is not).

    What follows from it follows again; what has happened already does not happen twice.
    """
    given: dict[str, Any] = {
        "intent": intent, "customer": customer, "problem": problem, "ticket": ticket, "handled": handled,
    }  # fmt: skip
    said = {name: value for name, value in given.items() if value is not None}
    if not said:
        raise InvalidInput("Say what is to change: intent, customer, problem, ticket or handled.")
    response = find(session, response_id, lock=True)
    if intent is not None and intent is not response.intent:
        reply_effects.take_back(session, response, by=by, now=now)
        response.intent = intent
    if customer is not None:
        response.customer_id = _customer_id(session, customer)
    if problem is not None:
        response.problem_id = problems.find(session, problem).id
    if handled is not None:
        response.handled_at, response.handled_by = (now, by) if handled else (None, None)
    if handled:
        response.snoozed_until = None
    if ticket is not None:
        response.ticket_id = _ticket_id(session, *ticket)
    session.flush()
    # Somebody who links it to a ticket deals with it there: no other one is opened.
    if ticket is None and (intent is not None or customer is not None or problem is not None):
        reply_effects.follow(session, response, now=now)
    return _recorded(session, response, "correct", by, now, said)


def assign(session: Session, *, response_id: int, to: str | None, by: str, now: datetime) -> Response:
    """Give a response to an operator, by email address, or to nobody."""
    response = find(session, response_id, lock=True)
    operator = operators.find_operator(session, to) if to else None
    if operator is not None and operator.disabled_at is not None:
        raise Conflict(f"{operator.name} does not work here any more.")
    response.assigned_to = operator.id if operator is not None else None
    return _recorded(session, response, "assign", by, now, {"to": operator.email if operator is not None else None})


def snooze(session: Session, *, response_id: int, until: datetime | None, by: str, now: datetime) -> Response:
    """Put a response aside until a moment, or (none) bring it back now."""
    response = find(session, response_id, lock=True)
    if until is not None and not now < until <= now + LONGEST_SNOOZE:
        raise InvalidInput("Choose a time within the coming year.", where="until")
    if until is not None and response.handled_at is not None:
        raise Conflict("This reply is dealt with already.")
    response.snoozed_until = until
    return _recorded(session, response, "snooze", by, now, {"until": until.isoformat() if until else None})


def open_ticket(session: Session, *, response_id: int, by: str, now: datetime) -> Response:
    """Hand a response to the help desk: into the person's open ticket, or a new one; the desk takes it within seconds.

    Raises `Conflict` while nobody has said whose it is, or where no desk can be written to.
    """
    response = find(session, response_id, lock=True)
    if response.ticket_id is not None:
        raise Conflict("It belongs to a ticket already.")
    if response.customer_id is None:
        raise Conflict("Say first whose reply it is: a ticket belongs to a customer.")
    if not reply_effects.tell_desk(session, response, response.customer_id):
        raise Conflict("No help desk is connected that takes tickets. Connect one, or answer here.")
    return _recorded(session, response, "open_ticket", by, now, {})


def _customer_id(session: Session, external_id: str) -> int:
    found = session.scalar(select(Customer.id).where(Customer.external_id == external_id, Customer.erased_at.is_(None)))
    if found is None:
        raise InvalidInput(f"There is no customer {external_id[:40]!r}.", where="customer")
    return found


def _ticket_id(session: Session, desk: str, reference: str) -> int:
    found = session.scalar(select(Ticket.id).where(Ticket.desk == desk, Ticket.external_id == reference))
    if found is None:
        raise NotFound(f"There is no ticket {reference[:40]!r} of the desk {desk[:40]!r}.")
    return found


def _recorded(
    session: Session, response: Response, act: str, by: str, now: datetime, detail: dict[str, Any]
) -> Response:
    session.flush()
    subject = f"response:{response.id}"
    audit.record(session, actor=by, action=f"response.{act}", subject=subject, detail=detail, now=now)
    return response
