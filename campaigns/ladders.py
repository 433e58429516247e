"""A campaign's plan of channels: steps in order, each after a failure or a wait, or together with the one before."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from outreach.errors import InvalidInput
from outreach.vocabulary import Channel

# No waiting time was given: the next channel is tried only after a failure.
NEVER_HOURS = 24 * 365 * 10


@dataclass(frozen=True, slots=True)
class Ladder:
    """The steps as arrays for SQL.

    Steps with `at_once` share the group of the one before. `patience` is, per step, the hours after which the next
    group is tried although nothing has failed.
    """

    channels: list[str]
    steps: list[int]
    groups: list[int]
    patience: list[int]

    @property
    def patient(self) -> bool:
        """Whether somebody must look again although nothing failed."""
        return any(hours < NEVER_HOURS for hours in self.patience)


def ladder_of(steps: Sequence[dict[str, Any]]) -> Ladder:
    """Return the arrays of a checked ladder."""
    groups: list[int] = []
    for step in steps:
        together = groups and step.get("at_once")
        groups.append(groups[-1] if together else len(set(groups)))
    opening: dict[int, int] = {}
    for step, group in zip(steps, groups, strict=True):
        opening.setdefault(group, int(step.get("after_hours") or NEVER_HOURS))
    patience = [opening.get(group + 1, NEVER_HOURS) for group in groups]
    return Ladder([str(step["channel"]) for step in steps], list(range(len(steps))), groups, patience)


def checked_ladder(ladder: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the ladder when every step is a channel of its own with whole hours; raises `InvalidInput`."""
    if not ladder:
        raise InvalidInput("A campaign needs at least one channel.", where="ladder")
    seen: set[str] = set()
    for number, step in enumerate(ladder):
        where = f"ladder[{number}]"
        channel, hours = step.get("channel"), step.get("after_hours")
        if channel not in set(Channel):
            raise InvalidInput(f"{channel!r} is not a channel; use {', '.join(Channel)}.", where=where)
        if channel in seen:
            raise InvalidInput(f"{channel} is in the ladder twice; each channel is tried once.", where=where)
        if hours is not None and (not isinstance(hours, int) or hours < 1):
            raise InvalidInput("after_hours must be a whole number of hours, at least 1.", where=where)
        if step.get("at_once") and hours is not None:
            raise InvalidInput("A step goes at once or after some hours, not both.", where=where)
        if step.get("at_once") and number == 0:
            raise InvalidInput("The first step has none before it to go at once with.", where=where)
        seen.add(str(channel))
    return list(ladder)
