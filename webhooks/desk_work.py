"""What we owe the help desk, done from rows: each action once, tried again while the desk is down."""

from collections import Counter
from datetime import timedelta
from functools import lru_cache
from typing import Any
from urllib.parse import urlsplit

import structlog
from sqlalchemy import select

from outreach import clock
from outreach.db import transaction
from outreach.errors import OutreachError, Unavailable
from outreach.models import DeskAction, Response, Ticket
from outreach.settings import get_settings
from webhooks.desks import zendesk_client
from webhooks.desks.base import DeskClient

log = structlog.get_logger()
MOST_TRIES = 12


@lru_cache
def desk_client() -> DeskClient | None:
    """Return the client of the desk that the settings name; none where no desk is connected."""
    settings = get_settings()
    if not (settings.zendesk_url and settings.zendesk_email and settings.zendesk_api_token):
        return None
    # In a demo the desk is the sandbox on this machine; anywhere else private addresses stay out of reach.
    url = urlsplit(settings.zendesk_url)
    local = settings.demo and url.hostname in {"127.0.0.1", "localhost"}
    allowed = [f"{url.scheme}://{url.netloc}"] if local else []
    return zendesk_client.connect(
        settings.zendesk_url, settings.zendesk_email, settings.zendesk_api_token.get_secret_value(), allow=allowed
    )


def work(*, most: int = 50) -> Counter[str]:
    """Carry out due actions one by one; the desk is called with no transaction open."""
    done: Counter[str] = Counter()
    client = desk_client()
    if client is None:
        return done
    for _ in range(most):
        with transaction() as session:
            action = session.scalar(
                select(DeskAction)
                .where(DeskAction.done_at.is_(None), DeskAction.next_try_at <= clock.wall())
                .where(DeskAction.tries < MOST_TRIES)
                .order_by(DeskAction.next_try_at)
                .limit(1)
                .with_for_update(skip_locked=True)
            )
            if action is None:
                break
            # Leased by its own due time: nobody else takes it while we call.
            action.tries += 1
            action.next_try_at = clock.wall() + timedelta(seconds=min(2**action.tries * 15, 3600))
            action_id, name, key, payload = action.id, action.action, action.key, dict(action.payload)
        try:
            result, error = _carry_out(client, name, key, payload), None
        except OutreachError as problem:
            result, error = None, problem.message
            log.warning("desk action not done", action=name, error=type(problem).__name__)
        with transaction() as session:
            action = session.get_one(DeskAction, action_id)
            action.error = error
            if error is None:
                action.done_at, action.result = clock.now(session), result
                if name == "open_ticket" and result:
                    _link(session, action.desk, payload, result)
        done["done" if error is None else "failed"] += 1
    return done


def _carry_out(client: DeskClient, action: str, key: str, payload: dict[str, Any]) -> str | None:
    if action == "open_ticket":
        return client.open_ticket(
            payload["subject"], payload["body"], payload["requester_email"], payload.get("problem_reference"), key
        )
    if action == "comment":
        client.comment(payload["reference"], payload["body"], False)
        return str(payload["reference"])
    raise Unavailable(f"{action} is not something a desk can do.")


def _link(session: Any, desk: str, payload: dict[str, Any], reference: str) -> None:
    response = session.get(Response, payload["response_id"])
    if response is None:
        return
    now = clock.now(session)
    ticket = Ticket(
        desk=desk,
        external_id=reference,
        customer_id=response.customer_id,
        problem_id=response.problem_id,
        requester_email=payload["requester_email"],
        subject=payload["subject"],
        body=payload["body"],
        status="new",
        opened_at=now,
        attributes={"opened_by": "outreach"},
        updated_at=now,
    )
    session.add(ticket)
    session.flush()
    response.ticket_id = ticket.id
