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
from campaigns.addresses import barred, newest_words, refused_among
from campaigns.classes import policy
from campaigns.households import NAME_SHARED, covered_among
from campaigns.ladders import ladder_of
from campaigns.send_slots import SIGNATURE, SLOTS, bound_channels, signatures_of, slots_of
from campaigns.waves import DRAW, HELD_OUT
from outreach.barred_addresses import ADDRESS_OF
from outreach.models import Campaign
from outreach.vocabulary import CampaignKind

LOCK = 7320  # with a campaign's id; with 0 it is the sweep's. Segments use 7310 to 7312

CHUNK_SIZE = 1000
SLICE = 50_000
FIRST_SLICE = 10_000  # smaller, so that the first are told while the others are planned

_AUDIENCE = """
    SELECT m.customer_id, 0 AS occurrence, m.grade, m.evidence_items, m.evidence_orders, m.evidence_tickets
    FROM audience_members m
    WHERE m.segment_id = :segment_id AND m.left_at IS NULL AND m.grade = ANY(:grades)
      AND m.customer_id > :after AND m.customer_id <= :last
      AND NOT EXISTS (SELECT 1 FROM notices n WHERE n.campaign_id = :campaign_id AND n.occurrence = 0
                      AND n.customer_id = m.customer_id AND n.customer_id > :after AND n.customer_id <= :last)
    ORDER BY m.customer_id LIMIT :slice"""

_CHECK_INS_DUE = """
    SELECT DISTINCT ON (k.customer_id) k.customer_id, k.occurrence, m.grade, m.evidence_items, m.evidence_orders,
           m.evidence_tickets
    FROM check_ins k
    JOIN audience_members m ON m.segment_id = :segment_id AND m.customer_id = k.customer_id
    WHERE k.campaign_id = :campaign_id AND k.state = 'due' AND k.due_at <= :now AND k.customer_id > :after
      AND NOT EXISTS (SELECT 1 FROM notices n WHERE n.campaign_id = :campaign_id
                      AND n.customer_id = k.customer_id AND n.occurrence = k.occurrence)
    ORDER BY k.customer_id, k.occurrence LIMIT :slice"""

# Where the slice begins and ends: with both at hand the planner knows how many rows of each table lie between.
_ENDS = "SELECT count(*) AS found, min(customer_id) - 1 AS after, max(customer_id) AS last FROM ({source}) AS slice"

# For this transaction: the plan that the server keeps after some slices was made when the tables were empty, so that
# each slice gets its own; the rows of a slice stay in memory, where a server is set up with less; and to compile so
# long a statement takes longer than it can save.
_ALONE = text(f"""
SELECT pg_advisory_xact_lock({LOCK}, :campaign_id),
       set_config('plan_cache_mode', 'force_custom_plan', true), set_config('jit', 'off', true),
       set_config('work_mem', greatest(pg_size_bytes(current_setting('work_mem')) / 1024, 32768) || 'kB', true)
""")
_NOBODY_IS_LAST = 2**62


@dataclass(frozen=True, slots=True)
class _Needs:
    """What costs, and what a campaign may do without.

    `shared` looks for others at the same address, `capped` counts what each has heard, `timed` finds each one's slot,
    `waves` tells those of one wave from those of the next.
    """

    shared: bool
    capped: bool
    timed: bool
    waves: bool


@dataclass(frozen=True, slots=True)
class _Steps:
    """The channels of a ladder and the group of each."""

    channels: tuple[str, ...]
    groups: tuple[int, ...]

    @property
    def several(self) -> bool:
        """Whether some go at once, so that a recipient may get several messages."""
        return len(set(self.groups)) < len(self.groups)

    @property
    def channel(self) -> str:
        """SQL for the channel of a `step`; a number is smaller to keep, and quicker to compare."""
        cases = (f"WHEN {step} THEN '{channel}'" for step, channel in enumerate(self.channels))
        return f"(CASE step {' '.join(cases)} END)"

    def lookups(self) -> str:
        """Return a table per step: `asked_N` is her address, `usable_N` the same if it may be used.

        A step is asked only where no group before it has a usable one, so that nobody looks up what is not needed.
        OFFSET 0 keeps what was looked up from being looked up again wherever it is named.
        """
        tables = []
        for step, (channel, group) in enumerate(zip(self.channels, self.groups, strict=True)):
            before = [f"c.usable_{other} IS NULL" for other in range(step) if self.groups[other] < group]
            asked = " AND ".join(["c.grade <> 'cleared'", "c.erased_at IS NULL", *before])
            may = f"""c.asked_{step} IS NOT NULL AND NOT {barred(f"'{channel}'", f"c.asked_{step}")}
               AND NOT {refused_among("words", channel, "c.customer_id")}"""
            tables.append(f"""step_{step} AS (
    SELECT c.*, CASE WHEN {may} THEN c.asked_{step} END AS usable_{step}
    FROM (SELECT c.*, CASE WHEN {asked} THEN {ADDRESS_OF[channel]} END AS asked_{step}
          FROM {f"step_{step - 1}" if step else "people"} c) c ORDER BY c.customer_id OFFSET 0
), """)
        return "".join(tables)

    def best(self) -> str:
        """Return the join that gives `best`: the steps of the first group by which she is reached, or one of NULLs."""
        usable = [f"c.usable_{step}" for step in range(len(self.channels))]
        if self.several:
            rows = ", ".join(f"({step}, {address})" for step, address in enumerate(usable))
            return f"LEFT JOIN LATERAL (VALUES {rows}) AS best(step, address) ON best.address IS NOT NULL"
        # At most one is usable.
        cases = " ".join(f"WHEN {address} IS NOT NULL THEN {step}" for step, address in enumerate(usable))
        address = f"coalesce({', '.join(usable)})"
        return f"CROSS JOIN LATERAL (SELECT CASE {cases} END AS step, {address} AS address) best"

    def any_asked(self, condition: str) -> str:
        """Return SQL that is true when `condition`, with `{channel}` and `{address}`, holds for any step asked."""
        return " OR ".join(
            condition.format(channel=f"'{channel}'", address=f"c.asked_{step}")
            for step, channel in enumerate(self.channels)
        )


