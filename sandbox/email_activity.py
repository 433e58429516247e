"""The Email Activity wire: `GET /v3/messages?query=…&limit=…`, answered from the record.

Understands what Outreach asks: conditions on `unique_args['message_id']`, `to_email` and `msg_id`, joined by OR.
https://www.twilio.com/docs/sendgrid/for-developers/sending-email/getting-started-email-activity-api
"""

import asyncio
import re
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from sandbox.record import Stored
from sandbox.world import World

_CONDITION = re.compile(
    r"""(?:unique_args\['(?P<argument>\w+)'\]|(?P<field>to_email|msg_id))="(?P<value>[^"]*)\"""", re.ASCII
)
_COLUMNS = {"message_id": "message_id", "to_email": "recipient", "msg_id": "provider_id"}


class InvalidQuery(ValueError):
    """The query is not one that this sandbox understands."""


def conditions(query: str) -> list[tuple[str, str]]:
    """Return (column of the record, value) for each condition; raises `InvalidQuery`."""
    found = []
    for part in re.split(r"\s+OR\s+", query.strip().strip("()")):
        match = _CONDITION.fullmatch(part.strip())
        column = _COLUMNS.get(match["argument"] or match["field"]) if match else None
        if match is None or column is None:
            raise InvalidQuery(f"invalid syntax: '{part[:80]}'")
        found.append((column, match["value"]))
    return found


async def answer(world: World, request: Request) -> Response:
    """Answer one search; what was accepted less than `search_delay_seconds` ago is not shown yet."""
    limit = request.query_params.get("limit", "10")
    if not limit.isascii() or not limit.isdigit() or not 1 <= int(limit) <= 1000:
        return _errors(400, "limit must be greater than 0 and less than or equal to 1000")
    if world.faults.strikes("sendgrid", "search_rate_limit"):
        return _errors(429, "too many requests")
    try:
        wanted = conditions(request.query_params.get("query", ""))
    except InvalidQuery as error:
        return _errors(400, str(error))
    stored = await asyncio.to_thread(_find, world, wanted)
    visible = time.time() - world.faults.of("sendgrid").search_delay_seconds
    shown = [one for one in stored if one.at <= visible][: int(limit)]
    return JSONResponse({"messages": [_listed(one) for one in shown]})


def _find(world: World, wanted: Sequence[tuple[str, str]]) -> list[Stored]:
    found = {}
    for column in _COLUMNS.values():
        values = [value for name, value in wanted if name == column]
        for one in world.record.find("sendgrid", column, values) if values else []:
            found[one.provider_id] = one
    return list(found.values())


def _listed(one: Stored) -> dict[str, Any]:
    moment = datetime.fromtimestamp(one.at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    person = one.request["personalizations"][one.position]
    return {
        "from_email": one.sender,
        "msg_id": one.provider_id,
        "subject": person.get("subject") or one.request.get("subject") or "",
        "to_email": one.recipient,
        "status": "processed",
        "opens_count": 0,
        "clicks_count": 0,
        "last_event_time": moment,
    }


def _errors(status: int, *words: str) -> Response:
    return JSONResponse({"errors": [{"message": text} for text in words]}, status)
