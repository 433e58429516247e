"""One problem's timeline across tables: what was said about it, what was sent, and who was given work."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import text
from sqlalchemy.orm import Session

LONGEST = 200

_ENTRIES = text("""
SELECT at, kind, word, detail, author, reference FROM (
    SELECT at, CASE WHEN to_state IS NULL THEN 'update' WHEN from_state IS NULL AND lead IS NULL THEN 'reported'
                    WHEN from_state = to_state OR from_state IS NULL THEN 'update' ELSE 'state' END AS kind,
           to_state AS word, text AS detail, author, NULL AS reference, id
    FROM (SELECT *, lag(id) OVER (ORDER BY id) AS lead FROM problem_updates WHERE problem_id = :id) u
    UNION ALL
    SELECT created_at, 'campaign', kind, name, created_by, key, id FROM campaigns WHERE problem_id = :id
    UNION ALL
    SELECT approved_at, 'approved', kind, name, approved_by, key, id FROM campaigns
    WHERE problem_id = :id AND approved_at IS NOT NULL
    UNION ALL
    SELECT opened_at, 'task', department, title, department, NULL, id FROM department_tasks WHERE problem_id = :id
) entries ORDER BY at DESC, id DESC LIMIT :limit
""")
_TASKS = text("""
SELECT title, department, due_at, opened_at, done_at FROM department_tasks
WHERE problem_id = :id ORDER BY done_at IS NOT NULL, coalesce(due_at, opened_at), id LIMIT 50
""")
_TICKETS = text("""
SELECT t.desk, t.external_id, t.subject, t.status, t.opened_at, c.external_id AS customer, c.name
FROM tickets t LEFT JOIN customers c ON c.id = t.customer_id
WHERE t.problem_id = :id ORDER BY t.opened_at DESC NULLS LAST, t.id DESC LIMIT :limit
""")
_REPLIES = text("""
SELECT r.id, r.intent, r.text, r.channel, r.received_at, r.handled_at, c.external_id AS customer, c.name
FROM responses r LEFT JOIN customers c ON c.id = r.customer_id
WHERE r.problem_id = :id ORDER BY r.handled_at IS NOT NULL, r.id DESC LIMIT :limit
""")
_INTENTS = text(
    "SELECT intent, count(*) AS total FROM responses WHERE problem_id = :id GROUP BY intent ORDER BY 2 DESC"
)


@dataclass(frozen=True, slots=True)
class Entry:
    """One thing on a problem's timeline: reported, state, update, campaign, approved or task."""

    at: datetime
    kind: str
    word: str | None
    detail: str
    author: str
    reference: str | None


@dataclass(frozen=True, slots=True)
class LinkedTicket:
    """One case at a desk that reports the problem."""

    desk: str
    reference: str
    subject: str | None
    status: str | None
    opened_at: datetime | None
    customer: str | None
    name: str | None


@dataclass(frozen=True, slots=True)
class Reply:
    """What one customer answered."""

    id: int
    intent: str
    text: str
    channel: str
    received_at: datetime
    handled_at: datetime | None
    customer: str | None
    name: str | None


@dataclass(frozen=True, slots=True)
class Task:
    """Work of the department that owns the cause."""

    title: str
    department: str
    due_at: datetime | None
    opened_at: datetime
    done_at: datetime | None


def entries(session: Session, *, problem_id: int, limit: int = LONGEST) -> list[Entry]:
    """Return the timeline, newest first."""
    return [Entry(*row) for row in session.execute(_ENTRIES, {"id": problem_id, "limit": limit})]


def tickets(session: Session, *, problem_id: int, limit: int = 8) -> list[LinkedTicket]:
    """Return the newest linked tickets."""
    return [LinkedTicket(*row) for row in session.execute(_TICKETS, {"id": problem_id, "limit": limit})]


def replies(session: Session, *, problem_id: int, limit: int = 6) -> list[Reply]:
    """Return replies, those that wait for somebody first."""
    return [Reply(*row) for row in session.execute(_REPLIES, {"id": problem_id, "limit": limit})]


def intents(session: Session, *, problem_id: int) -> dict[str, int]:
    """Return how many replies there are of each meaning."""
    return {row.intent: row.total for row in session.execute(_INTENTS, {"id": problem_id})}


def tasks(session: Session, *, problem_id: int) -> list[Task]:
    """Return the department's work, open pieces first."""
    return [Task(*row) for row in session.execute(_TASKS, {"id": problem_id})]
