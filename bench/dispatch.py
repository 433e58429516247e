"""Sending beside the obvious stack and beside the leanest one, in turn, on one machine: what care costs.

Three rounds of: the naive stack (`naive_stack`), the product (`dispatch_worker`) and the prototype (`prototype`), each
over its own fresh rows, the counting provider on the same machine. The ratios are medians of the rounds; where the
naive stack itself moved by more than a quarter, nothing that depends on time is judged.
"""

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from bench import naive_stack, planning_cost
from bench.dispatch_worker import FULL_LIQUID
from bench.sending_machine import Child, Machine, load, machine, processor_seconds
from bench.sending_rows import bare_connection, people, queue_messages, scope
from outreach.vocabulary import Channel

ROUNDS = 3
STEADY = 1.25


@dataclass(frozen=True)
class Size:
    """How many messages each part sends."""

    naive: int
    email: int
    sms: int
    slow_sms: int
    memory: tuple[int, ...]
    known: int


SIZES = {
    "small": Size(naive=300, email=10_000, sms=3_000, slow_sms=3_000, memory=(2_000, 10_000), known=10_000),
    "full": Size(naive=2_000, email=100_000, sms=20_000, slow_sms=20_000, memory=(10_000, 100_000, 1_000_000),
                 known=100_000),
}  # fmt: skip
SLOW_MS, SLOW_CONNECTIONS = 50, 100
MANY = 100_000  # with fewer, a tenth is a handful of windows, and windows come in bursts


def run(size: str = "small") -> dict[str, Any]:
    """Measure and judge; `size` is small (under a minute) or full (about twenty)."""
    sizes = SIZES[size]
    before = load()
    with machine() as running:
        people(max(sizes.email, sizes.sms, sizes.known))
        measured = Measured(running, sizes)
        for _ in range(ROUNDS):
            measured.round()
        measured.two_workers()
        measured.slow_provider()
        planning = planning_cost.measure(sizes.known)
        known = measured.from_known()
        measured.memory()
    return {
        "bench": "dispatch",
        "size": size,
        "goals": [*measured.goals(), *planning["goals"]],
        "rows": [*measured.rows(), *planning["rows"], known],
        "load": [before, load()],
    }


