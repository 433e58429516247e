"""What the JSON routes of programmes take and give."""

from datetime import datetime
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from campaigns.programmes.steps import Key as ProgrammeKey
from outreach.vocabulary import ProgrammeKind, ProgrammeState


class DefinitionIn(BaseModel):
    """A new wording (docs/programmes.md)."""

    model_config = ConfigDict(extra="forbid")

    definition: dict[str, Any]


class ProgrammeIn(DefinitionIn):
    """A programme to be written down as a draft; `segment` names whom it is for."""

    key: ProgrammeKey
    name: Annotated[str, Field(min_length=1, max_length=200)]
    kind: ProgrammeKind
    segment: Annotated[str, Field(max_length=64)] | None = None


class ProgrammeOut(BaseModel):
    """One programme with the wording in force."""

    key: str
    name: str
    kind: ProgrammeKind
    state: ProgrammeState
    segment: str | None
    version: int
    definition: dict[str, Any]
    created_by: str
    created_at: datetime
    activated_at: datetime | None


class StepCountOut(BaseModel):
    """The live counts of one step."""

    model_config = ConfigDict(from_attributes=True)

    version: int
    step: int
    what: str
    waiting: int
    notices: dict[str, int]


class ProgrammeProgressOut(BaseModel):
    """How a programme fares."""

    model_config = ConfigDict(from_attributes=True)

    enrolled: int
    left: dict[str, int]
    occurrences: dict[str, int]
    steps: list[StepCountOut]
