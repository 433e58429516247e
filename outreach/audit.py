"""The record of every change: append-only (a trigger refuses the rest), each entry chained to the one before."""

import hashlib
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import orjson
from sqlalchemy import cast, select, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Session

from outreach.errors import NotFound
from outreach.models import AuditEntry
from outreach.pagination import Page, fetch_page

_LOCK = 7302
_START = "0" * 64  # what the first entry names as its predecessor


def record(
    session: Session, *, actor: str, action: str, subject: str, detail: dict[str, Any] | None = None, now: datetime
) -> AuditEntry:
    """Add one entry; `action` reads like `problem.mark_known`, `subject` like `problem:P-7`.

    Writers wait for each other until their transactions end: call it last.
    `detail` never holds a secret or a customer's address.
    """
    session.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})
    last = select(AuditEntry.hash).order_by(AuditEntry.id.desc()).limit(1).scalar_subquery()
    # JSONB rewrites numbers and keys; the hash must be of what will be read back.
    stored, previous = session.execute(select(cast(detail or {}, JSONB), last)).one()
    entry = AuditEntry(
        at=now.astimezone(UTC),
        actor=actor,
        action=action,
        subject=subject,
        detail=stored,
        previous_hash=previous or _START,
        hash="",
    )
    entry.hash = _hash(entry)
    session.add(entry)
    session.flush()
    return entry


def entries(
    session: Session,
    *,
    actor: str = "",
    action: str = "",
    subject: str = "",
    before: int | None = None,
    limit: int = 50,
) -> tuple[Sequence[AuditEntry], int | None]:
    """Return entries, newest first, and the id to go on `before`; action and subject are searched by how they begin."""
    query = select(AuditEntry)
    if actor:
        query = query.where(AuditEntry.actor == actor)
    if action:
        query = query.where(AuditEntry.action.startswith(action, autoescape=True))
    if subject:
        query = query.where(AuditEntry.subject.startswith(subject, autoescape=True))
    return fetch_page(session, query, AuditEntry.id, Page(limit=limit, after=before))


def find(session: Session, entry_id: int) -> AuditEntry:
    """Return one entry; raises `NotFound`."""
    entry = session.get(AuditEntry, entry_id)
    if entry is None:
        raise NotFound(f"There is no audit entry {entry_id}.")
    return entry


def verify_chain(session: Session) -> list[str]:
    """Return one sentence per entry that was altered, or whose predecessor is gone; empty when all is well.

    Entries cut off at the end leave no trace here: keep the newest hash somewhere else to notice that.
    """
    complaints = []
    previous = _START
    for entry in session.scalars(select(AuditEntry).order_by(AuditEntry.id).execution_options(yield_per=1000)):
        if entry.previous_hash != previous:
            complaints.append(f"Before entry {entry.id} ({entry.action}) something was removed or put in between.")
        if entry.hash != _hash(entry):
            complaints.append(f"Entry {entry.id} ({entry.action} by {entry.actor}) was altered.")
        previous = entry.hash
    return complaints


def _hash(entry: AuditEntry) -> str:
    content = [
        entry.previous_hash,
        entry.at.astimezone(UTC).isoformat(timespec="microseconds"),
        entry.actor,
        entry.action,
        entry.subject,
        entry.detail,
    ]
    return hashlib.sha256(orjson.dumps(content, option=orjson.OPT_SORT_KEYS)).hexdigest()
