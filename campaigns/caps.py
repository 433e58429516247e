"""How often one person hears from us, over all channels and campaigns.

Service notices count and are never stopped by a cap; safety neither counts nor stops; the rest stops (`classes`).
A survey has a throttle of its own on top.
"""

from datetime import timedelta
from typing import Any

from campaigns.classes import classes_that, policy
from outreach.settings import get_settings
from outreach.vocabulary import NoticeClass

# A capped notice that may wait is looked at again after so long.
LOOK_AGAIN = timedelta(hours=6)

_NO_BOUND = 2**31 - 1
_WEEK_DAYS = 7

# Customers are locked in one order before they are counted: two gates at the same moment must see each other's.
LOCK_CUSTOMERS = """SELECT c.id FROM customers c
    WHERE c.id IN (SELECT m.customer_id FROM messages m WHERE m.id = ANY(:message_ids))
    ORDER BY c.id FOR NO KEY UPDATE"""


def over_cap(customer: str) -> str:
    """Return SQL that is true when one more message would be over a cap, for `parameters_of` its class.

    Counted are messages that a provider has or may have. By notices, whose customers have an index: OFFSET 0 keeps
    the planner from starting at all messages where its statistics are old.
    """
    return f"""(SELECT count(*) FILTER (WHERE heard.at > cast(:now AS timestamptz) - interval '1 day'
                             AND heard.notice_class = ANY(cast(:counted AS text[]))) >= :cap_per_day
               OR count(*) FILTER (WHERE heard.at > cast(:now AS timestamptz) - interval '7 days'
                             AND heard.notice_class = ANY(cast(:counted AS text[]))) >= :cap_per_week
               OR coalesce(bool_or(heard.notice_class = :notice_class AND heard.at >
                             cast(:now AS timestamptz) - make_interval(days => :own_throttle_days)), false)
        FROM (SELECT sent.at, cc.notice_class
              FROM (SELECT cn.id, cn.campaign_id FROM notices cn WHERE cn.customer_id = {customer} OFFSET 0) AS hers
              JOIN LATERAL (
                  SELECT coalesce(cm.sent_at, :now) AS at FROM messages cm
                  WHERE cm.notice_id = hers.id AND cm.send_state IN ('sending', 'unknown', 'accepted')
                    AND coalesce(cm.sent_at, :now)
                        > cast(:now AS timestamptz) - make_interval(days => :cap_horizon_days) OFFSET 0) AS sent ON true
              JOIN campaigns cc ON cc.id = hers.campaign_id
             ) heard)"""


def parameters_of(notice_class: NoticeClass) -> dict[str, Any]:
    """Return what `over_cap` needs beside `:now` and `:notice_class`."""
    settings = get_settings()
    throttle = policy(notice_class).own_throttle_days
    return {
        "counted": classes_that("counted"),
        "cap_per_day": settings.cap_per_day or _NO_BOUND,
        "cap_per_week": settings.cap_per_week or _NO_BOUND,
        "own_throttle_days": throttle,
        "cap_horizon_days": max(throttle, _WEEK_DAYS),
    }


def skips(notice_class: NoticeClass) -> bool:
    """Return whether a notice above the cap is skipped when it is planned, rather than made to wait."""
    return policy(notice_class).capped and get_settings().cap_action == "skip"