@lru_cache
def _statement(source: str, steps: _Steps, needs: _Needs) -> TextClause:
    """Return the planning statement over `source`: choose the channel, write notices, chunks and messages.

    `reached` has one row per recipient and channel that is tried at once, `settled` one per recipient, `owed` one per
    message. What is looked up by IN is hashed, whatever the planner takes its size for. Whether one is told is one
    column, which the planner takes for true of half of them; of three conditions it expects next to nobody, and looks
    for everybody's household one by one. Ids are drawn before the rows are written, so that nothing has to be read
    back and joined.
    """
    due_at = "cast(:due_at AS timestamptz)"
    opens_at = f"coalesce(slots.opens_at, {due_at})" if needs.timed else due_at
    slots = f"LEFT JOIN {SLOTS} ON slots.channel = {steps.channel} AND slots.signature = {SIGNATURE}"
    covered = f"covered AS MATERIALIZED ({covered_among('owed', steps.channels)}), " if needs.shared else ""
    is_covered = "customer_id IN (SELECT customer_id FROM covered)" if needs.shared else "false"
    # What the messages of a chunk have in common, as far as it differs at all.
    differs = {"step": len(steps.channels) > 1, "wave": needs.waves, "zones": needs.timed}
    zones = "zones, due_at, closes_at, " if needs.timed else ""
    slot = ", ".join(name for name, does in differs.items() if does)
    place = f"row_number() OVER ({f'PARTITION BY {slot}' if slot else ''} ORDER BY customer_id) - 1"
    chunk = f"place / {CHUNK_SIZE} + 1"
    if slot:  # counted through: a chunk begins where its place is the first of a thousand
        in_order = f"ORDER BY {slot}, customer_id ROWS UNBOUNDED PRECEDING"
        chunk = f"count(*) FILTER (WHERE place % {CHUNK_SIZE} = 0) OVER ({in_order})"
    each = "reached" if steps.several else "settled"  # where the channel, address and time of a message stand
    return text(f"""
WITH source AS NOT MATERIALIZED ({source}
), words AS MATERIALIZED (
    {newest_words("IN (SELECT customer_id FROM source)", steps.channels)}
), people AS (
    SELECT source.*, {HELD_OUT} AS held_out, width_bucket({DRAW}, cast(:bounds AS float8[])) AS wave, c.*
    FROM source JOIN customers c ON c.id = source.customer_id AND c.id > :after AND c.id <= :last
), {steps.lookups()}reached AS (
    SELECT c.customer_id, c.occurrence, c.grade, c.evidence_items, c.evidence_orders, c.evidence_tickets, c.held_out,
           c.wave, best.step, best.address,
           best.step IS NULL AND ({steps.any_asked("{address} IS NOT NULL")}) AS known,
           best.step IS NULL AND ({steps.any_asked(barred("{channel}", "{address}"))}) AS barred,
           {caps.over_cap("c.customer_id") if needs.capped else "false"} AS capped,
           {f"slots.zones, {opens_at} AS due_at, slots.closes_at," if needs.timed else ""}
           {opens_at} > coalesce(cast(:not_after AS timestamptz), 'infinity') AS late
    FROM step_{len(steps.channels) - 1} c
    {steps.best()}
    {slots if needs.timed else ""}
), judged AS (
    SELECT {"DISTINCT ON (customer_id)" if steps.several else ""} reached.*,
           CASE WHEN grade = 'cleared' THEN 'cleared'
                WHEN step IS NULL AND barred THEN 'suppressed'
                WHEN step IS NULL AND known THEN 'no_consent'
                WHEN step IS NULL THEN 'no_address'
                WHEN held_out THEN NULL
                WHEN capped THEN 'capped'
                WHEN late THEN 'expired' END AS reason
    FROM reached {"ORDER BY customer_id, step" if steps.several else ""}
), settled AS MATERIALIZED (
    SELECT nextval('notices_id_seq') AS id, customer_id, occurrence, grade, evidence_items, evidence_orders,
           evidence_tickets, held_out, wave, step, address, {zones}reason, reason IS NULL AND NOT held_out AS told
    FROM judged ORDER BY customer_id
), owed AS NOT MATERIALIZED (
    SELECT settled.id AS notice_id, settled.customer_id, settled.occurrence, settled.wave, settled.step AS first_step,
           {f"{each}.zones, {each}.due_at, {each}.closes_at, " if needs.timed else ""}{each}.step, {each}.address
    FROM settled {"JOIN reached USING (customer_id)" if steps.several else ""}
    WHERE settled.told
), {covered}noted AS (
    INSERT INTO notices (id, campaign_id, customer_id, occurrence, grade, evidence_items, evidence_orders,
                         evidence_tickets, state, reason, created_at, settled_at, wave)
    SELECT id, :campaign_id, customer_id, occurrence, grade, evidence_items, evidence_orders, evidence_tickets,
           CASE WHEN why IS NOT NULL THEN 'skipped' WHEN held_out THEN 'held_out' ELSE 'owed' END, why, :now,
           CASE WHEN why IS NOT NULL OR held_out THEN cast(:now AS timestamptz) END, wave
    FROM (SELECT settled.*, CASE WHEN {is_covered} THEN 'shared_address' ELSE reason END AS why
          FROM settled OFFSET 0) settled
), chosen AS MATERIALIZED (
    SELECT notice_id, customer_id, step, address, wave, {zones}{chunk} AS chunk
    FROM (SELECT owed.*, {place} AS place FROM owed WHERE NOT {is_covered}) placed
), filled AS MATERIALIZED (
    SELECT nextval('chunks_id_seq') AS id, counted.*
    FROM (SELECT chunk, step, wave, {zones}count(*) AS size
          FROM chosen GROUP BY chunk, step, {zones}wave OFFSET 0) counted ORDER BY chunk
), made AS (
    INSERT INTO chunks (id, campaign_id, channel, template_version, state, wave, zones, due_at, closes_at, size)
    SELECT id, :campaign_id, {steps.channel}, :template_version, CASE WHEN wave > :wave THEN 'held' ELSE 'ready' END,
           wave, {"zones, due_at, closes_at" if needs.timed else "NULL, :due_at, NULL"}, size
    FROM filled
), written AS (
    INSERT INTO messages (notice_id, campaign_id, customer_id, channel, step, chunk_id, address)
    SELECT notice_id, :campaign_id, customer_id, {steps.channel}, step, ids[chunk], address
    FROM chosen, (SELECT array_agg(id ORDER BY chunk) AS ids FROM filled) numbers
)
SELECT count(*) AS notices, count(reason) AS skipped,
       {"array(SELECT notice_id FROM covered)" if needs.shared else "cast('{}' AS bigint[])"} AS shared,
       (SELECT coalesce(jsonb_object_agg(channel, total), '{{}}')
        FROM (SELECT {steps.channel} AS channel, sum(size) AS total FROM filled GROUP BY step) sizes) AS messages
FROM settled
""")


