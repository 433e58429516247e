"""How errors are answered: one shape, `{"error": code, "detail": what to do, "where": place}`, no internals."""

from collections.abc import Mapping, Sequence
from typing import Any

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from psycopg.errors import QueryCanceled
from sqlalchemy.exc import DataError, OperationalError
from sqlalchemy.exc import TimeoutError as NoConnectionFree
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from app.error_shape import answer
from app.middleware import SECURITY_HEADERS
from app.web.error_pages import error_page, wants_page
from outreach.errors import OutreachError
from outreach.logs import CORRELATION_HEADER, correlation_id

log = structlog.get_logger()

_CODES = {
    400: "bad_request",
    401: "not_authenticated",
    403: "not_permitted",
    404: "not_found",
    405: "method_not_allowed",
    413: "too_large",
    415: "unsupported_media_type",
    422: "invalid_input",
}
_SHOWN = 20  # complaints about one body


def install(application: FastAPI) -> None:
    """Teach an application to answer every error in our shape."""
    application.add_exception_handler(OutreachError, _ours)
    application.add_exception_handler(RequestValidationError, _malformed)
    application.add_exception_handler(HTTPException, _http)
    application.add_exception_handler(DataError, _unstorable)
    application.add_exception_handler(OperationalError, _database)
    application.add_exception_handler(NoConnectionFree, _busy)
    application.add_exception_handler(ClientDisconnect, _hung_up)
    application.add_exception_handler(Exception, _unexpected)


def _answer(
    request: Request,
    status: int,
    code: str,
    detail: str,
    where: str | None = None,
    headers: Mapping[str, str] | None = None,
) -> Response:
    """Answer a person with a page and a program in our shape."""
    if not wants_page(request):
        return answer(status, code, detail, where, headers)
    shown = error_page(request, status, detail)
    shown.headers.update({name: value for name, value in (headers or {}).items() if name != "WWW-Authenticate"})
    return shown


def _ours(request: Request, error: Exception) -> Response:
    assert isinstance(error, OutreachError)  # noqa: S101 - registered for that class
    headers = {401: {"WWW-Authenticate": "Bearer"}, 503: {"Retry-After": "5"}}.get(error.status)
    if error.status >= 500:
        log.warning("request failed", error=error.code, detail=error.message)
    return _answer(request, error.status, error.code, error.message, error.where, headers)


def _malformed(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)  # noqa: S101 - registered for that class
    complaints: Sequence[Any] = error.errors()
    # Place and rule only, never the value: it may be a password.
    places = [".".join(str(part) for part in complaint["loc"]) for complaint in complaints[:_SHOWN]]
    said = [f"{place}: {complaint['msg']}" for place, complaint in zip(places, complaints, strict=False)]
    more = f"; and {len(complaints) - _SHOWN} more" if len(complaints) > _SHOWN else ""
    return _answer(request, 422, "invalid_input", "; ".join(said) + more, places[0] if places else None)


def _http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101 - registered for that class
    code = _CODES.get(error.status_code, "error")
    return _answer(request, error.status_code, code, str(error.detail), None, dict(error.headers or {}))


def _unstorable(request: Request, error: Exception) -> Response:
    log.info("value that the database cannot hold", error=type(getattr(error, "orig", error)).__name__)
    return _answer(
        request, 422, "invalid_input", "A value holds a character or number that cannot be stored or looked up."
    )


def _database(request: Request, error: Exception) -> Response:
    original = getattr(error, "orig", None)
    log.error("database error", error=type(original).__name__)
    if isinstance(original, QueryCanceled):
        said = "This took longer than one request may; ask for less at once."
    else:
        said = "The database cannot be reached; try again in a moment."
    return _answer(request, 503, "unavailable", said, None, {"Retry-After": "5"})


def _busy(request: Request, error: Exception) -> Response:
    log.error("no database connection free", error=type(error).__name__)
    return _answer(
        request, 503, "unavailable", "Too many requests at once; try again in a moment.", None, {"Retry-After": "5"}
    )


def _hung_up(request: Request, error: Exception) -> Response:
    # As browsers do with what they no longer want. Nobody reads this answer.
    log.info("the caller hung up before the request was complete", method=request.method, error=type(error).__name__)
    return Response(status_code=400)


def _unexpected(request: Request, error: Exception) -> Response:
    log.error("unexpected error", exc_info=error)
    # Starlette answers this one outside all other middleware, which would have added these.
    headers = {**SECURITY_HEADERS, CORRELATION_HEADER: correlation_id() or ""}
    said = f"Something went wrong here; the log has it under the {CORRELATION_HEADER} of this answer."
    return _answer(request, 500, "internal", said, None, headers)
