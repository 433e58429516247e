"""What the JSON routes of campaigns take and give."""

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from outreach.vocabulary import CampaignKind, CampaignState, Channel, Grade, NoticeClass


class Incoming(BaseModel):
    """What all bodies that come in share: an unknown field is an error."""

    model_config = ConfigDict(extra="forbid")


class LadderStep(Incoming):
    """One channel of the plan: after the one before failed, or did not deliver for `after_hours`, or `at_once`."""

    channel: Channel
    after_hours: Annotated[int, Field(ge=1, le=8760)] | None = None
    at_once: Literal[True] | None = None


class CampaignIn(Incoming):
    """A plan over the scope of a problem."""

    problem: Annotated[str, Field(max_length=64)]
    name: Annotated[str, Field(min_length=1, max_length=200)]
    kind: CampaignKind
    notice_class: NoticeClass = NoticeClass.SERVICE
    template_key: Annotated[str, Field(min_length=1, max_length=64)]
    ladder: Annotated[list[LadderStep], Field(min_length=1, max_length=3)]
    grades: Annotated[list[Grade], Field(min_length=1, max_length=4)] = [Grade.AFFECTED, Grade.LIKELY, Grade.INCOMING]
    not_before: AwareDatetime | None = None
    not_after: AwareDatetime | None = None
    holdout_share: Annotated[float, Field(ge=0, le=0.5)] = 0.0
    first_wave: Annotated[int, Field(ge=0, le=1_000_000)] | None = None


class ReasonIn(Incoming):
    """Why; it is kept with the campaign and in the audit log."""

    reason: Annotated[str, Field(max_length=500)] = ""


class CampaignOut(BaseModel):
    """One campaign."""

    model_config = ConfigDict(from_attributes=True)

    key: str
    name: str
    kind: CampaignKind
    notice_class: NoticeClass
    state: CampaignState
    state_reason: str | None
    problem: str | None = None
    template_key: str
    template_version: int
    ladder: list[Any]
    grades: list[Any]
    created_by: str
    created_at: datetime
    approved_by: str | None
    approved_at: datetime | None
    not_before: datetime | None
    not_after: datetime | None
    finished_at: datetime | None
    holdout_share: float
    wave: int


class ProgressOut(BaseModel):
    """How far a campaign is: notices by state, messages by channel and by what became of them."""

    notices: dict[str, int]
    messages: dict[str, dict[str, int]]


class DiscrepancyOut(BaseModel):
    """One kind of row that does not add up."""

    model_config = ConfigDict(from_attributes=True)

    what: str
    count: int
    rows: list[str]


class AccountOut(BaseModel):
    """The account of a campaign."""

    model_config = ConfigDict(from_attributes=True)

    campaign: str
    audience: int
    delivered: int
    on_the_way: int
    held_out: int
    skipped: dict[str, int]
    failed: dict[str, int]
    unaccounted: int
    duplicates: int
    adds_up: bool
    discrepancies: list[DiscrepancyOut]
