"""What the JSON routes of responses give."""

from datetime import datetime

from pydantic import BaseModel, ConfigDict

from outreach.vocabulary import Channel, Intent


class ResponseOut(BaseModel):
    """A reply and its recorded meaning; nobody has taken it on while `handled_at` is null."""

    model_config = ConfigDict(from_attributes=True)

    id: int
    channel: Channel
    sender: str
    text: str
    intent: Intent
    customer_id: int | None
    campaign_id: int | None
    problem_id: int | None
    received_at: datetime
    handled_at: datetime | None
    handled_by: str | None
