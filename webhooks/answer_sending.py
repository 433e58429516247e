"""Answers of operators on their way: each is called for once, its call recorded before it is made.

The same protocol as for notices (docs/sending.md), one message at a time: claim commits, the provider is called with no
transaction open, the receipt commits. What a crash or a time-out leaves open is looked up; provably absent is sent
again, found is accepted, and what nobody can know goes back to the operator, because twice is worse than asking.
While the first provider of email rests the second one is called, where there is one (`standing_in`).
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID

from markupsafe import Markup
from sqlalchemy import text
from sqlalchemy.orm import Session

from campaigns.envelopes import sender_for
from campaigns.providers.base import EmailEnvelope, LookUp, Outcome, Provider, Receipt, Search, SmsEnvelope
from campaigns.receipts import LONGEST_WAIT_SECONDS, MOST_TRIES
from campaigns.standing_in import sender_named, usable_sender
from campaigns.stops import stopped
from outreach import clock
from outreach.db import transaction
from outreach.errors import InvalidInput, OutreachError
from outreach.models import Customer, OperatorAnswer, Response
from outreach.settings import Settings, get_settings
from outreach.vocabulary import Channel, NoticeClass, SendState
from webhooks.answering import is_barred

PATIENCE = 30  # seconds for one call

_CLAIM = text(f"""
UPDATE operator_answers SET state = 'sending', tries = tries + 1, called_at = :wall, due_at = :lease_ends
WHERE id = (SELECT a.id FROM operator_answers a
            WHERE a.state = 'queued' AND a.due_at <= :wall AND NOT {stopped("a.channel", "cast(NULL AS bigint)")}
            ORDER BY a.due_at LIMIT 1 FOR UPDATE SKIP LOCKED)
