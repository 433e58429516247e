"""Look at health: one customer's score with contributors and trend, or how all fare."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import func, select, text
from sqlalchemy.orm import Session

from outreach.errors import NotFound
from outreach.models import AccountTask, Customer, HealthScore, HealthTrend
from outreach.vocabulary import HealthBand

TREND_DAYS = 365


@dataclass(frozen=True, slots=True)
class Health:
    """One customer's health."""

    customer: str
    score: int
    band: HealthBand
    signals: dict[str, Any]
    computed_at: datetime
    last_sign_at: datetime | None
    trend: list[dict[str, Any]]


def health_of(session: Session, *, external_id: str) -> Health:
    """Return one customer's health; raises `NotFound` when she is not known or has no score yet."""
    row = session.execute(
        select(Customer.id, HealthScore)
        .outerjoin(HealthScore, HealthScore.customer_id == Customer.id)
        .where(Customer.external_id == external_id)
    ).one_or_none()
    if row is None:
        raise NotFound(f"There is no customer {external_id}.")
    score = row[1]
    if score is None:
        raise NotFound(f"Customer {external_id} has no score yet: nothing is known that counts.")
    trend = session.scalars(
        select(HealthTrend).where(HealthTrend.customer_id == row[0]).order_by(HealthTrend.day.desc()).limit(TREND_DAYS)
    )
    return Health(
        customer=external_id,
        score=score.score,
        band=score.band,
        signals=score.signals,
        computed_at=score.computed_at,
        last_sign_at=score.last_sign_at,
        trend=[{"day": each.day, "score": each.score, "band": each.band} for each in reversed(list(trend))],
    )


def overview(session: Session, *, limit: int = 50) -> tuple[dict[str, int], list[dict[str, Any]]]:
    """Return the number of customers by band, and the lowest scores."""
    rows = session.execute(
        select(Customer.external_id, HealthScore.score, HealthScore.band)
        .join(Customer, Customer.id == HealthScore.customer_id)
        .order_by(HealthScore.score, HealthScore.customer_id)
        .limit(limit)
    )
    return bands(session), [{"customer": row.external_id, "score": row.score, "band": row.band} for row in rows]


@dataclass(frozen=True, slots=True)
class Scored:
    """One customer in a list by score; `was` is the best of the days looked back on, `tasks` the open ones."""

    customer_id: int
    number: str
    name: str | None
    owner: str | None
    score: int
    band: HealthBand
    weakest: str | None
    last_sign_at: datetime | None
    tasks: int
    was: int | None = None


_SHOWN = """
    c.id AS customer_id, c.external_id AS number, c.name, c.attributes ->> :owner AS owner, h.score, h.band,
    (SELECT s.key FROM jsonb_each(h.signals) s
     ORDER BY (s.value ->> 'value')::numeric, (s.value ->> 'weight')::numeric DESC LIMIT 1) AS weakest,
    h.last_sign_at,
    (SELECT count(*) FROM account_tasks k WHERE k.customer_id = c.id AND k.done_at IS NULL) AS tasks"""
_LOWEST = text(f"""
SELECT {_SHOWN}, NULL AS was FROM health_scores h JOIN customers c ON c.id = h.customer_id
WHERE (h.score, h.customer_id) > (:score, :customer_id) AND c.erased_at IS NULL
ORDER BY h.score, h.customer_id LIMIT :limit
""")
# Whoever dropped has a task; the best score of the window says from where.
_DROPS = text(f"""
SELECT {_SHOWN}, best.score AS was
FROM (SELECT DISTINCT customer_id FROM account_tasks WHERE cause = 'drop'
      AND opened_at > cast(:now AS timestamptz) - make_interval(days => :days)) AS dropped
JOIN health_scores h ON h.customer_id = dropped.customer_id
JOIN customers c ON c.id = h.customer_id AND c.erased_at IS NULL
JOIN LATERAL (
    SELECT max(t.score) AS score FROM health_trends t WHERE t.customer_id = h.customer_id
      AND t.day >= coalesce((SELECT max(u.day) FROM health_trends u WHERE u.customer_id = h.customer_id
          AND u.day <= cast(cast(:now AS timestamptz) - make_interval(days => :days) AS date)), '-infinity')
) best ON best.score > h.score
ORDER BY best.score - h.score DESC, h.customer_id LIMIT :limit
""")


def bands(session: Session) -> dict[str, int]:
    """Return the number of customers in each band."""
    counted = session.execute(select(HealthScore.band, func.count()).group_by(HealthScore.band)).all()
    return {band.value: 0 for band in HealthBand} | {band.value: number for band, number in counted}


def lowest(
    session: Session, *, owner_attribute: str, after: tuple[int, int] = (-1, 0), limit: int = 50
) -> tuple[list[Scored], tuple[int, int] | None]:
    """Return customers from the lowest score on, after (score, customer), and where the next page starts."""
    parameters = {"owner": owner_attribute, "score": after[0], "customer_id": after[1], "limit": limit + 1}
    rows = [Scored(**row) for row in session.execute(_LOWEST, parameters).mappings()]
    last = rows[limit - 1] if len(rows) > limit else None
    return rows[:limit], (last.score, last.customer_id) if last else None


def drops(session: Session, *, owner_attribute: str, days: int, now: datetime, limit: int = 50) -> list[Scored]:
    """Return who fell furthest within so many days, of those whose fall opened a task."""
    parameters = {"owner": owner_attribute, "days": days, "now": now, "limit": limit}
    return [Scored(**row) for row in session.execute(_DROPS, parameters).mappings()]


def tasks_of(session: Session, *, external_id: str, limit: int = 20) -> list[AccountTask]:
    """Return the tasks about one customer, open ones first, then newest."""
    wanted = (
        select(AccountTask)
        .join(Customer, Customer.id == AccountTask.customer_id)
        .where(Customer.external_id == external_id)
        .order_by(AccountTask.done_at.is_not(None), AccountTask.id.desc())
    )
    return list(session.scalars(wanted.limit(limit)))
