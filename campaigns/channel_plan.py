"""Which ladder reaches most people for the money: expected reach and cost, stated before anything is sent.

How likely a channel reaches a customer follows from what happened at her address before and from how the channel
does for everybody (a Beta prior with the weight of five messages, itself starting from a default). A ladder is tried
step by step, so that a later step is paid for only by those whom the earlier ones missed. Urgency says how long each
step may take, and class safety sends the quick channels at once.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import pairwise, permutations
from typing import Any

from sqlalchemy import text
from sqlalchemy.orm import Session

from campaigns.addresses import ADDRESSES, barred, refused
from campaigns.classes import policy
from campaigns.ladders import ladder_of
from campaigns.prices import PER_CENT, expected_cents
from outreach import clock
from outreach.models import Campaign
from outreach.settings import get_settings
from outreach.vocabulary import Channel, NoticeClass


class Urgency(StrEnum):
    """How soon people must know; decides how long a channel is given before the next is tried."""

    LOW = "low"
    NORMAL = "normal"
    HIGH = "high"
    AT_ONCE = "at_once"


# Hours that each channel is given to deliver, by urgency.
_PATIENCE: Mapping[Urgency, Mapping[Channel, int]] = {
    Urgency.LOW: {Channel.EMAIL: 72, Channel.SMS: 48, Channel.POSTCARD: 336},
    Urgency.NORMAL: {Channel.EMAIL: 24, Channel.SMS: 24, Channel.POSTCARD: 168},
    Urgency.HIGH: {Channel.EMAIL: 4, Channel.SMS: 4, Channel.POSTCARD: 120},
    Urgency.AT_ONCE: {Channel.EMAIL: 1, Channel.SMS: 1, Channel.POSTCARD: 96},
}
# What a channel reaches where nothing is known yet, with the weight of twenty messages (k).
_DEFAULT_REACH = {Channel.EMAIL: 0.90, Channel.SMS: 0.93, Channel.POSTCARD: 0.92}
_DEFAULT_WEIGHT, _PRIOR_WEIGHT = 20, 5

_OVERALL = text("""
SELECT channel, count(*) FILTER (WHERE delivery_rank = 50) AS reached, count(*) AS tried
FROM (SELECT channel, delivery_rank FROM messages WHERE delivery_rank >= 50 ORDER BY id DESC LIMIT 100000) newest
GROUP BY channel
""")

# Customers with the same chances are counted together; most have no history and fall into a few groups.
_GROUPS = text(f"""
WITH reachable AS (
    SELECT m.customer_id, a.channel, a.address FROM audience_members m JOIN customers c ON c.id = m.customer_id
    JOIN LATERAL {ADDRESSES} a ON true
    WHERE m.segment_id = :segment_id AND m.left_at IS NULL AND m.grade = ANY(:grades) AND m.grade <> 'cleared'
      AND NOT {barred("a.channel", "a.address")} AND NOT {refused("a.channel", "c.id")}
), history AS (
    SELECT r.customer_id, r.channel,
           count(m.id) FILTER (WHERE m.delivery_rank = 50) AS reached, count(m.id) AS tried
    FROM reachable r LEFT JOIN notices n ON n.customer_id = r.customer_id
    LEFT JOIN messages m ON m.notice_id = n.id AND m.channel = r.channel AND m.address = r.address
         AND m.delivery_rank >= 50
    GROUP BY r.customer_id, r.channel
), people AS (
    SELECT customer_id, jsonb_object_agg(channel, jsonb_build_array(reached, tried)) AS known
    FROM history GROUP BY customer_id
)
SELECT known, count(*) AS people FROM people GROUP BY known
""")

_SIZE = text("""
SELECT count(*) FROM audience_members m
WHERE m.segment_id = :segment_id AND m.left_at IS NULL AND m.grade = ANY(:grades) AND m.grade <> 'cleared'
""")

# A card that was taken back is not paid for; messages from before prices were kept cost what they would today.
_COSTS = text("""
SELECT channel, count(*) AS messages, coalesce(sum(cost), 0) AS cost, count(*) FILTER (WHERE cost IS NULL) AS unpriced
FROM messages
WHERE campaign_id = :id AND send_state IN ('accepted', 'unknown', 'sending') AND reason IS DISTINCT FROM 'withdrawn'
GROUP BY channel ORDER BY channel
""")


@dataclass(frozen=True, slots=True)
class Proposal:
    """One ladder with what to expect of it; money in cents, rounded up."""

    ladder: list[dict[str, Any]]
    expected_reached: float
    expected_share: float
    expected_cost_cents: int
    messages: dict[str, float]


@dataclass(frozen=True, slots=True)
class Plan:
    """The best ladder within the budget, and the others that were looked at, best first."""

    people: int
    reachable: int
    budget_cents: int | None
    urgency: Urgency
    best: Proposal
    others: list[Proposal]
    within_budget: bool


@dataclass(frozen=True, slots=True)
class Group:
    """Customers with the same chance of being reached, by channel; a channel they cannot be reached on is missing."""

    people: int
    chance: Mapping[Channel, float]


def propose(session: Session, *, campaign: Campaign, budget_cents: int | None, urgency: Urgency) -> Plan:
    """Return the ladder that is expected to reach most of the campaign's audience within the budget."""
    if policy(campaign.notice_class).second_person and campaign.notice_class is NoticeClass.SAFETY:
        urgency = Urgency.AT_ONCE
    asked = {
        "segment_id": campaign.segment_id,
        "grades": list(campaign.grades),
        "notice_class": campaign.notice_class.value,
    }
    overall = _overall(session)
    groups = [Group(row.people, _chances(row.known, overall)) for row in session.execute(_GROUPS, asked)]
    price = expected_cents(session, campaign=campaign, now=clock.now(session))
    proposals = [expected(ladder, groups, price) for ladder in candidates(urgency)]
    total = session.execute(_SIZE, asked).scalar_one()
    return choose(proposals, total, sum(group.people for group in groups), budget_cents, urgency)


