"""What we owe the help desks and ask of them, done from rows: each action once, tried again while a desk is down.

`open_ticket`, `comment`, `solve`, `link` write at the desk; `fetch` asks for a ticket whose customer an event did not
name; `step` asks how a problem stands before acting on it. A desk that says when to come back is left alone until
then, all its actions with it.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import structlog
from sqlalchemy import text
from sqlalchemy.orm import Session

from outreach import clock
from outreach.db import transaction
from outreach.errors import InvalidInput, NotAuthenticated, NotFound, NotPermitted, OutreachError, Unavailable
from outreach.models import DeskAction, Problem, Response
from outreach.queue import wake
from webhooks import connectors, triggers
from webhooks.connectors import Desk
from webhooks.desks.base import DeskClient, DeskState
from webhooks.desks.http import DeskBusy

log = structlog.get_logger()
MOST_TRIES = 80  # about three days, at most an hour apart
PATIENCE_TRIES = 3  # then an event is believed without asking the desk
MANY = 20  # so many tickets to ask for are asked for by one list

_CLAIM = text("""
UPDATE desk_actions SET tries = tries + 1,
       next_try_at = :wall + make_interval(secs => least(15 * 2 ^ least(tries, 10), 3600))
WHERE id = (
    SELECT a.id FROM desk_actions a LEFT JOIN connectors c ON c.key = a.desk
    WHERE a.done_at IS NULL AND a.next_try_at <= :wall AND a.tries < :most
      AND (c.id IS NULL OR (c.enabled AND (c.busy_until IS NULL OR c.busy_until <= :wall)))
      AND NOT EXISTS (SELECT 1 FROM desk_actions b WHERE b.key = a.payload->>'after' AND b.done_at IS NULL
                      AND b.tries < :most)
    ORDER BY a.next_try_at, a.id LIMIT 1 FOR UPDATE OF a SKIP LOCKED)
RETURNING id, desk, action, key, payload, tries
""")

_MANY_FETCHES = text("""
SELECT a.desk, min(a.created_at) AS since FROM desk_actions a LEFT JOIN connectors c ON c.key = a.desk
WHERE a.action = 'fetch' AND a.done_at IS NULL AND a.next_try_at <= :wall AND a.tries = 0
  AND (c.id IS NULL OR (c.enabled AND (c.busy_until IS NULL OR c.busy_until <= :wall)))
GROUP BY a.desk HAVING count(*) >= :many
""")
_FETCHED = text("""
UPDATE desk_actions SET done_at = :now, tries = 1, result = 'listed'
WHERE desk = :desk AND action = 'fetch' AND done_at IS NULL AND payload->>'reference' = ANY(:references)
""")
_TICKET_OPENED = text("""
INSERT INTO tickets (desk, external_id, customer_id, problem_id, requester_email, subject, body, status, opened_at,
                     attributes, updated_at)
VALUES (:desk, :reference, :customer_id, :problem_id, :email, :subject, :body, 'new', :now,
        '{"opened_by": "outreach"}', :now)
ON CONFLICT (desk, external_id) DO UPDATE SET
    customer_id = coalesce(tickets.customer_id, excluded.customer_id),
    problem_id = coalesce(tickets.problem_id, excluded.problem_id),
    attributes = tickets.attributes || excluded.attributes
