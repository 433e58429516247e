"""Celery's way in: one transaction per audience that is built whole, one for all that changed."""

from celery import shared_task

from outreach import clock
from outreach.db import transaction
from segments import sweeps, watching


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


@shared_task(name="segments.watch")
def watch_tickets() -> None:
    """Note where scopes have drifted, and propose problems that nobody has opened; rung every ten minutes."""
    with transaction() as session:
        watching.watch(session, now=clock.now(session))
