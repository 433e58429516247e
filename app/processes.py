"""Which processes do their work, as this one sees it: database, Redis, workers, beat, the providers' settings."""

import shutil
from dataclasses import dataclass
from enum import StrEnum

from kombu.exceptions import KombuError
from redis import Redis
from redis.exceptions import RedisError
from sqlalchemy.exc import SQLAlchemyError

from app.liveness import beat_is_healthy
from campaigns.providers.configured import provider_for, second_provider_for
from outreach import periodic
from outreach.db import transaction
from outreach.errors import OutreachError
from outreach.queue import QUEUES, celery_app, redis_url
from outreach.settings import get_settings
from outreach.vocabulary import Channel

PING_SECONDS = 0.7
JOB_LATE_SECONDS = 120
_LATE_AFTER = {"segments.watch": 1800}  # rings every ten minutes


class Standing(StrEnum):
    """How something does."""

    UP = "up"
    LOOK = "look"
    DOWN = "down"


@dataclass(frozen=True, slots=True)
class Process:
    """One process or neighbour, and what is to be said of it."""

    name: str
    standing: Standing
    said: str


def processes() -> list[Process]:
    """Ask everything that sending needs; takes as long as a worker is given to answer."""
    return [_redis(), _workers(), _beat(), _jobs(), _disk()]


def providers() -> list[Process]:
    """Return whether the settings of each channel are complete; no provider is called."""
    settings, found = get_settings(), []
    for channel in Channel:
        try:
            provider, second = provider_for(channel, settings), second_provider_for(channel, settings)
        except OutreachError as error:
            found.append(Process(channel.value, Standing.DOWN, error.message))
            continue
        complaints, said = provider.check(), f"through {provider.name}"
        provider.close()
        if second is not None:
            complaints += [f"The one that stands in: {complaint}" for complaint in second.check()]
            said += f"; {second.name} stands in while it fails"
            second.close()
        found.append(Process(channel.value, Standing.LOOK if complaints else Standing.UP, " ".join(complaints) or said))
    return found


def _redis() -> Process:
    try:
        with Redis.from_url(redis_url(), socket_timeout=1, socket_connect_timeout=1) as redis:
            waiting = {queue: int(redis.llen(queue)) for queue in QUEUES}
    except (RedisError, OSError, OutreachError) as error:
        return Process("Redis", Standing.DOWN, f"{error} Nothing is lost: sweeps find what is due once it is back.")
    full = ", ".join(f"{number} in {queue}" for queue, number in waiting.items() if number)
    return Process("Redis", Standing.UP, f"wake-ups that wait: {full or 'none'}")


def _workers() -> Process:
    try:
        answers = celery_app().control.ping(timeout=PING_SECONDS) or []
    except (KombuError, RedisError, OSError, OutreachError):
        return Process("Workers", Standing.DOWN, "cannot be asked without Redis")
    names = sorted(name for answer in answers for name in answer)
    if not names:
        return Process("Workers", Standing.DOWN, "none answers: nothing is sent. Start one with `outreach worker`.")
    return Process("Workers", Standing.UP, ", ".join(names))


def _beat() -> Process:
    if beat_is_healthy():
        return Process("Beat", Standing.UP, "rings for the sweeps")
    said = "has not rung on this machine; where it runs on another one, look there (`python -m app.liveness beat`)"
    return Process("Beat", Standing.LOOK, said)


def _jobs() -> Process:
    try:
        with transaction() as session:
            ages = periodic.ages(session)
    except (SQLAlchemyError, OutreachError):
        return Process("Periodic jobs", Standing.DOWN, "cannot be asked without the database")
    late = {job: seconds for job, seconds in ages.items() if seconds > _LATE_AFTER.get(job, JOB_LATE_SECONDS)}
    if late:
        told = ", ".join(f"{job} {seconds / 60:,.0f} minutes ago" for job, seconds in sorted(late.items()))
        return Process("Periodic jobs", Standing.DOWN, f"last ended well: {told}. Look at beat and the worker log.")
    if not ages:
        return Process("Periodic jobs", Standing.LOOK, "none has ended yet")
    return Process("Periodic jobs", Standing.UP, f"all {len(ages)} ended well within the last minutes")


def _disk() -> Process:
    home = get_settings().home
    while not home.exists():
        home = home.parent
    usage = shutil.disk_usage(home)
    free = usage.free / usage.total
    standing = Standing.DOWN if free < 0.03 else Standing.LOOK if free < 0.1 else Standing.UP
    return Process("Disk", standing, f"{usage.free / 1024**3:,.0f} GB free of {usage.total / 1024**3:,.0f} GB here")
