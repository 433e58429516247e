"""The declared signals of customer health: their weights, the bands, and what follows a drop or a silence."""

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from sqlalchemy.orm import Session

from outreach import audit
from outreach.errors import InvalidInput
from outreach.models import HealthRules

Signal = Literal["tickets", "problems", "surveys", "usage", "check_ins", "orders"]
Weight = Annotated[int, Field(ge=0, le=100)]


class Rules(BaseModel):
    """What counts how much. A signal without data does not count; the weights of the others fill its place.

    `good_from` and `fair_from` part the bands. A fall of `drop_points` within `drop_days`, or to a lower band, and
    a silence of `silence_days` open a task for the owner of the account (the attribute `owner_attribute`), or
    enter the customer into `programme`.
    """

    model_config = ConfigDict(extra="forbid")

    weights: dict[Signal, Weight] = {
        "tickets": 20,
        "problems": 15,
        "surveys": 25,
        "usage": 20,
        "check_ins": 10,
        "orders": 10,
    }
    good_from: Annotated[int, Field(ge=1, le=100)] = 70
    fair_from: Annotated[int, Field(ge=1, le=100)] = 40
    drop_points: Annotated[int, Field(ge=1, le=100)] = 20
    drop_days: Annotated[int, Field(ge=1, le=365)] = 30
    silence_days: Annotated[int, Field(ge=1, le=3650)] = 180
    owner_attribute: Annotated[str, Field(min_length=1, max_length=64)] = "owner"
    programme: Annotated[str, Field(max_length=64)] | None = None

    @model_validator(mode="after")
    def _sound(self) -> "Rules":
        if not any(self.weights.values()):
            raise ValueError("at least one signal has a weight")
        if self.fair_from >= self.good_from:
            raise ValueError("fair starts below good")
        return self


def rules_in_force(session: Session) -> Rules:
    """Return the rules; those that Outreach comes with until somebody changes them."""
    row = session.get(HealthRules, 1)
    return Rules.model_validate(row.definition) if row else Rules()


def change(session: Session, *, given: Any, actor: str, now: datetime) -> Rules:
    """Set the rules; every score is worked out anew by and by. Raises `InvalidInput`."""
    try:
        rules = Rules.model_validate(given)
    except ValidationError as error:
        first = error.errors()[0]
        raise InvalidInput(
            f"The rules cannot be used: {first['msg']}.", where=".".join(str(part) for part in first["loc"])
        ) from None
    session.merge(HealthRules(id=1, definition=rules.model_dump(mode="json"), changed_by=actor, changed_at=now))
    session.flush()
    audit.record(session, actor=actor, action="health.rules_changed", subject="health", now=now)
    return rules
