"""Look at health: one customer's score with contributors and trend, or how all fare."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from outreach.errors import NotFound
from outreach.models import Customer, HealthScore, HealthTrend
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
    counted = session.execute(select(HealthScore.band, func.count()).group_by(HealthScore.band)).all()
    bands = {band.value: 0 for band in HealthBand} | {band.value: number for band, number in counted}
    rows = session.execute(
        select(Customer.external_id, HealthScore.score, HealthScore.band)
        .join(Customer, Customer.id == HealthScore.customer_id)
        .order_by(HealthScore.score, HealthScore.customer_id)
        .limit(limit)
    )
    return bands, [{"customer": row.external_id, "score": row.score, "band": row.band} for row in rows]
