"""The routers of the managers' pages, in one place: a new area adds its line here."""

from fastapi import APIRouter

from app.web import campaigns, launch, problems, scope, signing_in

ROUTERS: tuple[APIRouter, ...] = (signing_in.router, problems.router, scope.router, launch.router, campaigns.router)
