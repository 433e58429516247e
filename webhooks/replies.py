"""A reply, its meaning, and what follows: consent, the desk, the problem. Nothing that a customer says is lost.

A reply is matched to a message by the token of the address it was sent to, by the thread it answers, or by the
number it comes from and what we last sent there. One that cannot be matched is kept for a person to look at.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import select, text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from outreach import clock, problems
from outreach.models import Consent, DeskAction, Message, Problem, Response, Ticket
from outreach.queue import wake
from outreach.vocabulary import Channel, Intent, ProblemState, SuppressionReason
from webhooks.intents import Understanding, understand
from webhooks.providers.base import ParsedReply
from webhooks.quoted_text import newest_words

_BY_THREAD = text("""
SELECT id FROM messages WHERE id = ANY(cast(:ours AS uuid[])) ORDER BY sent_at DESC NULLS LAST LIMIT 1
""")

# The newest message to this address: the address finds the customer, the customer her messages.
_BY_SENDER = text("""
SELECT m.id FROM customers c JOIN notices n ON n.customer_id = c.id JOIN messages m ON m.notice_id = n.id
WHERE (c.phone = :sender OR c.email = :sender) AND m.channel = :channel AND m.address = :sender
  AND m.sent_at > cast(:now AS timestamptz) - interval '90 days'
ORDER BY m.sent_at DESC LIMIT 1
""")

# After the problem was called resolved, so many customers saying "still broken" reopen it.
REOPEN_AFTER = 3
_STILL_BROKEN = text("""
SELECT count(DISTINCT customer_id) FROM responses
WHERE problem_id = :problem_id AND intent = 'still_broken' AND received_at >= :since
""")

_BAR = text("""
INSERT INTO suppressions (channel, address, reason, source, created_at)
VALUES (:channel, :address, :reason, 'reply', :now)
ON CONFLICT (channel, address) WHERE lifted_at IS NULL DO NOTHING
""")

_LIFT = text("""
UPDATE suppressions SET lifted_at = :now, lifted_by = 'reply'
WHERE channel = :channel AND address = :address AND lifted_at IS NULL
  AND reason IN ('stop', 'unsubscribed', 'opted_out_at_provider') AND created_at <= :now
