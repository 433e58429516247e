"""A programme as people read it: when it comes round, whom it leaves alone, and each step in one line."""

from campaigns.programmes.repeats import repeat_in_words, repeat_of
from campaigns.programmes.steps import Ask, Condition, Definition, Happened, Message, Rung, Step, Wait
from outreach.vocabulary import Channel

ANCHORS = {
    "entry": "the day she enters",
    "purchase": "the purchase",
    "delivery": "the delivery",
    "last_contact": "the last contact",
    "contract": "the start of the contract",
    "attribute": "a date among the attributes",
    "event": "a usage event",
    "resolution": "the resolution",
}
HAPPENED: dict[Happened, str] = {
    "answered": "she answered",
    "clicked": "she clicked a link",
    "bought": "she ordered something",
    "ticket_opened": "she opened a ticket",
}
_PER = {"customer": "for each customer", "item": "for each item held", "problem": "for each problem resolved for her"}
_CHANNELS = {Channel.EMAIL: "email", Channel.SMS: "SMS", Channel.POSTCARD: "postcard"}


def schedule_sentence(definition: Definition) -> str:
    """Return when a programme comes round."""
    schedule, anchor = definition.schedule, definition.anchor
    since = ANCHORS[anchor.of] if anchor.name is None else f"{ANCHORS[anchor.of]} ({anchor.name})"
    repeat = repeat_of(schedule.rrule)
    if repeat.unit == "once":
        often = f"Once, {_count(schedule.offset_days, 'day')} after {since}" if schedule.offset_days else f"On {since}"
    else:
        often = repeat_in_words(repeat).capitalize() if repeat.unit != "rule" else f"By the rule {repeat.rule}"
        often += f", counted from {since}"
        often += f" and {_count(schedule.offset_days, 'day')}" if schedule.offset_days else ""
    parts = [often, _PER[definition.per]]
    if schedule.business_days:
        parts.append("on working days where she lives")
    if schedule.spread_days > 1:
        parts.append(f"spread over {schedule.spread_days} days")
    parts.append(f"between {schedule.hours.replace('-', ' and ')} o'clock her time")
    return ", ".join(parts) + "."


def exit_sentence(definition: Definition) -> str:
    """Return who leaves before the end, and who may enter again."""
    exits = definition.exits
    reasons = ["she leaves the segment"] if exits.leaves_segment else []
    reasons += [HAPPENED[each] for each in exits.when]
    leaves = f"Ends early when {' or '.join(reasons)}." if reasons else "Nobody leaves before the end."
    if definition.reentry_days is None:
        return f"{leaves} Nobody enters twice."
    return f"{leaves} She may enter again after {_count(definition.reentry_days, 'day')}."


def step_sentence(definition: Definition, number: int) -> str:
    """Return what one step does, in one line."""
    step = definition.steps[number]
    if isinstance(step, Wait):
        return f"Wait {' and '.join(_lengths(step))}"
    if isinstance(step, Condition):
        yes, no = (_target(definition, number, each) for each in (step.then, step.otherwise))
        return f"If {HAPPENED[step.happened]}: {yes}; otherwise: {no}"
    what = f"Ask the survey {step.survey}" if isinstance(step, Ask) else f"Say {step.template_key}"
    unless = ", unless she answered" if isinstance(step, Message) and step.unless_answered else ""
    return f"{what} by {ladder_in_words(step.channels)}{unless}"


def ladder_in_words(channels: list[Rung]) -> str:
    """Return a ladder of channels: email, then SMS after 48 hours."""
    words = [_CHANNELS[channels[0].channel]]
    for rung in channels[1:]:
        late = f" after {_count(rung.after_hours, 'hour')}" if rung.after_hours else " if that fails"
        words.append(f"then {_CHANNELS[rung.channel]}{late}")
    return ", ".join(words)


def short_name(step: Step) -> str:
    """Return a step in two or three words, for lists of steps to choose from."""
    if isinstance(step, Wait):
        return f"wait {_lengths(step)[0]}"
    if isinstance(step, Condition):
        return f"if {HAPPENED[step.happened]}"
    return f"survey {step.survey}" if isinstance(step, Ask) else f"message {step.template_key}"


def _target(definition: Definition, number: int, target: str) -> str:
    place = definition.place(target, number)
    if place >= len(definition.steps):
        return "the end"
    return "go on" if place == number + 1 else f"go to step {place + 1}"


def _lengths(step: Wait) -> list[str]:
    return [_count(amount, unit) for amount, unit in ((step.days, "day"), (step.hours, "hour")) if amount]


def _count(amount: int, unit: str) -> str:
    return f"{amount} {unit}{'' if amount == 1 else 's'}"
