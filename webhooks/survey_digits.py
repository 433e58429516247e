"""A number by text message that is off the scale of the pending question: the sender is told the scale, once."""

from datetime import datetime
from uuid import NAMESPACE_URL, uuid5

from sqlalchemy.orm import Session

from campaigns.surveys.asking import OffScale, off_the_scale
from outreach.errors import Conflict
from outreach.models import OperatorAnswer, Response
from outreach.vocabulary import Channel
from webhooks import answering
from webhooks.providers.base import ParsedReply


def off_scale(session: Session, *, reply: ParsedReply, customer_id: int, now: datetime) -> OffScale | None:
    """Return the question that a bare number was meant for and missed; none when it was no such answer."""
    return off_the_scale(session, customer_id, reply.text, now) if reply.channel is Channel.SMS else None


def tell_scale(session: Session, response: Response, missed: OffScale, *, now: datetime) -> bool:
    """Answer with the scale; false, and a person sees it, where that was said before or she must not be written to."""
    answer_id = uuid5(NAMESPACE_URL, f"survey-ask:{missed.ask_id}")
    if session.get(OperatorAnswer, answer_id) is None:
        try:
            answering.answer(
                session, response_id=response.id, answer_id=answer_id, words=missed.words, by="outreach", now=now
            )
        except Conflict:
            pass  # she has opted out meanwhile
        else:
            return True
    response.handled_at = response.handled_by = None
    return False