RETURNING id
""")
_LOST = text("""
UPDATE operator_answers SET state = 'unknown', due_at = :look_at, detail = 'The call was interrupted.'
WHERE state = 'sending' AND due_at <= :wall
""")
_IN_DOUBT = text("""
SELECT id FROM operator_answers WHERE state = 'unknown' AND due_at <= :wall ORDER BY due_at LIMIT 50
""")
_FOR_A_PERSON = text("UPDATE responses SET handled_at = NULL, handled_by = NULL WHERE id = :id")
_BAR = text("""
INSERT INTO suppressions (channel, address, reason, source, created_at)
VALUES (:channel, :address, :reason, :source, :now)
ON CONFLICT (channel, address) WHERE lifted_at IS NULL DO NOTHING
""")


@dataclass(frozen=True, slots=True)
class _Call:
    """One answer that this process is to send, and the number of its call."""

    id: UUID
    tries: int
    provider: Provider[Any]
    envelope: EmailEnvelope | SmsEnvelope


def send_due(*, most: int = 500) -> int:
    """Send the answers that are due and settle those in doubt; returns how many calls were made."""
    calls = 0
    _settle_doubts()
    providers = {channel: usable_sender(channel).provider for channel in (Channel.EMAIL, Channel.SMS)}
    for _ in range(most):
        # Before the claim: a process that was frozen in between finds that its time is over, and calls nobody.
        deadline = time.monotonic() + PATIENCE
        with transaction() as session:
            claimed = session.scalar(_CLAIM, _moments())
            call = _prepare(session, claimed, providers) if claimed is not None else None
        if claimed is None:
            break
        if call is None:
            continue
        calls += 1
        try:
            receipt = call.provider.send([call.envelope], deadline=deadline)[0]
        except OutreachError as error:  # a setting is missing: nothing was called
            receipt = Receipt(call.id, Outcome.REFUSED, detail=error.message)
        _write_down(call, receipt)
    return calls


def _moments() -> dict[str, Any]:
    wall, settings = clock.wall(), get_settings()
    return {
        "wall": wall,
        "lease_ends": wall + timedelta(seconds=max(settings.lease_seconds, 2 * PATIENCE)),
        "look_at": wall + timedelta(seconds=settings.reconcile_grace_seconds),
    }


def _prepare(session: Session, answer_id: UUID, providers: Mapping[Channel, Provider[Any]]) -> _Call | None:
    """Look once more whether it may go, and make its envelope; none when it may not."""
    row = session.get_one(OperatorAnswer, answer_id, populate_existing=True)
    customer = session.get(Customer, row.customer_id) if row.customer_id else None
    erased = customer is not None and customer.erased_at is not None
    if erased or is_barred(session, row.channel, row.address):
        _end(session, row, SendState.SUPPRESSED, "The address was barred before the answer could go out.")
        return None
    try:
        envelope = _envelope(session, row, customer.name if customer is not None else None, get_settings())
    except InvalidInput as error:
        _end(session, row, SendState.REJECTED, error.message)
        return None
    provider = providers[row.channel]
    row.provider = provider.name  # before the call: whoever finds it in doubt asks there
    return _Call(row.id, row.tries, provider, envelope)


def _envelope(
    session: Session, row: OperatorAnswer, name: str | None, settings: Settings
) -> EmailEnvelope | SmsEnvelope:
    if row.channel is Channel.SMS:
        callback = f"{settings.public_url.rstrip('/')}/webhooks/twilio/status"
        return SmsEnvelope(row.id, row.address, row.text, status_callback=callback)
    response = session.get_one(Response, row.response_id)
    quoted = "\n".join(f"> {line}" for line in response.text[:5_000].splitlines())
    said = f"On {response.received_at:%d %B %Y} you wrote:"
    # An answer to this answer belongs to the message that began it all.
    thread = response.message_id or row.id
    return EmailEnvelope(
        message_id=row.id,
        to=row.address,
        to_name=name if name and name.isprintable() else None,
        subject=row.subject,
        html=_html(row.text, said, response.text[:5_000]),
        text=f"{row.text}\n\n--\n{settings.organisation}\n\n{said}\n{quoted}\n",
        from_address=settings.email_from,
        from_name=settings.organisation,
        reply_to=f"reply+{thread.hex}@{settings.email_reply_domain}",
        notice_class=NoticeClass.SERVICE,
    )


def _html(words: str, said: str, quoted: str) -> str:
    def lines(given: str) -> Markup:
        return Markup("<br>\n").join(given.splitlines())

    return Markup(
        '<!doctype html>\n<html><head><meta charset="utf-8"></head><body><p>{}</p>\n<p>--<br>\n{}</p>\n'
        "<p>{}</p>\n<blockquote>{}</blockquote></body></html>\n"
    ).format(lines(words), get_settings().organisation, said, lines(quoted))


def _write_down(call: _Call, receipt: Receipt) -> None:
    with transaction() as session:
        row = session.get_one(OperatorAnswer, call.id, with_for_update=True)
        if row.tries != call.tries or row.state not in {SendState.SENDING, SendState.UNKNOWN}:
            return  # settled by evidence meanwhile
        now = clock.now(session)
        row.provider_id, row.detail = receipt.provider_id or row.provider_id, receipt.detail
        if receipt.bars:
            ban = {"channel": row.channel.value, "address": row.address, "source": call.provider.name, "now": now}
            session.execute(_BAR, ban | {"reason": receipt.bars.value})
        if receipt.outcome is Outcome.ACCEPTED:
            row.state, row.sent_at = SendState.ACCEPTED, now
        elif receipt.outcome is Outcome.REJECTED or row.tries >= MOST_TRIES:
            _end(session, row, SendState.REJECTED, receipt.detail or "The provider refused it.")
        elif receipt.outcome is Outcome.REFUSED:
            wait = max(receipt.retry_after_seconds or 0, min(15 * 2**row.tries, LONGEST_WAIT_SECONDS))
            row.state, row.due_at = SendState.QUEUED, clock.wall() + timedelta(seconds=wait)
        else:
            row.state, row.due_at = SendState.UNKNOWN, _moments()["look_at"]


def _settle_doubts() -> None:
    """Ask the provider about what is in doubt: lost calls, and those whose answer never came."""
    with transaction() as session:
        session.execute(_LOST, _moments())
        doubts: Sequence[UUID] = session.scalars(_IN_DOUBT, _moments()).all()
    for answer_id in doubts:
        with transaction() as session:
            row = session.get_one(OperatorAnswer, answer_id)
            tries, asked = row.tries, (row.address, row.called_at or row.written_at, row.text)
            # None is written down for a call of an older release, which knew the first provider only.
            sender = sender_named(row.channel, row.provider or sender_for(row.channel).provider.name)
        found = sender.provider.look_up(answer_id, *asked) if sender else LookUp(Search.UNABLE)
        with transaction() as session:
            row = session.get_one(OperatorAnswer, answer_id, with_for_update=True)
            if row.state is not SendState.UNKNOWN or row.tries != tries:
                continue
            if found.search is Search.FOUND:
                row.state, row.provider_id = SendState.ACCEPTED, found.provider_id
                row.sent_at = row.sent_at or clock.now(session)
            elif found.search is Search.ABSENT and row.tries < MOST_TRIES:
                row.state, row.due_at = SendState.QUEUED, clock.wall()
            else:
                said = "Nobody can tell whether it arrived: ask the provider, or the customer, before you write again."
                _end(session, row, SendState.DEAD, said)


def _end(session: Session, row: OperatorAnswer, state: SendState, why: str) -> None:
    """End an answer that will not arrive as far as anybody knows: the reply waits for a person again."""
    row.state, row.detail = state, why[:1000].replace("\0", "")
    session.flush()
    session.execute(_FOR_A_PERSON, {"id": row.response_id})
