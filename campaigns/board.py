"""The board of problems: one row each, with its audience, its newest notice, and what is owed next."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import text
from sqlalchemy.orm import Session

from outreach.vocabulary import CampaignKind, CampaignState, ProblemState, Severity

OPEN = (ProblemState.INVESTIGATING, ProblemState.KNOWN, ProblemState.MONITORING)
TABS: dict[str, tuple[ProblemState, ...]] = {
    "open": OPEN,
    "resolved": (ProblemState.RESOLVED,),
    "closed": (ProblemState.CLOSED,),
    "all": tuple(ProblemState),
}
PAGE = 50

_ROWS = text("""
SELECT p.id, p.key, p.title, p.state, p.severity, p.department, p.reported_at, p.next_update_by, p.fixed_by,
       s.id AS segment_id, coalesce(s.totals, '{}') AS totals, s.current_version > 0 AS has_scope,
       s.current_version <> s.built_version AS building, s.drift IS NOT NULL AS drifts,
       c.id AS campaign_id, c.key AS campaign, c.kind AS campaign_kind, c.state AS campaign_state,
       (SELECT count(*) FROM responses r WHERE r.problem_id = p.id AND r.handled_at IS NULL) AS replies_waiting,
       (SELECT count(*) FROM tickets t WHERE t.problem_id = p.id) AS tickets
FROM problems p
LEFT JOIN segments s ON s.problem_id = p.id
LEFT JOIN LATERAL (
    SELECT id, key, kind, state FROM campaigns
    WHERE problem_id = p.id AND kind IN ('known', 'update', 'recall', 'resolved') AND state <> 'cancelled'
    ORDER BY id DESC LIMIT 1
) c ON true
WHERE p.state = ANY(:states) AND p.id < :before AND (cast(:key AS text) IS NULL OR p.key = :key)
ORDER BY p.id DESC LIMIT :limit
""")
_TOTALS = text("SELECT state, count(*) AS total FROM problems GROUP BY state")


@dataclass(frozen=True, slots=True)
class Owed:
    """One thing somebody has to do next; `kind` says where it is done."""

    kind: str
    sentence: str
    due: datetime | None = None
    late: bool = False


@dataclass(frozen=True, slots=True)
class BoardRow:
    """One problem as the board shows it."""

    id: int
    key: str
    title: str
    state: ProblemState
    severity: Severity
    department: str | None
    reported_at: datetime
    next_update_by: datetime | None
    fixed_by: datetime | None
    segment_id: int | None
    counts: dict[str, int]
    has_scope: bool
    building: bool
    drifts: bool
    campaign_id: int | None
    campaign: str | None
    campaign_kind: CampaignKind | None
    campaign_state: CampaignState | None
    replies_waiting: int
    tickets: int

    @property
    def touched(self) -> int:
        """How many customers are in scope now."""
        return sum(total for grade, total in self.counts.items() if grade != "cleared")

    @property
    def is_open(self) -> bool:
        """Whether the problem still goes on."""
        return self.state in OPEN


def board(
    session: Session, *, states: Sequence[ProblemState] = OPEN, before: int | None = None, limit: int = PAGE
) -> tuple[list[BoardRow], int | None]:
    """Return problems, newest first, and where the next page starts."""
    rows = _read(session, states=states, before=before, limit=limit + 1, key=None)
    more = len(rows) > limit
    return rows[:limit], rows[limit - 1].id if more else None


def one(session: Session, key: str) -> BoardRow | None:
    """Return the board's row of one problem."""
    rows = _read(session, states=tuple(ProblemState), before=None, limit=1, key=key)
    return rows[0] if rows else None


def totals(session: Session) -> dict[str, int]:
    """Return how many problems each tab of the board holds."""
    found = {ProblemState(row.state): row.total for row in session.execute(_TOTALS)}
    return {tab: sum(found.get(state, 0) for state in states) for tab, states in TABS.items()}


def owed(row: BoardRow, now: datetime) -> list[Owed]:
    """Return what is owed next, most pressing first."""
    found = []
    if row.is_open and row.next_update_by is not None:
        late = row.next_update_by < now
        found.append(Owed("update", "An update was promised" if late else "Next update", row.next_update_by, late))
    if row.is_open and row.fixed_by is not None:
        found.append(Owed("fix", "Promised to be fixed", row.fixed_by, row.fixed_by < now))
    if row.is_open and not row.has_scope:
        found.append(Owed("scope", "Say whom it touches"))
    if row.campaign_state is CampaignState.WAITING_APPROVAL:
        found.append(Owed("approval", f"{row.campaign} waits for approval"))
    if row.campaign_state is CampaignState.PAUSED:
        found.append(Owed("paused", f"{row.campaign} is paused"))
    if row.replies_waiting:
        one_reply = row.replies_waiting == 1
        found.append(Owed("replies", f"{row.replies_waiting} {'reply waits' if one_reply else 'replies wait'}"))
    if row.is_open and row.has_scope and row.state is ProblemState.INVESTIGATING:
        found.append(Owed("known", "Mark it known, so that people hear of it"))
    if row.drifts and row.is_open:
        found.append(Owed("drift", "Newer tickets do not fit the scope"))
    return sorted(found, key=lambda each: (not each.late,))


def _read(
    session: Session, *, states: Sequence[ProblemState], before: int | None, limit: int, key: str | None
) -> list[BoardRow]:
    given = {"states": [state.value for state in states], "before": before or 2**62, "limit": limit, "key": key}
    return [_row(found) for found in session.execute(_ROWS, given).mappings()]


def _row(found: Any) -> BoardRow:
    values = dict(found)
    values["counts"] = {grade: int(total) for grade, total in values.pop("totals").items()}
    values["state"], values["severity"] = ProblemState(values["state"]), Severity(values["severity"])
    values["campaign_kind"] = CampaignKind(values["campaign_kind"]) if values["campaign_kind"] else None
    values["campaign_state"] = CampaignState(values["campaign_state"]) if values["campaign_state"] else None
    values["has_scope"], values["building"] = bool(values["has_scope"]), bool(values["building"])
    return BoardRow(**values)
