"""What the class of a notice decides: one row per class, read by planning, gate, reconciliation and the providers.

    safety      recalls, safety and legal notices: exempt from caps and quiet hours, never held out, each message a
                call of its own, rather twice than not at all; a second person approves it
    service     a problem is known or fixed, maintenance: counted by the caps but not stopped by them
    success     tips and check-ins: a courtesy that stops at a cap and may be held out
    survey      a question: like success, and not more than one in thirty days
    promotion   an offer: only to those who agreed, where the channel asks for it

What the law of a channel asks (STOP, unsubscribe, bounces, complaints) holds for every class.
"""

from dataclasses import dataclass
from enum import StrEnum

from outreach.vocabulary import Channel, NoticeClass


class WhenUnknown(StrEnum):
    """What happens to a message whose outcome is unknown a day later, without any evidence."""

    SEND_AGAIN = "send_again"  # rather twice than not at all
    ASK = "ask"  # an operator decides: `outreach unknown list`
    GIVE_UP = "give_up"  # rather not at all than twice


@dataclass(frozen=True, slots=True)
class ClassPolicy:
    """One row of the table.

    `asks_first` names the channels on which silence means no. `capped`: stops at the caps; `counted`: counts
    towards them. `waves`: may wait for its turn. `withheld`: a share may be held out for comparison.
    `shared_address`: of several people at one address one message is enough. `own_throttle_days`: not more than one
    of this class to a person within so many days. `single_calls`: never shares a provider's acceptance with others.
    """

    notice_class: NoticeClass
    when_unknown: WhenUnknown
    postal_use: str
    second_person: bool = False
    single_calls: bool = False
    counted: bool = False
    capped: bool = False
    own_throttle_days: int = 0
    quiet_hours: bool = False
    waves: bool = False
    withheld: bool = False
    shared_address: bool = False
    asks_first: frozenset[Channel] = frozenset()


_ROWS = (
    ClassPolicy(
        NoticeClass.SAFETY, WhenUnknown.SEND_AGAIN, "operational", second_person=True, single_calls=True,
    ),
    ClassPolicy(
        NoticeClass.SERVICE, WhenUnknown.ASK, "operational", counted=True, quiet_hours=True, waves=True,
        shared_address=True,
    ),
    ClassPolicy(
        NoticeClass.SUCCESS, WhenUnknown.GIVE_UP, "marketing", counted=True, capped=True, quiet_hours=True, waves=True,
        withheld=True, shared_address=True,
    ),
    ClassPolicy(
        NoticeClass.SURVEY, WhenUnknown.GIVE_UP, "marketing", counted=True, capped=True, own_throttle_days=30,
        quiet_hours=True, waves=True, withheld=True,
    ),
    ClassPolicy(
        NoticeClass.PROMOTION, WhenUnknown.GIVE_UP, "marketing", counted=True, capped=True, quiet_hours=True,
        waves=True, withheld=True, shared_address=True, asks_first=frozenset({Channel.SMS}),
    ),
)  # fmt: skip

POLICIES: dict[NoticeClass, ClassPolicy] = {row.notice_class: row for row in _ROWS}


def policy(notice_class: NoticeClass | str) -> ClassPolicy:
    """Return the row of a class."""
    return POLICIES[NoticeClass(notice_class)]


def classes_that(attribute: str) -> list[str]:
    """Return the classes whose row says yes to `attribute`, as words for SQL."""
    return [row.notice_class.value for row in _ROWS if getattr(row, attribute)]
