"""Every refusal names the place and says what would be right; nothing hostile ever reaches the SQL text."""

from typing import Any

import pytest
from sqlalchemy import func, select
from sqlalchemy.dialects import postgresql
from sqlalchemy.orm import Session

from outreach.errors import InvalidRule
from outreach.models import Customer
from segments import audiences, compiler, rules, sentences
from segments.fields import ENTITIES, Kind
from segments.operators import OPERATORS, Takes
from tests.segments.conftest import NOW

COUNTRY = {"field": "customer.country", "op": "equals", "value": "BR"}
INJECTIONS = [
    "'; DROP TABLE customers; --",
    "\\'; SELECT pg_sleep(10); --",
    "%s %(x)s :x {} {0} $1 %",
    '" OR "1"="1',
    "'||(SELECT password_hash FROM operators LIMIT 1)||'",
    "/* */ UNION SELECT 1",
    "\u2019 \u02bc \uff07 ; \u0000".replace("\u0000", ""),
]


def deep(levels: int) -> dict[str, Any]:
    rule: dict[str, Any] = COUNTRY
    for _ in range(levels):
        rule = {"not": rule}
    return rule


def items(where: dict[str, Any]) -> dict[str, Any]:
    return {"related": "order_items", "where": where}


BAD: list[tuple[Any, str, str]] = [
    ({"field": "customer.contry", "op": "equals", "value": "BR"}, "affected.field", "Did you mean 'customer.country'"),
    ({"field": "country", "op": "equals", "value": "BR"}, "affected.field", "customer.country"),
    ({"field": "customer.id); DROP TABLE x", "op": "equals", "value": 1}, "affected.field", "Known:"),
    ({"field": "customer.country", "op": "equal", "value": "BR"}, "affected.op", "Did you mean 'equals'"),
    ({"field": "customer.country", "op": "more_than", "value": 1}, "affected.op", "text field"),
    ({"field": "customer.country", "op": "matches", "value": "(a+)+$"}, "affected.op", "There is no operator"),
    ({"field": "customer.country", "op": "equals", "value": 5}, "affected.value", "in quotes"),
    ({"field": "customer.country", "op": "equals", "value": "a\x00b"}, "affected.value", "NUL"),
    ({"field": "customer.country", "op": "equals", "value": "\ud800"}, "affected.value", "half a letter"),
    ({"field": "customer.country", "op": "equals", "value": "x" * 1001}, "affected.value", "at most 1000"),
    ({"field": "customer.country", "op": "one_of", "value": []}, "affected.value", "1 to 50000"),
    ({"field": "customer.country", "op": "one_of", "value": ["x"] * 50_001}, "affected.value", "1 to 50000"),
    ({"field": "customer.country", "op": "one_of", "value": ["x", 3]}, "affected.value[1]", "in quotes"),
    ({"field": "customer.country", "op": "is_missing", "value": "x"}, "affected.value", "takes no value"),
    (COUNTRY | {"type": "number"}, "affected.field", "`type` is for attributes"),
    (COUNTRY | {"tenant_id": 5}, "affected.tenant_id", "not known here"),
    ({"field": "customer.country", "value": "BR"}, "affected.op", "missing"),
    (items({"field": "quantity", "op": "equals", "value": float("nan")}), "affected.where.value", "finite"),
    (items({"field": "quantity", "op": "equals", "value": float("inf")}), "affected.where.value", "finite"),
    (items({"field": "quantity", "op": "equals", "value": 2**63}), "affected.where.value", "2^63"),
    (items({"field": "quantity", "op": "equals", "value": 1e300}), "affected.where.value", "2^63"),
    (items({"field": "quantity", "op": "equals", "value": 1.5}), "affected.where.value", "whole number"),
    (items({"field": "quantity", "op": "equals", "value": True}), "affected.where.value", "number"),
    (items({"field": "quantity", "op": "equals", "value": "3"}), "affected.where.value", "without quotes"),
    (items({"field": "ordered_at", "op": "before", "value": "2027-02-29"}), "affected.where.value", "not a time"),
    (items({"field": "ordered_at", "op": "before", "value": "0001-01-01"}), "affected.where.value", "1900"),
    (items({"field": "ordered_at", "op": "before", "value": "2026-01-01T00:00:00"}), "affected.where.value", "no zone"),
    (
        items({"field": "ordered_at", "op": "between", "value": {"from": "2026-02-01", "to": "2026-01-01"}}),
        "affected.where.value",
        "swap",
    ),
    (items({"field": "ordered_at", "op": "in_last", "value": {"fortnights": 2}}), "affected.where.value", "units"),
    (items({"field": "ordered_at", "op": "in_last", "value": {"days": -1}}), "affected.where.value.days", "negative"),
    (items({"field": "ordered_at", "op": "in_last", "value": {"days": 1e9}}), "affected.where.value", "100 years"),
    (
        items({"field": "lot", "op": "equals", "value": {"field": "quantity"}}),
        "affected.where.value.field",
        "compare two of one kind",
    ),
    (items({"field": "customer.place", "op": "within_km", "value": {"km": 5}}), "affected.where.value", "An area is"),
    (items({"field": "product.colour", "op": "is_present"}), "affected.where.field", "product.attributes.NAME"),
    (items(items(COUNTRY)), "affected.where", "put this node beside it"),
    ({"related": "operators", "where": COUNTRY}, "affected.related", "order_items"),
    ({"related": "tickets", "quantifier": "most"}, "affected.quantifier", "'any', 'none', 'all' or 'count'"),
    ({"related": "tickets", "quantifier": "count", "op": "at_least", "value": 1.5}, "affected.value", "whole number"),
    ({"related": "tickets", "quantifier": "count", "op": "about", "value": 1}, "affected.op", "at_least"),
    ({"related": "tickets", "op": "at_least", "value": 1}, "affected.op", "`count` only"),
    ({"related": "tickets", "quantifier": "all"}, "affected.where", "needs `where`"),
    ({"related": "tickets", "among": {"field": "status", "op": "is_present"}}, "affected.among", "`all` only"),
    ({"member_of": "x", "grades": ["sure"]}, "affected.grades[0]", "affected"),
    (items({"field": "attributes.", "op": "is_present"}), "affected.where.field", "attributes.NAME"),
    ({"all": []}, "affected.all", "at least 1"),
    ({"all": [COUNTRY, {"any": [COUNTRY, {"op": "equals"}]}]}, "affected.all[1].any[1]", "exactly one of the keys"),
    ({"all": [COUNTRY, {"any": [COUNTRY, {"field": 5, "op": "x"}]}]}, "affected.all[1].any[1].field", "string"),
    (COUNTRY | {"related": "tickets"}, "affected", "exactly one of the keys"),
    ([], "$", "an object"),
    (None, "$", "an object"),
    ({}, "$", "at least one rule"),
    ({"sure": COUNTRY}, "sure", "the grades are"),
    ({"cleared": COUNTRY}, "$", "at least one rule"),
    ({"likely": 5}, "likely", "object"),
]


