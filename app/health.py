"""Whether this process lives, and whether it can work."""

from fastapi import APIRouter, Depends
from fastapi.responses import JSONResponse
from redis import Redis
from redis.exceptions import RedisError
from sqlalchemy.exc import SQLAlchemyError

from campaigns import circuits
from outreach.db import transaction
from outreach.doors import public
from outreach.errors import OutreachError
from outreach.queue import redis_url

router = APIRouter(tags=["health"], dependencies=[Depends(public("says nothing but up or down"))])


@router.get("/health")
def health() -> dict[str, str]:
    """Answer as long as this process lives."""
    return {"status": "up"}


@router.get("/ready")
def ready() -> JSONResponse:
    """Tell whether requests can be served; without Redis they can, only later wakes the sweep."""
    resting, redis = _resting_channels(), _redis_answers()
    database = resting is not None
    status = "down" if not database else "ready" if redis and not resting else "degraded"
    content = {"status": status, "database": _word(database), "redis": _word(redis), "resting": resting or []}
    return JSONResponse(content, 200 if database else 503)


def _word(up: bool) -> str:
    return "up" if up else "down"


def _resting_channels() -> list[str] | None:
    """Return the channels whose provider fails, so that messages wait; none where the database does not answer."""
    try:
        with transaction() as session:
            return [each.channel.value for each in circuits.resting(session)]
    except (SQLAlchemyError, OutreachError):
        return None


def _redis_answers() -> bool:
    try:
        with Redis.from_url(redis_url(), socket_timeout=1, socket_connect_timeout=1) as redis:
            return bool(redis.ping())
    except (RedisError, OSError, OutreachError):
        return False
