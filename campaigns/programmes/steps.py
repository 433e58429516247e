"""What a programme says: its anchor, schedule, entry and exit rules and steps, checked before anything is stored."""

from functools import lru_cache
from typing import Annotated, Any, Literal

import orjson
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from campaigns.programmes.schedules import Schedule
from outreach.errors import InvalidInput
from outreach.models import ProgrammeVersion
from outreach.vocabulary import Channel, NoticeClass, ProgrammeKind

MAX_STEPS = 30
Key = Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
# What a condition may ask. Opened is none of them: mail programs and scanners open everything.
Happened = Literal["answered", "clicked", "bought", "ticket_opened"]


class Part(BaseModel):
    """What all parts share: an unknown field is an error."""

    model_config = ConfigDict(extra="forbid")


class Rung(Part):
    """One channel of a message; tried when the one before failed, or did not deliver for `after_hours`."""

    channel: Channel
    after_hours: Annotated[int, Field(ge=1, le=8760)] | None = None


Ladder = Annotated[list[Rung], Field(min_length=1, max_length=3)]


class Message(Part):
    """Say something; `unless_answered` makes it a reminder, which whoever answered does not get."""

    do: Literal["message"]
    name: Key | None = None
    template_key: Key
    channels: Ladder
    unless_answered: bool = False
    notice_class: Literal[NoticeClass.SERVICE, NoticeClass.SUCCESS, NoticeClass.PROMOTION] = NoticeClass.SUCCESS


class Ask(Part):
    """Put a survey; it has the class survey and stops at the courtesy between surveys."""

    do: Literal["survey"]
    name: Key | None = None
    survey: Key
    channels: Ladder


class Wait(Part):
    """Let time pass before the next step."""

    do: Literal["wait"]
    name: Key | None = None
    days: Annotated[int, Field(ge=0, le=3650)] = 0
    hours: Annotated[int, Field(ge=0, le=8760)] = 0

    @model_validator(mode="after")
    def _some(self) -> "Wait":
        if not self.days + self.hours:
            raise ValueError("a wait needs days or hours")
        return self


class Condition(Part):
    """Go on at `then` if it happened since this occurrence started, else at `otherwise`: a later step, next or end."""

    do: Literal["condition"]
    name: Key | None = None
    happened: Happened
    then: Key = "next"
    otherwise: Key = "next"


Step = Annotated[Message | Ask | Wait | Condition, Field(discriminator="do")]


class Anchor(Part):
    """From which day occurrences are counted.

    `name` is the attribute with a date (contract, attribute) or the usage event (event) that `of` speaks of.
    """

    of: Literal["entry", "purchase", "delivery", "last_contact", "contract", "attribute", "event", "resolution"]
    name: Annotated[str, Field(min_length=1, max_length=64)] | None = None

    @model_validator(mode="after")
    def _named(self) -> "Anchor":
        if self.of in ("attribute", "event") and self.name is None:
            raise ValueError(f"an anchor of kind {self.of} needs the name of it")
        return self


class Exit(Part):
    """Who leaves before the end: whoever is no longer in the segment, and whoever did one of `when`."""

    leaves_segment: bool = True
    when: Annotated[list[Happened], Field(max_length=4)] = []


class Definition(Part):
    """One version of a programme.

    `per`: one occurrence for each customer, for each item she holds, or for each problem that was resolved for her.
    `reentry_days`: after so many days she may enter again; none: never. `hold_days`: what waits for a problem to
    end is given up after so long. `catch_up_days`: an occurrence of a programme without recurrence that lies so far
    back when she enters is still sent.
    """

    per: Literal["customer", "item", "problem"] = "customer"
    anchor: Anchor = Anchor(of="entry")
    schedule: Schedule = Schedule()
    steps: Annotated[list[Step], Field(min_length=1, max_length=MAX_STEPS)]
    exits: Exit = Exit()
    reentry_days: Annotated[int, Field(ge=0, le=3650)] | None = None
    hold_days: Annotated[int, Field(ge=1, le=365)] = 30
    catch_up_days: Annotated[int, Field(ge=0, le=365)] = 7

    @model_validator(mode="after")
    def _sound(self) -> "Definition":
        if not any(isinstance(step, Message | Ask) for step in self.steps):
            raise ValueError("a programme needs at least one message or survey")
        if (self.per == "problem") != (self.anchor.of == "resolution"):
            raise ValueError("per problem and the anchor resolution go together")
        if self.per == "item" and self.anchor.of not in ("purchase", "delivery", "attribute", "event"):
            raise ValueError("per item counts from purchase, delivery, an attribute or an event of the item")
        names = [step.name for step in self.steps if step.name]
        if len(names) != len(set(names)):
            raise ValueError("two steps have the same name")
        for number, step in enumerate(self.steps):
            if isinstance(step, Condition):
                for target in (step.then, step.otherwise):
                    self.place(target, number)
        return self

    def place(self, target: str, number: int) -> int:
        """Return the number of the step that a condition at `number` names; only later ones, so that it ends."""
        if target == "next":
            return number + 1
        if target == "end":
            return len(self.steps)
        found = next((place for place, step in enumerate(self.steps) if step.name == target), None)
        if found is None or found <= number:
            raise ValueError(
                f"step {number + 1} goes on at {target}, which is no later step; use its name, next or end"
            )
        return found


# What each kind of programme does while a problem is open for a customer; reminders about what she holds go on.
HELD_BY_PROBLEMS = frozenset({ProgrammeKind.CHECK_IN, ProgrammeKind.GETTING_STARTED, ProgrammeKind.TIPS})


def stored_definition(version: ProgrammeVersion) -> Definition:
    """Return the definition of a stored version, which never changes: each wording is read once per process."""
    return _stored(orjson.dumps(version.definition))


@lru_cache(maxsize=1_000)
def _stored(definition: bytes) -> Definition:
    return parse_definition(orjson.loads(definition))


def parse_definition(given: Any) -> Definition:
    """Return the definition; raises `InvalidInput` naming the first place that is wrong."""
    try:
        return Definition.model_validate(given)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise InvalidInput(f"The programme cannot be used: {first['msg']}.", where=place or "definition") from None
