"""A programme as a form: its schedule, its rules and its steps drawn as fields, and read back from them.

The fields of step 2 are named `step.2:what`; each step carries a name, so that conditions find it wherever it is
moved to. What is not finished yet stays in the form; the definition itself is checked by `steps.parse_definition`.
"""

from dataclasses import dataclass
from typing import Any

from app.web.forms import Sent
from campaigns.programmes.repeats import WEEKDAYS, Repeat, repeat_of, rule_of
from campaigns.programmes.steps import MAX_STEPS
from outreach.vocabulary import Channel, ProgrammeKind

RUNGS = 3
STEPS = ("message", "survey", "wait", "condition")
_MESSAGE: dict[str, Any] = {"do": "message", "template_key": "how-is-it-going", "channels": [{"channel": "email"}]}
_PLAIN_HOURS = {"schedule": {"hours": "9-17"}}
# What a new programme of each kind starts from.
PATTERNS: dict[ProgrammeKind, dict[str, Any]] = {
    ProgrammeKind.CHECK_IN: {
        "anchor": {"of": "entry"}, "schedule": {"rrule": "FREQ=MONTHLY;INTERVAL=3", "spread_days": 5, "hours": "9-17"},
        "steps": [_MESSAGE],
    },
    ProgrammeKind.GETTING_STARTED: {
        "anchor": {"of": "delivery"}, **_PLAIN_HOURS, "catch_up_days": 7,
        "steps": [{**_MESSAGE, "template_key": "getting-started"}, {"do": "wait", "days": 7},
                  {**_MESSAGE, "template_key": "tip", "unless_answered": True}],
    },
    ProgrammeKind.TIPS: {
        "anchor": {"of": "entry"}, **_PLAIN_HOURS,
        "steps": [{**_MESSAGE, "template_key": "tip"}, {"do": "wait", "days": 14},
                  {**_MESSAGE, "template_key": "tip"}],
    },
    ProgrammeKind.MAINTENANCE_REMINDER: {
        "per": "item", "anchor": {"of": "delivery"},
        "schedule": {"rrule": "FREQ=MONTHLY;INTERVAL=6", "spread_days": 5, "hours": "9-17"},
        "steps": [{**_MESSAGE, "template_key": "maintenance-due", "notice_class": "service"}],
    },
    ProgrammeKind.AFTER_RESOLUTION: {
        "per": "problem", "anchor": {"of": "resolution"}, "schedule": {"offset_days": 4, "hours": "9-17"},
        "steps": [_MESSAGE, {"do": "wait", "days": 3}],
    },
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Drawn:
    """What the form shows: the definition, how often in words, and the hours of the day."""

    definition: dict[str, Any]
    repeat: Repeat
    opens: str
    closes: str

    def later_steps(self, number: int) -> list[tuple[str, int]]:
        """Return the names and numbers of the steps that a condition at `number` may go on at."""
        return [(step["name"], place) for place, step in enumerate(self.definition["steps"]) if place > number + 1]


def drawn(definition: dict[str, Any]) -> Drawn:
    """Return a definition, unfinished or stored, as the form shows it; every step gets a name."""
    steps = [dict(step) for step in definition.get("steps", [])]
    for step in steps:
        step["name"] = step.get("name") or _free_name(steps)
    schedule = definition.get("schedule", {})
    repeat = definition.get("repeat") or repeat_of(schedule.get("rrule"))
    opens, _, closes = schedule.get("hours", "9-17").partition("-")
    return Drawn({**definition, "steps": steps}, repeat, opens, closes)


def read(sent: Sent, *, finished: bool = True) -> dict[str, Any]:
    """Return the definition that the form says; unfinished, `repeat` holds how often as it was chosen."""
    repeat = Repeat(
        sent.text("schedule:unit", "once"), _whole(sent.text("schedule:every", "1")),
        tuple(day for day in sent.texts("schedule:weekdays") if day in WEEKDAYS), sent.text("schedule:rule"),
    )  # fmt: skip
    per, anchor = sent.text("per", "customer"), {"of": sent.text("anchor:of", "entry")}
    if sent.text("anchor:name") and anchor["of"] in ("attribute", "event", "contract"):
        anchor["name"] = sent.text("anchor:name")
    if anchor["of"] == "resolution" or per == "problem":
        per, anchor = "problem", {"of": "resolution"}
    schedule: dict[str, Any] = {
        "offset_days": _whole(sent.text("schedule:offset_days", "0")),
        "business_days": bool(sent.text("schedule:business_days")),
        "spread_days": _whole(sent.text("schedule:spread_days", "1")),
        "hours": f"{sent.text('schedule:opens', '9')}-{sent.text('schedule:closes', '17')}",
    }
    if finished:
        schedule["rrule"] = rule_of(repeat)
    reentry = sent.text("reentry_days")
    found: dict[str, Any] = {
        "per": per,
        "anchor": anchor,
        "schedule": schedule,
        "steps": [_step(sent, number) for number in _numbers(sent)],
        "exits": {"leaves_segment": bool(sent.text("exits:leaves_segment")), "when": sent.texts("exits:when")},
        "reentry_days": _whole(reentry) if reentry else None,
        "hold_days": _whole(sent.text("hold_days", "30")),
        "catch_up_days": _whole(sent.text("catch_up_days", "7")),
    }
    if not finished:
        found["repeat"] = repeat
    return found


def change(definition: dict[str, Any], what: str) -> dict[str, Any]:
    """Do one structural thing: `add:wait`, `remove:2`, `up:2`, `down:2`."""
    verb, _, argument = what.partition(":")
    steps = definition["steps"]
    number = int(argument) if argument.isascii() and argument.isdecimal() and len(argument) < 4 else -1
    if verb == "add" and argument in STEPS and len(steps) < MAX_STEPS:
        steps.append({**_fresh(argument), "name": _free_name(steps)})
    elif verb == "remove" and 0 <= number < len(steps):
        gone = steps.pop(number)["name"]
        for step in steps:
            for target in ("then", "otherwise"):
                if step.get(target) == gone:
                    step[target] = "next"
    elif verb in ("up", "down"):
        other = number + (1 if verb == "down" else -1)
        if 0 <= number < len(steps) and 0 <= other < len(steps):
            steps[number], steps[other] = steps[other], steps[number]
    elif verb == "rung" and 0 <= number < len(steps):
        channels = steps[number].get("channels", [])
        unused = [channel.value for channel in Channel if channel.value not in {each["channel"] for each in channels}]
        if unused:
            channels.append({"channel": unused[0], "after_hours": 48})
    return definition


def _fresh(do: str) -> dict[str, Any]:
    return {
        "message": {**_MESSAGE, "channels": [{"channel": "email"}]},
        "survey": {"do": "survey", "survey": "", "channels": [{"channel": "email"}]},
        "wait": {"do": "wait", "days": 7, "hours": 0},
        "condition": {"do": "condition", "happened": "answered", "then": "end", "otherwise": "next"},
    }[do]


def _step(sent: Sent, number: int) -> dict[str, Any]:
    def one(name: str, otherwise: str = "") -> str:
        return sent.text(f"step.{number}:{name}", otherwise)

    do = one("do")
    step: dict[str, Any] = {"do": do, "name": one("name") or f"step-{number + 1}"}
    if do == "wait":
        return step | {"days": _whole(one("days")), "hours": _whole(one("hours"))}
    if do == "condition":
        targets = {"then": one("then", "next"), "otherwise": one("otherwise", "next")}
        return step | {"happened": one("happened", "answered"), **targets}
    step["channels"] = list(_ladder(sent, number))
    if do == "survey":
        return step | {"survey": one("survey")}
    step |= {"template_key": one("template_key"), "unless_answered": bool(one("unless_answered"))}
    return step | {"notice_class": one("notice_class", "success")}


def _ladder(sent: Sent, number: int) -> list[dict[str, Any]]:
    rungs: list[dict[str, Any]] = []
    for place in range(RUNGS):
        channel = sent.text(f"step.{number}:channel.{place}")
        if channel not in set(Channel):
            continue
        hours = sent.text(f"step.{number}:after.{place}")
        rungs.append({"channel": channel} | ({"after_hours": _whole(hours)} if hours and rungs else {}))
    return rungs


def _numbers(sent: Sent) -> list[int]:
    given = {name for name, _ in sent.pairs}
    return [number for number in range(MAX_STEPS) if f"step.{number}:do" in given]


def _free_name(steps: list[dict[str, Any]]) -> str:
    taken = {step.get("name") for step in steps}
    return next(name for number in range(1, MAX_STEPS + 2) if (name := f"step-{number}") not in taken)


def _whole(text: str) -> int:
    """Return a whole number; -1, which every field refuses, for what is none."""
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 6 else (0 if not text else -1)
