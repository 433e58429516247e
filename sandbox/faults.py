"""Faults on demand: which call fails, decided by seeded knobs, every decision written down."""

import json
import random
from collections import deque
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

Probability = Annotated[float, Field(ge=0, le=1)]


class Rule(BaseModel):
    """When a knob acts: with a probability, for the first N calls, or for every Nth call."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    probability: Probability = 0
    first: int = Field(default=0, ge=0)
    every: int = Field(default=0, ge=0)

    def hits(self, call: int, chance: float) -> bool:
        """Say whether call number `call` (from 1) is hit; `chance` is the seeded draw for it."""
        return call <= self.first or (self.every > 0 and call % self.every == 0) or chance < self.probability


Knob = Rule | Probability | bool


class WebhookKnobs(BaseModel):
    """What happens to the webhooks of one provider."""

    model_config = ConfigDict(extra="forbid")

    duplicate: Knob = 0
    reorder: Knob = 0
    lose: Knob = 0
    bad_signature: Knob = 0
    delay_seconds: float = Field(default=0, ge=0, le=3600)


class ProviderKnobs(BaseModel):
    """What happens to the calls of one provider."""

    model_config = ConfigDict(extra="forbid")

    accept_then_drop: Knob = 0
    error_after_accept: Knob = 0
    error_before_accept: Knob = 0
    rate_limit: Knob = 0
    wrong_json: Knob = 0
    search_rate_limit: Knob = 0
    search_delay_seconds: float = Field(default=0, ge=0, le=3600)
    retry_after_seconds: int = Field(default=1, ge=0, le=3600)
    latency_ms: float = Field(default=0, ge=0, le=60_000)
    outcomes: dict[str, Probability] = Field(default_factory=dict)
    webhooks: WebhookKnobs = Field(default_factory=WebhookKnobs)


class FaultPlan(BaseModel):
    """The knobs of every provider."""

    model_config = ConfigDict(extra="forbid")

    sendgrid: ProviderKnobs = Field(default_factory=ProviderKnobs)
    twilio: ProviderKnobs = Field(default_factory=ProviderKnobs)
    lob: ProviderKnobs = Field(default_factory=ProviderKnobs)
    desk: ProviderKnobs = Field(default_factory=ProviderKnobs)


class Faults:
    """Draws decisions. Each knob has its own seeded sequence, so the Nth call of a knob always decides alike."""

    def __init__(self, plan: str, seed: int, log: Path) -> None:
        self.seed = seed
        self.plan = FaultPlan.model_validate_json(plan)
        self.decisions: deque[dict[str, Any]] = deque(maxlen=10_000)
        self._log = log.open("a", buffering=1, encoding="utf-8")
        self._draws: dict[str, random.Random] = {}
        self._calls: dict[str, int] = {}

    def change(self, plan: dict[str, Any]) -> FaultPlan:
        """Replace the knobs of the providers named in `plan`; their sequences start anew."""
        changed = FaultPlan.model_validate(self.plan.model_dump() | plan)
        self.plan = changed
        self.restart()
        return changed

    def restart(self) -> None:
        """Start every sequence anew, as after a start with the same seed."""
        self._draws.clear()
        self._calls.clear()

    def of(self, provider: str) -> ProviderKnobs:
        """Return the knobs of one provider."""
        knobs = getattr(self.plan, provider)
        if not isinstance(knobs, ProviderKnobs):
            raise TypeError(f"{provider} has no knobs")
        return knobs

    def strikes(self, provider: str, knob: str, about: str = "") -> bool:
        """Decide whether a knob of the calls acts now; `about` names the message for the log."""
        return self._decide(f"{provider}.{knob}", getattr(self.of(provider), knob), about)

    def strikes_webhook(self, provider: str, knob: str, about: str = "") -> bool:
        """Decide whether a knob of the webhooks acts now."""
        return self._decide(f"{provider}.webhooks.{knob}", getattr(self.of(provider).webhooks, knob), about)

    def spread(self, name: str) -> float:
        """Return a seeded number in [0, 1), for example how far an event is thrown out of its order."""
        return self._draw(name).random()

    def close(self) -> None:
        """Close the log."""
        self._log.close()

    def _draw(self, name: str) -> random.Random:
        if name not in self._draws:
            self._draws[name] = random.Random(f"{self.seed}:{name}")  # noqa: S311 -- repeatable on purpose
        return self._draws[name]

    def _decide(self, name: str, knob: Knob, about: str) -> bool:
        rule = knob if isinstance(knob, Rule) else Rule(probability=float(knob))
        if rule == Rule():
            return False
        call = self._calls[name] = self._calls.get(name, 0) + 1
        hit = rule.hits(call, self._draw(name).random())
        decision = {"seed": self.seed, "knob": name, "call": call, "hit": hit, "about": about}
        self.decisions.append(decision)
        self._log.write(json.dumps(decision) + "\n")
        return hit
