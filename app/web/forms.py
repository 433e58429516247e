"""Forms: what was sent, checked by the schemas of the JSON API; a mistake is shown in the form, with what was typed.

with attempt(session) as tried:
    problem_verbs.report(session, actor=actor, now=now, **read(ProblemIn, sent.fields("title", "summary")))
if tried.mistake:
    return page(request, session, actor, "problems/new.html", status=422, mistake=tried.mistake, sent=sent)
return see_other("/problems")
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Annotated, TypeVar
from urllib.parse import urlencode

from fastapi import Depends, Request
from fastapi.responses import RedirectResponse, Response
from pydantic import BaseModel, ValidationError
from sqlalchemy.orm import Session

from app.web.reading import zone_named
from outreach.errors import InvalidInput, NotAuthenticated, OutreachError

Model = TypeVar("Model", bound=BaseModel)


@dataclass(frozen=True, slots=True)
class Mistake:
    """What was wrong and what to do; `where` names the field."""

    message: str
    where: str | None = None


@dataclass(slots=True)
class Sent:
    """The fields of a form as they were sent; blank around them is dropped."""

    pairs: list[tuple[str, str]] = field(default_factory=list)
    zone: str | None = None

    def text(self, name: str, otherwise: str = "") -> str:
        """Return the first value of a field."""
        return next((value.strip() for key, value in self.pairs if key == name), otherwise)

    def texts(self, name: str) -> list[str]:
        """Return every value of a field that is not blank."""
        return [value.strip() for key, value in self.pairs if key == name and value.strip()]

    def fields(self, *names: str) -> dict[str, str]:
        """Return the named fields that were filled in."""
        return {name: value for name in names if (value := self.text(name))}

    def moment(self, name: str) -> datetime | None:
        """Return a `datetime-local` field, read in the sender's zone; raises `InvalidInput`."""
        given = self.text(name)
        if not given:
            return None
        try:
            return datetime.fromisoformat(given).replace(tzinfo=zone_named(self.zone))
        except ValueError:
            raise InvalidInput("Choose a date and a time.", where=name) from None


async def sent_form(request: Request) -> Sent:
    """Read the form of a request."""
    pairs = [(key, value) for key, value in (await request.form()).multi_items() if isinstance(value, str)]
    return Sent(pairs, request.cookies.get("outreach_zone"))


SentForm = Annotated[Sent, Depends(sent_form)]


@dataclass(slots=True)
class Attempt:
    """How an attempt ended."""

    mistake: Mistake | None = None


@contextmanager
def attempt(session: Session) -> Iterator[Attempt]:
    """Try a verb; where the person is at fault nothing of it stays and `mistake` says why."""
    tried = Attempt()
    try:
        with session.begin_nested():
            yield tried
    except NotAuthenticated:
        raise
    except OutreachError as error:
        if error.status >= 500:
            raise
        tried.mistake = Mistake(error.message, error.where)


def read(model: type[Model], given: Mapping[str, object]) -> Model:
    """Check fields by a schema; raises `InvalidInput` that names the first wrong one."""
    try:
        return model.model_validate(dict(given))
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = str(first["loc"][0]) if first["loc"] else None
        said = {"missing": "This is needed.", "string_too_short": "This is needed."}.get(first["type"], first["msg"])
        raise InvalidInput(said.removeprefix("Value error, ").rstrip(".") + ".", where=where) from None


def see_other(path: str) -> Response:
    """Send the browser on after a POST, so that reloading repeats nothing."""
    return RedirectResponse(path, 303)


def address_of(**asked: str) -> str:
    """Return what a list was asked for as the query of an address, without what was left empty."""
    return urlencode({name: value for name, value in asked.items() if value})


def safe_path(given: str | None) -> str:
    """Return a path of ours to go on to; anything that could lead elsewhere is the start page."""
    if not given or not given.startswith("/") or given[1:2] in {"/", "\\"} or not given.isprintable():
        return "/"
    return "/" if "\\" in given else given
