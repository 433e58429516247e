"""What the JSON routes of responses, inbound events and webhooks out take and give."""

from datetime import datetime
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from outreach.vocabulary import Channel, InboundState, Intent, OutgoingState


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


class NewSubscriber(BaseModel):
    """Who is to be told of what; `*` stands for every event."""

    model_config = ConfigDict(extra="forbid")

    name: str = Field(min_length=1, max_length=200)
    url: str = Field(max_length=2000, examples=["https://example.com/outreach"])
    events: list[str] = Field(min_length=1, max_length=50, examples=[["problem.known", "problem.resolved"]])


class SubscriberOut(BaseModel):
    """A subscriber, without its secret; while `disabled_at` is set it is told nothing."""

    model_config = ConfigDict(from_attributes=True)

    id: int
    name: str
    url: str
    events: list[str]
    created_by: str
    created_at: datetime
    overlap_until: datetime | None
    disabled_at: datetime | None
    disabled_because: str | None


class SubscriberWithSecret(SubscriberOut):
    """A subscriber with its new secret, which is not shown again."""

    secret: str


class DeliveryOut(BaseModel):
    """One event owed to one subscriber, with what each try answered."""

    model_config = ConfigDict(from_attributes=True)

    id: int
    subscriber_id: int
    event_id: int
    state: OutgoingState
    tries: int
    next_try_at: datetime
    done_at: datetime | None
    attempts: list[dict[str, Any]]


class EventOut(BaseModel):
    """Something that happened and that somebody subscribed to."""

    model_config = ConfigDict(from_attributes=True)

    id: int
    kind: str
    happened_at: datetime
    data: dict[str, Any]
