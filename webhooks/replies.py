"""A reply and its recorded meaning. Nothing that a customer says is lost.

A reply is matched to a message by the token of the address it was sent to, by the thread it answers, or by the
number it comes from and what we last sent there. One that cannot be matched is kept for a person to look at.
What follows from it is in `webhooks.reply_effects`.
"""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from campaigns.surveys.asking import answer_by_text
from outreach import clock
from outreach.models import Message, Response
from outreach.vocabulary import CampaignKind, Channel, Intent
from webhooks import reply_effects, survey_digits
from webhooks.intents import Understanding, understand
from webhooks.providers.base import ParsedReply
from webhooks.quoted_text import newest_words

# What these campaigns say ends in a numbered question ("1 if solved, 2 if still broken") or is one.
ASKING = frozenset(
    {
        CampaignKind.KNOWN,
        CampaignKind.UPDATE,
        CampaignKind.RESOLVED,
        CampaignKind.RECALL,
        CampaignKind.CHECK_IN,
        CampaignKind.SURVEY,
    }
)

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
_STOPPED = text("""
SELECT EXISTS (SELECT 1 FROM suppressions WHERE channel = :channel AND address = :address AND lifted_at IS NULL
               AND reason IN ('stop', 'unsubscribed', 'opted_out_at_provider'))
""")


@dataclass(frozen=True, slots=True)
class _Match:
    message_id: UUID
    customer_id: int
    campaign_id: int
    problem_id: int | None
    address: str
    kind: CampaignKind


def record(session: Session, *, reply: ParsedReply, inbound_event_id: int | None) -> Response | None:
    """Keep one reply with its meaning and act on it; none when it was recorded before."""
    now = clock.now(session)
    words = newest_words(reply.text) if reply.channel is Channel.EMAIL else reply.text
    match = _match(session, reply, now)
    asked = match is not None and match.kind in ASKING and not _has_stopped(session, reply)
    meaning = _meaning(reply, words, question_pending=asked)
    if (score := _survey_score(session, reply, match, meaning, now)) is not None:
        meaning = Understanding(Intent.ANSWER, False, score, "the survey that is pending")
    missed = None
    if score is None and match is not None:
        missed = survey_digits.off_scale(session, reply=reply, customer_id=match.customer_id, now=now)
    if missed is not None:
        meaning = Understanding(Intent.ANSWER, True, None, "a number off the scale of the survey that is pending")
    response = keep(
        session,
        channel=reply.channel,
        sender=reply.sender,
        words=words or reply.text,
        meaning=meaning,
        message_id=match.message_id if match else None,
        inbound_event_id=inbound_event_id,
        now=now,
    )
    if response is not None and missed is not None:
        survey_digits.tell_scale(session, response, missed, now=now)
    return response


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
    # A person looks at what nobody could be matched to, and at what was not clear; a machine needs no answer.
    settled = meaning.intent is Intent.OUT_OF_OFFICE or (match is not None and not meaning.review)
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
            handled_at=now if settled else None,
            handled_by="outreach" if settled else None,
        )
        .on_conflict_do_nothing(index_elements=["inbound_event_id"])
        .returning(Response.id)
    ).scalar_one_or_none()
    if response_id is None:
        return None
    response = session.get_one(Response, response_id)
    reply_effects.follow(session, response, now=now)
    session.flush()
    return response


def _survey_score(
    session: Session, reply: ParsedReply, match: _Match | None, meaning: Understanding, now: datetime
) -> int | None:
    """Record a number as the answer to the pending survey, if one is; an opt-out always stays one."""
    if reply.channel is not Channel.SMS or match is None or meaning.intent in (Intent.STOP, Intent.OUT_OF_OFFICE):
        return None
    found = answer_by_text(session, match.customer_id, reply.text, now)
    return found.score if found else None


def _meaning(reply: ParsedReply, words: str, *, question_pending: bool) -> Understanding:
    if reply.automatic:
        return Understanding(Intent.OUT_OF_OFFICE, False, None, "automatic reply")
    if reply.provider_keyword == "STOP":
        return Understanding(Intent.STOP, False, None, "the provider's opt-out")
    if reply.provider_keyword == "START":
        return Understanding(Intent.START, False, None, "the provider's opt-in")
    return understand(words, question_pending=question_pending)


def _has_stopped(session: Session, reply: ParsedReply) -> bool:
    """Whoever has stopped us was asked nothing: "yes" from there wants to be written to again."""
    asked = {"channel": reply.channel.value, "address": reply.sender}
    return bool(session.scalar(_STOPPED, asked))


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
        text("""SELECT m.id, m.customer_id, m.campaign_id, m.address, c.problem_id, c.kind
                FROM messages m JOIN campaigns c ON c.id = m.campaign_id WHERE m.id = :id"""),
        {"id": message_id},
    ).one_or_none()
    if row is None:
        return None
    return _Match(row.id, row.customer_id, row.campaign_id, row.problem_id, row.address, CampaignKind(row.kind))


def _message_id_in(thread: str) -> UUID | None:
    local = thread.strip("<> ").split("@")[0]
    try:
        return UUID(local.rsplit("+", 1)[-1])
    except ValueError:
        return None


def message_of(session: Session, message_id: UUID) -> Message | None:
    """Return the message that a signed link names."""
    return session.get(Message, message_id)
