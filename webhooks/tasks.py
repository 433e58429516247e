"""Celery's way in: apply what was stored, do what we owe the desks, tell subscribers."""

from concurrent.futures import ThreadPoolExecutor

from celery import shared_task

from outreach.collecting import collect_young, without_collecting
from outreach.crash import crash_at
from outreach.db import transaction
from webhooks import answer_sending, desk_poll, desk_work, inbox, linked_tickets, outgoing, simulated

BATCH = 1000


@shared_task(name="webhooks.apply_inbox")
def apply_inbox() -> None:
    """Apply stored events until none is due, and let the simulated recipients have their say."""
    with transaction() as session:
        simulated.play(session)
    # While one batch is in the database the next one is read.
    with without_collecting(), ThreadPoolExecutor(2, thread_name_prefix="inbox") as both:
        for ended in [both.submit(_apply_until_none_is_due) for _ in range(2)]:
            ended.result()


def _apply_until_none_is_due() -> None:
    applied = 1
    while applied:
        with transaction() as session:
            applied = sum(inbox.apply_due(session, most=BATCH).values())
            if applied:
                crash_at("before_inbox_commit")
        if applied:
            crash_at("after_inbox")
            collect_young()


@shared_task(name="webhooks.work_at_desks")
def work_at_desks() -> None:
    """Open the tickets, write the comments and ask the questions that are due."""
    with transaction() as session:
        linked_tickets.owe(session)
    desk_work.work()


@shared_task(name="webhooks.poll_desks")
def poll_desks() -> None:
    """Read from the desks what their webhooks missed."""
    desk_poll.poll()


@shared_task(name="webhooks.send_answers")
def send_answers() -> None:
    """Send what operators wrote back to customers."""
    answer_sending.send_due()


@shared_task(name="webhooks.tell_subscribers")
def tell_subscribers() -> None:
    """Tell other systems what happened."""
    outgoing.tell()
