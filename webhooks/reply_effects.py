"""What follows from the recorded meaning of a reply: consent, work at the desk, the problem reopened.

Every effect may run again, when a person corrects the meaning or says whose reply it is, and happens once: bans and
consent by their time, tickets by the customer and the problem, desk actions by their key. Machines get no effects.
"""

import math
from datetime import datetime, timedelta

from sqlalchemy import select, text
from sqlalchemy.orm import Session

from outreach import problems
from outreach.models import Consent, Customer, Message, Problem, Response
from outreach.queue import wake
from outreach.settings import get_settings
from outreach.vocabulary import Channel, Intent, ProblemState, SuppressionReason
from webhooks import connectors, suppressing, triggers
from webhooks.connectors import Desk

SOURCE = "reply"
FOR_THE_DESK = {
    Intent.STILL_BROKEN: ("Still broken", "says it is still broken"),
    Intent.QUESTION: ("Question", "asks"),
    Intent.HELP: ("Asks for help", "asks for help"),
}

_BAR = text("""
INSERT INTO suppressions (channel, address, reason, source, created_at)
VALUES (:channel, :address, :reason, :source, :at)
ON CONFLICT (channel, address) WHERE lifted_at IS NULL DO NOTHING
""")
_UNBAR = text("""
UPDATE suppressions SET lifted_at = :now, lifted_by = :by
WHERE channel = :channel AND address = ANY(:addresses) AND lifted_at IS NULL AND reason = 'stop' AND source = :source
  AND created_at = :at
""")
_SAID = text("""
SELECT EXISTS (SELECT 1 FROM consents WHERE customer_id = :customer_id AND channel = :channel AND acted_at = :at
               AND allowed = :allowed AND source = :source)
""")
_UNSAY = text("""
DELETE FROM consents WHERE customer_id = :customer_id AND channel = :channel AND acted_at = :at AND source = :source
""")
# Her case at the desk that is still open; one that was opened before the problem was called resolved is an old one.
_OPEN_TICKET = text("""
SELECT t.external_id FROM tickets t
WHERE t.customer_id = :customer_id AND t.problem_id IS NOT DISTINCT FROM :problem_id AND t.solved_at IS NULL
  AND t.desk = ANY(:desks) AND (cast(:since AS timestamptz) IS NULL OR t.opened_at >= :since)
ORDER BY t.opened_at DESC LIMIT 1
""")
_BEING_OPENED = text("""
SELECT key FROM desk_actions
WHERE action = 'open_ticket' AND done_at IS NULL AND tries < :most AND desk = :desk AND key <> :own
  AND payload @> jsonb_build_object('customer_id', cast(:customer_id AS bigint),
                                    'problem_id', cast(:problem_id AS bigint))
ORDER BY id DESC LIMIT 1
""")
_SAID_SO_BEFORE = text("""
SELECT EXISTS (SELECT 1 FROM responses WHERE problem_id = :problem_id AND customer_id = :customer_id AND id <> :id
               AND intent = 'still_broken' AND received_at >= :since)
""")
# Whoever said something else since is not counted: the newest word of each person holds.
_STILL_BROKEN = text("""
WITH newest AS (
    SELECT DISTINCT ON (customer_id) intent FROM responses
    WHERE problem_id = :problem_id AND customer_id IS NOT NULL AND received_at >= :since
      AND intent NOT IN ('out_of_office', 'gibberish')
    ORDER BY customer_id, received_at DESC, id DESC
)
SELECT (SELECT count(*) FROM newest WHERE intent = 'still_broken') AS broken,
       (SELECT count(DISTINCT n.customer_id) FROM notices n JOIN campaigns c ON c.id = n.campaign_id
        WHERE c.problem_id = :problem_id AND n.state = 'delivered') AS told
""")


def follow(session: Session, response: Response, *, now: datetime) -> None:
    """Let everything follow from what a response means now."""
    if response.intent is Intent.OUT_OF_OFFICE:
        return  # a machine wrote it: nobody answered anything, and nobody is answered
    if response.intent in {Intent.STOP, Intent.START}:
        _consent(session, response)
    if response.message_id is not None:
        session.execute(
            text("UPDATE messages SET replied_at = coalesce(replied_at, :at) WHERE id = :id"),
            {"id": response.message_id, "at": response.received_at},
        )
    if response.customer_id is None:
        return
    if response.intent in FOR_THE_DESK:
        tell_desk(session, response, response.customer_id)
    if response.intent is Intent.STILL_BROKEN and response.problem_id is not None:
        _still_broken(session, response, session.get_one(Problem, response.problem_id), now)
    wake(session, "segments.sweep")


def take_back(session: Session, response: Response, *, by: str, now: datetime) -> None:
    """Undo the consent that a response was wrongly taken for; a ban from anywhere else stays."""
    if response.intent is not Intent.STOP and response.intent is not Intent.START:
        return
    if response.intent is Intent.STOP:
        given = {"channel": response.channel.value, "addresses": _addresses(session, response), "source": SOURCE}
        session.execute(_UNBAR, {**given, "at": response.received_at, "now": now, "by": by})
    if response.customer_id is not None:
        session.execute(
            _UNSAY,
            {
                "customer_id": response.customer_id,
                "channel": response.channel.value,
                "at": response.received_at,
                "source": SOURCE,
            },
        )


