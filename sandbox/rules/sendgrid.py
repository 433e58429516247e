"""Which mails SendGrid refuses, and in which words (docs: Mail Send API, body schema and limitations)."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

MAX_RECIPIENTS = 1000
MAX_CUSTOM_BYTES = 10_000
RESERVED_HEADERS = frozenset(
    {
        *("x-sg-id", "x-sg-eid", "received", "dkim-signature", "content-type", "content-transfer-encoding"),
        *("to", "from", "subject", "reply-to", "cc", "bcc"),
    }
)
_ADDRESS = re.compile(r"[^@\s<>,;\"]{1,64}@[A-Za-z0-9](?:[A-Za-z0-9.-]{0,252}[A-Za-z0-9])?")
NO_CONTENT = (
    "Unless a valid template_id is provided, the content parameter is required. There must be at least one defined"
    " content block. We typically suggest both text/plain and text/html blocks are included, but only one block is"
    " required."
)
NO_SUBJECT = (
    "The subject is required. You can get around this requirement if you use a template with a subject defined or if"
    " every personalization has a subject defined."
)


@dataclass(frozen=True)
class Problem:
    """One entry of SendGrid's `errors`."""

    message: str
    field: str | None


def _valid_address(value: str) -> str:
    if not _ADDRESS.fullmatch(value):
        raise ValueError("Does not contain a valid address.")
    return value


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


Text = Annotated[str, Field(min_length=1)]
Headers = dict[str, str]


class _Address(_Part):
    email: Annotated[str, AfterValidator(_valid_address)]
    name: str | None = None


Addresses = Annotated[list[_Address], Field(max_length=MAX_RECIPIENTS)]


class _Personalization(_Part):
    to: Annotated[list[_Address], Field(min_length=1, max_length=MAX_RECIPIENTS)]
    from_: _Address | None = Field(default=None, alias="from")
    cc: Addresses = Field(default_factory=list)
    bcc: Addresses = Field(default_factory=list)
    subject: Text | None = None
    headers: Headers = Field(default_factory=dict)
    substitutions: dict[str, str] = Field(default_factory=dict)
    dynamic_template_data: dict[str, Any] | None = None
    custom_args: dict[str, str] = Field(default_factory=dict)
    send_at: int | None = None


class _Content(_Part):
    type: Text
    value: Text


class _Attachment(_Part):
    content: Text
    filename: str
    type: Text | None = None
    disposition: Literal["inline", "attachment"] = "attachment"
    content_id: str | None = None


class _Asm(_Part):
    group_id: int
    groups_to_display: Annotated[list[int], Field(max_length=25)] = Field(default_factory=list)


class _Switch(BaseModel):
    # The tracking and footer switches carry further texts that nothing here depends on.
    model_config = ConfigDict(extra="allow", strict=True)
    enable: bool | None = None


class _MailSettings(_Part):
    bypass_list_management: _Switch | None = None
    bypass_spam_management: _Switch | None = None
    bypass_bounce_management: _Switch | None = None
    bypass_unsubscribe_management: _Switch | None = None
    footer: _Switch | None = None
    sandbox_mode: _Switch | None = None


class _Tracking(_Part):
    click_tracking: _Switch | None = None
    open_tracking: _Switch | None = None
    subscription_tracking: _Switch | None = None
    ganalytics: _Switch | None = None


class _Mail(_Part):
    personalizations: Annotated[list[_Personalization], Field(min_length=1, max_length=MAX_RECIPIENTS)]
    from_: _Address = Field(alias="from")
    reply_to: _Address | None = None
    reply_to_list: Addresses | None = None
    subject: Text | None = None
    content: list[_Content] = Field(default_factory=list)
    attachments: list[_Attachment] = Field(default_factory=list)
    template_id: str | None = None
    headers: Headers = Field(default_factory=dict)
    categories: Annotated[list[Annotated[str, Field(max_length=255)]], Field(max_length=10)] = Field(
        default_factory=list
    )
    custom_args: dict[str, str] = Field(default_factory=dict)
    send_at: int | None = None
    batch_id: str | None = None
    asm: _Asm | None = None
    ip_pool_name: Annotated[str, Field(min_length=2, max_length=64)] | None = None
    mail_settings: _MailSettings | None = None
    tracking_settings: _Tracking | None = None


