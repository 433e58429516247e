"""A rule as one English sentence, the one a manager approves."""

from outreach.vocabulary import Grade
from segments import rules
from segments.fields import ENTITIES, Kind
from segments.meaning import Every, Fact, Meaning, Negated, Rows, Some, understand, understand_rule
from segments.operators import COUNTS

_OPENINGS = {
    Grade.AFFECTED: "Affected",
    Grade.LIKELY: "Likely affected",
    Grade.INCOMING: "Incoming",
    Grade.CLEARED: "Cleared",
}


def sentence(subject: rules.Rule | rules.Definition) -> str:
    """Return what a rule, or every grade of a definition, asks; raises `InvalidRule`."""
    if not isinstance(subject, rules.Definition):
        return f"Customers {spoken(understand_rule(subject))}."
    meanings = understand(subject)
    if list(meanings) == [Grade.AFFECTED]:
        return f"Customers {spoken(meanings[Grade.AFFECTED])}."
    return " ".join(f"{_OPENINGS[grade]}: customers {spoken(meanings[grade])}." for grade in Grade if grade in meanings)


def sentences(definition: rules.Definition) -> dict[Grade, str]:
    """Return what each grade asks, one sentence each, for lists; raises `InvalidRule`."""
    return {
        grade: f"Customers {spoken(meaning)}."
        for grade, meaning in sorted(understand(definition).items(), key=lambda each: list(Grade).index(each[0]))
    }


def spoken(meaning: Meaning) -> str:
    """Return a rule as what follows "customers": "whose country is BR and who have …"."""
    if isinstance(meaning, Fact):
        return f"whose {fact(meaning)}"
    if isinstance(meaning, Negated):
        return f"to whom this does not apply: ({spoken(meaning.part)})"
    if isinstance(meaning, Rows):
        return _rows(meaning)
    return _joined(meaning, [spoken(part) for part in meaning.parts])


def fact(meaning: Fact) -> str:
    """Return one comparison in words: "order date is from 2011-01-01 to 2011-06-30"."""
    if meaning.ref.kind is Kind.BOOLEAN and meaning.operator.key == "equals" and meaning.shown == ("true",):
        return f"{meaning.ref.noun} is given"
    return f"{meaning.ref.noun} {meaning.operator.phrase.format(*meaning.shown)}"


def _rows(meaning: Rows) -> str:
    entity = ENTITIES[meaning.entity]
    where = f" whose {_about_row(meaning.where)}" if meaning.where else ""
    if meaning.quantifier == "any":
        article = "an" if entity.singular[0] in "aeio" else "a"
        return f"who have {article} {entity.singular}{where}"
    if meaning.quantifier == "none":
        return f"who have no {entity.singular}{where}"
    if meaning.quantifier == "count":
        _, words = COUNTS[meaning.comparison or "equals"]
        noun = entity.singular if meaning.number == 1 else entity.plural
        return f"who have {words.format(meaning.number)} {noun}{where}"
    among = f" whose {_about_row(meaning.among)}" if meaning.among else ""
    has = _about_row(meaning.where) if meaning.where else ""
    return f"who have {entity.plural}{among}, and for all of them the {has}"


def _about_row(meaning: Meaning | None) -> str:
    if meaning is None:
        return ""
    if isinstance(meaning, Fact):
        return fact(meaning)
    if isinstance(meaning, Negated):
        return f"data do not say ({_about_row(meaning.part)})"
    if isinstance(meaning, Rows):
        raise TypeError(meaning)
    return _joined(meaning, [_about_row(part) for part in meaning.parts])


def _joined(meaning: Every | Some, parts: list[str]) -> str:
    if len(parts) == 1:
        return parts[0]
    texts = [
        f"({text})" if isinstance(part, Every | Some) and type(part) is not type(meaning) else text
        for part, text in zip(meaning.parts, parts, strict=True)
    ]
    if isinstance(meaning, Some):
        return f"either {' or '.join(texts)}"
    return " and ".join(texts)
