"""Celery's way in."""

from celery import shared_task

from outreach import clock
from outreach.db import transaction
from segments import sweeps


@shared_task(name="segments.sweep")
def sweep_segments() -> None:
    """Bring the audiences of living problems up to date."""
    with transaction() as session:
        sweeps.sweep(session, now=clock.now(session))
