"""Several people at one address: one message of a campaign is enough, and it counts for each of them.

Every customer keeps a notice. The second one's is skipped as `shared_address` and names the notice whose message
reaches that address (`shared_with`). Should that message fail, `fallbacks` opens the second notice again, so that it
goes its own way down the ladder. Class safety and surveys are never de-duplicated (`classes`).
"""

from collections.abc import Collection

from sqlalchemy import text

from outreach.barred_addresses import POSTAL_ADDRESS
from outreach.vocabulary import Channel

_REACHES = """m.send_state IN ('queued', 'sending', 'unknown', 'accepted') AND m.delivery_rank < 60"""


def _by_customer(column: str, channel: str, address: str, row: str) -> str:
    """Return SQL for the notice of another customer with this address, found by the customers' own index.

    OFFSET 0 keeps the planner from starting at the campaign's notices, which it takes for few where statistics are old.
    """
    return f"""(SELECT m.notice_id
        FROM (SELECT o.id FROM customers o
              WHERE o.{column} = {address} AND o.id <> {row}.customer_id OFFSET 0) AS others
        JOIN LATERAL (SELECT n.id FROM notices n WHERE n.campaign_id = :campaign_id AND n.customer_id = others.id
                      AND n.occurrence = {row}.occurrence OFFSET 0) AS theirs ON true
        JOIN messages m ON m.notice_id = theirs.id AND m.channel = '{channel}' AND m.address = {address} AND {_REACHES}
        ORDER BY m.notice_id LIMIT 1)"""


def _by_postcard(address: str, row: str) -> str:
    return f"""(SELECT m.notice_id FROM messages m
        JOIN notices n ON n.id = m.notice_id AND n.occurrence = {row}.occurrence
        WHERE m.campaign_id = :campaign_id AND m.channel = 'postcard' AND m.address = {address} AND {_REACHES}
          AND m.customer_id <> {row}.customer_id ORDER BY m.notice_id LIMIT 1)"""


def notice_reaching(row: str, channels: Collection[str] = tuple(Channel)) -> str:
    """Return SQL for the id of this campaign's notice that already reaches the channel and address of `row`."""
    reaching = {
        "email": _by_customer("email", "email", f"{row}.address", row),
        "sms": _by_customer("phone", "sms", f"{row}.address", row),
        "postcard": _by_postcard(f"{row}.address", row),
    }
    cases = " ".join(f"WHEN '{channel}' THEN {reaching[channel]}" for channel in channels)
    return f"(CASE {row}.channel {cases} END)"


def covered_among(rows: str, channels: Collection[str]) -> str:
    """Return SQL for those of `rows`, messages of a slice, for whose first one somebody else's is enough.

    That is somebody of the slice before them, or planned earlier. Most people live alone, which one look at the
    customers' own index tells; of postal addresses there is none.
    """
    others = "EXISTS (SELECT 1 FROM customers o WHERE o.{} = r.address AND o.id <> r.customer_id)"
    crowded = {"email": others.format("email"), "sms": others.format("phone"), "postcard": "true"}
    of_step = "r.step = {} AND " if len(channels) > 1 else ""
    near = " UNION ALL ".join(
        f"SELECT r.*, '{channel}' AS channel FROM {rows} r WHERE {of_step.format(step)}{crowded[channel]}"
        for step, channel in enumerate(channels)
    )
    return f"""SELECT notice_id, customer_id FROM (
        SELECT near.*, row_number() OVER (PARTITION BY near.channel, near.address ORDER BY near.customer_id, near.step)
                           = 1 AND {notice_reaching("near", channels)} IS NULL AS first_there
        FROM ({near}) near) asked WHERE step = first_step AND NOT first_there"""


# Which notice it was: one that stands by now, whichever of her addresses it reaches.
NAME_SHARED = text(f"""
UPDATE notices n SET shared_with = found.shared_with
FROM (SELECT who.id, coalesce({_by_customer("email", "email", "c.email", "who")},
                              {_by_customer("phone", "sms", "c.phone", "who")},
                              {_by_postcard(POSTAL_ADDRESS, "who")}) AS shared_with
      FROM notices who JOIN customers c ON c.id = who.customer_id WHERE who.id = ANY(:notice_ids)) found
WHERE n.id = found.id
""")
