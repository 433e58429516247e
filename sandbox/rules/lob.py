"""Which postcards Lob refuses (docs: postcards, addresses; the limits of its published description)."""

import json
import re
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

MAX_HTML = 10_000
MAX_MERGE = 25_000
MAX_DAYS_AHEAD = 180
_TEMPLATE = re.compile(r"tmpl_[a-zA-Z0-9]+")
_REMOTE = re.compile(r"https://[-a-zA-Z0-9@:%._+~#=/]{1,256}\.(html?|pdf|png|jpe?g)")


def _artwork(value: str) -> str:
    if "<" in value:
        if len(value) > MAX_HTML:
            raise ValueError(f"HTML must be at most {MAX_HTML} characters long")
    elif not (_TEMPLATE.fullmatch(value) or _REMOTE.fullmatch(value)):
        raise ValueError("must be an HTML string, a template id, or the https address of a file")
    return value


def _metadata(values: dict[str, str]) -> dict[str, str]:
    if len(values) > 20:
        raise ValueError("must have at most 20 keys")
    for name, value in values.items():
        if len(name) > 40 or len(value) > 500:
            raise ValueError("keys have at most 40 characters and values at most 500")
        if re.search(r'["\\]', name + value):
            raise ValueError('must not contain " or \\')
    return values


def _merge_variables(values: dict[str, Any] | None) -> dict[str, Any] | None:
    if values is not None and len(json.dumps(values, ensure_ascii=False)) > MAX_MERGE:
        raise ValueError(f"must be at most {MAX_MERGE} characters of JSON")
    return values


def _send_date(value: str) -> str:
    try:
        moment = datetime.fromisoformat(value)
    except ValueError as error:
        raise ValueError("must be a date or a date and time of ISO 8601") from error
    if moment.date() > datetime.now(UTC).date() + timedelta(days=MAX_DAYS_AHEAD):
        raise ValueError(f"must be within {MAX_DAYS_AHEAD} days")
    return value


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


Metadata = Annotated[dict[str, str], AfterValidator(_metadata)]
Artwork = Annotated[str, AfterValidator(_artwork)]


class _Address(_Part):
    name: Annotated[str, Field(max_length=40)] | None = None
    company: Annotated[str, Field(max_length=40)] | None = None
    address_line1: Annotated[str, Field(min_length=1, max_length=200)]
    address_line2: Annotated[str, Field(max_length=200)] | None = None
    address_city: Annotated[str, Field(max_length=200)] | None = None
    address_state: Annotated[str, Field(max_length=200)] | None = None
    address_zip: Annotated[str, Field(max_length=40)] | None = None
    address_country: Annotated[str, Field(pattern=r"^[A-Z]{2}$")] = "US"
    phone: Annotated[str, Field(max_length=40)] | None = None
    email: Annotated[str, Field(max_length=100)] | None = None
    description: Annotated[str, Field(max_length=255)] | None = None
    metadata: Metadata = Field(default_factory=dict)

    @model_validator(mode="after")
    def _complete(self) -> "_Address":
        if self.name is None and self.company is None:
            raise ValueError("name or company is required")
        if self.address_country == "US":
            self._check_american()
        elif not self.address_zip and not (self.address_city and self.address_state):
            raise ValueError("address_zip, or address_city and address_state, are required")
        return self

    def _check_american(self) -> None:
        if len(self.address_line1) > 64 or len(self.address_line2 or "") > 64:
            raise ValueError("address lines have at most 64 characters")
        if self.address_city is None:
            raise ValueError("address_city is required")
        if not re.fullmatch(r"[a-zA-Z]{2}", self.address_state or ""):
            raise ValueError("address_state must be the two letters of a state")
        if not re.fullmatch(r"\d{5}(-\d{4})?", self.address_zip or ""):
            raise ValueError("address_zip must be in a valid zip format")


class _QrCode(_Part):
    position: Literal["relative"]
    redirect_url: str
    width: float
    top: float | None = None
    right: float | None = None
    left: float | None = None
    bottom: float | None = None
    pages: str | None = None
    logo: dict[str, Any] | None = None
    style: dict[str, Any] | None = None


class _Postcard(_Part):
    to: _Address
    from_: _Address | None = Field(default=None, alias="from")
    front: Artwork
    back: Artwork
    use_type: Literal["marketing", "operational"]
    size: Literal["4x6", "6x9", "6x11"] = "4x6"
    mail_type: Literal["usps_first_class", "usps_standard"] = "usps_first_class"
    description: Annotated[str, Field(max_length=255)] | None = None
    metadata: Metadata = Field(default_factory=dict)
    merge_variables: Annotated[dict[str, Any] | None, AfterValidator(_merge_variables)] = None
    send_date: Annotated[str, AfterValidator(_send_date)] | None = None
    billing_group_id: str | None = None
    qr_code: _QrCode | None = None
    fsc: bool = False
    print_speed: Literal["core"] | None = None

    @model_validator(mode="after")
    def _possible(self) -> "_Postcard":
        foreign = self.to.address_country != "US"
        if foreign and self.from_ is None:
            raise ValueError("from is required for international postcards")
        if foreign and self.size != "4x6":
            raise ValueError("size must be 4x6 for international postcards")
        if self.size == "4x6" and self.mail_type == "usps_standard":
            raise ValueError("mail_type must be usps_first_class for 4x6 postcards")
        if self.from_ is not None and self.from_.address_country != "US":
            raise ValueError("from must be an address in the US")
        return self


def problems(postcard: Any) -> list[str]:
    """Return everything Lob would refuse about a postcard; empty when it accepts."""
    try:
        _Postcard.model_validate(postcard)
    except ValidationError as error:
        return [_worded(detail["type"], detail["msg"], detail["loc"]) for detail in error.errors()[:20]]
    return []


def earliest_send(postcard: dict[str, Any], now: datetime, window: timedelta) -> datetime:
    """Return when a postcard is mailed: at the end of the cancellation window, or on its send date."""
    end = now + window
    if not postcard.get("send_date"):
        return end
    asked = datetime.fromisoformat(postcard["send_date"])
    return max(end, asked if asked.tzinfo else asked.replace(tzinfo=UTC))


def _worded(kind: str, message: str, place: tuple[int | str, ...]) -> str:
    name = ".".join(str(step) for step in place)
    if kind == "missing":
        return f"{name} is required"
    if kind == "extra_forbidden":
        return f"{name} is not allowed"
    return f"{name} {message.removeprefix('Value error, ')}".strip()
