"""Celery's way in: one transaction per audience that is built whole, one for all that changed."""

from celery import shared_task

from outreach import clock
from outreach.db import transaction
from segments import sweeps


@shared_task(name="segments.sweep")
def sweep_segments() -> None:
    """Bring the audiences of living problems up to date."""
    with transaction() as session:
        now = clock.now(session)
        waiting = sweeps.prepare(session, now=now)
    for segment_id in waiting:
        with transaction() as session:
            sweeps.build(session, segment_id=segment_id, now=now)
    with transaction() as session:
        sweeps.ask_again(session, now=clock.now(session))
