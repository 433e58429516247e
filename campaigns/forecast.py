"""What a plan would do, before it is approved: who is tried first on which channel, who cannot be told, the cost."""

from dataclasses import dataclass

from sqlalchemy import text
from sqlalchemy.orm import Session

from campaigns.addresses import ADDRESSES, barred, refused
from campaigns.classes import policy
from campaigns.ladders import ladder_of
from campaigns.prices import expected_cents
from campaigns.waves import wave_sizes
from outreach import clock
from outreach.models import Campaign
from outreach.settings import get_settings
from outreach.vocabulary import CampaignKind, Channel, Grade

# The same conditions as planning, so that what is forecast is what will be planned.
_FORECAST = text(f"""
SELECT best.channel, CASE WHEN best.channel IS NOT NULL THEN NULL WHEN known.barred THEN 'suppressed'
                          WHEN known.known THEN 'no_consent' ELSE 'no_address' END AS reason, count(*) AS total
FROM audience_members m JOIN customers c ON c.id = m.customer_id
LEFT JOIN LATERAL (
    SELECT ladder.channel FROM unnest(cast(:channels AS text[]), cast(:steps AS int[])) AS ladder(channel, step)
    JOIN LATERAL {ADDRESSES} a ON a.channel = ladder.channel
    WHERE NOT {barred("ladder.channel", "a.address")} AND NOT {refused("ladder.channel", "c.id")}
    ORDER BY ladder.step LIMIT 1
) best ON true
LEFT JOIN LATERAL (
    SELECT true AS known, bool_or({barred("a.channel", "a.address")}) AS barred
    FROM {ADDRESSES} a WHERE best.channel IS NULL AND a.channel = ANY(cast(:channels AS text[])) HAVING count(*) > 0
) known ON true
WHERE m.segment_id = :segment_id AND m.left_at IS NULL AND m.grade = ANY(:grades)
GROUP BY 1, 2
""")


@dataclass(frozen=True, slots=True)
class Step:
    """One channel of the plan: how many are tried there first, and what that costs, in US cents."""

    channel: Channel
    after_hours: int | None
    at_once: bool
    first: int
    cost_cents: int


@dataclass(frozen=True, slots=True)
class Forecast:
    """What a plan would do; `waves` are the sizes of the waves in order, one entry when everybody goes at once."""

    recipients: int
    steps: list[Step]
    unreachable: dict[str, int]
    waves: list[int]

    @property
    def reachable(self) -> int:
        """How many would be tried."""
        return sum(step.first for step in self.steps)

    @property
    def cost_cents(self) -> int:
        """What the first tries cost."""
        return sum(step.cost_cents for step in self.steps)


def forecast(session: Session, *, campaign: Campaign) -> Forecast:
    """Count the audience by the channel that each would be told on first; reads only."""
    ladder = ladder_of(campaign.ladder)
    rows = session.execute(
        _FORECAST,
        {
            "segment_id": campaign.segment_id,
            "grades": [grade for grade in campaign.grades if grade != Grade.CLEARED],
            "channels": ladder.channels,
            "steps": ladder.steps,
            "notice_class": campaign.notice_class.value,
        },
    ).all()
    first = {row.channel: row.total for row in rows if row.channel}
    price = expected_cents(session, campaign=campaign, now=clock.now(session))
    steps = [
        Step(
            Channel(step["channel"]),
            step.get("after_hours"),
            bool(step.get("at_once")),
            first.get(step["channel"], 0),
            round(first.get(step["channel"], 0) * price[Channel(step["channel"])]),
        )
        for step in campaign.ladder
    ]
    reachable = sum(first.values())
    unreachable = {row.reason: row.total for row in rows if row.reason}
    return Forecast(reachable + sum(unreachable.values()), steps, unreachable, _waves(campaign, reachable))


def _waves(campaign: Campaign, total: int) -> list[int]:
    settings = get_settings()
    first = campaign.first_wave or settings.first_wave
    small = campaign.first_wave is None and (not settings.waves_from or total < settings.waves_from)
    if small or not policy(campaign.notice_class).waves or campaign.kind is CampaignKind.CHECK_IN:
        return [total]
    sizes = wave_sizes(total, first)
    return [*sizes, total - sum(sizes)]
