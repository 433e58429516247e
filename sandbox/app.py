"""The sandbox composed: one ASGI application with four wires and the control calls."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from sandbox.control import Control
from sandbox.desk_events import DeskEvents
from sandbox.faults import Faults
from sandbox.freshdesk import Freshdesk
from sandbox.jira import Jira
from sandbox.lob import Lob
from sandbox.people import People
from sandbox.record import Record
from sandbox.replies import Replies
from sandbox.rules.official import official_rules
from sandbox.sendgrid import SendGrid
from sandbox.servicenow import ServiceNow
from sandbox.settings import SandboxSettings
from sandbox.signatures import Signatures
from sandbox.tickets import Tickets
from sandbox.twilio import Twilio
from sandbox.webhooks import Courier
from sandbox.world import Official, World
from sandbox.zammad import Zammad
from sandbox.zendesk import Zendesk


def create_app(settings: SandboxSettings) -> Starlette:
    """Open the record and compose the wires; `settings` must carry its secrets (`with_secrets`)."""
    record = Record(settings.home)
    faults = Faults(settings.faults, settings.seed, settings.home / "decisions.jsonl")
    courier = Courier(settings, faults)
    official: Official = official_rules(settings.openapi) if settings.openapi else _no_second_opinion
    world = World(settings, record, faults, Signatures(settings), courier, official)
    tickets = Tickets(record)
    events = DeskEvents(world, tickets)
    sendgrid, twilio, lob, zendesk = SendGrid(world), Twilio(world), Lob(world), Zendesk(world, tickets, events)
    desks = [desk(world, tickets, events) for desk in (Jira, ServiceNow, Freshdesk, Zammad)]
    forgetters = [part.forget for part in (sendgrid, twilio, lob, zendesk, tickets, courier)]
    parts = (sendgrid, twilio, lob, zendesk, *desks, People(tickets, events), Replies(world, twilio))
    routes = [route for part in (*parts, Control(world, forgetters)) for route in part.routes()]

    @asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        yield
        courier.close()
        record.close()
        faults.close()

    return Starlette(routes=routes, lifespan=lifespan, exception_handlers={HTTPException: _worded})


async def _worded(_request: Request, error: Exception) -> Response:
    """Word the errors of control calls and of addresses that no provider has here."""
    if not isinstance(error, HTTPException):
        raise error
    return JSONResponse({"error": error.detail}, error.status_code)


def _no_second_opinion(_provider: str, _body: Any) -> list[str]:
    return []
