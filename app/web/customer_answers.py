"""What customer pages do when a button is pressed: answers, refusals and choices, each once however often it comes."""

from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select, text
from sqlalchemy.orm import Session

from campaigns.addresses import ADDRESSES
from outreach import clock
from outreach.models import Customer, Message, Response, Suppression
from outreach.vocabulary import Channel, Intent, NoticeClass, SuppressionReason
from webhooks import consents, replies, suppressing
from webhooks.intents import Understanding, understand

ANSWERS = {
    "solved": (Intent.SOLVED, "Yes, it is solved"),
    "still_broken": (Intent.STILL_BROKEN, "No, it is still broken"),
    "not_me": (Intent.NOT_ME, "This does not concern me"),
}
UNSUBSCRIBED = "Unsubscribed by the link of the message."

# Words for the classes, in the order in which they are shown.
CLASS_WORDS = {
    NoticeClass.SAFETY: ("Safety", "Recalls, and anything that could hurt somebody."),
    NoticeClass.SERVICE: ("Problems with what you bought", "What went wrong, what to do, and when it is fixed."),
    NoticeClass.SUCCESS: ("Tips and check-ins", "How to get along with it, and whether all is well."),
    NoticeClass.SURVEY: ("Questions", "Short ones, about how we did."),
    NoticeClass.PROMOTION: ("Offers", "What we sell."),
}
_REFUSED_WITHOUT_ASKING = (Channel.SMS, NoticeClass.PROMOTION)  # silence is a no there, by law
_OWN_WORDS = frozenset(
    {SuppressionReason.STOP, SuppressionReason.UNSUBSCRIBED, SuppressionReason.OPTED_OUT_AT_PROVIDER}
)

_ADDRESSES = text(f"SELECT k.channel, k.address FROM customers c, LATERAL {ADDRESSES} k WHERE c.id = :customer_id")


@dataclass(frozen=True, slots=True)
class ChannelChoice:
    """One channel on the page: by class whether it is ticked; `dead` says that messages do not arrive there."""

    channel: Channel
    address: str
    stopped: bool
    dead: bool
    allowed: dict[NoticeClass, bool]


def unsubscribe(session: Session, message: Message) -> None:
    """Bar the address of the message and keep the refusal."""
    _keep(session, message, UNSUBSCRIBED, Understanding(Intent.STOP, False, None, "unsubscribe link"))


def answer(session: Session, message: Message, *, choice: str, words: str) -> bool:
    """Record an answer; false when there is none in it."""
    if choice in ANSWERS:
        intent, label = ANSWERS[choice]
        review = bool(words.strip())
        _keep(session, message, f"{label}. {words}".strip(), Understanding(intent, review, None, "page"))
    elif words.strip():
        _keep(session, message, words, understand(words, question_pending=True))
    else:
        return False
    return True


def choices(session: Session, customer: Customer) -> list[ChannelChoice]:
    """Return what she hears from us now, for each channel on which we know an address."""
    said = consents.standing(session, customer_id=customer.id)
    found = []
    for channel, address in _addresses(session, customer).items():
        ban = _ban(session, channel, address)
        stopped = ban is not None and ban.reason in _OWN_WORDS
        allowed = {
            kind: not stopped and said.get((channel, kind), (channel, kind) != _REFUSED_WITHOUT_ASKING)
            for kind in CLASS_WORDS
        }
        found.append(ChannelChoice(channel, address, stopped, ban is not None and not stopped, allowed))
    return found


def prefer(session: Session, customer: Customer, ticked: AbstractSet[tuple[Channel, NoticeClass]]) -> None:
    """Write down what differs from what was so before; ticking anything of a stopped channel opens it again."""
    session.execute(select(Customer.id).where(Customer.id == customer.id).with_for_update())
    now = clock.now(session)
    shown = choices(session, customer)
    for choice in shown:
        if choice.stopped and any(channel is choice.channel for channel, _ in ticked):
            suppressing.lift(session, channel=choice.channel, address=choice.address, by="preferences", now=now)
    consents.choose(
        session,
        customer_id=customer.id,
        wanted={(c.channel, kind): (c.channel, kind) in ticked for c in shown for kind in c.allowed},
        shown={(c.channel, kind): allowed for c in shown for kind, allowed in c.allowed.items()},
        source="preferences",
        now=now,
    )


def _addresses(session: Session, customer: Customer) -> dict[Channel, str]:
    rows = session.execute(_ADDRESSES, {"customer_id": customer.id})
    known = {Channel(row.channel): row.address for row in rows if row.address}
    return {channel: known[channel] for channel in Channel if channel in known}


def _ban(session: Session, channel: Channel, address: str) -> Suppression | None:
    return session.scalar(
        select(Suppression).where(
            Suppression.channel == channel, Suppression.address == address, Suppression.lifted_at.is_(None)
        )
    )


def _keep(session: Session, message: Message, words: str, meaning: Understanding) -> None:
    # One after the other: a double click, or fifty at once, is one answer.
    session.execute(select(Message.id).where(Message.id == message.id).with_for_update())
    if not _said_before(session, message, words, meaning):
        now: datetime = clock.now(session)
        replies.keep(
            session, channel=message.channel, sender=message.address, words=words, meaning=meaning,
            message_id=message.id, inbound_event_id=None, now=now,
        )  # fmt: skip


def _said_before(session: Session, message: Message, words: str, meaning: Understanding) -> bool:
    same = session.scalar(
        select(Response.id)
        .where(
            Response.customer_id == message.customer_id,
            Response.message_id == message.id,
            Response.intent == meaning.intent,
            Response.text == words,
        )
        .limit(1)
    )
    if same is None or meaning.intent is not Intent.STOP:
        return same is not None
    return _ban(session, message.channel, message.address) is not None
