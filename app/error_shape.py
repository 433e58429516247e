"""The one shape of an error: `{"error": code, "detail": what to do, "where": place}`."""

from collections.abc import Mapping

from fastapi.responses import JSONResponse


def answer(
    status: int, code: str, detail: str, where: str | None = None, headers: Mapping[str, str] | None = None
) -> JSONResponse:
    """Return one error as an answer."""
    return JSONResponse({"error": code, "detail": detail, "where": where}, status, headers)
