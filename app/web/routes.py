"""The routers of the managers' pages, in one place: a new area adds its line here."""

from fastapi import APIRouter

from app.web import (
    audit_log,
    campaigns,
    connectors,
    customers,
    events,
    first_run,
    inbox,
    launch,
    operators,
    playbooks,
    problems,
    programmes,
    scope,
    segments,
    signing_in,
    subscriptions,
    suppressions,
    system,
    wording,
)

ROUTERS: tuple[APIRouter, ...] = (
    signing_in.router,
    first_run.router,
    problems.router,
    scope.router,
    launch.router,
    campaigns.router,
    programmes.router,
    inbox.router,
    customers.router,
    segments.router,
    wording.router,
    playbooks.router,
    connectors.router,
    subscriptions.router,
    events.router,
    operators.router,
    suppressions.router,
    audit_log.router,
    system.router,
)
