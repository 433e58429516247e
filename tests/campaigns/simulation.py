"""The protocol under a seeded scheduler: virtual time, workers that die or freeze anywhere, a provider that drops
answers, events that come late, twice or never, searches, pauses and cancellations.

One schedule is one message from the queue to its end; `play` runs it through `campaigns.protocol.advance` and judges
it by the simulated provider's own record. `Rules` are the guards; a test takes each away and sees schedules fail.
"""

from dataclasses import dataclass
from random import Random

from campaigns.protocol import TRANSITIONS, Effect, Sending, Step, advance
from outreach.vocabulary import FINAL_SEND_STATES, SendState

LEASE, DEADLINE, GRACE = 6, 3, 15
STEPS = 24
SEARCH_LAG = 10  # a search shows a message that much later at the most
DECIDE = 100  # silence after which the class decides


@dataclass(frozen=True, slots=True)
class Rules:
    """The guards of the protocol, all on as in the product."""

    fence: bool = True
    commit_before_call: bool = True
    deadline: bool = True
    grace: bool = True
    expired_is_unknown: bool = True  # a lease that ran out in the middle of a call is not reset in place
    ambiguous_is_unknown: bool = True  # a 500 or a dropped answer is not taken for a refusal


class Violation(AssertionError):
    """A person was told twice, or not at all."""


