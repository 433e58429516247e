"""Postcards of a cancelled campaign are taken back from the printer while that is possible.

Lob keeps a card for five minutes before it goes to print (https://docs.lob.com/#tag/Postcards/operation/postcard_delete).
The message stays `accepted`, for the provider had it; its reason says what came of it, and who was to get it counts as
skipped. What cannot be told is asked again at the next round, until the time is over.
"""

from datetime import timedelta
from typing import Protocol, runtime_checkable

import structlog
from sqlalchemy import text

from campaigns.envelopes import Sender
from campaigns.providers.base import Outcome
from outreach import clock
from outreach.db import transaction

log = structlog.get_logger()

WINDOW = timedelta(minutes=5)
WITHDRAWN, TOO_LATE = "withdrawn", "too_late_to_withdraw"
AT_A_TIME = 200

_OPEN = text("""
SELECT m.id, m.provider_id FROM campaigns c JOIN messages m ON m.campaign_id = c.id
WHERE c.state = 'cancelled' AND c.finished_at > cast(:since AS timestamptz)
  AND m.channel = :channel AND m.provider = :provider AND m.send_state = 'accepted' AND m.provider_id IS NOT NULL
  AND m.reason IS NULL AND m.delivery_rank < 30 AND m.sent_at > :since
ORDER BY m.sent_at, m.id LIMIT :most
""")

_SETTLE = text("""
WITH told AS (
    UPDATE messages SET reason = :reason WHERE id = :id AND send_state = 'accepted' AND reason IS NULL
    RETURNING id, notice_id
)
UPDATE notices n SET state = 'skipped', reason = 'cancelled', settled_at = :now
FROM told WHERE :withdrawn AND n.id = told.notice_id AND n.state = 'owed' AND NOT EXISTS (
    SELECT 1 FROM messages other WHERE other.notice_id = n.id AND other.id <> told.id
      AND (other.send_state IN ('sending', 'unknown')
           OR (other.send_state = 'accepted' AND other.reason IS DISTINCT FROM :reason)))
""")


@runtime_checkable
class Withdraws(Protocol):
    """A provider that can be asked to forget what it has accepted."""

    @property
    def name(self) -> str:
        """The word stored with each message that went through here."""
        ...

    def withdraw(self, provider_id: str) -> Outcome:
        """Return ACCEPTED where it will not be sent, REJECTED where it is too late, else what is not known."""
        ...


def withdraw(sender: Sender) -> int:
    """Take back what is still possible of cancelled campaigns; returns how many, calls with no transaction open."""
    adapter = getattr(sender.provider, "inner", sender.provider)
    if not isinstance(adapter, Withdraws):
        return 0
    with transaction() as session:
        now = clock.now(session)
        given = {"since": now - WINDOW, "channel": sender.channel, "provider": adapter.name, "most": AT_A_TIME}
        found = session.execute(_OPEN, given).all()
    taken = 0
    for row in found:
        outcome = adapter.withdraw(row.provider_id)
        if outcome not in {Outcome.ACCEPTED, Outcome.REJECTED}:
            continue
        withdrawn = outcome is Outcome.ACCEPTED
        taken += withdrawn
        with transaction() as session:
            reason = WITHDRAWN if withdrawn else TOO_LATE
            session.execute(_SETTLE, {"id": row.id, "reason": reason, "withdrawn": withdrawn, "now": now})
    if found:
        log.info("postcards taken back", asked=len(found), withdrawn=taken)
    return taken
