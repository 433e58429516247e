"""Look at programmes: the list with how many are in each, and the people who stand at one step."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select, text
from sqlalchemy.orm import Session

from outreach.models import Campaign, ProgrammeCampaign, ProgrammeVersion

PAGE = 50

_COUNTS = text("""
SELECT p.id, (SELECT count(*) FROM enrolments e WHERE e.programme_id = p.id AND e.left_at IS NULL) AS enrolled,
       (SELECT min(next.wake_at)
        FROM programme_versions v
        CROSS JOIN LATERAL generate_series(0, jsonb_array_length(v.definition -> 'steps')) AS s(step)
        CROSS JOIN LATERAL (
            SELECT d.wake_at FROM programme_dues d
            WHERE d.version_id = v.id AND d.step = s.step AND d.state = 'open' ORDER BY d.wake_at LIMIT 1) AS next
        WHERE v.programme_id = p.id) AS next_at
FROM unnest(cast(:ids AS bigint[])) AS p(id)
""")
_AT_STEP = text("""
SELECT d.id, c.external_id AS number, c.name, d.due_at, d.wake_at, d.held_since, d.started_at
FROM programme_dues d JOIN customers c ON c.id = d.customer_id
WHERE d.version_id = :version_id AND d.step = :step AND d.state = 'open'
  AND (d.wake_at, d.id) > (coalesce(cast(:after_at AS timestamptz), '-infinity'), :after)
ORDER BY d.wake_at, d.id LIMIT :limit
""")


@dataclass(frozen=True, slots=True)
class InFlight:
    """One occurrence of somebody that waits at a step until `wake_at`; held since, when a problem is open for her."""

    id: int
    number: str
    name: str | None
    due_at: datetime
    wake_at: datetime
    held_since: datetime | None
    started_at: datetime | None


@dataclass(frozen=True, slots=True)
class Size:
    """How many are in a programme, and when it has something to do next."""

    enrolled: int
    next_at: datetime | None


def sizes(session: Session, *, programme_ids: Sequence[int]) -> dict[int, Size]:
    """Return how many are in each of these programmes, and when each speaks next."""
    rows = session.execute(_COUNTS, {"ids": list(programme_ids)})
    return {row.id: Size(row.enrolled, row.next_at) for row in rows}


def at_step(
    session: Session, *, version: ProgrammeVersion, step: int, after_at: datetime | None = None, after: int = 0
) -> tuple[list[InFlight], InFlight | None]:
    """Return a page of those who stand at one step, whoever goes on first before the others, and its last if more."""
    parameters = {"version_id": version.id, "step": step, "after_at": after_at, "after": after, "limit": PAGE + 1}
    rows = [InFlight(*row) for row in session.execute(_AT_STEP, parameters)]
    return rows[:PAGE], rows[PAGE - 1] if len(rows) > PAGE else None


def version_numbered(session: Session, *, programme_id: int, number: int) -> ProgrammeVersion | None:
    """Return one version of a programme."""
    return session.scalar(
        select(ProgrammeVersion).where(
            ProgrammeVersion.programme_id == programme_id, ProgrammeVersion.version == number
        )
    )


def versions(session: Session, *, programme_id: int) -> list[ProgrammeVersion]:
    """Return the versions of a programme, newest first."""
    wanted = select(ProgrammeVersion).where(ProgrammeVersion.programme_id == programme_id)
    return list(session.scalars(wanted.order_by(ProgrammeVersion.version.desc()).limit(20)))


def campaigns_of(session: Session, *, programme_id: int) -> dict[tuple[int, int], list[str]]:
    """Return the keys of the campaigns through which each step of each version spoke, newest first."""
    rows = session.execute(
        select(ProgrammeVersion.version, ProgrammeCampaign.step, Campaign.key)
        .join(ProgrammeCampaign, ProgrammeCampaign.version_id == ProgrammeVersion.id)
        .join(Campaign, Campaign.id == ProgrammeCampaign.campaign_id)
        .where(ProgrammeVersion.programme_id == programme_id)
        .order_by(Campaign.id.desc())
        .limit(500)
    )
    found: dict[tuple[int, int], list[str]] = {}
    for version, step, key in rows:
        found.setdefault((version, step), []).append(key)
    return found
