"""A message that kills the worker which renders it must not keep a thousand others waiting.

A chunk that was claimed several times in a row without one attempt is suspect: half of it moves to a chunk of its
own, again and again, until the killer is alone; then it is rejected with the reason. The others go out meanwhile.
"""

from uuid import UUID

import structlog
from sqlalchemy import text
from sqlalchemy.orm import Session

from campaigns.preparing import Claim
from outreach import clock

log = structlog.get_logger()

# So many claims in a row that came to nothing before a chunk is cut in half, and before one alone is given
# up: five, because a machine that is going down can end a worker a few times at the same innocent message.
CUT_AFTER, REJECT_AFTER = 2, 5

_LOST_CLAIMS = text("""
SELECT :fence - 1 - coalesce((SELECT max(fence) FROM attempts WHERE chunk_id = :chunk_id), 0) - k.given_back
FROM chunks k WHERE k.id = :chunk_id
""")

_QUEUED = text("SELECT id FROM messages WHERE chunk_id = :chunk_id AND send_state = 'queued' ORDER BY id")

# Fence 1: the next claim of either half that comes to nothing cuts it again.
_CUT = text("""
WITH made AS (
    INSERT INTO chunks (campaign_id, channel, template_version, due_at, size, tries, fence, wave, zones, closes_at)
    SELECT campaign_id, channel, template_version, due_at, :size, tries, 1, wave, zones, closes_at
    FROM chunks WHERE id = :chunk_id RETURNING id
)
UPDATE messages SET chunk_id = made.id FROM made WHERE messages.id = ANY(:ids) AND send_state = 'queued'
""")

_REJECT = text(f"""
UPDATE messages SET send_state = 'rejected', reason = 'template', failed_at = {clock.NOW_SQL},
       delivery_detail = 'making this message ended the worker again and again'
WHERE id = :id AND send_state = 'queued'
""")


def isolate(session: Session, claim: Claim) -> UUID | None:
    """Cut a suspect chunk in half, or reject its only message; returns the id of a rejected one.

    What stays in the chunk is the claim's work, as ever. Costs nothing for a chunk that was claimed only once or
    twice.
    """
    if claim.fence <= CUT_AFTER:
        return None
    lost = session.execute(_LOST_CLAIMS, {"fence": claim.fence, "chunk_id": claim.chunk_id}).scalar_one()
    if lost < CUT_AFTER:
        return None
    queued: list[UUID] = list(session.scalars(_QUEUED, {"chunk_id": claim.chunk_id}))
    if len(queued) > 1:
        away = queued[len(queued) // 2 :]
        session.execute(_CUT, {"chunk_id": claim.chunk_id, "ids": away, "size": len(away)})
        log.warning("chunk cut in half", chunk_id=claim.chunk_id, left=len(queued) - len(away), claims_lost=lost)
    elif queued and lost >= REJECT_AFTER:
        session.execute(_REJECT, {"id": queued[0]})
        log.error("message ends every worker", message_id=str(queued[0]), claims_lost=lost)
        return queued[0]
    return None
