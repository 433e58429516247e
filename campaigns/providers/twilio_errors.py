"""What Twilio's error numbers mean, in its answers and in its callbacks: their numbers, our words.

https://www.twilio.com/docs/api/errors
"""

from typing import NamedTuple

from campaigns.providers.base import Outcome
from outreach.vocabulary import SuppressionReason


class TwilioError(NamedTuple):
    """What a number says to a manager (`words`) and to us.

    `outcome` of a message that is answered with it: refused for trouble of ours, which the next one would meet as well,
    or rejected for good; none where the HTTP status says enough, or only callbacks have it. `bars` where it is about
    the recipient's number, whoever writes to it.
    """

    words: str
    outcome: Outcome | None = None
    bars: SuppressionReason | None = None


ERRORS: dict[int, TwilioError] = {
    20003: TwilioError("the account or its key is refused", Outcome.REFUSED),
    20429: TwilioError("too many requests", Outcome.REFUSED),
    21211: TwilioError("not a phone number", Outcome.REJECTED, SuppressionReason.UNUSABLE_NUMBER),
    21408: TwilioError("this region is not enabled in the account", Outcome.REJECTED),
    21606: TwilioError("our number cannot send this", Outcome.REFUSED),
    21610: TwilioError(
        "this person has opted out at Twilio", Outcome.REJECTED, SuppressionReason.OPTED_OUT_AT_PROVIDER
    ),
    21611: TwilioError("the queue of our number is full", Outcome.REFUSED),
    21614: TwilioError("not a mobile number", Outcome.REJECTED, SuppressionReason.UNUSABLE_NUMBER),
    21617: TwilioError("the text is too long", Outcome.REJECTED),
    30001: TwilioError("the queue of our number is full", Outcome.REFUSED),
    30002: TwilioError("the account is suspended"),
    30003: TwilioError("the phone cannot be reached, or is switched off"),
    30004: TwilioError("blocked by the phone or its carrier"),
    30005: TwilioError("nobody has this number", Outcome.REJECTED, SuppressionReason.UNUSABLE_NUMBER),
    30006: TwilioError(
        "a landline, or a carrier that takes no texts", Outcome.REJECTED, SuppressionReason.UNUSABLE_NUMBER
    ),
    30007: TwilioError("filtered by the carrier as unwanted"),
    30008: TwilioError("the carrier gave no reason"),
    30034: TwilioError("our number is not registered for business texts (A2P 10DLC)"),
}
_UNKNOWN = TwilioError("")


def meaning_of(code: int | None) -> TwilioError:
    """Return what an error number means; no words for one that is not known here."""
    return ERRORS.get(code or 0, _UNKNOWN)