""")


@dataclass(frozen=True, slots=True)
class _Match:
    message_id: UUID
    customer_id: int
    campaign_id: int
    problem_id: int | None
    address: str


def record(session: Session, *, reply: ParsedReply, inbound_event_id: int | None) -> Response | None:
    """Keep one reply with its meaning and act on it; none when it was recorded before."""
    now = clock.now(session)
    words = newest_words(reply.text) if reply.channel is Channel.EMAIL else reply.text
    match = _match(session, reply, now)
    meaning = _meaning(reply, words)
    return keep(
        session,
        channel=reply.channel,
        sender=reply.sender,
        words=words or reply.text,
        meaning=meaning,
        message_id=match.message_id if match else None,
        inbound_event_id=inbound_event_id,
        now=now,
    )


def keep(
    session: Session,
    *,
    channel: Channel,
    sender: str,
    words: str,
    meaning: Understanding,
    message_id: UUID | None,
    inbound_event_id: int | None,
    now: datetime,
) -> Response | None:
    """Write the response down and let its effects follow; the answer pages come in here."""
    match = _known(session, message_id) if message_id else None
    response_id = session.execute(
        insert(Response)
        .values(
            channel=channel,
            sender=sender,
            text=words[:20_000].replace("\0", ""),
            intent=meaning.intent,
            customer_id=match.customer_id if match else None,
            message_id=match.message_id if match else None,
            campaign_id=match.campaign_id if match else None,
            problem_id=match.problem_id if match else None,
            inbound_event_id=inbound_event_id,
            received_at=now,
            # A person looks at what nobody could be matched to, and at what was not clear.
            handled_at=None if meaning.review or match is None else now,
            handled_by=None if meaning.review or match is None else "outreach",
        )
        .on_conflict_do_nothing(index_elements=["inbound_event_id"])
        .returning(Response.id)
    ).scalar_one_or_none()
    if response_id is None:
        return None
    response = session.get_one(Response, response_id)
    _consent(session, response, sender, match, now)
    if match is not None:
        session.execute(
            text("UPDATE messages SET replied_at = coalesce(replied_at, :now) WHERE id = :id"),
            {"id": match.message_id, "now": now},
        )
        _tell_desk(session, response, now)
        _reopen_if_many(session, response, now)
        wake(session, "segments.sweep")
    session.flush()
    return response


def _meaning(reply: ParsedReply, words: str) -> Understanding:
    if reply.automatic:
        return Understanding(Intent.OUT_OF_OFFICE, False, None, "automatic reply")
    if reply.provider_keyword == "STOP":
        return Understanding(Intent.STOP, False, None, "the provider's opt-out")
    return understand(words, question_pending=False)


def _match(session: Session, reply: ParsedReply, now: datetime) -> _Match | None:
    if reply.message_id is not None and (found := _known(session, reply.message_id)):
        return found
    ours = [candidate for thread in reply.thread_ids if (candidate := _message_id_in(thread))]
    if ours and (message_id := session.scalar(_BY_THREAD, {"ours": ours})):
        return _known(session, message_id)
    by_sender = session.scalar(_BY_SENDER, {"sender": reply.sender, "channel": reply.channel.value, "now": now})
    return _known(session, by_sender) if by_sender else None


def _known(session: Session, message_id: UUID) -> _Match | None:
    row = session.execute(
        text("""SELECT m.id, m.customer_id, m.campaign_id, m.address, c.problem_id
                FROM messages m JOIN campaigns c ON c.id = m.campaign_id WHERE m.id = :id"""),
        {"id": message_id},
    ).one_or_none()
    return None if row is None else _Match(row.id, row.customer_id, row.campaign_id, row.problem_id, row.address)


def _message_id_in(thread: str) -> UUID | None:
    local = thread.strip("<> ").split("@")[0]
    try:
        return UUID(local.rsplit("+", 1)[-1])
    except ValueError:
        return None


def _consent(session: Session, response: Response, sender: str, match: _Match | None, now: datetime) -> None:
    """STOP bars the address it came from and the one we wrote to; START opens it again; both are kept as consent."""
    if response.intent not in {Intent.STOP, Intent.START}:
        return
    addresses = {sender} | ({match.address} if match and match.address else set())
    for address in sorted(addresses):
        parameters = {"channel": response.channel.value, "address": address, "now": now}
        if response.intent is Intent.STOP:
            session.execute(_BAR, {**parameters, "reason": SuppressionReason.STOP.value})
        else:
            session.execute(_LIFT, parameters)
    if match is not None:
        session.add(
            Consent(
                customer_id=match.customer_id,
                channel=response.channel,
                allowed=response.intent is Intent.START,
                acted_at=now,
                source="reply",
                wording=response.text[:500],
            )
        )


def _tell_desk(session: Session, response: Response, now: datetime) -> None:
    """A question and a "still broken" become work at the desk: a comment on her ticket, or a new one."""
    if response.intent not in {Intent.QUESTION, Intent.STILL_BROKEN} or response.customer_id is None:
        return
    problem = session.get(Problem, response.problem_id) if response.problem_id else None
    ticket = session.scalar(
        select(Ticket)
        .where(Ticket.customer_id == response.customer_id, Ticket.problem_id == response.problem_id)
        .order_by(Ticket.opened_at.desc())
        .limit(1)
    )
    said = "says it is still broken" if response.intent is Intent.STILL_BROKEN else "asks"
    body = f"The customer {said} (by {response.channel}):\n\n{response.text}"
    payload: dict[str, object] = {"response_id": response.id, "body": body}
    if ticket is not None and response.intent is not Intent.STILL_BROKEN:
        payload |= {"reference": ticket.external_id}
    else:
        email = session.scalar(text("SELECT email FROM customers WHERE id = :id"), {"id": response.customer_id})
        title = problem.title if problem else "your message"
        payload |= {
            "subject": f"{'Still broken' if response.intent is Intent.STILL_BROKEN else 'Question'}: {title}",
            "requester_email": email or "",
            "problem_reference": problem.desk_reference if problem else None,
        }
    session.add(
        DeskAction(
            desk=(problem.desk if problem and problem.desk else "zendesk"),
            key=f"response:{response.id}",
            action="comment" if "reference" in payload else "open_ticket",
            payload=payload,
            created_at=now,
            next_try_at=clock.wall(),
        )
    )
    wake(session, "webhooks.work_at_desks")


def _reopen_if_many(session: Session, response: Response, now: datetime) -> None:
    if response.intent is not Intent.STILL_BROKEN or response.problem_id is None:
        return
    problem = session.get_one(Problem, response.problem_id)
    if problem.department:
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
    told = session.scalar(_STILL_BROKEN, {"problem_id": problem.id, "since": problem.resolved_at}) or 0
    if told >= REOPEN_AFTER:
        problems.reopen(
            session,
            problem=problem,
            author="replies",
            now=now,
            text=f"{told} customers answered that it is still broken.",
        )


def message_of(session: Session, message_id: UUID) -> Message | None:
    """Return the message that a signed link names."""
    return session.get(Message, message_id)
