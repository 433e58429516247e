"""Calls to a help desk's HTTP API: JSON both ways, the desk's refusals as our errors. Nothing retries here."""

import hashlib
import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

from outreach.errors import Conflict, InvalidInput, NotAuthenticated, NotFound, NotPermitted, OutreachError, Unavailable
from outreach.safe_http import Answer, request
from webhooks.desks.base import OUR_TAG
from webhooks.wire import excerpt, load_json

_LARGEST_ANSWER = 10 * 1024 * 1024  # a page of 1000 tickets with their descriptions


class DeskBusy(Unavailable):
    """The desk asks us to come back later; `retry_after_seconds` says when, where the desk said so."""

    def __init__(self, message: str, retry_after_seconds: float | None) -> None:
        super().__init__(message)
        self.retry_after_seconds = retry_after_seconds


@dataclass(frozen=True, slots=True)
class DeskApi:
    """Where the desk's API is and what every call carries. `allow`: origins in our own network (see safe_http)."""

    base_url: str
    headers: Mapping[str, str]
    allow: Collection[str] = ()
    ca_file: Path | None = None
    timeout_seconds: float = 20.0

    def call(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        payload: object | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Any:
        """Return the JSON that the desk answered (None when it answered nothing), or raise what went wrong."""
        address = self.base_url.rstrip("/") + path + (f"?{urlencode(query)}" if query else "")
        answer = request(
            method,
            address,
            headers={
                "Accept": "application/json",
                "Content-Type": "application/json",
                **self.headers,
                **(headers or {}),
            },
            body=None if payload is None else json.dumps(payload).encode(),
            allow=self.allow,
            ca_file=self.ca_file,
            timeout_seconds=self.timeout_seconds,
            largest_answer=_LARGEST_ANSWER,
        )
        if not 200 <= answer.status < 300:
            raise _refusal(answer, f"{method} {path}")
        if not answer.body.strip():
            return None
        try:
            return load_json(answer.body)
        except ValueError as error:
            raise Unavailable(f"The help desk answered {method} {path} with something else: {error}.") from None

    def follow(self, url: str) -> Any:
        """Return the JSON of a next page, which must be at the same origin: our credentials go there."""
        mine, theirs = urlsplit(self.base_url), urlsplit(url)
        if (mine.scheme, mine.netloc) != (theirs.scheme, theirs.netloc):
            raise InvalidInput("The help desk's next page is at another address; it is not followed.", where="next")
        prefix = mine.path.rstrip("/")
        return self.call("GET", (theirs.path.removeprefix(prefix)) + (f"?{theirs.query}" if theirs.query else ""))


def list_in(answer: object, name: str | None = None) -> list[dict[str, Any]]:
    """Return the objects of a list: the answer itself, or what it holds under a name; anything else is left out."""
    found = answer if name is None else (answer.get(name) if isinstance(answer, dict) else None)
    return [item for item in found if isinstance(item, dict)] if isinstance(found, list) else []


def own_tag(key: str) -> str:
    """Return our key as a tag that every desk takes: 25 letters, digits and dashes (Freshdesk: at most 32)."""
    return f"{OUR_TAG}-{hashlib.sha256(key.encode()).hexdigest()[:16]}"


def _refusal(answer: Answer, what: str) -> OutreachError:
    """Return the error for a status: too many and 5xx may succeed later, the rest never will."""
    said = f"The help desk answered {what} with {answer.status}: {excerpt(answer.body)}"
    if answer.status in (408, 423, 425, 429) or answer.status >= 500:
        wait = answer.headers.get("retry-after", "")
        return DeskBusy(said, min(float(wait), 86_400.0) if wait.isdigit() else None)
    kinds: dict[int, type[OutreachError]] = {401: NotAuthenticated, 403: NotPermitted, 404: NotFound, 409: Conflict}
    return kinds.get(answer.status, InvalidInput)(said)
