"""The inbox as it is read: the replies that wait for somebody, and everything said between us and one person.

Lists go by key, newest first; what waits is counted up to a bound, so that no list costs more the longer it is.
"""

from dataclasses import dataclass, fields
from datetime import datetime
from enum import StrEnum
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.orm import Session

from outreach.models import Response
from outreach.vocabulary import Intent

PAGE = 40
MOST_COUNTED = 1_000
LONGEST_THREAD = 60


class View(StrEnum):
    """Which part of the inbox is looked at."""

    WAITING = "waiting"
    MINE = "mine"
    UNMATCHED = "unmatched"
    SNOOZED = "snoozed"
    HANDLED = "handled"
    ALL = "all"


_WAITS = "r.handled_at IS NULL AND (r.snoozed_until IS NULL OR r.snoozed_until <= :now)"
_VIEWS: dict[View, str] = {
    View.WAITING: _WAITS,
    View.MINE: f"{_WAITS} AND r.assigned_to = :operator_id",
    View.UNMATCHED: f"{_WAITS} AND r.customer_id IS NULL",
    View.SNOOZED: "r.handled_at IS NULL AND r.snoozed_until > :now",
    View.HANDLED: "r.handled_at IS NOT NULL",
    View.ALL: "true",
}


@dataclass(frozen=True, slots=True)
class Filter:
    """What is looked for; `operator_id` is who asks, for what is theirs."""

    view: View = View.WAITING
    intent: Intent | None = None
    problem: str | None = None
    operator_id: int | None = None


@dataclass(frozen=True, slots=True)
class Row:
    """One reply in the list."""

    id: int
    channel: str
    sender: str
    text: str
    intent: str
    received_at: datetime
    handled_at: datetime | None
    handled_by: str | None
    snoozed_until: datetime | None
    customer: str | None
    name: str | None
    problem: str | None
    title: str | None
    assignee: str | None
    answered: bool


_ROWS = """
SELECT r.id, r.channel, r.sender, left(r.text, 300) AS text, r.intent, r.received_at, r.handled_at, r.handled_by,
       r.snoozed_until, c.external_id AS customer, c.name, p.key AS problem, p.title, o.name AS assignee,
       EXISTS (SELECT 1 FROM operator_answers a WHERE a.response_id = r.id) AS answered
FROM responses r
LEFT JOIN customers c ON c.id = r.customer_id
LEFT JOIN problems p ON p.id = r.problem_id
LEFT JOIN operators o ON o.id = r.assigned_to
WHERE {where}
ORDER BY r.id {order} LIMIT :limit
"""
# A campaign that runs brings many at once; beyond the bound the exact number says nothing to anybody.
_COUNT = text(f"SELECT count(*) FROM (SELECT 1 FROM responses r WHERE {_WAITS} LIMIT {MOST_COUNTED}) bounded")


def _where(wanted: Filter) -> str:
    parts = [_VIEWS[wanted.view]]
    if wanted.intent is not None:
        parts.append("r.intent = :intent")
    if wanted.problem is not None:
        parts.append("r.problem_id = (SELECT id FROM problems WHERE key = :problem)")
    return " AND ".join(parts)


def _given(wanted: Filter, now: datetime) -> dict[str, object]:
    return {
        "now": now,
        "operator_id": wanted.operator_id,
        "intent": wanted.intent.value if wanted.intent is not None else None,
        "problem": wanted.problem,
    }


def rows(
    session: Session, wanted: Filter, *, now: datetime, before: int | None = None, limit: int = PAGE
) -> tuple[list[Row], int | None]:
    """Return one page of replies, newest first, and where the next one starts."""
    where = _where(wanted) + (" AND r.id < :before" if before is not None else "")
    given = _given(wanted, now) | {"before": before, "limit": limit + 1}
    found = [Row(*row) for row in session.execute(text(_ROWS.format(where=where, order="DESC")), given)]
    return found[:limit], found[limit - 1].id if len(found) > limit else None


def neighbours(session: Session, wanted: Filter, *, response_id: int, now: datetime) -> tuple[int | None, int | None]:
    """Return the reply above and the one below in the same list."""
    found = []
    for beyond, order in ((">", "ASC"), ("<", "DESC")):
        where = f"{_where(wanted)} AND r.id {beyond} :id"
        query = text(f"SELECT r.id FROM responses r WHERE {where} ORDER BY r.id {order} LIMIT 1")
        found.append(session.scalar(query, _given(wanted, now) | {"id": response_id}))
    return found[0], found[1]


