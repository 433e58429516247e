"""The web application, composed in the open: which routers there are, and what every request passes."""

from typing import Any

from fastapi import Depends, FastAPI

from app import answers, health, metrics
from app.error_shape import ERRORS, WITH_SHAPE
from app.middleware import Correlation, DeclaredSize, SecurityHeaders
from app.web import customer_pages, importing, routes, survey_pages
from app.web.files import STATIC, Files
from campaigns import api as campaigns
from campaigns import controls_api as sending
from campaigns.health import api as health_scores
from campaigns.programmes import api as programmes
from campaigns.surveys import api as surveys
from outreach import api as ground
from outreach import operators_api
from outreach.doors import public
from outreach.security import check_secret_key
from outreach.settings import get_settings
from segments import api as segments
from webhooks import api as inbound
from webhooks import connectors_api, customers_api, inbound_api, outgoing_api, responses_api

BODY_BYTES = 2 * 1024 * 1024
EMAIL_BYTES = 30 * 1024 * 1024  # an email with its attachments; the other webhooks set their own, lower bound
IMPORT_BYTES = importing.MOST_BYTES + 64 * 1024  # the form around the file


def create_app() -> FastAPI:
    """Build the application; raises `Unavailable` when no usable secret key is set."""
    check_secret_key()
    # The interactive pages would load scripts from elsewhere; the description itself is served below.
    application = FastAPI(title="Outreach", docs_url=None, redoc_url=None, openapi_url=None, responses=ERRORS)
    answers.install(application)
    application.add_middleware(DeclaredSize, bound_of=_largest_body)
    application.add_middleware(SecurityHeaders, https=get_settings().public_url.startswith("https://"))
    application.add_middleware(Correlation)  # added last, so it comes first

    application.include_router(health.router)
    # Routes are looked for in this order, and a thousand events a second come by this one.
    application.include_router(inbound.router, max_body_size=EMAIL_BYTES)
    # Each router its bound: that of the application would answer outside of our error shape.
    application.include_router(ground.router, max_body_size=BODY_BYTES)
    application.include_router(operators_api.router, max_body_size=BODY_BYTES)
    application.include_router(segments.router, max_body_size=BODY_BYTES)
    application.include_router(campaigns.router, max_body_size=BODY_BYTES)
    for each in (programmes, surveys, health_scores):
        application.include_router(each.router, max_body_size=BODY_BYTES)
    application.include_router(sending.router, max_body_size=BODY_BYTES)
    application.include_router(metrics.router)
    application.include_router(inbound_api.router, max_body_size=BODY_BYTES)
    application.include_router(connectors_api.router, max_body_size=BODY_BYTES)
    application.include_router(responses_api.router, max_body_size=BODY_BYTES)
    application.include_router(customers_api.router, max_body_size=BODY_BYTES)
    application.include_router(outgoing_api.router, max_body_size=BODY_BYTES)
    application.include_router(customer_pages.router, max_body_size=BODY_BYTES)
    application.include_router(survey_pages.router, max_body_size=BODY_BYTES)
    application.include_router(importing.router, max_body_size=IMPORT_BYTES)
    for pages in routes.ROUTERS:
        application.include_router(pages, max_body_size=BODY_BYTES)
    application.mount("/static", Files(directory=STATIC), name="static")

    told = [Depends(public("the source code tells as much"))]

    @application.get("/api/openapi.json", dependencies=told, responses=WITH_SHAPE)
    def describe() -> dict[str, Any]:
        """Describe all JSON routes (OpenAPI)."""
        return application.openapi()

    return application


def _largest_body(path: str) -> int:
    if path == "/import":
        return IMPORT_BYTES
    return EMAIL_BYTES if path.startswith("/webhooks/") else BODY_BYTES
