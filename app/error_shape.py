"""The one shape of an error: `{"error": code, "detail": what to do, "where": place}`."""

from collections.abc import Mapping
from typing import Any

from fastapi.responses import JSONResponse
from pydantic import BaseModel


def answer(
    status: int, code: str, detail: str, where: str | None = None, headers: Mapping[str, str] | None = None
) -> JSONResponse:
    """Return one error as an answer."""
    return JSONResponse({"error": code, "detail": detail, "where": where}, status, headers)


class ErrorOut(BaseModel):
    """What went wrong: a code for programs, words for people, and the place in what was sent."""

    error: str
    detail: str
    where: str | None


# What any route may answer instead; described once, for all of them. They point to the shape: FastAPI would build a
# named model anew for each status of each of hundreds of routes, which took the first request a second.
_SHAPE = {"application/json": {"schema": {"$ref": f"#/components/schemas/{ErrorOut.__name__}"}}}
ERRORS: dict[int | str, dict[str, Any]] = {
    status: {"content": _SHAPE, "description": words}
    for status, words in {
        400: "The request cannot be read.",
        401: "No credentials or signature, or wrong ones.",
        403: "Known, but not allowed.",
        404: "There is no such thing.",
        405: "This address does not take that method.",
        409: "Not in this state, or it exists already.",
        413: "The body is larger than what is taken here.",
        415: "The body is of a kind that is not read here.",
        422: "What was sent is wrong; `where` names the place.",
        429: "Too often; `Retry-After` says when to come back.",
        500: "A mistake of ours; the log has it under the correlation id of the answer.",
        503: "The database is away or busy; try again in a moment.",
    }.items()
}
# One route that names the model is enough to have it among the described shapes.
WITH_SHAPE: dict[int | str, dict[str, Any]] = {404: {**ERRORS[404], "model": ErrorOut}}
