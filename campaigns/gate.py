"""Let a window of a claimed chunk through: the lease is renewed, the last look taken, the attempts recorded.

Step S3 of docs/sending.md, in one transaction that commits before the provider is called. A campaign that is paused,
a stop (`stops`), a provider that rests (`circuits`) and quiet hours that have begun give the chunk back: then `ours`
is false.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.orm import Session

from campaigns import last_look
from campaigns.circuits import CIRCUIT
from campaigns.envelopes import Sender, Unrenderable
from campaigns.preparing import Claim
from campaigns.providers.base import messages_per_call_of
from campaigns.stops import stopped
from outreach import clock
from outreach.settings import get_settings
from outreach.vocabulary import NoticeClass

_EXTEND = text(f"""
UPDATE chunks SET leased_until = clock_timestamp() + make_interval(secs => :lease)
WHERE id = :chunk_id AND fence = :fence AND state = 'claimed'
  AND EXISTS (SELECT 1 FROM campaigns c WHERE c.id = chunks.campaign_id AND c.state = 'running')
  AND (closes_at IS NULL OR closes_at > {clock.NOW_SQL})
  AND NOT {stopped("chunks.channel", "chunks.campaign_id")} AND (:probes OR NOT {CIRCUIT})
RETURNING {clock.NOW_SQL} AS now
""")

_RENDER_FAILED = text(f"""
UPDATE messages m SET send_state = 'rejected', reason = 'template', delivery_detail = bad.why,
       failed_at = {clock.NOW_SQL}
FROM unnest(cast(:message_ids AS uuid[]), cast(:whys AS text[])) AS bad(id, why)
WHERE m.id = bad.id AND m.send_state = 'queued'
""")


@dataclass(frozen=True, slots=True)
class Gated:
    """What may go: the attempt of each message in the order asked, none for one that may not.

    `left` counts those that left; `ours` is false for a lost chunk.
    """

    ours: bool
    attempts: Sequence[int | None] = ()
    left: int = 0


def gate(
    session: Session, *, claim: Claim, sender: Sender, message_ids: Sequence[UUID], prices: Sequence[int]
) -> Gated:
    """Look at the window once more and record the calls that will be made for it.

    `message_ids` rise; `prices` has one entry per message, or a single one for all.
    """
    lease = get_settings().lease_seconds
    held = session.execute(
        _EXTEND,
        {"chunk_id": claim.chunk_id, "fence": claim.fence, "lease": lease, "probes": claim.probes,
         "provider": sender.provider.name},
    ).one_or_none()  # fmt: skip
    if held is None:
        return Gated(ours=False)
    if not message_ids:
        return Gated(ours=True)
    judged = last_look.judge(
        session, claim=claim, channel=sender.channel, message_ids=message_ids, provider=sender.provider.name,
        messages_per_call=messages_per_call_of(sender.provider, NoticeClass(claim.notice_class)), prices=prices,
        now=held.now,
    )  # fmt: skip
    return Gated(ours=True, attempts=judged.attempts, left=judged.left)


def refuse_unrenderable(session: Session, failures: Sequence[Unrenderable]) -> None:
    """Reject the messages that could not be made, with the reason for the manager."""
    session.execute(
        _RENDER_FAILED, {"message_ids": [f.message_id for f in failures], "whys": [f.why for f in failures]}
    )
