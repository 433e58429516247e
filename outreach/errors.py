"""One tree of errors; each says what was wrong and what to do, and carries the HTTP status it answers with.

OutreachError (500)
├── InvalidInput (422)       the caller's data are wrong; `where` names the place
│   ├── InvalidRule          a segment rule; `where` is the path to the node
│   └── InvalidTemplate      a template cannot be parsed or names an unknown variable
├── NotAuthenticated (401)   no or wrong credentials or signature
├── NotPermitted (403)       known, but not allowed
├── NotFound (404)
├── Conflict (409)           not in this state, or it exists already
├── TooLarge (413)
└── Unavailable (503)        an engine or a neighbour is down; try again later
"""


class OutreachError(Exception):
    """The root of everything that Outreach raises on purpose."""

    status = 500
    code = "internal"

    def __init__(self, message: str, *, where: str | None = None) -> None:
        self.message = _sayable(message)
        super().__init__(self.message)
        self.where = None if where is None else _sayable(where)


class InvalidInput(OutreachError):
    """The caller's data are wrong; `where` names the field, row or path."""

    status = 422
    code = "invalid_input"


class InvalidRule(InvalidInput):
    """A segment rule cannot be used; `where` is the path to the node."""

    code = "invalid_rule"


class InvalidTemplate(InvalidInput):
    """A template cannot be parsed, or a variable it uses is not there."""

    code = "invalid_template"


class NotAuthenticated(OutreachError):
    """No credentials or signature, or wrong ones."""

    status = 401
    code = "not_authenticated"


class NotPermitted(OutreachError):
    """The caller is known, but may not do this."""

    status = 403
    code = "not_permitted"


class NotFound(OutreachError):
    """There is no such thing."""

    status = 404
    code = "not_found"


class Conflict(OutreachError):
    """The thing is not in a state that allows this, or it exists already."""

    status = 409
    code = "conflict"


class TooLarge(OutreachError):
    """The body is larger than we accept."""

    status = 413
    code = "too_large"


class Unavailable(OutreachError):
    """An engine or a neighbour is down; the same request may succeed later."""

    status = 503
    code = "unavailable"


def _sayable(text: str) -> str:
    # Errors repeat what was sent, and JSON may send half of a surrogate pair, which no answer can be encoded with.
    return text.encode("utf-8", "replace").decode()
