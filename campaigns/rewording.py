"""The exact text that a message had, made again from the same template version and the same data.

For providers that can be searched by the text only. Where the data have changed since, the text differs, and the
search answers that it cannot tell.
"""

from collections.abc import Sequence
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.orm import Session

from campaigns.context import Recipient, contexts, customer_words
from campaigns.envelopes import Sender
from campaigns.providers.base import SmsEnvelope
from outreach import clock
from outreach.models import Campaign

_ROWS = text("""
SELECT m.id AS message_id, m.campaign_id, m.address, k.template_version,
       n.grade, n.evidence_items, n.evidence_orders, n.evidence_tickets,
       c.name, c.external_id, c.email, c.phone, c.city, c.region, c.country, c.locale, c.attributes,
       c.address_line1, c.address_line2, c.postal_code
FROM messages m JOIN chunks k ON k.id = m.chunk_id JOIN notices n ON n.id = m.notice_id
JOIN customers c ON c.id = m.customer_id
WHERE m.id = ANY(:ids) ORDER BY m.campaign_id, k.template_version, m.id
""")


def texts_of(session: Session, sender: Sender, message_ids: Sequence[UUID]) -> dict[UUID, str]:
    """Return the text of each text message that can still be made."""
    groups: dict[tuple[int, int], list[tuple[Recipient, str | None]]] = {}
    for row in session.execute(_ROWS, {"ids": list(message_ids)}).mappings():
        recipient = Recipient(
            row["message_id"], row["address"], customer_words(dict(row)), row["grade"],
            row["evidence_items"], row["evidence_orders"], row["evidence_tickets"],
        )  # fmt: skip
        groups.setdefault((row["campaign_id"], row["template_version"]), []).append((recipient, row["locale"]))
    texts = {}
    for (campaign_id, version), people in groups.items():
        campaign = session.get_one(Campaign, campaign_id)
        variables = contexts(
            session, campaign=campaign, recipients=[person for person, _ in people], now=clock.now(session)
        )
        content = sender.content(session, campaign.template_key, version)
        for person, locale in people:
            made = sender.envelope(person, variables[person.message_id], content, locale, campaign.notice_class)
            if isinstance(made, SmsEnvelope):
                texts[person.message_id] = made.body
    return texts