class Schedule:
    """One message, its calls under way and the provider's record."""

    def __init__(self, seed: int, rules: Rules) -> None:
        self.dice, self.rules = Random(seed), rules
        self.now, self.message = 0, Sending()
        self.started = self.attempts = 0
        self.calls: list[tuple[int, int]] = []  # (attempt, deadline) committed, not made yet
        self.answers: list[tuple[int, Step]] = []  # (attempt, receipt) not written yet
        self.searches: list[tuple[int, Step]] = []
        self.events = self.accepted = 0
        self.accepted_at = 0
        self.paused = self.ended = False
        self.moves = (self.gate, self.call, self.write_receipt, self.sweep, self.search, self.settle, self.event)

    def play(self) -> None:
        """Run at random, then let everything come to rest, and judge."""
        dice = self.dice
        for _ in range(STEPS):
            # Mostly small steps; now and then a freeze longer than lease and grace.
            self.now += int(dice.random() * 3) if dice.random() < 0.9 else int(dice.random() * 40)
            chance = dice.random()
            if chance < 0.02:
                self.paused = not self.paused
            elif chance < 0.025:
                self.ended = True
            else:
                self.moves[int(dice.random() * 7)]()
        self.paused = False
        for _ in range(60):
            if self.message.state in FINAL_SEND_STATES and not (self.calls or self.answers or self.events):
                break
            self.now += 5
            for move in self.moves:
                move()
        self.judge()

    def judge(self) -> None:
        """Hold our state against the provider's record."""
        if self.message.state not in FINAL_SEND_STATES:
            raise Violation(f"never came to an end: {self.message}")
        if self.message.state is SendState.DEAD:
            return  # the policy for what nobody can tell: the one visible way to lose
        if (self.message.state is SendState.ACCEPTED) != (self.accepted == 1):
            raise Violation(f"{self.message} but accepted {self.accepted} times")

    def step(self, step: Step, attempt: int = 0) -> tuple[Effect, ...]:
        """Take a step; without the fence every receipt counts."""
        if not self.rules.fence and step is not Step.GATE_PASSED:
            attempt = self.message.attempt
        self.message, effects = advance(self.message, step, attempt)
        return effects

    def gate(self) -> None:
        """S3: commit the attempt; the worker may die before and after."""
        if self.ended:
            self.step(Step.CAMPAIGN_ENDED)
        if self.paused or self.message.state is not SendState.QUEUED or self.calls_of(self.message.attempt):
            return
        chance = self.dice.random()
        if chance < 0.03:
            self.step((Step.GATE_SUPPRESSED, Step.GATE_EXPIRED, Step.UNRENDERABLE)[int(chance * 100)])
            return
        if not self.rules.commit_before_call:
            self.provider(self.attempts + 1)
            if chance < 0.2:
                self.answers.clear()
                return  # died before the commit
        self.attempts += 1
        if Effect.CALL not in self.step(Step.GATE_PASSED, self.attempts):
            return
        self.started = self.now
        if self.rules.commit_before_call and chance > 0.1:
            self.calls.append((self.attempts, self.now + DEADLINE))

    def calls_of(self, attempt: int) -> bool:
        """Tell whether the same worker still holds this attempt (it has not died)."""
        return any(held == attempt for held, _ in self.calls) and self.now <= self.started + LEASE

    def call(self) -> None:
        """S4: the worker calls, unless its deadline has passed."""
        if not self.calls:
            return
        attempt, deadline = self.calls.pop(int(self.dice.random() * len(self.calls)))
        if self.rules.deadline and self.now > deadline:
            self.answers.append((attempt, Step.RECEIPT_REFUSED))
            return
        self.provider(attempt)
        if self.dice.random() < 0.1:  # died before the receipt
            self.answers = [known for known in self.answers if known[0] != attempt]

    def provider(self, attempt: int) -> None:
        """Take the message or not, answer or not, report or not."""
        chance = self.dice.random()
        if chance < 0.1:
            self.answers.append((attempt, Step.RECEIPT_REFUSED))
            return
        if chance < 0.13:
            self.answers.append((attempt, Step.RECEIPT_REJECTED))
            return
        lost = Step.RECEIPT_UNKNOWN if self.rules.ambiguous_is_unknown else Step.RECEIPT_REFUSED
        if chance < 0.2:
            self.answers.append((attempt, lost))
            return
        self.accepted += 1
        if self.accepted > 1:
            raise Violation("accepted twice")
        self.accepted_at = self.now
        self.events += int(self.dice.random() * 3)
        self.answers.append((attempt, lost if chance < 0.4 else Step.RECEIPT_ACCEPTED))

    def write_receipt(self) -> None:
        """S6."""
        if self.answers:
            attempt, receipt = self.answers.pop(int(self.dice.random() * len(self.answers)))
            if self.dice.random() > 0.05:
                self.step(receipt, attempt)

    def sweep(self) -> None:
        """S8."""
        if self.message.state is SendState.SENDING and self.now > self.started + LEASE:
            if self.rules.expired_is_unknown:
                self.step(Step.LEASE_RAN_OUT, self.message.attempt)
            else:
                self.message = self.message._replace(state=SendState.QUEUED)

    def search(self) -> None:
        """S9: ask the provider; the answer is written later."""
        if self.message.state is not SendState.UNKNOWN:
            return
        if self.rules.grace and self.now <= self.started + GRACE:
            return
        attempt, chance = self.message.attempt, self.dice.random()
        if chance < 0.2:  # the search does not answer
            if self.now > self.started + DECIDE:
                self.searches.append((attempt, Step.GIVEN_UP))
        elif self.accepted and self.now - self.accepted_at >= self.dice.random() * SEARCH_LAG:
            self.searches.append((attempt, Step.FOUND))
        else:
            self.searches.append((attempt, Step.NOT_NEEDED if self.ended else Step.SEND_AGAIN))

    def settle(self) -> None:
        """S9: write the answer of a search, unless the reconciler died."""
        if self.searches:
            attempt, step = self.searches.pop()
            if self.dice.random() > 0.1:
                self.step(step, attempt)

    def event(self) -> None:
        """S7: one more event; some are never delivered."""
        if self.events:
            self.events -= 1
            if self.dice.random() > 0.1:
                self.step(Step.EVIDENCE)


def violations(first: int, number: int, rules: Rules | None = None) -> list[int]:
    """Play `number` schedules and return the seeds of those that went wrong."""
    chosen, wrong = rules or Rules(), []
    for seed in range(first, first + number):
        try:
            Schedule(seed, chosen).play()
        except Violation:
            wrong.append(seed)
    return wrong


def reached(number: int) -> set[tuple[SendState, Step]]:
    """Return the rows of the table that `number` schedules have used."""
    used: set[tuple[SendState, Step]] = set()
    for seed in range(number):
        schedule = Schedule(seed, Rules())

        def watch(step: Step, attempt: int = 0, schedule: Schedule = schedule) -> tuple[Effect, ...]:
            before = schedule.message.state
            effects = Schedule.step(schedule, step, attempt)
            if Effect.FENCED not in effects:
                used.add((before, step))
            return effects

        schedule.step = watch  # type: ignore[method-assign]
        schedule.play()
    return used & set(TRANSITIONS)