def problems(mail: Any) -> list[Problem]:
    """Return everything SendGrid would refuse about a request body; empty when it accepts."""
    try:
        read = _Mail.model_validate(mail)
    except ValidationError as error:
        return [_worded(detail["type"], detail["msg"], detail["loc"]) for detail in error.errors()[:20]]
    return [*_message_problems(read), *_personalization_problems(read)]


def _worded(kind: str, message: str, place: tuple[int | str, ...]) -> Problem:
    field = ".".join(str(step) for step in place) or None
    if kind == "extra_forbidden":
        return Problem(f"Additional property {place[-1]} is not allowed", field)
    if kind == "missing":
        return Problem(f"The {place[-1]} parameter is required.", field)
    return Problem(message.removeprefix("Value error, "), field)


def _message_problems(mail: _Mail) -> Iterator[Problem]:
    if not mail.content and not mail.template_id:
        yield Problem(NO_CONTENT, "content")
    if not mail.template_id and not mail.subject and not all(p.subject for p in mail.personalizations):
        yield Problem(NO_SUBJECT, "subject")
    if mail.reply_to and mail.reply_to_list:
        yield Problem("Only one of reply_to and reply_to_list may be used.", "reply_to")
    if len(set(mail.categories)) < len(mail.categories):
        yield Problem("The categories must be unique.", "categories")
    kinds = [part.type for part in mail.content]
    if "text/html" in kinds and "text/plain" in kinds and kinds.index("text/plain") > kinds.index("text/html"):
        yield Problem("The content must be in the order text/plain, then text/html.", "content")
    people = sum(len(p.to) + len(p.cc) + len(p.bcc) for p in mail.personalizations)
    if people > MAX_RECIPIENTS:
        yield Problem(f"The total number of recipients must be no more than {MAX_RECIPIENTS}.", "personalizations")
    yield from _header_problems(mail.headers, "headers")


def _personalization_problems(mail: _Mail) -> Iterator[Problem]:
    for number, person in enumerate(mail.personalizations):
        place = f"personalizations.{number}"
        if person.substitutions and person.dynamic_template_data is not None:
            yield Problem("You cannot use substitutions with dynamic templates.", f"{place}.substitutions")
        if _size(person.substitutions) > MAX_CUSTOM_BYTES:
            yield Problem(f"Substitutions must not exceed {MAX_CUSTOM_BYTES} bytes.", f"{place}.substitutions")
        if _size(mail.custom_args | person.custom_args) > MAX_CUSTOM_BYTES:
            yield Problem(f"The custom_args must not exceed {MAX_CUSTOM_BYTES} bytes.", f"{place}.custom_args")
        seen: set[str] = set()
        for kind in ("to", "cc", "bcc"):
            for address in getattr(person, kind):
                if address.email.lower() in seen:
                    yield Problem(
                        "Each email address in the personalization block should be unique between to, cc, and bcc."
                        f" We found the first duplicate instance of [{address.email}] in the {place}.{kind} field.",
                        place,
                    )
                seen.add(address.email.lower())
        yield from _header_problems(person.headers, f"{place}.headers")


def _header_problems(headers: Headers, place: str) -> Iterator[Problem]:
    for name, value in headers.items():
        if name.lower() in RESERVED_HEADERS:
            yield Problem(f"The header {name} is reserved and cannot be set.", f"{place}.{name}")
        if not name.isascii() or re.search(r"[\r\n]", name + value):
            yield Problem("Headers must be ASCII names and hold no line breaks.", f"{place}.{name}")


def _size(values: dict[str, str]) -> int:
    return len(json.dumps(values, ensure_ascii=False).encode()) if values else 0
