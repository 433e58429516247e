"""Who answers for a campaign hears of it by email when it needs them, and its department gets a task.

The email goes to those who opened and approved it; where these are no operators (a playbook, a key, the terminal), to
everybody who may approve. It is written with the change that it is about and sent later, so that it is never lost.
"""

import time
from datetime import datetime, timedelta
from html import escape

import structlog
from sqlalchemy import text
from sqlalchemy.orm import Session

from campaigns.envelopes import Sender
from campaigns.providers.base import EmailEnvelope, Outcome
from campaigns.unrecorded import new_unrecorded_id
from outreach.db import transaction
from outreach.errors import OutreachError
from outreach.models import Campaign, DepartmentTask, Problem
from outreach.settings import get_settings
from outreach.vocabulary import NoticeClass

log = structlog.get_logger()

MOST_TRIES = 8  # in about ten hours
FIRST_WAIT_SECONDS = 300
PATIENCE_SECONDS = 30

_WRITE = text("""
INSERT INTO owner_letters (campaign_key, address, said)
SELECT :key, o.email, :said FROM operators o
WHERE o.disabled_at IS NULL AND CASE
    WHEN EXISTS (SELECT 1 FROM operators mine WHERE mine.disabled_at IS NULL AND mine.email = ANY(:names))
    THEN o.email = ANY(:names) ELSE o.role IN ('approver', 'admin') END
  AND NOT EXISTS (SELECT 1 FROM owner_letters l WHERE l.campaign_key = :key AND l.address = o.email AND l.said = :said
                  AND l.written_at > clock_timestamp() - interval '6 hours')
""")

# Whoever takes it also says when somebody else may: a process that dies with it delays it, nothing more.
_TAKE = text("""
UPDATE owner_letters SET tries = tries + 1,
       due_at = clock_timestamp() + make_interval(secs => :wait * power(2, tries))
WHERE id = (SELECT id FROM owner_letters WHERE sent_at IS NULL AND tries < :most AND due_at <= clock_timestamp()
            ORDER BY due_at, id LIMIT 1 FOR UPDATE SKIP LOCKED)
RETURNING id, campaign_key, address, said
""")
_NOTE = text("""
UPDATE owner_letters SET sent_at = CASE WHEN :sent THEN clock_timestamp() END, detail = :detail WHERE id = :id
""")


def write_letters(session: Session, campaign: Campaign, said: str) -> None:
    """Write an email to those who answer for the campaign; not the same one twice within six hours."""
    names = [name for name in (campaign.created_by, campaign.approved_by) if name]
    session.execute(_WRITE, {"key": campaign.key, "said": said, "names": names})


def tell_owner(session: Session, campaign: Campaign, said: str, now: datetime) -> None:
    """Write an email to those who answer for the campaign, and open a task for the department of its problem."""
    write_letters(session, campaign, said)
    problem = session.get(Problem, campaign.problem_id) if campaign.problem_id else None
    if problem is None:
        return
    session.add(
        DepartmentTask(
            problem_id=problem.id,
            department=problem.department or "Customer service",
            title=said,
            detail=f"Campaign {campaign.name}, opened by {campaign.created_by}.",
            due_at=now + timedelta(hours=4),
            opened_at=now,
        )
    )


def send_letters(sender: Sender, *, most: int = 50) -> int:
    """Send the letters that are due; returns how many a provider took. No transaction is open during a call."""
    taken = 0
    for _ in range(most):
        with transaction() as session:
            row = session.execute(_TAKE, {"wait": FIRST_WAIT_SECONDS, "most": MOST_TRIES}).one_or_none()
        if row is None:
            break
        outcome, detail = _send(sender, row.campaign_key, row.address, row.said)
        # Unclear is tried again: twice is better than never, and it is one of us.
        sent = outcome is Outcome.ACCEPTED
        with transaction() as session:
            session.execute(_NOTE, {"id": row.id, "sent": sent, "detail": detail})
        taken += sent
        log.info("letter to an owner", campaign=row.campaign_key, outcome=outcome.value)
    return taken


def _send(sender: Sender, key: str, address: str, said: str) -> tuple[Outcome, str | None]:
    settings = get_settings()
    page = f"{settings.public_url.rstrip('/')}/campaigns/{key}"
    try:
        envelope = EmailEnvelope(
            message_id=new_unrecorded_id(),
            to=address,
            to_name=None,
            subject=" ".join(said.split())[:150],
            html=f'<p>{escape(said)}</p><p><a href="{escape(page)}">{escape(page)}</a></p>',
            text=f"{said}\n\n{page}\n",
            from_address=settings.email_from,
            from_name=settings.organisation,
            reply_to=None,
            notice_class=NoticeClass.SERVICE,
        )
        receipt = sender.provider.send([envelope], deadline=time.monotonic() + PATIENCE_SECONDS)[0]
    except OutreachError as error:
        return Outcome.REFUSED, error.message
    return receipt.outcome, receipt.detail
