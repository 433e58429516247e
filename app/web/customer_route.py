"""How customer pages fail: a page in plain words, whatever went wrong; never JSON, never the way to sign in."""

from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

from fastapi import Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from fastapi.templating import Jinja2Templates
from sqlalchemy.exc import OperationalError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as NoConnectionFree

from outreach.errors import OutreachError
from outreach.settings import get_settings

templates = Jinja2Templates(Path(__file__).parent / "templates")

_TITLES = {
    401: "This link does not work",
    404: "There is nothing here",
    410: "This question is closed",
    413: "That is too long",
    422: "Something is not right",
    429: "Too many tries",
    503: "Not available right now",
}
_ADVICE = {
    401: "Open the link from our message again, or answer the message: a person reads it.",
    429: "Wait a minute, then try once more.",
    503: "Nothing was lost. Please try again in a few minutes.",
}


def customer_page(request: Request, name: str, status: int = 200, **values: object) -> Response:
    """Render one page for a customer."""
    known = {"organisation": get_settings().organisation, **values}
    return templates.TemplateResponse(request, f"customer/{name}", known, status_code=status)


def failure_page(request: Request, status: int, detail: str) -> Response:
    """Render the page that says what was wrong and what to do."""
    page = customer_page(
        request, "failure.html", status, title=_TITLES.get(status, "Something went wrong"), detail=detail,
        advice=_ADVICE.get(status, "Please try again, or answer our message: a person reads it."),
    )  # fmt: skip
    if status in {429, 503}:
        page.headers["Retry-After"] = "60"
    return page


class CustomerRoute(APIRoute):
    """A route whose errors are pages."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Return the handler that turns errors into pages."""
        handle = super().get_route_handler()

        async def with_pages(request: Request) -> Response:
            try:
                return await handle(request)
            except OutreachError as error:
                return failure_page(request, error.status, error.message)
            except RequestValidationError:
                return failure_page(request, 422, "What was sent is too long or not complete.")
            except (OperationalError, NoConnectionFree):
                return failure_page(request, 503, "We cannot take this right now.")
            except SQLAlchemyError:
                return failure_page(request, 422, "What was sent holds characters that cannot be stored.")

        return with_pages
