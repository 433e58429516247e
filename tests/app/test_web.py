"""The parts of the managers' pages that need no browser."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import select, text
from sqlalchemy.orm import Session

from app.web import charts, reading, rule_forms
from app.web.forms import Sent, attempt, read, safe_path
from outreach import problem_verbs
from outreach.errors import InvalidInput
from outreach.models import Problem
from outreach.permissions import person_at_the_terminal
from outreach.schemas import ProblemIn
from outreach.vocabulary import Grade
from segments import choices, rules
from segments.differences import differences
from segments.growth import growth
from segments.standard_grades import standard_grades
from tests.people import a_problem, an_audience

NOW = datetime(2027, 3, 4, 12, tzinfo=UTC)


@pytest.mark.parametrize("given", ["//evil.example", "https://evil.example", "/\\evil", "\\evil", "", None, "/a\nb"])
def test_signing_in_never_leads_to_another_site(given: str | None) -> None:
    assert safe_path(given) == "/"


def test_values_read_as_people_write_them() -> None:
    assert (reading.number(12345), reading.share(1, 3), reading.share(1, 100_000)) == ("12,345", "33 %", "< 0.1 %")
    assert (reading.money(609), reading.plural(1, "reply", "replies"), reading.label("held_out")) == (
        "$6.09", "1 reply", "Held out",
    )  # fmt: skip
    with reading.reader("America/New_York", NOW):
        assert reading.clock_time(NOW) == "07:00"
        assert reading.relative(NOW + timedelta(hours=3)) == "in 3 hours"
        assert reading.relative(NOW - timedelta(minutes=90)) == "2 hours ago"
    with reading.reader("No/Where", NOW):
        assert reading.clock_time(NOW) == "12:00"


def test_a_bar_shows_few_as_more_than_nobody_and_escapes_names() -> None:
    drawn = charts.stacked([("affected", 1), ('"><script>', 100_000)])
    assert 'width="4.0"' in drawn
    assert "<script>" not in drawn


def test_a_mistake_in_a_form_leaves_nothing_behind(session: Session) -> None:
    actor = person_at_the_terminal("test")
    with attempt(session) as tried:
        problem_verbs.report(session, actor=actor, now=NOW, title="Half done")
        raise InvalidInput("Then something was wrong.", where="title")
    assert (tried.mistake and tried.mistake.where) == "title"
    assert session.scalars(select(Problem)).all() == []


def test_a_field_that_is_missing_is_named() -> None:
    with pytest.raises(InvalidInput) as refused:
        read(ProblemIn, {"summary": "No title"})
    assert (refused.value.where, refused.value.message) == ("title", "This is needed.")


def as_sent(tree: dict[str, rule_forms.Node]) -> Sent:
    """Fill in the form that a tree draws, as a browser would send it."""
    pairs: list[tuple[str, str]] = []

    def fill(node: rule_forms.Node) -> None:
        say: dict[str, Any] = {"shape": node.shape, "kind": node.kind}
        if node.shape == "related":
            say |= {"related": node.related, "quantifier": node.values["quantifier"]}
        if node.shape == "field":
            value = node.values["value"]
            say |= {"field": node.values["field"], "op": node.values["op"]}
            say |= {"other": value["field"]} if isinstance(value, dict) else {"value": value}
        for name, value in say.items():
            text = "\n".join(value) if isinstance(value, list) else "" if value is None else str(value)
            pairs.append((f"{node.path}:{name}", text))
        for child in (*node.children, node.where, node.among):
            if child is not None:
                fill(child)

    for node in tree.values():
        fill(node)
    return Sent(pairs)


def test_the_standard_scope_comes_back_from_its_form_with_the_same_meaning() -> None:
    such = {"all": [{"field": "product.external_id", "op": "equals", "value": "K"},
                    {"field": "lot", "op": "one_of", "value": ["A7", "A8"]}]}  # fmt: skip
    given = rules.parse_definition(standard_grades("P-1", such=such))
    document = rule_forms.document_of(rule_forms.read_tree(as_sent(rule_forms.tree_of(given.document()))))
    again = rule_forms.document_of(rule_forms.read_tree(as_sent(rule_forms.tree_of(document))))
    assert again == document
    from segments.sentences import sentence

    plain = str.maketrans("", "", "()")
    assert sentence(rules.parse_definition(document)).translate(plain) == sentence(given).translate(plain)


def test_parts_of_the_form_are_added_and_taken_away() -> None:
    tree = rule_forms.tree_of({"affected": {"all": [{"field": "customer.country", "op": "equals", "value": "BR"}]}})
    grown = rule_forms.change(tree, "add-field:affected")
    assert len(grown["affected"]["all"]) == 2
    finished = rule_forms.document_of(rule_forms.tree_of(grown))
    assert finished == {"affected": {"all": [{"field": "customer.country", "op": "equals", "value": "BR"}]}}
    assert rule_forms.change(rule_forms.tree_of(grown), "remove:affected.0")["affected"]["all"][0]["field"] == ""
    assert "incoming" in rule_forms.change(rule_forms.tree_of(grown), "grade:incoming")
    assert rule_forms.change(rule_forms.tree_of(grown), "remove:affected") == {}


def test_whatever_can_be_chosen_can_be_used() -> None:
    for related in (None, *choices.ROWS):
        for choice in choices.choices(related):
            assert choices.chosen(choice.path, related).kind is choice.kind
            assert choices.operators_for(choice.kind)


def test_values_come_with_the_number_of_rows(session: Session) -> None:
    an_audience(session, a_problem(session, NOW), 12, NOW)
    assert choices.values(session, path="lot", related="order_items", beginning="a") == [choices.Value("A7", 12, False)]
    assert choices.values(session, path="lot", related="order_items", beginning="zz") == []
    assert [each.value for each in choices.values(session, path="product.external_id", related="order_items")] == [
        "KETTLE"
    ]


def test_growth_and_differences_tell_who_comes_and_goes(session: Session) -> None:
    segment_id = an_audience(session, a_problem(session, NOW), 12, NOW)
    session.execute(text("UPDATE customers SET country = 'BR' WHERE external_id IN ('c-1', 'c-2', 'c-3')"))
    grown = growth(session, segment_id=segment_id, now=NOW + timedelta(hours=2))
    assert (grown.counts[Grade.LIKELY][0], grown.counts[Grade.LIKELY][1], grown.counts[Grade.LIKELY][-1]) == (0, 12, 12)
    definition = rules.parse_definition({"likely": {"field": "customer.country", "op": "equals", "value": "US"}})
    (move,) = differences(session, definition=definition, segment_id=segment_id, now=NOW)
    assert (move.was, move.becomes, move.number) == (Grade.LIKELY, None, 3)
    assert move.names == ["Ann Number1", "Ann Number2", "Ann Number3"]
