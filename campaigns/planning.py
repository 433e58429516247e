"""Who is owed a notice, and by which channel she is tried first; one set-based statement per slice.

`plan` runs when a campaign starts and again whenever the audience has changed: it adds what is missing (late
joiners) and touches nothing that is there. Everybody gets a notice row, also those who cannot be told, with the
reason. Planning never calls a provider.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Any

from sqlalchemy import TextClause, text
from sqlalchemy.orm import Session

from campaigns import caps
from campaigns.addresses import ADDRESSES, barred, refused
from campaigns.classes import policy
from campaigns.households import NAME_SHARED, first_at_address
from campaigns.ladders import ladder_of
from campaigns.send_slots import SIGNATURE, SLOTS, bound_channels, signatures_of, slots_of
from campaigns.waves import DRAW, HELD_OUT
from outreach.barred_addresses import ADDRESS_OF
from outreach.models import Campaign
from outreach.vocabulary import CampaignKind

CHUNK_SIZE = 1000

_AUDIENCE = """
    SELECT m.customer_id, 0 AS occurrence, m.grade, m.evidence_items, m.evidence_orders, m.evidence_tickets
    FROM audience_members m
    WHERE m.segment_id = :segment_id AND m.left_at IS NULL AND m.grade = ANY(:grades) AND m.customer_id > :after
      AND NOT EXISTS (SELECT 1 FROM notices n
                      WHERE n.campaign_id = :campaign_id AND n.customer_id = m.customer_id AND n.occurrence = 0)
    ORDER BY m.customer_id LIMIT :slice"""

_CHECK_INS_DUE = """
    SELECT k.customer_id, k.occurrence, m.grade, m.evidence_items, m.evidence_orders, m.evidence_tickets
    FROM check_ins k
    JOIN audience_members m ON m.segment_id = :segment_id AND m.customer_id = k.customer_id
    WHERE k.campaign_id = :campaign_id AND k.state = 'due' AND k.due_at <= :now AND k.customer_id > :after
      AND NOT EXISTS (SELECT 1 FROM notices n WHERE n.campaign_id = :campaign_id
                      AND n.customer_id = k.customer_id AND n.occurrence = k.occurrence)
    ORDER BY k.customer_id LIMIT :slice"""

# As one value: of four that must agree the planner compares but two before it looks at every pair.
_CHUNK_KEY = "concat_ws('|', channel, wave, slot, zones)"


def _first_usable(ladder: tuple[tuple[str, int], ...]) -> str:
    """Return the joins that give `best`: the steps (channel, group) of the first group by which `drawn` is reached.

    Written out step by step, so that nobody looks up consents and suppressions of a channel that is not needed.
    """
    joins = []
    for step, (channel, group) in enumerate(ladder):
        address = ADDRESS_OF[channel]
        named = f"'{channel}'"
        may = f"NOT {barred(named, address)} AND NOT {refused(named, 'c.id')}"
        before = [f"usable_{other}.address IS NULL" for other in range(step) if ladder[other][1] < group]
        alive = ["drawn.grade <> 'cleared'", "c.erased_at IS NULL", f"{address} IS NOT NULL"]
        cases = " AND ".join([*alive, *before, may])
        joins.append(
            f"CROSS JOIN LATERAL (SELECT CASE WHEN {cases} THEN {address} END AS address OFFSET 0) usable_{step}"
        )
    rows = ", ".join(f"('{channel}', {step}, usable_{step}.address)" for step, (channel, _) in enumerate(ladder))
    best = f"(VALUES {rows}) AS best(channel, step, address) ON best.address IS NOT NULL"
    return "\n    ".join([*joins, f"LEFT JOIN LATERAL {best}"])


@lru_cache
def _statement(source: str, ladder: tuple[tuple[str, int], ...], *, shared: bool, capped: bool) -> TextClause:
    """Return the planning statement over `source`: choose the channel, write notices, chunks and messages.

    `shared` looks for others at the same address, `capped` counts what each has heard; both cost, so that a class
    that needs neither does not pay. `reached` has one row per recipient and channel that is tried at once.
    """
    channels = ", ".join(f"'{channel}'" for channel, _ in ladder)
    return text(f"""
