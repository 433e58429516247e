"""Everything about a claimed chunk that needs no call: loaded in four statements, and rendered.

Only who has moved to another time zone since the chunk was planned leaves it here, for a chunk of their own.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import TextClause, text
from sqlalchemy.orm import Session

from campaigns.circuits import CIRCUIT, RESTS
from campaigns.context import Recipient, contexts, shared_words
from campaigns.envelopes import Envelope, Sender, Unrenderable
from campaigns.ladders import ladder_of
from campaigns.last_look import send_elsewhere
from campaigns.rendering import CompiledContent
from campaigns.stops import stopped
from outreach import clock
from outreach.crash import crash_at_any
from outreach.db import transaction
from outreach.models import Campaign
from outreach.vocabulary import Channel

_DUE = f"""SELECT open.id FROM chunks open JOIN campaigns c ON c.id = open.campaign_id
        WHERE open.channel = :channel AND open.state = 'ready' AND open.due_at <= (SELECT now FROM moment)
          AND c.state = 'running' AND (open.closes_at IS NULL OR open.closes_at > (SELECT now FROM moment))
          AND NOT {stopped("open.channel", "open.campaign_id")} AND NOT {RESTS} {{only}}
        ORDER BY open.due_at, open.id LIMIT 1 FOR UPDATE OF open SKIP LOCKED"""

_URGENT, _ANY = _DUE.format(only="AND c.notice_class = 'safety'"), _DUE.format(only="")


def _claim(which: str) -> TextClause:
    return text(f"""
WITH moment AS MATERIALIZED (SELECT {clock.NOW_SQL} AS now)
UPDATE chunks k SET state = 'claimed', fence = k.fence + 1, owner = :owner,
                    leased_until = clock_timestamp() + make_interval(secs => :lease)
FROM campaigns c
WHERE c.id = k.campaign_id AND k.id = {which}
RETURNING k.id, k.campaign_id, k.fence, k.tries, k.template_version, (SELECT now FROM moment), c.notice_class,
          c.template_key, c.not_after, c.segment_id, c.problem_id, k.zones,
          {CIRCUIT}
""")


# Urgency first: a notice about safety never waits behind a million tips. Then in the order in which chunks became due.
_CLAIM = _claim(f"coalesce(({_URGENT}), ({_ANY}))")
_CLAIM_URGENT = _claim(f"({_URGENT})")

_MESSAGES = text("""
SELECT m.id, m.address, n.grade, n.evidence_items, n.evidence_orders, n.evidence_tickets,
       c.name, c.external_id, c.email, c.phone, c.city, c.region, c.postal_code, c.country, c.locale, c.attributes,
       c.address_line1, c.address_line2, c.time_zone
FROM messages m JOIN notices n ON n.id = m.notice_id JOIN customers c ON c.id = m.customer_id
WHERE m.chunk_id = :chunk_id AND m.send_state = 'queued'
ORDER BY m.id
""")


@dataclass(frozen=True, slots=True)
class Claim:
    """A chunk that this worker holds; receipts with an older `fence` change nothing."""

    chunk_id: int
    campaign_id: int
    fence: int
    tries: int
    template_version: int
    now: datetime
    notice_class: str
    template_key: str
    not_after: datetime | None
    segment_id: int | None
    problem_id: int | None
    zones: str | None
    probes: bool  # its provider rests: one message finds out whether it works again


@dataclass(frozen=True, slots=True)
class Prepared:
    """A claimed chunk with its envelopes, in the order of the message ids, and what could not be rendered."""

    claim: Claim
    envelopes: list[Envelope]
    failures: list[Unrenderable]
    patient: bool  # whether a later channel waits for hours of silence, so that somebody must look again


def claim_next(
    session: Session, *, channel: Channel, provider: str, owner: str, lease_seconds: float, urgent_only: bool = False
) -> Claim | None:
    """Take the next due chunk of `channel` for a lease; none when nothing is due, or its provider rests."""
    row = session.execute(
        _CLAIM_URGENT if urgent_only else _CLAIM,
        {"channel": channel, "provider": provider, "owner": owner, "lease": lease_seconds},
    ).one_or_none()
    return None if row is None else Claim(*row)


def prepare(claim: Claim, sender: Sender) -> Prepared:
    """Load and render the queued messages of a chunk; what is wrong with one never stops the others."""
    with transaction() as session:
        campaign = session.get_one(Campaign, claim.campaign_id)
        rows = session.execute(_MESSAGES, {"chunk_id": claim.chunk_id}).all()
        if moved := send_elsewhere(session, claim=claim, channel=sender.channel, rows=rows):
            rows = [row for row in rows if row.id not in moved]
        recipients, locales = [], []
        for row in rows:
            (message_id, address, grade, items, orders, tickets, name, external_id, email, phone, city, region,
             postal_code, country, locale, attributes, line1, line2, _) = row  # fmt: skip
            customer = {
                "name": name, "external_id": external_id, "email": email, "phone": phone, "city": city,
                "region": region, "postal_code": postal_code, "country": country,
                "first_name": name.split(maxsplit=1)[0] if name and not name.isspace() else None,
                "language": locale, "attributes": attributes, "address_line1": line1, "address_line2": line2,
            }  # fmt: skip
            recipients.append(Recipient(message_id, address, customer, grade, items, orders, tickets))
            locales.append(locale)
        shared = shared_words(session, campaign)
        content = sender.bound_content(session, claim.template_key, claim.template_version, shared)
        reads = frozenset().union(sender.reads, *(compiled.reads for compiled in content.values()))
        variables = contexts(
            session, campaign=campaign, recipients=recipients, now=claim.now, shared=shared, reads=reads
        )
        patient = ladder_of(campaign.ladder).patient
    crash_at_any("rendering", (recipient.customer["external_id"] for recipient in recipients))
    envelopes, failures = _render(sender, campaign, recipients, locales, variables, content)
    return Prepared(claim, envelopes, failures, patient)


def _render(
    sender: Sender,
    campaign: Campaign,
    recipients: list[Recipient],
    locales: list[str | None],
    variables: Mapping[Any, dict[str, Any]],
    content: Mapping[str, CompiledContent],
) -> tuple[list[Envelope], list[Unrenderable]]:
    envelopes: list[Envelope] = []
    failures: list[Unrenderable] = []
    for recipient, locale in zip(recipients, locales, strict=True):
        made = sender.envelope(recipient, variables[recipient.message_id], content, locale, campaign.notice_class)
        if isinstance(made, Unrenderable):
            failures.append(made)
        else:
            envelopes.append(made)
    return envelopes, failures
