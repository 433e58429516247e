"""The doors: every route names the permission it needs, or says why it needs none.

    def list_problems(session: SessionDep, actor: Annotated[Actor, Depends(requires(Permission.PROBLEMS_READ))])

    @router.post("/webhooks/…", dependencies=[Depends(public("the provider's signature is checked"))])

A program brings `Authorization: Bearer <API key>`, a browser the session cookie. A cookie alone changes
nothing: an unsafe method needs a request from our own pages *and* the session's CSRF token (header
`X-CSRF-Token` or form field `csrf_token`).
"""

from collections.abc import Iterator
from functools import lru_cache
from typing import Annotated
from urllib.parse import urlsplit

from fastapi import Depends, Query, Request, Response
from sqlalchemy import text
from sqlalchemy.orm import Session

from outreach import operators, security
from outreach.db import transaction
from outreach.errors import NotAuthenticated, NotPermitted
from outreach.pagination import Page
from outreach.permissions import Actor, Permission
from outreach.settings import get_settings

COOKIE = "outreach_session"
CSRF_HEADER, CSRF_FIELD = "X-CSRF-Token", "csrf_token"
SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS", "TRACE"})


def request_session() -> Iterator[Session]:
    """Give a request its one transaction, which commits before the answer goes out."""
    with transaction() as session:
        session.execute(
            text("SELECT set_config('statement_timeout', :milliseconds, true)"),
            {"milliseconds": str(int(get_settings().statement_timeout_seconds * 1000))},
        )
        yield session


# Function scope: code after `yield` otherwise runs after the answer has gone out, and a failed commit with it.
SessionDep = Annotated[Session, Depends(request_session, scope="function")]
# A page of a list: `?limit=&after=`.
PageDep = Annotated[Page, Query()]


async def given_csrf_token(request: Request) -> str | None:
    """Return the CSRF token that came with an unsafe request."""
    if request.method in SAFE_METHODS:
        return None
    header = request.headers.get(CSRF_HEADER)
    if header or not _is_form(request):
        return header
    field = (await request.form()).get(CSRF_FIELD)
    return field if isinstance(field, str) else None


class Requirement:
    """A dependency that lets in whoever has one permission, and returns them."""

    def __init__(self, permission: Permission) -> None:
        self.permission = permission

    def __call__(
        self, request: Request, session: SessionDep, csrf: Annotated[str | None, Depends(given_csrf_token)]
    ) -> Actor:
        """Return the actor; raises `NotAuthenticated` or `NotPermitted`."""
        actor = identify(request, session, csrf)
        if self.permission not in actor.permissions:
            raise NotPermitted(f"This needs the permission {self.permission}, which {actor.name} does not have.")
        return actor


@lru_cache
def requires(permission: Permission) -> Requirement:
    """Return the dependency that lets in whoever has `permission`."""
    return Requirement(permission)


class Public:
    """A dependency that lets everybody in, for a stated reason."""

    def __init__(self, reason: str) -> None:
        self.reason = reason

    async def __call__(self) -> None:
        """Let everybody in; without a thread, which a webhook would wait for."""


def public(reason: str) -> Public:
    """Return the dependency of a route that needs no login; `reason` says what protects it instead."""
    return Public(reason)


def identify(request: Request, session: Session, csrf: str | None) -> Actor:
    """Return who sends this request; raises `NotAuthenticated`, or `NotPermitted` for a forged one."""
    authorization = request.headers.get("Authorization")
    if authorization is not None:
        scheme, _, key = authorization.partition(" ")
        actor = operators.actor_of_api_key(session, key.strip()) if scheme.lower() == "bearer" else None
        if actor is None:
            raise NotAuthenticated("This API key is not valid: it is wrong, has expired or was revoked.")
        return actor
    token = request.cookies.get(COOKIE)
    actor = operators.actor_of_session(session, token) if token else None
    if actor is None or token is None:
        raise NotAuthenticated("Sign in (POST /api/session), or send an API key as `Authorization: Bearer …`.")
    if request.method not in SAFE_METHODS:
        check_same_origin(request)
        if not csrf or not security.is_csrf_token(token, csrf):
            raise NotPermitted(
                f"The CSRF token is missing or of another session: send it as header {CSRF_HEADER} "
                f"or form field {CSRF_FIELD}. GET /api/session tells it."
            )
    return actor


def check_same_origin(request: Request) -> None:
    """Raise `NotPermitted` unless the browser says that one of our own pages sent this request."""
    fetch_site, origin = request.headers.get("Sec-Fetch-Site"), request.headers.get("Origin")
    if fetch_site is not None:
        ours = fetch_site == "same-origin"
    elif origin is not None:
        ours = urlsplit(origin).netloc in {request.headers.get("Host"), urlsplit(get_settings().public_url).netloc}
    else:
        ours = False  # every browser sends one of them with an unsafe method
    if not ours:
        raise NotPermitted("This request was not sent by a page of Outreach.")


def set_session_cookie(response: Response, opened: operators.OpenedSession) -> None:
    """Hand the session to the browser; scripts cannot read it, other sites cannot send it with a POST."""
    response.set_cookie(
        COOKIE,
        opened.token,
        max_age=int(operators.ABSOLUTE.total_seconds()),
        path="/",
        httponly=True,
        samesite="lax",
        secure=get_settings().public_url.startswith("https://"),
    )


def clear_session_cookie(response: Response) -> None:
    """Take the session from the browser."""
    response.delete_cookie(COOKIE, path="/", httponly=True, samesite="lax")


def _is_form(request: Request) -> bool:
    kind = request.headers.get("Content-Type", "").partition(";")[0].strip().lower()
    return kind in {"application/x-www-form-urlencoded", "multipart/form-data"}


__all__ = ["Actor", "Permission", "Public", "Requirement", "SessionDep", "public", "requires"]