def _consent(session: Session, response: Response) -> None:
    """STOP bars the address it came from and the one we wrote to; START opens again only the one it came from."""
    stop, at = response.intent is Intent.STOP, response.received_at
    if stop:
        for address in _addresses(session, response):
            session.execute(
                _BAR,
                {
                    "channel": response.channel.value,
                    "address": address,
                    "reason": SuppressionReason.STOP.value,
                    "source": SOURCE,
                    "at": at,
                },
            )
    else:
        suppressing.lift(session, channel=response.channel, address=response.sender, by=SOURCE, now=at)
    if response.customer_id is None or not (stop or response.sender in _addresses_of(session, response)):
        return
    said = {"customer_id": response.customer_id, "channel": response.channel.value, "at": at, "source": SOURCE}
    if not session.scalar(_SAID, {**said, "allowed": not stop}):
        session.add(
            Consent(
                customer_id=response.customer_id,
                channel=response.channel,
                allowed=not stop,
                acted_at=at,
                source=SOURCE,
                wording=response.text[:500],
            )
        )
        session.flush()


def _addresses(session: Session, response: Response) -> list[str]:
    message = session.get(Message, response.message_id) if response.message_id else None
    same_channel = message is not None and message.channel is response.channel
    return sorted({response.sender} | ({message.address} if message is not None and same_channel else set()) - {""})


def _addresses_of(session: Session, response: Response) -> set[str | None]:
    customer = session.get(Customer, response.customer_id)
    if customer is None:
        return set()
    return {customer.phone} if response.channel is Channel.SMS else {customer.email}


def tell_desk(session: Session, response: Response, customer_id: int) -> bool:
    """Put it into her open case at the desk, or open one; false, and a person sees it, where no desk can be written to.

    The same response a second time adds nothing.
    """
    problem = session.get(Problem, response.problem_id) if response.problem_id else None
    desk = connectors.answering(session, problem.desk if problem is not None else None)
    if desk is None:
        response.handled_at = response.handled_by = None
        return False
    subject, said = FOR_THE_DESK.get(response.intent, ("Message", "writes"))
    key = f"response:{response.id}"
    if response.intent is Intent.HELP:
        # Whoever asks again on the same day has been answered.
        key = f"help:{customer_id}:{response.channel.value}:{response.received_at:%Y-%m-%d}"
    body = f"The customer {said} (by {response.channel.value}):\n\n{response.text}"
    since = problem.resolved_at if problem is not None and response.intent is Intent.STILL_BROKEN else None
    asked = {"customer_id": customer_id, "problem_id": response.problem_id}
    desks = [one.key for one in connectors.all_desks(session) if _answers_for(session, desk, one)]
    reference = session.scalar(_OPEN_TICKET, {**asked, "since": since, "desks": desks})
    opening = {**asked, "desk": desk.key, "own": key, "most": 80}
    earlier = None if reference else session.scalar(_BEING_OPENED, opening)
    if reference or earlier:
        where = {"reference": reference} if reference else {"after": earlier}
        triggers.owe(session, desk, [("comment", key, {"response_id": response.id, "body": body, **where})])
        return True
    own = problem is not None and problem.desk in desks
    payload = {
        "response_id": response.id,
        **asked,
        "body": body,
        "subject": f"{subject}: {problem.title if problem else 'your message'}",
        "requester_email": session.scalar(select(Customer.email).where(Customer.id == customer_id)) or "",
        "problem_reference": problem.desk_reference if problem is not None and own else None,
    }
    if response.intent is Intent.HELP:
        payload["reply"] = _help_text(problem)
    triggers.owe(session, desk, [("open_ticket", key, payload)])
    return True


def _answers_for(session: Session, desk: Desk, other: Desk) -> bool:
    """Tell whether tickets of another desk are reached through this one."""
    if other.key == desk.key:
        return True
    found = connectors.answering(session, other.key) if other.from_settings and desk.from_settings else None
    return found is not None and found.key == desk.key


def _help_text(problem: Problem | None) -> str:
    about = f" about “{problem.title}”" if problem is not None else ""
    return (
        f"You hear from {get_settings().organisation}{about} because it may concern something you have from us. "
        "One of us will answer you here. To get no more of these messages, answer STOP to any of them."
    )


def _still_broken(session: Session, response: Response, problem: Problem, now: datetime) -> None:
    since = problem.resolved_at or problem.known_at or problem.reported_at
    asked = {"problem_id": problem.id, "customer_id": response.customer_id, "id": response.id, "since": since}
    if problem.department and not session.scalar(_SAID_SO_BEFORE, asked):
        problems.assign(
            session,
            problem=problem,
            title=f"Still broken for a customer: {problem.title}",
            detail=response.text[:2000],
            due_at=now + timedelta(days=1),
            now=now,
        )
    if problem.state is not ProblemState.RESOLVED or problem.resolved_at is None:
        return
    counted = session.execute(_STILL_BROKEN, {"problem_id": problem.id, "since": problem.resolved_at}).one()
    if counted.broken >= reopen_at(counted.told):
        problems.reopen(
            session,
            problem=problem,
            author="replies",
            now=now,
            text=f"{counted.broken} of {counted.told} customers who were told answered that it is still broken.",
        )


def reopen_at(told: int) -> int:
    """Return how many customers must say "still broken" to reopen a problem that so many were told of."""
    settings = get_settings()
    return max(settings.reopen_after_count, math.ceil(settings.reopen_after_share * told))
