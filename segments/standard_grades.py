"""The rules of a usual scope: who wrote, who holds such an item, whose is on its way, who has none left.

An item (or order) is gone once it was sent back or cancelled, and once its attributes say `replaced` or `remedy`.
"""

from typing import Any

from outreach.vocabulary import Grade, Intent

SENT_BACK = {"field": "quantity_returned", "op": "at_least", "value": {"field": "quantity"}}
DELIVERED = {"field": "delivered_at", "op": "is_present"}
NOT_DELIVERED = {"field": "delivered_at", "op": "is_missing"}
CANCELLED = {"field": "cancelled_at", "op": "is_present"}
NOT_CANCELLED = {"field": "cancelled_at", "op": "is_missing"}
# What an import or a desk wrote on the item or order once the customer was helped: a date, a number, anything.
HELPED = [{"field": f"attributes.{name}", "op": "is_present"} for name in ("replaced", "remedy")]
NOT_HELPED = {"not": {"any": HELPED}}


def standard_grades(
    problem_key: str,
    *,
    such: dict[str, Any] | None = None,
    whom: dict[str, Any] | None = None,
    of: str = "order_items",
) -> dict[str, Any]:
    """Return the standard scope as the JSON object of a definition; see `segments.scopes.scope_for`.

    With `of="orders"` the rule `such` is about orders, which are delivered or cancelled but never sent back.
    """
    this_problem = {"field": "problem.key", "op": "equals", "value": problem_key}
    released = [Intent.NOT_ME.value, Intent.ALREADY_FIXED.value]
    answered = _some("responses", [this_problem, {"field": "intent", "op": "one_of", "value": released}])
    definition: dict[str, Any] = {
        Grade.AFFECTED.value: {"related": "tickets", "where": this_problem},
        Grade.CLEARED.value: answered,
    }
    if whom is not None:
        definition[Grade.LIKELY.value] = whom
    if such is not None:
        same = such.get("all", [such])
        items = of == "order_items"
        here: list[dict[str, Any]] = [{"not": SENT_BACK}, NOT_HELPED] if items else [NOT_HELPED]
        gone = {"any": [*([SENT_BACK] if items else []), CANCELLED, *HELPED]}
        all_gone = {"related": of, "quantifier": "all", "among": {"all": same}, "where": gone}
        holds = _some(of, [*same, DELIVERED, *here])
        # Whoever sent all of it back, or was helped, was in scope before: likely here, overridden by cleared.
        over = {"any": [*([SENT_BACK] if items else []), *HELPED]}
        definition[Grade.LIKELY.value] = {"any": [holds, {"all": [_some(of, [*same, over]), all_gone]}]}
        definition[Grade.INCOMING.value] = _some(of, [*same, NOT_DELIVERED, NOT_CANCELLED, *here])
        definition[Grade.CLEARED.value] = {"any": [all_gone, answered]}
    return definition


def _some(related: str, conditions: list[dict[str, Any]]) -> dict[str, Any]:
    return {"related": related, "where": {"all": conditions}}