RETURNING id
""")

_FOR_A_PERSON = text("""
UPDATE responses SET handled_at = NULL, handled_by = NULL WHERE id = :id AND handled_by = 'outreach'
""")


@dataclass(frozen=True, slots=True)
class _Claimed:
    id: int
    action: str
    key: str
    payload: dict[str, Any]
    tries: int
    desk: Desk | None


def work(*, most: int = 200) -> Counter[str]:
    """Carry out due actions one by one; the desk is called with no transaction open."""
    done = _fetch_many()
    for _ in range(most):
        with transaction() as session:
            claimed = _claim(session)
        if claimed is None:
            break
        done[_carry_out(claimed)] += 1
    return done


def _claim(session: Session) -> _Claimed | None:
    # Leased by its own due time: nobody else takes it while we call.
    row = session.execute(_CLAIM, {"wall": clock.wall(), "most": MOST_TRIES}).one_or_none()
    if row is None:
        return None
    try:
        desk = connectors.find(session, row.desk)
    except OutreachError:
        desk = None
    return _Claimed(row.id, row.action, row.key, dict(row.payload), row.tries, desk)


def _carry_out(claimed: _Claimed) -> str:
    """Do one action and write down what came of it; returns `done`, `later` or `refused`."""
    client = claimed.desk.client() if claimed.desk is not None else None
    try:
        if claimed.desk is None or client is None:
            raise Unavailable("The desk is not connected, or its API is not set: see GET /api/connectors.")
        settle = _ACTIONS[claimed.action](claimed, claimed.desk, client)
    except KeyError:
        return _not_done(claimed, InvalidInput(f"{claimed.action} is not something a desk can do."))
    except OutreachError as error:
        return _not_done(claimed, error)
    with transaction() as session:
        action = session.get_one(DeskAction, claimed.id)
        action.done_at, action.error = clock.now(session), None
        action.result = settle(session)
    return "done"


Settle = Callable[[Session], str | None]


def _open_ticket(claimed: _Claimed, desk: Desk, client: DeskClient) -> Settle:
    payload = claimed.payload
    reference = client.open_ticket(
        payload["subject"], payload["body"], payload["requester_email"], payload.get("problem_reference"), claimed.key
    )

    def settle(session: Session) -> str:
        _link(session, desk.key, payload, reference)
        if payload.get("reply"):
            answer = {"reference": reference, "body": payload["reply"], "public": True}
            triggers.owe(session, desk, [("comment", f"{claimed.key}:reply", answer)])
        return reference

    return settle


def _comment(claimed: _Claimed, _desk: Desk, client: DeskClient) -> Settle:
    reference = _reference(claimed)
    client.comment(reference, claimed.payload["body"], bool(claimed.payload.get("public")))
    return lambda _session: reference


def _solve(claimed: _Claimed, _desk: Desk, client: DeskClient) -> Settle:
    reference = _reference(claimed)
    client.solve(reference, claimed.payload["body"])
    return lambda _session: reference


def _add_link(claimed: _Claimed, _desk: Desk, client: DeskClient) -> Settle:
    client.add_link(claimed.payload["reference"], claimed.payload["url"], claimed.payload["title"])
    return lambda _session: str(claimed.payload["reference"])


def _fetch(claimed: _Claimed, desk: Desk, client: DeskClient) -> Settle:
    try:
        states = [client.fetch(claimed.payload["reference"])]
    except NotFound:
        states = []

    def settle(session: Session) -> str:
        triggers.catch_up(session, desk=desk, states=states)
        return "fetched" if states else "gone"

    return settle


def _take_step(claimed: _Claimed, desk: Desk, client: DeskClient) -> Settle:
    event = triggers.event_of(claimed.payload)
    state: DeskState | None = None
    try:
        state = client.fetch(claimed.payload["reference"])
    except NotFound:
        return lambda _session: "gone"
    except Unavailable:
        if claimed.tries <= PATIENCE_TRIES:
            raise
    except (NotAuthenticated, NotPermitted) as error:
        log.warning("desk not asked before a step", desk=desk.key, error=type(error).__name__)

    def settle(session: Session) -> str:
        if state is None or state.problem is None:
            triggers.act(session, desk=desk, event=event, now=clock.now(session))
            return "believed"
        triggers.catch_up(session, desk=desk, states=[state], event=event)
        return "asked"

    return settle


_ACTIONS: dict[str, Callable[[_Claimed, Desk, DeskClient], Settle]] = {
    "open_ticket": _open_ticket,
    "comment": _comment,
    "solve": _solve,
    "link": _add_link,
    "fetch": _fetch,
    "step": _take_step,
}


def _reference(claimed: _Claimed) -> str:
    """Return the ticket that an action is about: named, or the one that an earlier action opened."""
    if claimed.payload.get("reference"):
        return str(claimed.payload["reference"])
    with transaction() as session:
        found: str | None = session.scalar(
            text("SELECT result FROM desk_actions WHERE key = :key"), {"key": claimed.payload.get("after", "")}
        )
    if not found:
        raise InvalidInput("The ticket that this was to be added to could not be opened.")
    return found


def _not_done(claimed: _Claimed, error: OutreachError) -> str:
    """Write down why; what can be mended (the desk is down, a token is wrong) is tried again, the rest is not."""
    mendable = isinstance(error, Unavailable | NotAuthenticated | NotPermitted) or error.where == "url"
    wall = clock.wall()
    log.warning("desk action not done", action=claimed.action, error=type(error).__name__, tries=claimed.tries)
    with transaction() as session:
        action = session.get_one(DeskAction, claimed.id)
        action.error = error.message[:1000].replace("\0", "")
        if not mendable:
            action.tries = MOST_TRIES
        if claimed.desk is not None:
            note_error(session, claimed.desk, error, wall)
        if isinstance(error, DeskBusy) and error.retry_after_seconds is not None:
            action.next_try_at = wall + timedelta(seconds=error.retry_after_seconds)
        response_id = claimed.payload.get("response_id")
        if action.tries >= MOST_TRIES and response_id is not None:
            # What the desk will not take, a person must see.
            session.execute(_FOR_A_PERSON, {"id": response_id})
    return "later" if mendable else "refused"


def note_error(session: Session, desk: Desk, error: OutreachError, wall: datetime) -> None:
    """Keep what the desk last refused, and leave it alone for as long as it asked."""
    row = connectors.row_of(session, desk, lock=True)
    row.last_error, row.last_error_at = error.message[:1000].replace("\0", ""), wall
    if isinstance(error, DeskBusy) and error.retry_after_seconds is not None:
        row.busy_until = wall + timedelta(seconds=error.retry_after_seconds)


def _fetch_many() -> Counter[str]:
    """Ask by one list for the tickets of a desk that are many; those the list lacks are asked for one by one."""
    wall = clock.wall()
    with transaction() as session:
        crowded = session.execute(_MANY_FETCHES, {"wall": wall, "many": MANY}).all()
        found = [(desk, row.since) for row in crowded if (desk := _known(session, row.desk)) is not None]
    done: Counter[str] = Counter()
    for desk, since in found:
        done["done"] += read_list(desk, since - timedelta(minutes=10), most=20_000)
    return done


def _known(session: Session, key: str) -> Desk | None:
    try:
        return connectors.find(session, key)
    except OutreachError:
        return None


def read_list(desk: Desk, since: datetime, *, most: int) -> int:
    """Read what changed at a desk since then and act on it; returns how many tickets were read.

    Raises nothing: a desk that refuses is noted, and what was read before stays.
    """
    client, read, batch = desk.client(), 0, list[DeskState]()
    if client is None:
        return 0
    try:
        for state in client.list_since(since):
            batch.append(state)
            if len(batch) == 500:
                read += _apply_list(desk, batch)
                batch = []
            if read >= most:
                break
    except OutreachError as error:
        with transaction() as session:
            note_error(session, desk, error, clock.wall())
        _apply_list(desk, batch)
        return -1
    return read + _apply_list(desk, batch)


def _apply_list(desk: Desk, states: list[DeskState]) -> int:
    if states:
        with transaction() as session:
            triggers.catch_up(session, desk=desk, states=states)
            references = [state.reference for state in states]
            session.execute(_FETCHED, {"now": clock.now(session), "desk": desk.key, "references": references})
    return len(states)


def _link(session: Session, desk: str, payload: dict[str, Any], reference: str) -> None:
    response = session.get(Response, payload.get("response_id") or 0)
    if response is None:
        return
    problem = session.get(Problem, response.problem_id) if response.problem_id else None
    response.ticket_id = session.scalar(
        _TICKET_OPENED,
        {
            "desk": desk,
            "reference": reference,
            "customer_id": response.customer_id,
            "problem_id": problem.id if problem is not None else None,
            "email": payload["requester_email"],
            "subject": payload["subject"],
            "body": payload["body"],
            "now": clock.now(session),
        },
    )
    wake(session, "segments.sweep")
