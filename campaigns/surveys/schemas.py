"""What the JSON routes of surveys take and give."""

from datetime import datetime
from typing import Annotated, Any

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from outreach.vocabulary import SurveyKind, SurveyState


class SurveyIn(BaseModel):
    """A survey; without questions it has the standard ones of its kind."""

    model_config = ConfigDict(extra="forbid")

    key: Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
    name: Annotated[str, Field(min_length=1, max_length=200)]
    kind: SurveyKind
    questions: Annotated[list[dict[str, Any]], Field(max_length=20)] = []
    template_key: Annotated[str, Field(min_length=1, max_length=64)] | None = None
    closes_at: AwareDatetime | None = None


class SurveyOut(BaseModel):
    """One survey."""

    model_config = ConfigDict(from_attributes=True)

    key: str
    name: str
    kind: SurveyKind
    state: SurveyState
    questions: list[Any]
    template_key: str
    closes_at: datetime | None
    created_by: str
    created_at: datetime


class FigureOut(BaseModel):
    """A value with the ends of its interval (95 %)."""

    value: float
    low: float
    high: float


class FiguresOut(BaseModel):
    """CSAT in %, NPS, or the mean of CES as `headline`; `top_share` is the share of 5 to 7 for CES."""

    n: int
    headline: FigureOut | None
    top_share: FigureOut | None
    mean: float | None


class PartOut(BaseModel):
    """The figures of one group; `response_rate` is completed / delivered."""

    name: str
    asked: int
    delivered: int
    completed: int
    response_rate: float | None
    counts: dict[int, int]
    figures: FiguresOut


class ResultsOut(BaseModel):
    """What a survey found."""

    survey: str
    total: PartOut
    trend: list[PartOut]
    groups: list[PartOut]
    suspected_bots: int


class MessageOut(BaseModel):
    """What one channel will say."""

    subject: str | None
    text: str | None
    html: str | None


class SurveyPreviewOut(BaseModel):
    """What people will get; the page tries out and records nothing."""

    messages: dict[str, MessageOut]
    page: str


class CommentOut(BaseModel):
    """What somebody wrote, with her score."""

    id: int
    customer: str
    words: str
    question: str
    score: int | None
    channel: str
    language: str
    problem: str | None
    answered_at: datetime