def waiting(session: Session, *, now: datetime) -> int:
    """Return how many replies wait for somebody, at most `MOST_COUNTED`."""
    return session.scalar(_COUNT, {"now": now}) or 0


@dataclass(frozen=True, slots=True)
class Turn:
    """One thing said: `ours` (a notice), `theirs` (a reply) or `answer` (by an operator).

    `word` is the kind of the notice, the intent of the reply or the state of the answer. `key` and `customer_id` name
    the campaign and person whose message can be shown.
    """

    at: datetime
    kind: str
    channel: str
    word: str
    text: str
    author: str | None
    state: str | None
    detail: str | None
    key: str | None
    customer_id: int | None
    response_id: int | None
    answer_id: UUID | None


# By way of the notice's index: `messages` has none on the customer, so that sending stays cheap.
_MESSAGES = """
SELECT coalesce(m.sent_at, n.created_at), 'ours', m.channel, k.kind, k.name,
       NULL, coalesce(m.delivery, m.send_state), coalesce(m.delivery_detail, m.reason), k.key, m.customer_id,
       cast(NULL AS bigint), cast(NULL AS uuid)
FROM notices n JOIN messages m ON m.notice_id = n.id JOIN campaigns k ON k.id = m.campaign_id
WHERE n.customer_id = :customer_id
ORDER BY n.id DESC LIMIT :limit
"""
_REPLIES = """
SELECT r.received_at, 'theirs', r.channel, r.intent, r.text, r.sender, NULL, NULL, NULL, r.customer_id, r.id,
       cast(NULL AS uuid)
FROM responses r WHERE {whose} ORDER BY r.id DESC LIMIT :limit
"""
_ANSWERS = """
SELECT a.written_at, 'answer', a.channel, 'answer', a.text, a.written_by, coalesce(a.delivery, a.state), a.detail, NULL,
       a.customer_id, a.response_id, a.id
FROM operator_answers a WHERE {whose} ORDER BY a.written_at DESC LIMIT :limit
"""


def _thread(*parts: str) -> str:
    joined = " UNION ALL ".join(f"({part})" for part in parts)
    names = ", ".join(field.name for field in fields(Turn))
    return f"SELECT * FROM ({joined}) said({names}) ORDER BY at DESC LIMIT :limit"


_WITH_CUSTOMER = text(
    _thread(
        _MESSAGES,
        _REPLIES.format(whose="r.customer_id = :customer_id"),
        # One that was written before anybody knew whose reply it is belongs to the thread as well.
        _ANSWERS.format(whose="a.customer_id = :customer_id OR a.response_id = :response_id"),
    )
)
_UNMATCHED = text(
    _thread(
        _REPLIES.format(whose="r.sender = :sender AND r.channel = :channel AND r.customer_id IS NULL"),
        _ANSWERS.format(whose="a.response_id = :response_id"),
    )
)


def thread(session: Session, response: Response, *, limit: int = LONGEST_THREAD) -> list[Turn]:
    """Return what was said between us and the person of a response, oldest first; the newest `limit` of it."""
    given = {
        "customer_id": response.customer_id,
        "response_id": response.id,
        "sender": response.sender,
        "channel": response.channel.value,
        "limit": limit,
    }
    query = _WITH_CUSTOMER if response.customer_id is not None else _UNMATCHED
    return [Turn(*row) for row in session.execute(query, given)][::-1]


@dataclass(frozen=True, slots=True)
class AtTheDesk:
    """The ticket of a response, or the action that is to open one or add to one, with what the desk said."""

    desk: str
    reference: str | None
    error: str | None


_TICKET = text("""
SELECT t.desk, t.external_id AS reference, NULL AS error FROM tickets t WHERE t.id = :ticket_id
UNION ALL
SELECT a.desk, a.result, a.error FROM desk_actions a WHERE a.key = :key
LIMIT 1
""")


def at_the_desk(session: Session, response: Response) -> AtTheDesk | None:
    """Return where a response stands at the help desk; none when nobody has told the desk."""
    given = {"ticket_id": response.ticket_id, "key": f"response:{response.id}"}
    row = session.execute(_TICKET, given).one_or_none()
    return AtTheDesk(*row) if row is not None else None
