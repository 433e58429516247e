"""What the JSON routes of the ground take and give. What comes in is closed: an unknown field is an error."""

import json
from datetime import UTC, datetime
from typing import Annotated, Any

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field, SecretStr

from outreach.permissions import Permission
from outreach.security import LONGEST_PASSWORD
from outreach.vocabulary import Grade, ProblemState, Role, Severity

_LARGEST_OBJECT = 16_384  # characters of JSON


def _no_nul(text: str) -> str:
    # PostgreSQL cannot store it.
    if "\0" in text:
        raise ValueError("the character NUL is not allowed")
    return text


def _one_line(text: str) -> str:
    # Names and titles end up in subjects and headers, where a line break starts another header.
    if any(not letter.isprintable() for letter in text):
        raise ValueError("line breaks and control characters are not allowed")
    return text


def _small_object(value: dict[str, Any]) -> dict[str, Any]:
    try:
        text = json.dumps(value, allow_nan=False)
    except (ValueError, RecursionError):
        raise ValueError("it holds a number that is not finite, or is nested too deeply") from None
    if len(text) > _LARGEST_OBJECT:
        raise ValueError(f"it is larger than {_LARGEST_OBJECT} characters of JSON")
    if "\\u0000" in text:
        raise ValueError("the character NUL is not allowed")
    _check_integers(value)
    return value


def _check_integers(value: object) -> None:
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        for part in value:
            _check_integers(part)
    elif isinstance(value, int) and abs(value) >= 2**63:
        raise ValueError("it holds an integer beyond 64 bits")


def _in_utc(moment: datetime) -> datetime:
    try:
        return moment.astimezone(UTC)
    except OverflowError:  # the first or last day of the calendar in a far zone
        raise ValueError("this time is out of range") from None


Line = Annotated[str, Field(min_length=1, max_length=200), AfterValidator(_one_line)]
Prose = Annotated[str, Field(max_length=10_000), AfterValidator(_no_nul)]
Key = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
Moment = Annotated[AwareDatetime, AfterValidator(_in_utc)]
Attributes = Annotated[dict[str, Any], AfterValidator(_small_object)]


class Incoming(BaseModel):
    """What all bodies that come in share."""

    model_config = ConfigDict(extra="forbid", str_strip_whitespace=True)


class Outgoing(BaseModel):
    """What all answers share: they are read from rows and name each field that leaves."""

    model_config = ConfigDict(from_attributes=True)


class SignIn(Incoming):
    """An operator's address and password."""

    # A password may begin or end with a blank.
    model_config = ConfigDict(extra="forbid", str_strip_whitespace=False)

    email: Annotated[str, Field(min_length=3, max_length=254), AfterValidator(_one_line)]
    password: Annotated[SecretStr, Field(min_length=1, max_length=LONGEST_PASSWORD)]


class SessionOut(Outgoing):
    """Who is signed in; `csrf_token` is what unsafe requests of this browser carry."""

    name: str
    role: Role | None
    permissions: list[Permission]
    csrf_token: str | None = None


class OperatorIn(Incoming):
    """A new operator."""

    email: Annotated[str, Field(min_length=3, max_length=254), AfterValidator(_one_line)]
    name: Line
    role: Role
    password: SecretStr


class RoleIn(Incoming):
    """Another role for an operator."""

    role: Role


class OperatorOut(Outgoing):
    """An operator, without anything secret."""

    email: str
    name: str
    role: Role
    created_at: datetime
    disabled_at: datetime | None


class ApiKeyIn(Incoming):
    """A new API key."""

    name: Line
    permissions: Annotated[list[Permission], Field(min_length=1, max_length=50)]
    expires_at: Moment | None = None


class ApiKeyOut(Outgoing):
    """An API key, without anything secret."""

    name: str
    prefix: str
    permissions: list[str]
    created_by: str
    created_at: datetime
    used_at: datetime | None
    expires_at: datetime | None
    revoked_at: datetime | None


class NewApiKeyOut(ApiKeyOut):
    """A new API key; `key` is shown this once."""

    key: str


class ProblemIn(Incoming):
    """A new problem; with a `key` of your own, reporting it twice is refused instead of doubled."""

    title: Line
    summary: Prose = ""
    severity: Severity = Severity.MEDIUM
    department: Line | None = None
    key: Key | None = None
    attributes: Attributes = {}


class EntryIn(Incoming):
    """What is said with a change of state."""

    text: Prose = ""


class PromiseIn(EntryIn):
    """What is said, and what customers may rely on."""

    workaround: Prose | None = None
    fixed_by: Moment | None = None
    next_update_by: Moment | None = None


class UpdateIn(PromiseIn):
    """An entry of the timeline; it has to say something."""

    text: Annotated[Prose, Field(min_length=1)]


class ResolveIn(EntryIn):
    """How the problem ended."""

    fix: Prose | None = None


class ProblemOut(Outgoing):
    """A problem as it stands."""

    key: str
    title: str
    summary: str
    state: ProblemState
    severity: Severity
    department: str | None
    workaround: str | None
    fix: str | None
    next_update_by: datetime | None
    fixed_by: datetime | None
    desk: str | None
    desk_reference: str | None
    attributes: dict[str, Any]
    reported_at: datetime
    known_at: datetime | None
    resolved_at: datetime | None
    closed_at: datetime | None


class ProblemUpdateOut(Outgoing):
    """One entry of a problem's timeline."""

    from_state: ProblemState | None
    to_state: ProblemState | None
    text: str
    author: str
    at: datetime


class ProblemDetailOut(ProblemOut):
    """A problem with its timeline, oldest entry first."""

    updates: list[ProblemUpdateOut]


class AuditOut(Outgoing):
    """One entry of the audit log."""

    id: int
    at: datetime
    actor: str
    action: str
    subject: str
    detail: dict[str, Any]
    hash: str


class AuditCheckOut(Outgoing):
    """Whether the chain of the audit log holds, and where not."""

    holds: bool
    complaints: list[str]


class ClockOut(Outgoing):
    """What time it is for everything that falls due."""

    now: datetime
    moved_by_seconds: float


class AdvanceIn(Incoming):
    """How far to move the clock of a demo; a year at the most."""

    seconds: Annotated[float, Field(gt=0, le=366 * 86_400, allow_inf_nan=False)]


class HappeningOut(Outgoing):
    """One thing that happened to a customer, or that we did for them."""

    at: datetime
    kind: str
    title: str
    detail: str | None
    reference: str | None


class ScopeOut(Outgoing):
    """One problem that touches a customer now."""

    problem: str
    title: str
    grade: Grade


class CustomerOut(Outgoing):
    """A customer with the newest things that happened, newest first."""

    external_id: str
    name: str | None
    email: str | None
    phone: str | None
    locale: str | None
    time_zone: str | None
    address_line1: str | None
    address_line2: str | None
    city: str | None
    region: str | None
    postal_code: str | None
    country: str | None
    attributes: dict[str, Any]
    erased_at: datetime | None
    problems: list[ScopeOut]
    timeline: list[HappeningOut]
