"""A test send: one real recipient's message, handed to the provider for an address of our own.

It is no part of the campaign: no notice, no ledger, no reply. What became of it is in the audit log.
"""

import re
import time
from dataclasses import replace
from datetime import datetime
from typing import Any

from email_validator import EmailNotValidError, validate_email
from sqlalchemy import select
from sqlalchemy.orm import Session

from campaigns import lifecycle, samples
from campaigns.context import Recipient, customer_words
from campaigns.envelopes import Sender, Unrenderable
from campaigns.providers.base import EmailEnvelope, SmsEnvelope
from campaigns.standing_in import usable_sender
from campaigns.unrecorded import new_unrecorded_id
from outreach import audit, clock
from outreach.db import transaction
from outreach.errors import InvalidInput, OutreachError
from outreach.models import AuditEntry
from outreach.vocabulary import Channel
from segments.source import E164

ACTION = "campaign.test_sent"
PATIENCE = 30  # seconds


def check_address(channel: Channel, address: str) -> str:
    """Return an address that a test may go to; raises `InvalidInput`. Postcards cost a stamp and are looked at here."""
    if channel is Channel.EMAIL:
        try:
            return validate_email(address, check_deliverability=False).normalized
        except EmailNotValidError as error:
            raise InvalidInput(f"{address!r} is not an email address: {error}", where="address") from None
    if channel is Channel.SMS:
        if not re.match(E164, address):
            raise InvalidInput("Write the number with its country, such as +12025550100.", where="address")
        return address
    raise InvalidInput("Postcards are not sent as a test; their two sides are shown here to scale.", where="channel")


def send_trial(key: str, *, customer_id: int, channel: Channel, address: str, actor: str) -> str:
    """Send one test and return what became of it; opens its own transactions, none during the call."""
    message_id = new_unrecorded_id()
    sender = usable_sender(channel)
    with transaction() as session:
        campaign, now = lifecycle.find(session, key), clock.now(session)
        person = samples.person(session, campaign=campaign, customer_id=customer_id)
        variables = samples.variables_of(session, campaign=campaign, person=person, now=now, message_id=message_id)
        row = person.row
        recipient = Recipient(
            message_id, address, customer_words(dict(row)), row["grade"],
            row["evidence_items"], row["evidence_orders"], row["evidence_tickets"],
        )  # fmt: skip
        content = sender.content(session, campaign.template_key, campaign.template_version)
        envelope: Any = sender.envelope(recipient, variables, content, person.locale, campaign.notice_class)
    return hand_over(sender, envelope, subject=key, actor=actor)


def hand_over(sender: Sender, envelope: Any, *, subject: str, actor: str) -> str:
    """Give one test to the provider, with no transaction open, and write down what became of it."""
    if isinstance(envelope, Unrenderable):
        outcome = envelope.why
    else:
        if isinstance(envelope, EmailEnvelope):
            envelope = replace(envelope, subject=f"[Test] {envelope.subject}", to_name=None)
        if isinstance(envelope, SmsEnvelope):  # its reports would name no message of ours
            envelope = replace(envelope, status_callback=None)
        try:
            receipt = sender.provider.send([envelope], deadline=time.monotonic() + PATIENCE)[0]
            outcome = receipt.outcome.value if not receipt.detail else f"{receipt.outcome.value}: {receipt.detail}"
        except OutreachError as error:
            outcome = error.message
    with transaction() as session:
        detail = {"channel": sender.channel.value, "outcome": outcome[:300]}
        audit.record(session, actor=actor, action=ACTION, subject=subject, detail=detail, now=clock.now(session))
    return outcome


def newest(session: Session, key: str, limit: int = 3) -> list[tuple[datetime, str, str, str]]:
    """Return the newest test sends of a campaign: when, by whom, channel, outcome."""
    query = (
        select(AuditEntry)
        .where(AuditEntry.subject == key, AuditEntry.action == ACTION)
        .order_by(AuditEntry.id.desc())
        .limit(limit)
    )
    return [
        (row.at, row.actor, str(row.detail["channel"]), str(row.detail["outcome"])) for row in session.scalars(query)
    ]
