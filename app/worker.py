"""Celery, composed in the open: which tasks there are, and what beat rings for."""

from typing import Any

import structlog
from celery import Celery
from celery.signals import task_success
from sqlalchemy.exc import SQLAlchemyError

import campaigns.tasks
import segments.tasks
import webhooks.tasks
from app.checked_settings import check_settings
from app.liveness import watch_beat
from campaigns.providers.configured import configured_providers
from outreach import periodic
from outreach.db import transaction
from outreach.errors import OutreachError
from outreach.logs import configure_logging
from outreach.queue import QUEUES, celery_app
from outreach.security import check_secret_key
from outreach.settings import get_settings

log = structlog.get_logger()

TASKS = (campaigns.tasks, segments.tasks, webhooks.tasks)  # importing them registers their tasks
_POLL_SECONDS = 30.0  # each desk says itself how often it is read
_PROGRAMME_SECONDS = 5.0  # their due times are hours and days
_WATCH_SECONDS = 600.0  # what new tickets say against a scope, or for a new problem
_RECONCILE_SECONDS = 30.0  # at the most; what is in doubt waits for the grace time anyway


def create_worker() -> Celery:
    """Return the Celery application with every task and the schedule.

    Raises `Unavailable` without a secret key, and `InvalidInput` for settings that cannot be read.
    """
    check_secret_key()
    check_settings()
    configure_logging()
    application = celery_app()
    tick = get_settings().tick_seconds
    every = {
        "segments.sweep": tick,
        "segments.watch": _WATCH_SECONDS,
        "campaigns.sweep": tick,
        "campaigns.sweep_programmes": max(tick, _PROGRAMME_SECONDS),
        "campaigns.dispatch_email_urgent": tick,
        "campaigns.dispatch_sms_urgent": tick,
        "campaigns.dispatch_postcard_urgent": tick,
        "campaigns.dispatch_email": tick,
        "campaigns.dispatch_sms": tick,
        "campaigns.dispatch_postcard": tick,
        "campaigns.reconcile": min(_RECONCILE_SECONDS, max(tick, get_settings().reconcile_grace_seconds / 2)),
        "webhooks.apply_inbox": tick,
        "webhooks.work_at_desks": tick,
        "webhooks.send_answers": tick,
        "webhooks.tell_subscribers": tick,
        "webhooks.poll_desks": _POLL_SECONDS,
    }
    application.conf.beat_schedule = {task: {"task": task, "schedule": seconds} for task, seconds in every.items()}
    return application


@task_success.connect(weak=False)
def _write_down(sender: Any = None, **_: Any) -> None:
    """Keep the dead man's switch from going off; a database that is away says enough by itself."""
    job = str(getattr(sender, "name", ""))
    if job not in celery_app().conf.beat_schedule or not periodic.is_time_to_write(job):
        return
    try:
        with transaction() as session:
            periodic.write_success(session, job=job)
    except (SQLAlchemyError, OutreachError) as error:
        log.warning("periodic run not written down", job=job, error=type(error).__name__)


def check_providers() -> None:
    """Log what is wrong with the settings of each channel's provider; raises `InvalidInput` where one is unreadable."""
    for channel, provider in configured_providers(get_settings()):
        if problems := provider.check():
            log.warning("nothing can be sent on this channel", channel=channel, problems=problems)
        provider.close()


def run_worker(*, queues: str = ",".join(QUEUES), concurrency: int = 2) -> None:
    """Work until SIGTERM or SIGINT; `queues` are parted by commas, in any order."""
    application = create_worker()
    check_providers()
    application.worker_main(
        [
            "worker",
            "--pool=prefork",
            f"--concurrency={concurrency}",
            f"--queues={queues}",
            f"--loglevel={get_settings().log_level.lower()}",
            # Neither is needed: nothing is shared between workers but the database.
            "--without-gossip",
            "--without-mingle",
        ]
    )


def run_beat() -> None:
    """Ring until SIGTERM or SIGINT. The schedule lives in memory: everything that is due is a row anyway."""
    application = create_worker()
    watch_beat()
    application.start(["beat", "--scheduler=app.bell:Bell", f"--loglevel={get_settings().log_level.lower()}"])
