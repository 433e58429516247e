"""Tickets of a help desk, kept as they are told: many in one statement, in any order, repeated or not.

What an event leaves out stays as it was; what an older event says only fills gaps. The person behind a ticket is
found by our own reference (where the desk carries it), by email, by phone; a shared address names nobody.
"""

from collections.abc import Iterable, Sequence
from dataclasses import fields, replace
from datetime import datetime

import orjson
from sqlalchemy import text
from sqlalchemy.orm import Session

from outreach.queue import wake
from webhooks.desks.base import DeskTicket

_KEEP = text("""
WITH given AS (
    SELECT * FROM unnest(
        cast(:references AS text[]), cast(:customers AS text[]), cast(:emails AS text[]), cast(:phones AS text[]),
        cast(:subjects AS text[]), cast(:bodies AS text[]), cast(:statuses AS text[]), cast(:priorities AS text[]),
        cast(:opened AS timestamptz[]), cast(:solved AS timestamptz[]), cast(:changed AS timestamptz[]),
        cast(:problems AS bigint[]), cast(:attributes AS text[])
    ) AS g(reference, customer, email, phone, subject, body, status, priority, opened_at, solved_at, changed_at,
           problem_id, attributes)
), matched AS (
    SELECT g.*, coalesce(r.id, CASE WHEN e.found = 1 THEN e.id WHEN e.found = 0 AND p.found = 1 THEN p.id END)
                AS customer_id
    FROM given g
    LEFT JOIN customers r ON r.external_id = g.customer AND r.erased_at IS NULL
    CROSS JOIN LATERAL (SELECT count(*) AS found, min(id) AS id FROM customers
                        WHERE email = lower(trim(g.email)) AND erased_at IS NULL) e
    CROSS JOIN LATERAL (SELECT count(*) AS found, min(id) AS id FROM customers
                        WHERE phone = g.phone AND erased_at IS NULL) p
)
INSERT INTO tickets AS t (desk, external_id, customer_id, problem_id, requester_email, subject, body, status, priority,
                          opened_at, solved_at, changed_at, attributes, updated_at)
SELECT :desk, reference, customer_id, problem_id, email, subject, body, status, priority,
       coalesce(opened_at, changed_at, :now), solved_at, changed_at, cast(attributes AS jsonb), :now
FROM matched
ON CONFLICT (desk, external_id) DO UPDATE SET
    customer_id = coalesce(excluded.customer_id, t.customer_id),
    problem_id = CASE WHEN {newer} THEN coalesce(excluded.problem_id, t.problem_id)
                      ELSE coalesce(t.problem_id, excluded.problem_id) END,
    {columns},
    opened_at = least(t.opened_at, excluded.opened_at),
    solved_at = CASE WHEN NOT {newer} THEN t.solved_at
                     WHEN excluded.solved_at IS NULL AND excluded.status IS NOT NULL THEN NULL
                     ELSE coalesce(t.solved_at, excluded.solved_at) END,
    changed_at = greatest(t.changed_at, excluded.changed_at),
    attributes = CASE WHEN {newer} THEN t.attributes || excluded.attributes
                      ELSE excluded.attributes || t.attributes END,
    updated_at = :now
RETURNING t.external_id, t.customer_id
""".format(
    newer="(t.changed_at IS NULL OR excluded.changed_at IS NULL OR excluded.changed_at >= t.changed_at)",
    columns=",\n    ".join(
        f"{name} = CASE WHEN t.changed_at IS NULL OR excluded.changed_at IS NULL OR excluded.changed_at >= t.changed_at"
        f" THEN coalesce(excluded.{name}, t.{name}) ELSE coalesce(t.{name}, excluded.{name}) END"
        for name in ("requester_email", "subject", "body", "status", "priority")
    ),
))  # fmt: skip


def keep(
    session: Session,
    *,
    desk: str,
    tickets: Sequence[DeskTicket],
    problem_ids: dict[str, int],
    ours: bool,
    now: datetime,
) -> set[str]:
    """Keep tickets; returns the references of those whose customer is not known.

    `ours` says that the desk's reference of a requester is our own reference of the customer.
    """
    if not tickets:
        return set()
    folded = fold(tickets)
    rows = session.execute(
        _KEEP,
        {
            "desk": desk,
            "now": now,
            "references": [one.reference for one in folded],
            "customers": [one.requester_reference if ours else None for one in folded],
            "emails": [one.requester_email for one in folded],
            "phones": [one.requester_phone for one in folded],
            "subjects": [one.subject for one in folded],
            "bodies": [one.body for one in folded],
            "statuses": [one.status for one in folded],
            "priorities": [one.priority for one in folded],
            "opened": [one.opened_at for one in folded],
            "solved": [one.solved_at for one in folded],
            "changed": [one.changed_at for one in folded],
            "problems": [problem_ids.get(one.problem_reference or "") for one in folded],
            "attributes": [orjson.dumps(one.attributes).decode() for one in folded],
        },
    ).all()
    wake(session, "segments.sweep")
    return {row.external_id for row in rows if row.customer_id is None}


def fold(tickets: Iterable[DeskTicket]) -> list[DeskTicket]:
    """Return one entry per ticket: the newest word on each field, in the order of the desk's own times."""
    found: dict[str, DeskTicket] = {}
    for ticket in sorted(tickets, key=lambda one: one.changed_at.timestamp() if one.changed_at else 0.0):
        earlier = found.get(ticket.reference)
        found[ticket.reference] = ticket if earlier is None else _over(earlier, ticket)
    return [found[reference] for reference in sorted(found)]


def _over(earlier: DeskTicket, later: DeskTicket) -> DeskTicket:
    said = {one.name: getattr(later, one.name) for one in fields(DeskTicket) if getattr(later, one.name) is not None}
    said["attributes"] = {**earlier.attributes, **later.attributes}
    if later.status is not None:
        said["solved_at"] = later.solved_at  # a ticket that is open again is not solved any more
    return replace(earlier, **said)
