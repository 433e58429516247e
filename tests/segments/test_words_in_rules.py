"""A rule about words belongs to its own customer, however deep in the rule it stands."""

from sqlalchemy.orm import Session

from outreach.models import Customer
from segments import compiler, rules
from tests.segments.conftest import NOW

COLOUR = {"field": "customer.attributes.color", "op": "contains_any", "value": ["red"]}
DEEP = {
    "likely": {
        "all": [
            {"not": {"not": COLOUR}},
            {"not": {"all": [{"field": "customer.postal_code", "op": "is_present"}]}},
            {"any": [{"field": "customer.country", "op": "none_of", "value": ["%", "B2"]},
                     {"related": "tickets", "quantifier": "any",
                      "where": {"not": {"field": "opened_at", "op": "in_next", "value": {"hours": 1}}}},
                     {"field": "customer.country", "op": "is_present"}]},
        ]
    },
    "affected": {"all": [{"related": "tickets", "quantifier": "any"},
                         {"any": [{"field": "customer.attributes.size", "op": "is_present", "type": "number"}]}]},
    "cleared": {"not": {"any": [{"all": [
        {"field": "customer.postal_code", "op": "postal_prefix", "value": ["20040"]},
        {"related": "orders", "quantifier": "count", "op": "at_least", "value": 2,
         "where": {"any": [{"field": "region", "op": "ends_with", "value": "A7"}]}},
        {"field": "customer.attributes.color", "op": "natural_between", "value": {"from": "a", "to": "b"}}]}]}},
    "incoming": {"related": "usage_events", "quantifier": "any"},
}  # fmt: skip


def test_only_the_customer_with_the_word_is_found(session: Session) -> None:
    red = Customer(external_id="red", country="DE", attributes={"color": "dark red"})
    blue = Customer(external_id="blue", country="DE", attributes={"color": "blue"})
    session.add_all([red, blue])
    session.flush()
    for document in ({"likely": COLOUR}, DEEP):
        found = session.execute(compiler.compile(rules.parse_definition(document), now=NOW)).all()
        assert [row.customer_id for row in found] == [red.id]
