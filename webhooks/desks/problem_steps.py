"""When does a change at the desk mean that a problem became known, got a workaround, was resolved, or is back?

All desks answer this in the same way: the operator lists words (states, tags, labels, resolutions) for each step,
and what counts is which of them the problem carries now, and which it carried before, where the desk says so.
"""

from dataclasses import dataclass, fields

from outreach.errors import InvalidInput
from webhooks.desks.base import DeskEventKind
from webhooks.desks.reading import mapping_from_json, words


@dataclass(frozen=True, slots=True)
class StepWords:
    """The desk's words for each step in the life of a problem; any letter case. One word means one step only."""

    known: tuple[str, ...] = ()
    workaround: tuple[str, ...] = ()
    resolved: tuple[str, ...] = ()
    reopened: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        taken: dict[str, str] = {}
        for step in fields(self):
            found = words(getattr(self, step.name), step.name)
            object.__setattr__(self, step.name, found)
            for word in found:
                if taken.setdefault(word, step.name) != step.name:
                    raise InvalidInput(f"“{word}” cannot mean both {taken[word]} and {step.name}.", where=step.name)

    def step(self, now: frozenset[str], before: frozenset[str] | None) -> DeskEventKind:
        """Return what happened to a problem that carries the words `now`; `before` is None where it is not known.

        Resolved outranks the rest: a known problem keeps its tag when it is solved.
        """
        earlier = before if before is not None else frozenset()
        entered = now - earlier
        if now & set(self.resolved):
            return DeskEventKind.PROBLEM_RESOLVED if entered & set(self.resolved) else DeskEventKind.IGNORED
        if earlier & set(self.resolved) or entered & set(self.reopened):
            return DeskEventKind.PROBLEM_REOPENED
        if entered & set(self.workaround):
            return DeskEventKind.PROBLEM_WORKAROUND
        return DeskEventKind.PROBLEM_KNOWN if entered & set(self.known) else DeskEventKind.IGNORED


def steps_of(value: object) -> StepWords:
    """Return the words of each step, from themselves or from the JSON object that an operator edited."""
    if isinstance(value, StepWords):
        return value
    return mapping_from_json(StepWords, value)