@dataclass(frozen=True, slots=True)
class Planned:
    """What planning one slice did; `last_customer` is where the next slice goes on, none when all is planned."""

    notices: int
    skipped: int
    messages: dict[str, int]
    last_customer: int | None


def alone(session: Session, *, campaign_id: int) -> None:
    """Wait until nobody else plans this campaign, and keep it so until the transaction ends.

    That is why a slice may draw its ids before it writes: no row conflicts, and nothing has to be read back.
    """
    session.execute(_ALONE, {"campaign_id": campaign_id})


def plan_slice(
    session: Session,
    *,
    campaign: Campaign,
    now: datetime,
    after: int = 0,
    slice_size: int = SLICE,
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
    alone(session, campaign_id=campaign.id)
    parameters = {**_parameters(campaign, now, after, slice_size), **(given or {})}
    ends = session.execute(text(_ENDS.format(source=source)), parameters | {"last": _NOBODY_IS_LAST}).one()
    if ends.last is None:
        return Planned(0, 0, {}, None)
    parameters |= {"after": ends.after, "last": ends.last}
    bound = bound_channels(campaign)
    signatures = signatures_of(session, source, parameters) if bound else []
    slots = slots_of(signatures, bound, due_at=parameters["due_at"])
    ladder = ladder_of(campaign.ladder)
    needs = _Needs(
        shared=policy(campaign.notice_class).shared_address,
        capped=caps.skips(campaign.notice_class),
        timed=bool(bound),
        waves=bool(campaign.waves),
    )
    row = session.execute(
        _statement(source, _Steps(tuple(ladder.channels), tuple(ladder.groups)), needs),
        {**parameters, **caps.parameters_of(campaign.notice_class), **slots.parameters()},
    ).one()
    if row.shared:
        session.execute(NAME_SHARED, {"notice_ids": row.shared, "campaign_id": campaign.id})
    more = ends.found == slice_size
    return Planned(row.notices, row.skipped + len(row.shared), row.messages, ends.last if more else None)


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