@pytest.mark.parametrize(("document", "where", "says"), BAD)
def test_a_bad_rule_is_refused_with_the_place_and_what_would_be_right(document: Any, where: str, says: str) -> None:
    with pytest.raises(InvalidRule) as caught:
        sentences.sentence(rules.parse_definition(document))
    assert says in caught.value.message
    assert caught.value.where == where


def test_depth_and_size_are_limited_before_anything_recurses() -> None:
    rules.parse_rule(deep(7))
    for levels in (8, 100_000):
        with pytest.raises(InvalidRule, match="8 levels"):
            rules.parse_rule(deep(levels))
    with pytest.raises(InvalidRule, match="100 nodes"):
        rules.parse_rule({"any": [COUNTRY] * 100})


@pytest.mark.parametrize("text", INJECTIONS)
def test_an_injection_in_any_string_is_refused_or_only_ever_bound(session: Session, text: str) -> None:
    session.add(Customer(external_id="c1", country="BR"))
    session.flush()
    documents: list[Any] = [
        {"field": text, "op": "equals", "value": "x"},
        {"field": "customer.country", "op": text, "value": "x"},
        {"related": text},
        {"member_of": text},
        {"field": f"customer.attributes.{text}", "op": "equals", "value": text},
        {"field": "customer.country", "op": "none_of", "value": [text]},
        items({"field": "ordered_at", "op": "before", "value": text}),
    ]
    for key, operator in OPERATORS.items():
        if Kind.TEXT in operator.kinds and operator.takes is not Takes.NOTHING:
            value: Any = [text] if operator.takes is Takes.VALUES else text
            value = {"from": text, "to": text} if operator.takes is Takes.RANGE else value
            documents.append({"field": "customer.country", "op": key, "value": value})
    for document in documents:
        try:
            statement = compiler.compile(rules.parse_definition(document), now=NOW)
        except InvalidRule:
            continue
        assert text not in str(statement.compile(dialect=postgresql.dialect()))
        session.execute(statement).all()
        audiences.preview(session, definition=rules.parse_definition(document), now=NOW)
    assert session.scalar(select(func.count()).select_from(Customer)) == 1


def test_every_operator_and_kind_of_row_is_documented() -> None:
    from pathlib import Path

    page = (Path(__file__).parent.parent.parent / "docs" / "segments.md").read_text()
    missing = [key for key in [*OPERATORS, *ENTITIES] if f"`{key}`" not in page]
    assert missing == []


def test_numbers_and_times_at_the_edges_are_answered_not_failed(session: Session) -> None:
    for value in (2**63 - 1, -(2**63) + 1, 5.0, 9.2e18):
        rule = items({"field": "quantity", "op": "at_most", "value": value})
        session.execute(compiler.compile(rules.parse_definition(rule), now=NOW)).all()
    for field in ("customer.attributes.n",):
        for kind, op, value in (("number", "more_than", 1), ("time", "in_past", None), ("boolean", "equals", True)):
            session.add(Customer(external_id=f"x{kind}", attributes={"n": "1e400" if kind == "number" else "soon"}))
            session.flush()
            rule = {"field": field, "op": op, "type": kind} | ({} if value is None else {"value": value})
            assert session.execute(compiler.compile(rules.parse_definition(rule), now=NOW)).all() == []
