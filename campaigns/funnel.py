"""A campaign while it runs: from how many in scope to how many told and heard, and the people behind each number."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import text
from sqlalchemy.orm import Session

from campaigns.prices import PER_CENT
from outreach.models import Campaign

PAGE = 50

_REASONS = text("""
SELECT state, coalesce(reason, '') AS reason, count(*) AS total FROM notices WHERE campaign_id = :id GROUP BY 1, 2
""")
_CHANNELS = text("""
SELECT channel, CASE WHEN send_state = 'accepted' THEN coalesce(delivery, 'accepted') ELSE send_state END AS word,
       count(*) AS total, count(DISTINCT notice_id) FILTER (WHERE sent_at IS NOT NULL) AS sent,
       count(DISTINCT notice_id) FILTER (
           WHERE replied_at IS NOT NULL OR clicked_at IS NOT NULL) AS acknowledged,
       coalesce(sum(cost) FILTER (WHERE send_state IN ('accepted', 'unknown', 'sending')
                                    AND reason IS DISTINCT FROM 'withdrawn'), 0) AS cost
FROM messages WHERE campaign_id = :id GROUP BY GROUPING SETS ((1, 2), ()) ORDER BY 1, 2
""")
_WAVES = text("""
SELECT wave, sum(size) AS total, coalesce(sum(size) FILTER (WHERE state = 'done'), 0) AS done,
       coalesce(sum(size) FILTER (WHERE state = 'held'), 0) AS held, min(due_at) FILTER (WHERE state = 'ready') AS due
FROM chunks WHERE campaign_id = :id AND tries = 0 GROUP BY wave ORDER BY wave
""")
_REPLIES = text("""
SELECT count(*) AS total, count(*) FILTER (WHERE handled_at IS NULL) AS waiting FROM responses WHERE campaign_id = :id
""")
_PEOPLE = text("""
SELECT n.id, c.external_id AS number, c.name, n.grade, n.state, n.reason, n.settled_at,
       (SELECT string_agg(m.channel || ': ' || coalesce(m.delivery_detail, m.reason, m.delivery, m.send_state), '; '
                          ORDER BY m.step, m.attempt)
        FROM messages m WHERE m.notice_id = n.id) AS tried
FROM notices n JOIN customers c ON c.id = n.customer_id
WHERE n.campaign_id = :id AND n.state = :state AND (cast(:reason AS text) IS NULL OR coalesce(n.reason, '') = :reason)
  AND n.id > :after
ORDER BY n.id LIMIT :limit
""")
# What a message's word means for the one bar of its channel.
_PARTS = {
    "delivered": ("delivered",),
    "way": ("queued", "sending", "unknown", "accepted", "deferred", "sent", "in_transit"),
    "failed": ("rejected", "failed", "bounced", "returned", "dead"),
    "skipped": ("suppressed", "cancelled", "expired"),
}


@dataclass(frozen=True, slots=True)
class ChannelFigures:
    """The messages of one channel by what became of them."""

    channel: str
    words: dict[str, int]

    @property
    def total(self) -> int:
        """How many messages there are."""
        return sum(self.words.values())

    def part(self, name: str) -> int:
        """Return how many are `delivered`, on the `way`, `failed` or `skipped`."""
        return sum(self.words.get(word, 0) for word in _PARTS[name])


@dataclass(frozen=True, slots=True)
class Wave:
    """One wave: how many messages it has, how many of them are done or held back, and when the next go out."""

    number: int
    total: int
    done: int
    held: int
    due: datetime | None


@dataclass(frozen=True, slots=True)
class Figures:
    """All figures of one moment; `spent_cents` is what was handed over, at the prices of then."""

    notices: dict[str, int]
    reasons: dict[str, dict[str, int]]
    channels: list[ChannelFigures]
    waves: list[Wave]
    sent: int
    acknowledged: int
    replies: int
    replies_waiting: int
    spent_cents: float

    @property
    def scope(self) -> int:
        """How many people the campaign accounts for."""
        return sum(self.notices.values())

    @property
    def reachable(self) -> int:
        """How many were, or are still to be, tried."""
        return self.scope - self.notices.get("skipped", 0) - self.notices.get("held_out", 0)

    @property
    def settled(self) -> bool:
        """Whether nobody's notice is on the way any more."""
        return bool(self.scope) and not self.notices.get("owed")

    def steps(self) -> list[tuple[str, int]]:
        """Return the funnel from the widest step to the narrowest."""
        return [
            ("In scope", self.scope),
            ("Reachable", self.reachable),
            ("Sent", self.sent),
            ("Delivered", self.notices.get("delivered", 0)),
            ("Acknowledged", self.acknowledged),
        ]


@dataclass(frozen=True, slots=True)
class Behind:
    """One person behind a number."""

    id: int
    number: str
    name: str | None
    grade: str
    state: str
    reason: str | None
    settled_at: datetime | None
    tried: str | None


def figures(session: Session, *, campaign: Campaign) -> Figures:
    """Count a campaign from its rows."""
    given = {"id": campaign.id}
    reasons: dict[str, dict[str, int]] = {}
    for row in session.execute(_REASONS, given):
        reasons.setdefault(row.state, {})[row.reason] = row.total
    by_channel: dict[str, dict[str, int]] = {}
    sent = acknowledged = cost = 0
    for row in session.execute(_CHANNELS, given):
        if row.channel is None:
            sent, acknowledged, cost = row.sent, row.acknowledged, row.cost
        else:
            by_channel.setdefault(row.channel, {})[row.word] = row.total
    order = [step["channel"] for step in campaign.ladder]
    replies = session.execute(_REPLIES, given).one()
    return Figures(
        notices={state: sum(each.values()) for state, each in reasons.items()},
        reasons=reasons,
        channels=[ChannelFigures(channel, by_channel[channel]) for channel in order if channel in by_channel],
        waves=[Wave(row.wave, row.total, row.done, row.held, row.due) for row in session.execute(_WAVES, given)],
        sent=sent,
        acknowledged=acknowledged,
        replies=replies.total,
        replies_waiting=replies.waiting,
        spent_cents=cost / PER_CENT,
    )


def people(
    session: Session, *, campaign: Campaign, state: str, reason: str | None = None, after: int = 0
) -> tuple[list[Behind], int | None]:
    """Return the recipients behind one number, and where the next page starts."""
    given = {"id": campaign.id, "state": state, "reason": reason, "after": after, "limit": PAGE + 1}
    rows = [Behind(*row) for row in session.execute(_PEOPLE, given)]
    return rows[:PAGE], rows[PAGE - 1].id if len(rows) > PAGE else None