def choose(
    proposals: Sequence[Proposal], people: int, reachable: int, budget_cents: int | None, urgency: Urgency
) -> Plan:
    """Return the plan: most people reached within the budget, then the cheaper; the cheapest where none fits."""
    fits = [p for p in proposals if budget_cents is None or p.expected_cost_cents <= budget_cents]
    ranked = sorted(fits, key=lambda p: (-round(p.expected_reached, 6), p.expected_cost_cents, len(p.ladder)))
    best = ranked[0] if ranked else min(proposals, key=lambda p: (p.expected_cost_cents, -p.expected_reached))
    shares = [_with_share(proposal, people) for proposal in proposals if proposal is not best]
    others = sorted(shares, key=lambda p: (-p.expected_reached, p.expected_cost_cents))[:5]
    return Plan(people, reachable, budget_cents, urgency, _with_share(best, people), others, bool(ranked))


def candidates(urgency: Urgency) -> list[list[dict[str, Any]]]:
    """Return every order of every choice of channels, with the waits of the urgency."""
    patience = _PATIENCE[urgency]
    ladders: list[list[dict[str, Any]]] = []
    for length in range(1, len(Channel) + 1):
        for order in permutations(Channel, length):
            if order[0] is Channel.POSTCARD and length > 1:
                continue  # nobody waits a week before trying what takes a second
            ladder: list[dict[str, Any]] = [{"channel": order[0].value}]
            for before, channel in pairwise(order):
                together = urgency is Urgency.AT_ONCE and Channel.POSTCARD not in (before, channel)
                step = {"at_once": True} if together else {"after_hours": patience[before]}
                ladder.append({"channel": channel.value, **step})
            ladders.append(ladder)
    return ladders


def expected(ladder: list[dict[str, Any]], groups: Sequence[Group], price: Mapping[Channel, float]) -> Proposal:
    """Return what a ladder is expected to reach and to cost: a later group of steps goes to the missed only."""
    steps = ladder_of(ladder)
    reached, sent = 0.0, dict.fromkeys(steps.channels, 0.0)
    for group in groups:
        missed = 1.0
        for number in sorted(set(steps.groups)):
            still_missed = missed
            for channel, place in zip(steps.channels, steps.groups, strict=True):
                chance = group.chance.get(Channel(channel))
                if place == number and chance is not None:
                    sent[channel] += group.people * missed
                    still_missed *= 1 - chance
            missed = still_missed
        reached += group.people * (1 - missed)
    cents = sum(price[Channel(channel)] * number for channel, number in sent.items())
    return Proposal(ladder, round(reached, 2), 0.0, math.ceil(cents - 1e-9), {c: round(n, 1) for c, n in sent.items()})


def costs(session: Session, *, campaign: Campaign) -> dict[str, dict[str, float]]:
    """Return what the campaign has cost so far: messages that a provider has or may have, and cents, by channel."""
    price = get_settings().cents_per_message()
    return {
        row.channel: {
            "messages": row.messages,
            "cents": round(row.cost / PER_CENT + row.unpriced * price[Channel(row.channel)], 2),
        }
        for row in session.execute(_COSTS, {"id": campaign.id})
    }


def _overall(session: Session) -> dict[Channel, float]:
    share = dict(_DEFAULT_REACH)
    for row in session.execute(_OVERALL):
        default = _DEFAULT_REACH[Channel(row.channel)]
        share[Channel(row.channel)] = (row.reached + default * _DEFAULT_WEIGHT) / (row.tried + _DEFAULT_WEIGHT)
    return share


def _chances(known: Mapping[str, Sequence[int]], overall: Mapping[Channel, float]) -> dict[Channel, float]:
    return {
        Channel(channel): (reached + overall[Channel(channel)] * _PRIOR_WEIGHT) / (tried + _PRIOR_WEIGHT)
        for channel, (reached, tried) in known.items()
    }


def _with_share(proposal: Proposal, people: int) -> Proposal:
    share = round(proposal.expected_reached / people, 4) if people else 0.0
    return Proposal(proposal.ladder, proposal.expected_reached, share, proposal.expected_cost_cents, proposal.messages)
