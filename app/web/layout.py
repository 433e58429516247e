"""Every page's frame: who is signed in, which areas they may open, their time zone and theme, and the template.

    return page(request, session, actor, "problems/board.html", rows=rows)

Fragments for HTMX are rendered by the same function from a template that does not extend `base.html`.
"""

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from fastapi import Request
from fastapi.responses import HTMLResponse
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from sqlalchemy.orm import Session

from app.web import charts, reading
from app.web.files import static_url
from app.web.remembered import remembered
from outreach import clock, security
from outreach.doors import COOKIE
from outreach.permissions import Actor, Permission
from outreach.settings import get_settings
from outreach.vocabulary import Channel, Grade
from webhooks import conversations

TEMPLATES = Path(__file__).parent / "templates"
THEMES = ("light", "dark")
INBOX_SECONDS = 10.0  # how old the number of waiting replies beside the inbox may be


@dataclass(frozen=True, slots=True)
class Area:
    """One entry of the navigation; it is shown to whoever has the permission."""

    path: str
    label: str
    icon: str
    permission: Permission
    group: str = "Work"


# One line per area, in the order in which they are shown.
AREAS: tuple[Area, ...] = (
    Area("/problems", "Problems", "triangle-alert", Permission.PROBLEMS_READ),
    Area("/campaigns", "Campaigns", "megaphone", Permission.CAMPAIGNS_READ),
    Area("/programmes", "Programmes", "hourglass", Permission.CAMPAIGNS_READ),
    Area("/surveys", "Surveys", "list-checks", Permission.CAMPAIGNS_READ),
    Area("/customer-health", "Customer health", "activity", Permission.CUSTOMERS_READ),
    Area("/inbox", "Inbox", "inbox", Permission.CUSTOMERS_READ),
    Area("/customers", "Customers", "users", Permission.CUSTOMERS_READ),
    Area("/segments", "Segments", "filter", Permission.SEGMENTS_READ, "Set up"),
    Area("/templates", "Templates", "file-text", Permission.CAMPAIGNS_READ, "Set up"),
    Area("/playbooks", "Playbooks", "book-open", Permission.CAMPAIGNS_READ, "Set up"),
    Area("/import", "Import", "upload", Permission.IMPORTS_RUN, "Set up"),
    Area("/connectors", "Help desks", "plug", Permission.WEBHOOKS_READ, "Set up"),
    Area("/webhooks-out", "Webhooks out", "webhook", Permission.WEBHOOKS_READ, "Set up"),
    Area("/operators", "Operators", "users-round", Permission.OPERATORS_MANAGE, "Look after"),
    Area("/suppressions", "Suppression list", "ban", Permission.CUSTOMERS_READ, "Look after"),
    Area("/audit", "Audit log", "scroll-text", Permission.AUDIT_READ, "Look after"),
    Area("/system", "System health", "activity", Permission.CAMPAIGNS_READ, "Look after"),
)


def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(reading.FILTERS)
    environment.globals.update(
        static=static_url, charts=charts, Permission=Permission, CHANNELS=tuple(Channel), GRADES=tuple(Grade)
    )
    return environment


_ENVIRONMENT = _environment()


def page(
    request: Request,
    session: Session,
    actor: Actor,
    template: str,
    *,
    status: int = 200,
    **values: Any,
) -> HTMLResponse:
    """Render a page, or a fragment, for whoever is signed in."""
    now = clock.now(session)
    waiting = remembered(("inbox waiting",), lambda: conversations.waiting(session, now=now), at_least=INBOX_SECONDS)
    return bare_page(request, template, status=status, actor=actor, now=now, inbox_waiting=waiting, **values)


def bare_page(
    request: Request,
    template: str,
    *,
    now: datetime | None,
    actor: Actor | None = None,
    status: int = 200,
    **values: Any,
) -> HTMLResponse:
    """Render a page for whom we may not know yet: signing in, and errors."""
    return HTMLResponse(rendered(request, template, now=now, actor=actor, **values), status)


def rendered(request: Request, template: str, *, now: datetime | None, actor: Actor | None, **values: Any) -> str:
    """Return a template's text; `values` are what it shows."""
    token = request.cookies.get(COOKIE)
    theme = request.cookies.get("outreach_theme")
    with reading.reader(request.cookies.get("outreach_zone"), now):
        return _ENVIRONMENT.get_template(template).render(
            {
                "request": request,
                "path": request.url.path,
                "actor": actor,
                "areas": [area for area in AREAS if actor and area.permission in actor.permissions],
                "may": actor.permissions if actor else frozenset(),
                "csrf_token": security.csrf_token(token) if token and actor else "",
                "theme": theme if theme in THEMES else None,
                "organisation": get_settings().organisation,
                "now": now,
                "mistake": None,
                "inbox_waiting": 0,
                **values,
            }
        )
