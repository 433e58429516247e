"""What the JSON routes of responses and inbound events give."""

from datetime import datetime

from pydantic import BaseModel, ConfigDict

from outreach.vocabulary import Channel, InboundState, Intent


class ReplyOut(BaseModel):
    """A reply and its recorded meaning; nobody has taken it on while `handled_at` is null."""

    model_config = ConfigDict(from_attributes=True)

    id: int
    channel: Channel
    sender: str
    text: str
    intent: Intent
    received_at: datetime
    handled_at: datetime | None
    handled_by: str | None
    snoozed_until: datetime | None


class ResponseOut(ReplyOut):
    """One reply, whole."""

    customer_id: int | None
    campaign_id: int | None
    problem_id: int | None


class RowOut(ReplyOut):
    """One reply of the inbox; `text` is its beginning."""

    customer: str | None
    problem: str | None
    assignee: str | None
    answered: bool


class InboundEventOut(BaseModel):
    """A stored event; `parent_id` names the body of which it is a part, `error` says why it is not applied."""

    model_config = ConfigDict(from_attributes=True)

    id: int
    source: str
    key: str
    state: InboundState
    received_at: datetime
    applied_at: datetime | None
    next_try_at: datetime
    tries: int
    error: str | None
    parent_id: int | None


class InboundEventBody(InboundEventOut):
    """A stored event with the start of its body."""

    body: str
    body_bytes: int


class Replayed(BaseModel):
    """An event that is tried again."""

    id: int
    state: InboundState
