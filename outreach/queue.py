"""Celery, as a doorbell only: tasks are woken by name with ids, after the transaction has committed.

The database holds the truth. A lost wake-up costs latency, never a notice: the sweeps that beat
rings every few seconds find everything that is due. That is why publishing never raises and why tasks
acknowledge early (docs/adr/0003-celery-is-a-doorbell.md).
"""

from functools import lru_cache
from typing import Any

import structlog
from celery import Celery
from celery.signals import before_task_publish, task_prerun, worker_process_init
from kombu.exceptions import KombuError
from kombu.utils.scheduling import round_robin_cycle
from redis import Redis
from redis.exceptions import RedisError
from sqlalchemy import event
from sqlalchemy.orm import Session, SessionTransaction

from outreach.db import forget_engine
from outreach.embedded import recall
from outreach.errors import Unavailable
from outreach.logs import begin_correlation, correlation_id
from outreach.settings import get_settings

log = structlog.get_logger()
_WAITING = "tasks waiting for the commit"


def redis_url() -> str:
    """Return the URL in use: the setting, or that of the embedded server which runs on OUTREACH_HOME."""
    settings = get_settings()
    if settings.redis_url:  # an empty one is none
        return settings.redis_url.get_secret_value()
    found = recall(settings.home).get("redis_url")
    if not found:
        raise Unavailable("No Redis: set OUTREACH_REDIS_URL, or run `outreach up`, which brings an embedded one.")
    return found


@lru_cache
def shared_redis() -> Redis:
    """Return this process's client for what workers share beside the wake-ups; its calls fail fast."""
    return Redis.from_url(redis_url(), socket_timeout=0.5, socket_connect_timeout=0.5)


class UrgentFirst(round_robin_cycle):
    """The order in which a worker looks at its queues: urgent ones first, the others in turn, so that none starves.

    Kombu's own `priority` takes the order of the command line: wake-ups of one busy queue would keep it from the next.
    """

    def consume(self, n: int) -> list[str]:
        """Return the next `n` queues."""
        return sorted(self.items, key=lambda name: not name.endswith("-urgent"))[:n]


@lru_cache
def celery_app() -> Celery:
    """Return the Celery application of this process; `app.worker` adds the tasks and the schedule."""
    application = Celery("outreach", set_as_current=True)
    application.conf.update(
        broker_url=redis_url(),
        broker_connection_retry_on_startup=True,
        broker_transport_options={
            "socket_timeout": 5,
            "socket_connect_timeout": 2,
            "socket_keepalive": True,
            "health_check_interval": 25,
            "visibility_timeout": 600,
            "queue_order_strategy": "outreach.queue:UrgentFirst",
            "max_retries": 1,
            "interval_start": 0,
            "interval_max": 0.5,
        },
        task_ignore_result=True,
        task_acks_late=False,
        task_serializer="json",
        accept_content=["json"],
        task_publish_retry=False,
        # The watchdog: a process that hangs or was stopped is killed by its parent, long before the grace is over.
        task_soft_time_limit=get_settings().task_seconds * 5 / 6,
        task_time_limit=get_settings().task_seconds,
        task_default_queue="periodic",
        worker_prefetch_multiplier=1,
        worker_max_tasks_per_child=20_000,
        worker_hijack_root_logger=False,
        worker_soft_shutdown_timeout=30,
        timezone="UTC",
        task_routes={
            **{
                f"campaigns.dispatch_{channel}{suffix}": {"queue": f"{channel}{suffix.replace('_', '-')}"}
                for channel in ("email", "sms", "postcard")
                for suffix in ("", "_urgent")
            },
            "webhooks.*": {"queue": "webhooks"},
        },
    )
    return application


# What a worker listens to unless told; `UrgentFirst` says in which order it looks.
QUEUES = ("email-urgent", "sms-urgent", "postcard-urgent", "periodic", "email", "sms", "postcard", "webhooks")


def wake(session: Session, task: str, *ids: int | str) -> None:
    """Ask for `task(*ids)` once the outermost transaction of `session` has committed; best effort."""
    session.info.setdefault(_WAITING, []).append((task, ids))


@event.listens_for(Session, "after_commit")
def _publish(session: Session) -> None:
    waiting: list[tuple[str, tuple[Any, ...]]] = session.info.pop(_WAITING, [])
    for task, ids in dict.fromkeys(waiting):
        try:
            celery_app().send_task(task, args=list(ids), ignore_result=True)
        except (KombuError, RedisError, OSError, Unavailable) as error:
            # The sweep finds the work; a request must not fail because the doorbell is broken.
            log.warning("wake-up not published", task=task, error=type(error).__name__)


@event.listens_for(Session, "after_transaction_end")
def _forget_after_rollback(session: Session, ended: SessionTransaction) -> None:
    if ended.parent is None:
        session.info.pop(_WAITING, None)


@before_task_publish.connect(weak=False)
def _carry_correlation(headers: dict[str, Any] | None = None, **_: Any) -> None:
    if headers is not None and correlation_id():
        headers["correlation"] = correlation_id()


@task_prerun.connect(weak=False)
def _continue_correlation(task: Any = None, **_: Any) -> None:
    given = getattr(task.request, "correlation", None) if task is not None else None
    begin_correlation(given)


@worker_process_init.connect(weak=False)
def _fresh_engine(**_: Any) -> None:
    forget_engine(after_fork=True)
