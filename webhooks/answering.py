"""An operator answers one person by the channel she wrote on: what is written is a row, `answer_sending` sends it.

Whoever said STOP is not written to: a standing ban holds, and so does a refusal that came with or after her words. A
question asked after a refusal may be answered. (47 CFR 64.1200(a)(12) allows one confirmation text after STOP, which
the provider sends by itself.)
"""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from campaigns.addresses import barred
from outreach import audit, clock
from outreach.barred_addresses import as_listed
from outreach.errors import Conflict, InvalidInput, NotFound
from outreach.models import Customer, OperatorAnswer, Problem, Response
from outreach.queue import wake
from outreach.settings import get_settings
from outreach.vocabulary import Channel

LONGEST = {Channel.EMAIL: 20_000, Channel.SMS: 1_600}  # characters; Twilio refuses longer texts (error 21617)

_BARRED = text(f"SELECT {barred('cast(:channel AS text)', 'ANY(cast(:addresses AS text[]))')}")
_REFUSED_SINCE = text("""
SELECT NOT k.allowed AND k.acted_at >= :since FROM consents k
WHERE k.customer_id = :customer_id AND k.channel = :channel AND (k.notice_class IS NULL OR k.notice_class = 'service')
ORDER BY k.acted_at DESC, k.allowed LIMIT 1
""")


@dataclass(frozen=True, slots=True)
class Way:
    """How a person can be answered; `refused` says why she cannot be, and what to do instead."""

    channel: Channel
    address: str
    refused: str | None = None


def find(session: Session, response_id: int, *, lock: bool = False) -> Response:
    """Return a response; raises `NotFound`."""
    response = session.get(Response, response_id, with_for_update=True if lock else None, populate_existing=lock)
    if response is None:
        raise NotFound(f"There is no response {response_id}.")
    return response


def way_of(session: Session, response: Response) -> Way:
    """Return by which channel and address a response is answered: where it came from, for a postcard by email."""
    customer = session.get(Customer, response.customer_id) if response.customer_id else None
    channel, address = response.channel, response.sender
    if channel is Channel.POSTCARD or not address:
        channel = Channel.EMAIL if channel is Channel.POSTCARD else channel
        known = (customer.email if channel is Channel.EMAIL else customer.phone) if customer is not None else None
        address = known or ""
    return Way(channel, address, _why_not(session, response, customer, channel, address))


def _why_not(
    session: Session, response: Response, customer: Customer | None, channel: Channel, address: str
) -> str | None:
    if customer is not None and customer.erased_at is not None:
        return "Everything about this person was erased."
    if not address:
        return f"No {channel} address is known. Open a ticket at the desk instead."
    if is_barred(session, channel, address):
        return f"This address is barred from {channel}: it opted out, bounced or complained. Use another channel."
    asked = {"customer_id": response.customer_id, "channel": channel.value, "since": response.received_at}
    if session.scalar(_REFUSED_SINCE, asked):
        return f"This person does not want to hear from us by {channel}. Use another channel."
    return None


def is_barred(session: Session, channel: Channel, address: str) -> bool:
    """Tell whether an address is in the suppression list, be its owner erased or not."""
    return bool(session.scalar(_BARRED, {"channel": channel.value, "addresses": as_listed(channel, address)}))


def answer(
    session: Session, *, response_id: int, answer_id: UUID, words: str, by: str, now: datetime, handled: bool = True
) -> OperatorAnswer:
    """Write one answer, to be sent within seconds; the same id a second time is the same answer.

    Raises `InvalidInput` for words that cannot be sent and `Conflict` where the person must not be written to.
    """
    response = find(session, response_id, lock=True)
    way = way_of(session, response)
    found = session.get(OperatorAnswer, answer_id)
    if found is not None:
        if found.response_id != response_id:
            raise Conflict("This answer belongs to another reply. Load the page again.")
        return found
    if way.refused:
        raise Conflict(way.refused)
    values = {
        "id": answer_id,
        "response_id": response_id,
        "customer_id": response.customer_id,
        "channel": way.channel,
        "address": way.address,
        "subject": _subject(session, response),
        "text": _checked(words, way.channel),
        "written_by": by,
        "written_at": now,
        "due_at": clock.wall(),
    }
    session.execute(insert(OperatorAnswer).values(values))
    if handled:
        response.handled_at, response.handled_by, response.snoozed_until = now, by, None
    wake(session, "webhooks.send_answers")
    session.flush()
    detail = {"answer": str(answer_id), "channel": way.channel.value}
    audit.record(session, actor=by, action="response.answer", subject=f"response:{response_id}", detail=detail, now=now)
    return session.get_one(OperatorAnswer, answer_id)


def _checked(words: str, channel: Channel) -> str:
    kept = words.replace("\r\n", "\n").replace("\0", "").strip()
    if not kept:
        raise InvalidInput("Write something first.", where="words")
    if len(kept) > LONGEST[channel]:
        raise InvalidInput(f"An answer by {channel} has at most {LONGEST[channel]:,} characters.", where="words")
    return kept


def _subject(session: Session, response: Response) -> str:
    problem = session.get(Problem, response.problem_id) if response.problem_id else None
    about = problem.title if problem is not None else f"your message to {get_settings().organisation}"
    return f"Re: {' '.join(about.split())}"[:300]