WITH source AS MATERIALIZED ({source}
), drawn AS MATERIALIZED (
    SELECT source.*, {HELD_OUT} AS held_out, width_bucket({DRAW}, cast(:bounds AS float8[])) AS wave FROM source
), tried AS MATERIALIZED (
    SELECT drawn.*, best.channel, best.step, best.address, any_address.barred, any_address.known,
           {SIGNATURE} AS signature,
           {caps.over_cap("c.id") if capped else "false"} AS capped
    FROM drawn
    JOIN customers c ON c.id = drawn.customer_id
    {_first_usable(ladder)}
    LEFT JOIN LATERAL (
        SELECT true AS known, bool_or({barred("a.channel", "a.address")}) AS barred
        FROM {ADDRESSES} a WHERE best.channel IS NULL AND a.channel IN ({channels})
        HAVING count(*) > 0
    ) any_address ON true
), reached AS MATERIALIZED (
    SELECT tried.*, slots.zones, coalesce(slots.opens_at, cast(:due_at AS timestamptz)) AS due_at, slots.closes_at,
           coalesce(slots.opens_at, cast(:due_at AS timestamptz))
               > coalesce(cast(:not_after AS timestamptz), 'infinity') AS late
    FROM tried LEFT JOIN {SLOTS} ON slots.channel = tried.channel AND slots.signature = tried.signature
), told AS MATERIALIZED (
    SELECT DISTINCT ON (customer_id) reached.*, {first_at_address("reached") if shared else "true"} AS first_there
    FROM reached ORDER BY customer_id, step
), settled AS MATERIALIZED (
    SELECT told.*,
           CASE WHEN grade = 'cleared' THEN 'cleared'
                WHEN channel IS NULL AND barred THEN 'suppressed'
                WHEN channel IS NULL AND known THEN 'no_consent'
                WHEN channel IS NULL THEN 'no_address'
                WHEN held_out THEN NULL
                WHEN capped THEN 'capped'
                WHEN late THEN 'expired'
                WHEN NOT first_there THEN 'shared_address' END AS reason
    FROM told
), noted AS (
    INSERT INTO notices (campaign_id, customer_id, occurrence, grade, evidence_items, evidence_orders,
                         evidence_tickets, state, reason, created_at, settled_at, wave)
    SELECT :campaign_id, customer_id, occurrence, grade, evidence_items, evidence_orders, evidence_tickets,
           CASE WHEN reason IS NOT NULL THEN 'skipped' WHEN held_out THEN 'held_out' ELSE 'owed' END, reason, :now,
           CASE WHEN reason IS NOT NULL OR held_out THEN cast(:now AS timestamptz) END, wave
    FROM settled ORDER BY customer_id
    ON CONFLICT (campaign_id, customer_id, occurrence) DO NOTHING
    -- Said as truths: of a word that it has never seen the planner expects one row in two hundred.
    RETURNING id, customer_id, state = 'owed' AS owed, state = 'skipped' AS skipped, reason
), chosen AS MATERIALIZED (
    SELECT noted.id AS notice_id, reached.customer_id, reached.channel, reached.step, reached.address, reached.wave,
           reached.zones, reached.due_at, reached.closes_at,
           (row_number() OVER (PARTITION BY reached.channel, reached.wave, reached.zones
                               ORDER BY reached.customer_id) - 1) / {CHUNK_SIZE} AS slot
    FROM reached JOIN noted ON noted.customer_id = reached.customer_id AND noted.owed
), made AS (
    INSERT INTO chunks (campaign_id, channel, template_version, state, wave, zones, due_at, closes_at, size)
    SELECT :campaign_id, channel, :template_version, CASE WHEN wave > :wave THEN 'held' ELSE 'ready' END, wave,
           zones, due_at, closes_at, count(*)
    FROM chosen GROUP BY channel, wave, zones, due_at, closes_at, slot ORDER BY channel, wave, zones, slot
    RETURNING id, channel, wave, zones
), numbered AS (
    SELECT id, {_CHUNK_KEY} AS key FROM (
        SELECT id, channel, wave, zones, row_number() OVER (PARTITION BY channel, wave, zones ORDER BY id) - 1 AS slot
        FROM made) numbers
), written AS (
    INSERT INTO messages (notice_id, campaign_id, customer_id, channel, step, chunk_id, address)
    SELECT chosen.notice_id, :campaign_id, chosen.customer_id, chosen.channel, chosen.step, numbered.id, chosen.address
    FROM chosen JOIN numbered ON numbered.key = {_CHUNK_KEY}
    RETURNING channel
)
SELECT (SELECT count(*) FROM source) AS found, (SELECT max(customer_id) FROM source) AS last_customer,
       (SELECT count(*) FROM noted) AS notices, (SELECT count(*) FROM noted WHERE skipped) AS skipped,
       array(SELECT id FROM noted WHERE reason = 'shared_address') AS shared,
       (SELECT coalesce(jsonb_object_agg(channel, total), '{{}}')
        FROM (SELECT channel, count(*) AS total FROM written GROUP BY channel) counted) AS messages
