"""Control calls under `/_sandbox`: look into the record, turn the knobs, start anew."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

from pydantic import ValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from sandbox.letters import as_seen
from sandbox.wire import control_body
from sandbox.world import World

MAX_LISTED = 10_000


class Control:
    """What tests and the demo ask the sandbox itself; `forgetters` empty the memory of the wires."""

    def __init__(self, world: World, forgetters: Sequence[Callable[[], None]]) -> None:
        self._world = world
        self._forgetters = forgetters

    def routes(self) -> list[Route]:
        """Return the control routes."""
        return [
            Route("/_sandbox/accepted", self._accepted, methods=["GET"]),
            Route("/_sandbox/counts", self._counts, methods=["GET"]),
            Route("/_sandbox/idle", self._idle, methods=["GET"]),
            Route("/_sandbox/keys", self._keys, methods=["GET"]),
            Route("/_sandbox/faults", self._knobs, methods=["GET"]),
            Route("/_sandbox/faults", self._turn, methods=["POST"]),
            Route("/_sandbox/decisions", self._decisions, methods=["GET"]),
            Route("/_sandbox/reset", self._reset, methods=["POST"]),
        ]

    async def _accepted(self, request: Request) -> Response:
        query = request.query_params
        limit = query.get("limit", "100")
        if not limit.isascii() or not limit.isdigit() or not 1 <= int(limit) <= MAX_LISTED:
            raise HTTPException(400, f"limit must be a number from 1 to {MAX_LISTED}")
        found = await asyncio.to_thread(
            self._world.record.accepted,
            provider=query.get("provider"),
            recipient=query.get("to"),
            message_id=query.get("message_id"),
            limit=int(limit),
        )
        return JSONResponse({"accepted": [as_seen(stored) for stored in found]})

    async def _counts(self, _request: Request) -> Response:
        counts: dict[str, Any] = await asyncio.to_thread(self._world.record.counts)
        return JSONResponse(counts | {"webhooks": dict(self._world.courier.totals)})

    async def _idle(self, _request: Request) -> Response:
        waiting = self._world.courier.pending
        return JSONResponse({"idle": waiting == 0, "waiting": waiting})

    async def _keys(self, _request: Request) -> Response:
        return JSONResponse({"sendgrid_public_key": self._world.signatures.sendgrid_public_key})

    async def _knobs(self, _request: Request) -> Response:
        return JSONResponse({"seed": self._world.faults.seed, "faults": self._world.faults.plan.model_dump()})

    async def _turn(self, request: Request) -> Response:
        body = await control_body(request)
        try:
            plan = self._world.faults.change(body)
        except ValidationError as error:
            raise HTTPException(400, f"these knobs cannot be set: {error.errors()[0]['loc']}: {error}") from error
        return JSONResponse({"seed": self._world.faults.seed, "faults": plan.model_dump()})

    async def _decisions(self, _request: Request) -> Response:
        return JSONResponse({"decisions": list(self._world.faults.decisions)})

    async def _reset(self, request: Request) -> Response:
        await control_body(request)
        for forget in self._forgetters:
            forget()
        self._world.faults.restart()
        self._world.faults.decisions.clear()
        self._world.courier.totals.clear()
        await asyncio.wrap_future(self._world.record.reset())
        return JSONResponse({"reset": True})