class Measured:
    """The figures so far, by what was measured."""

    def __init__(self, running: Machine, sizes: Size) -> None:
        self._machine, self._sizes = running, sizes
        self._scopes: dict[int, tuple[int, int]] = {}
        self.rates: dict[str, list[float]] = {}
        self.cpu: dict[str, list[float]] = {}
        self.busy: dict[str, list[float]] = {}  # the share of all processors that was in use
        self.extra: dict[str, float] = {}
        self.by_size: list[dict[str, Any]] = []

    def round(self) -> None:
        """One turn of everything that is compared."""
        for channel, number in ((Channel.EMAIL, self._sizes.email), (Channel.SMS, self._sizes.sms)):
            naive = naive_stack.run(self._machine, channel, self._sizes.naive)
            self.note(f"{channel} naive", naive["per_second"], naive["cpu_seconds"] / self._sizes.naive * 1000)
            self.product(channel, number, f"{channel} product")
            for mode in ("rendered", "bare") if channel is Channel.EMAIL else ("rendered",):
                self._prototype(channel, number, mode)

    def two_workers(self) -> None:
        """Email with one worker process and with two, in turn; then with words that take most of the time.

        One worker keeps far more than one processor busy with itself, PostgreSQL and the provider. What a second one
        adds where two processors do not bound it is seen where a worker's own work is large beside theirs.
        """
        for _ in range(ROUNDS):
            for workers, name in ((1, "one worker"), (2, "two workers")):
                self.product(Channel.EMAIL, self._sizes.email, f"email {name}", workers=workers)
            for workers, name in ((1, "one worker"), (2, "two workers")):
                self.product(Channel.EMAIL, self._sizes.email // 4, f"email {name}, python-liquid", workers=workers,
                             settings={FULL_LIQUID: "1"})  # fmt: skip

    def slow_provider(self) -> None:
        """Text messages at a provider that takes its time."""
        self._machine.provider(f"latency?ms={SLOW_MS}")
        connections = {"OUTREACH_PROVIDER_CONNECTIONS": str(SLOW_CONNECTIONS)}
        for _ in range(ROUNDS):
            self.product(Channel.SMS, self._sizes.slow_sms, "sms slow provider", settings=connections)
            naive = naive_stack.run(self._machine, Channel.SMS, min(300, self._sizes.naive))
            self.note("sms slow naive", naive["per_second"], 0)
        self._machine.provider("latency?ms=0")

    def from_known(self) -> dict[str, Any]:
        """From the moment that a problem is marked known to the first and the last notice handed over."""
        return planning_cost.from_known(self._machine, self._sizes.known)

    def memory(self) -> None:
        """Email to more and more people: memory, and whether the last tenth goes as fast as the first."""
        for number in self._sizes.memory:
            people(number)
            found = self.product(Channel.EMAIL, number, "", every=max(100, number // 20))
            marks = self._machine.provider("counts")["marks"]
            tenths = {}
            if len(marks) >= 20:
                # The first mark falls after the first twentieth: from the first to the third is one tenth.
                tenths = {"first_tenth_seconds": marks[2] - marks[0], "last_tenth_seconds": marks[19] - marks[17]}
            self.by_size.append({"what": "email, memory", "messages": number, **found, **tenths})

    def product(
        self,
        channel: Channel,
        number: int,
        what: str,
        *,
        workers: int = 1,
        every: int = 0,
        settings: dict[str, str] | None = None,
        received: Callable[[], int] | None = None,
    ) -> dict[str, Any]:
        """Plan and send `number` messages; `received` says how many reached another provider than the counting one."""
        people(number)
        if number not in self._scopes:
            self._scopes[number] = scope(number)
        queue_messages(channel, *self._scopes[number])
        self._machine.provider(f"reset?every={every}")
        updates = _updates()
        found, busy = _together([
            self._machine.start("bench.dispatch_worker", channel.value, **(settings or {})) for _ in range(workers)
        ])  # fmt: skip
        accepted = sum(worker["outcomes"].get("accepted", 0) for worker in found)
        came_in = received() if received else self._machine.provider("counts")["messages"]
        if (accepted, came_in) != (number, number):
            raise RuntimeError(f"{accepted} accepted, {came_in} came in, {number} were to be sent")
        rate = number / max(worker["seconds"] for worker in found)
        cpu = sum(worker["cpu_seconds"] for worker in found) / number * 1000
        if what:
            self.note(what, rate, cpu)
            self.busy.setdefault(what, []).append(busy)
        after = _updates()
        statements = sum(worker["statements"] for worker in found) / number * 1000
        if workers == 1 and not settings:
            self.extra[f"{channel} statements per 1000"] = statements
            self.extra[f"{channel} updates per message"] = (after[0] - updates[0]) / number
            self.extra[f"{channel} HOT share"] = (after[1] - updates[1]) / (after[0] - updates[0])
        return {
            "per_second": round(rate),
            "cpu_seconds_per_1000": round(cpu, 4),
            "megabytes": round(max(worker["megabytes"] for worker in found), 1),
        }

    def _prototype(self, channel: Channel, number: int, mode: str) -> None:
        queue_messages(channel, *self._scopes[number])
        self._machine.provider("reset")
        (found,), _ = _together([self._machine.start("bench.prototype", mode, channel.value)])
        if found["sent"] != number:
            raise RuntimeError(f"the prototype sent {found['sent']} of {number}")
        self.note(f"{channel} prototype, {mode}", number / found["seconds"], found["cpu_seconds"] / number * 1000)

    def note(self, what: str, rate: float, cpu: float = 0) -> None:
        """Keep one more figure of what was measured: messages per second, processor seconds per 1,000."""
        self.rates.setdefault(what, []).append(rate)
        self.cpu.setdefault(what, []).append(cpu)

    def rows(self) -> list[dict[str, Any]]:
        """Return the tables."""
        found: list[dict[str, Any]] = [
            {
                "what": what,
                "per_second": round(statistics.median(rates)),
                "lowest": round(min(rates)),
                "highest": round(max(rates)),
                "cpu_seconds_per_1000": round(statistics.median(self.cpu[what]), 4),
                **({"processors_in_use": round(statistics.median(self.busy[what]), 3)} if what in self.busy else {}),
            }
            for what, rates in self.rates.items()
        ]
        # One worker keeps more than one processor busy: a second can only use what it leaves.
        found.extend({
            "what": f"email two workers x one{words}, if no moment of any processor were lost",
            "value": round(1 / statistics.median(self.busy[f"email one worker{words}"]), 3),
        } for words in ("", ", python-liquid"))  # fmt: skip
        found.extend({"what": what, "value": round(value, 3)} for what, value in self.extra.items())
        return found + self.by_size

    def goals(self) -> list[dict[str, Any]]:
        """Return the goals, with none where the machine was too restless to judge."""
        judged = {
            channel: max(self.rates[f"{channel} naive"]) / min(self.rates[f"{channel} naive"]) <= STEADY
            for channel in ("email", "sms")
        }
        first, last = self.by_size[0], self.by_size[-1]
        bound = SLOW_CONNECTIONS / (SLOW_MS / 1000)
        email, sms = judged["email"], judged["sms"]
        return [
            _at_least("email x naive", self._ratio("email product", "email naive"), 30, email),
            _at_least("email share of the prototype", self._ratio("email product", "email prototype, rendered"), 0.5,
                      email),
            _at_least("email two workers x one", self._ratio("email two workers", "email one worker"), 1.6, email),
            _at_least("email two workers x one, python-liquid",
                      self._ratio("email two workers, python-liquid", "email one worker, python-liquid"), 1.6, email),
            _at_least("sms x naive", self._ratio("sms product", "sms naive"), 20, sms),
            _at_least("sms at 50 ms, share of connections / latency",
                      statistics.median(self.rates["sms slow provider"]) / bound, 0.8, sms),
            _at_least("sms at 50 ms x naive", self._ratio("sms slow provider", "sms slow naive"), 40, sms),
            _at_most("memory, largest / smallest", last["megabytes"] / first["megabytes"], 1.15),
            _at_least("last tenth / first tenth", _tenths(last), 0.9, email and last["messages"] >= MANY),
            _at_most("statements per 1000 emails", self.extra["email statements per 1000"], 12),
            _at_least("HOT share of message updates", self.extra["email HOT share"], 0.9, True),
            _at_most("updates per message", self.extra["email updates per message"], 2),
        ]  # fmt: skip

    def _ratio(self, one: str, other: str) -> float:
        """The median of the rounds' own ratios: what disturbed a round disturbed both."""
        pairs = zip(self.rates[one], self.rates[other], strict=True)
        return statistics.median(a / b for a, b in pairs)


def _together(children: list[Child]) -> tuple[list[dict[str, Any]], float]:
    """Let all begin at once; returns what they found, and the share of all processors that was in use meanwhile."""
    busy, passed = processor_seconds()
    for child in children:
        child.go()
    found = [child.read() for child in children]
    now_busy, now_passed = processor_seconds()
    for child in children:
        child.process.communicate()
    return found, (now_busy - busy) / (now_passed - passed)


def _updates() -> tuple[int, int]:
    """Return how many rows of messages were updated, and how many of them in place (HOT)."""
    time.sleep(1.1)  # a backend reports its numbers at most once a second, or when it ends
    with bare_connection() as connection:
        row = connection.execute(
            "SELECT n_tup_upd, n_tup_hot_upd FROM pg_stat_user_tables WHERE relname = 'messages'"
        ).fetchone()
    assert row is not None
    return row[0], row[1]


def _tenths(row: dict[str, Any]) -> float:
    if "first_tenth_seconds" not in row:
        return 0.0
    return float(row["first_tenth_seconds"] / row["last_tenth_seconds"])


def _at_least(goal: str, value: float, must: float, judged: bool) -> dict[str, Any]:
    return {"goal": goal, "value": round(value, 3), "must": must, "holds": value >= must if judged else None}


def _at_most(goal: str, value: float, must: float) -> dict[str, Any]:
    return {"goal": goal, "value": round(value, 3), "must": must, "holds": value <= must}
