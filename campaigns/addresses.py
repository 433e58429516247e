"""Which address of a customer each channel uses, and whether it may be used.

Consents are asked of one row (`refused`), or read once for thousands (`newest_words` and `refused_among`), as
planning and the gate do. Both say the same; a test holds them together.
"""

from collections.abc import Iterable

from campaigns.classes import POLICIES
from outreach.barred_addresses import WAYS

# Class and channel for which silence means no.
_ASKED_FIRST = ", ".join(
    f"('{row.notice_class.value}', '{channel.value}')" for row in POLICIES.values() for channel in row.asks_first
)

# The addresses of customer `c`, one row per channel that she can be reached on.
ADDRESSES = f"(SELECT * FROM {WAYS} way WHERE c.erased_at IS NULL)"


_FOR_THIS_CLASS = "(k.notice_class IS NULL OR k.notice_class = :notice_class)"


def barred(channel: str, address: str) -> str:
    """Return SQL that is true while the address has a standing suppression."""
    return f"""EXISTS (SELECT 1 FROM suppressions s
        WHERE s.channel = {channel} AND s.address = {address} AND s.lifted_at IS NULL)"""


def refused(channel: str, customer: str) -> str:
    """Return SQL that is true when the customer's newest word on the channel, for `:notice_class` or all, is no.

    Ordered by the person's own time; a refusal wins a tie. Channel law holds for every class, safety included.
    Silence means yes, but where the class asks first (promotion by SMS).
    """
    return f"""coalesce((SELECT NOT k.allowed FROM consents k
        WHERE k.customer_id = {customer} AND k.channel = {channel}
          AND {_FOR_THIS_CLASS}
        ORDER BY k.acted_at DESC, k.allowed LIMIT 1), (:notice_class, {channel}) IN ({_ASKED_FIRST}))"""


def newest_words(among: str, channels: Iterable[str]) -> str:
    """Return SQL for the newest word of many customers on each channel, in the order of `refused`.

    `among` is what holds of their ids, such as `IN (SELECT …)` or `= ANY(…)`.
    """
    named = ", ".join(f"'{channel}'" for channel in channels)
    return f"""SELECT DISTINCT ON (k.customer_id, k.channel) k.customer_id, k.channel, k.allowed FROM consents k
    WHERE k.customer_id {among} AND k.channel IN ({named}) AND {_FOR_THIS_CLASS}
    ORDER BY k.customer_id, k.channel, k.acted_at DESC, k.allowed"""


def refused_among(words: str, channel: str, customer: str) -> str:
    """Return what `refused` returns, looked up among `newest_words`."""
    said = f"{customer} IN (SELECT customer_id FROM {words} WHERE channel = '{channel}' AND allowed ="
    return f"""(CASE WHEN (:notice_class, '{channel}') IN ({_ASKED_FIRST}) THEN NOT {said} true)
                    ELSE {said} false) END)"""
