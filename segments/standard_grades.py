"""The rules of a usual scope: who wrote, who holds such an item, whose is on its way, who has none left."""

from typing import Any

from outreach.vocabulary import Grade, Intent

SENT_BACK = {"field": "quantity_returned", "op": "at_least", "value": {"field": "quantity"}}
DELIVERED = {"field": "delivered_at", "op": "is_present"}
NOT_DELIVERED = {"field": "delivered_at", "op": "is_missing"}
CANCELLED = {"field": "cancelled_at", "op": "is_present"}
NOT_CANCELLED = {"field": "cancelled_at", "op": "is_missing"}
GONE = {"any": [SENT_BACK, CANCELLED]}


def standard_grades(
    problem_key: str, *, such: dict[str, Any] | None = None, whom: dict[str, Any] | None = None
) -> dict[str, Any]:
    """Return the standard scope as the JSON object of a definition; see `scope_for`."""
    this_problem = {"field": "problem.key", "op": "equals", "value": problem_key}
    released = [Intent.NOT_ME.value, Intent.ALREADY_FIXED.value]
    answered = _items({"all": [this_problem, {"field": "intent", "op": "one_of", "value": released}]}, of="responses")
    definition: dict[str, Any] = {
        Grade.AFFECTED.value: _items(this_problem, of="tickets"),
        Grade.CLEARED.value: answered,
    }
    if whom is not None:
        definition[Grade.LIKELY.value] = whom
    if such is not None:
        same = such.get("all", [such])
        holds = _items({"all": [*same, DELIVERED, {"not": SENT_BACK}]})
        all_gone = {
            "related": "order_items",
            "quantifier": "all",
            "among": {"all": same},
            "where": GONE,
        }
        # Whoever has sent all of it back was in scope before anybody knew: likely here, overridden by cleared.
        returned = {"all": [_items({"all": [*same, SENT_BACK]}), all_gone]}
        moving = _items({"all": [*same, NOT_DELIVERED, NOT_CANCELLED, {"not": SENT_BACK}]})
        definition[Grade.LIKELY.value] = {"any": [holds, returned]}
        definition[Grade.INCOMING.value] = moving
        definition[Grade.CLEARED.value] = {"any": [all_gone, answered]}
    return definition


def _items(where: dict[str, Any], *, of: str = "order_items") -> dict[str, Any]:
    return {"related": of, "where": where}
