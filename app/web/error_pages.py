"""Errors as people see them in a browser: a page that says what was wrong, or the way to sign in."""

from urllib.parse import quote

from fastapi import Request
from fastapi.responses import RedirectResponse, Response

from app.web.layout import bare_page

_TITLES = {
    403: "You may not do this",
    404: "There is nothing here",
    409: "This cannot be done now",
    413: "That is too large",
    422: "Something is not right",
    503: "Not available right now",
}


def wants_page(request: Request) -> bool:
    """Tell whether a person in a browser asks, and not a program."""
    if request.url.path.startswith(("/api/", "/webhooks/")):
        return False
    return "text/html" in request.headers.get("Accept", "") or request.headers.get("HX-Request") == "true"


def error_page(request: Request, status: int, detail: str) -> Response:
    """Return the page of one error; whoever is not signed in is sent to do so, and back."""
    live = request.headers.get("HX-Request") == "true"
    if status == 401:
        back = request.url.path + (f"?{request.url.query}" if request.url.query else "")
        target = "/sign-in" if request.method != "GET" or live or back == "/" else f"/sign-in?next={quote(back)}"
        if live:
            return Response(status_code=200, headers={"HX-Redirect": target})
        return RedirectResponse(target, 303)
    template = "error_fragment.html" if live else "error.html"
    return bare_page(
        request,
        template,
        now=None,
        status=status,
        title=_TITLES.get(status, "Something went wrong"),
        detail=detail,
        code=status,
    )