""")


@dataclass(frozen=True, slots=True)
class Planned:
    """What planning one slice did; `last_customer` is where the next slice goes on, none when all is planned."""

    notices: int
    skipped: int
    messages: dict[str, int]
    last_customer: int | None


def plan_slice(
    session: Session,
    *,
    campaign: Campaign,
    now: datetime,
    after: int = 0,
    slice_size: int = 20_000,
    source: str | None = None,
    given: Mapping[str, Any] | None = None,
) -> Planned:
    """Write the missing notices of up to `slice_size` recipients after customer id `after`, and their messages.

    A resolution also names the cleared, as skipped, so that its account shows why they hear nothing. `source` is
    SQL that yields the recipients where neither the audience nor a due check-in says who they are (programmes), and
    `given` what it asks for.
    """
    if source is None:
        source = _CHECK_INS_DUE if campaign.kind == CampaignKind.CHECK_IN else _AUDIENCE
    shared = policy(campaign.notice_class).shared_address
    parameters = {**_parameters(campaign, now, after, slice_size), **(given or {})}
    bound = bound_channels(campaign)
    signatures = signatures_of(session, source, parameters) if bound else []
    slots = slots_of(signatures, bound, due_at=parameters["due_at"])
    ladder = ladder_of(campaign.ladder)
    steps = tuple(zip(ladder.channels, ladder.groups, strict=True))
    row = session.execute(
        _statement(source, steps, shared=shared, capped=caps.skips(campaign.notice_class)),
        {**parameters, **caps.parameters_of(campaign.notice_class), **slots.parameters()},
    ).one()
    if row.shared:
        session.execute(NAME_SHARED, {"notice_ids": row.shared, "campaign_id": campaign.id})
    more = row.found == slice_size
    return Planned(row.notices, row.skipped, row.messages, row.last_customer if more else None)


def _parameters(campaign: Campaign, now: datetime, after: int, slice_size: int) -> dict[str, Any]:
    return {
        "campaign_id": campaign.id,
        "segment_id": campaign.segment_id,
        "grades": list(campaign.grades),
        "template_version": campaign.template_version,
        "notice_class": campaign.notice_class.value,
        "due_at": max(now, campaign.not_before or now),
        "not_after": campaign.not_after,
        "seed": campaign.seed,
        "holdout_share": campaign.holdout_share,
        "bounds": campaign.waves or [],
        "wave": campaign.wave,
        "now": now,
        "after": after,
        "slice": slice_size,
    }
