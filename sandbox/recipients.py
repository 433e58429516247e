"""What each simulated recipient does with a message: decided by the address alone, or by a seeded share.

| local part of an email address | what happens |
|---|---|
| starts with `bounce`, or `+bounce` | processed, hard bounce |
| `block` | processed, bounce of type blocked (soft) |
| `defer` | processed, deferred, delivered |
| `dup` | every event twice, with the same sg_event_id |
| `ooo` | delivered arrives before processed |
| `complain` | delivered, spamreport |
| `drop` | dropped (Bounced Address) |
| `open` / `click` | delivered, open / delivered, open, click |
| `machine` | delivered, an open by a privacy proxy |
| `late` | delivered, then a hard bounce (asynchronous, without sg_message_id) |
| `silent` | no event at all |
| anything else | processed, delivered |

A word counts as the first word of the local part (`defer@`, `defer.7@`, not `deferre@`) or after a plus sign
(`jane+defer@`, `jane+defer7@`).

| phone number ends in | what happens |
|---|---|
| 0001 | sent, undelivered 30005 |
| 0002 | refused with 21211 |
| 0003 | sent, undelivered 30003 |
| 0004 | delivered arrives before sent |
| 0005 | every status twice |
| 0006 | stays at sent |
| 0007 | refused with 21614 |
| anything else | sent, delivered |

| postal code | what happens |
|---|---|
| 00000 | in_transit, returned_to_sender |
| 00001 | failed before printing |
| 00002 | delivered arrives before in_transit |
| 00003 | every event twice |
| 00004 | in_transit, re-routed, delivered |
| anything else | rendered, in_transit, in_local_area, processed_for_delivery, delivered |
"""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any


@dataclass(frozen=True)
class Step:
    """One thing that a recipient (or the road to them) does; `after` counts paces since acceptance."""

    name: str
    after: float
    facts: Mapping[str, Any] = field(default_factory=dict)
    arrives: float | None = None

    @property
    def arrives_after(self) -> float:
        """Paces until the webhook goes out; differs from `after` when events overtake each other."""
        return self.after if self.arrives is None else self.arrives


OK_250 = {"response": "250 2.0.0 OK"}
PROCESSED = Step("processed", 0)
DELIVERED = Step("delivered", 1, OK_250)
BOUNCE = Step(
    "bounce",
    1,
    {
        "type": "bounce",
        "status": "5.1.1",
        "reason": "550 5.1.1 The email account that you tried to reach does not exist",
        "bounce_classification": "Invalid Address",
    },
)
BLOCKED = Step(
    "bounce",
    1,
    {
        "type": "blocked",
        "status": "4.7.1",
        "reason": "421 4.7.1 Try again later",
        "bounce_classification": "Reputation",
    },
)
DEFERRED = Step("deferred", 1, {"response": "451 4.7.1 Greylisted, try again later", "attempt": "1"})
DROPPED = Step("dropped", 0, {"reason": "Bounced Address", "status": "5.0.0"})
OPEN = Step("open", 2, {"useragent": "Mozilla/5.0", "ip": "192.0.2.10", "sg_machine_open": False})
MACHINE_OPEN = Step("open", 2, {"useragent": "Mozilla/5.0", "ip": "192.0.2.11", "sg_machine_open": True})
CLICK = Step("click", 3, {"useragent": "Mozilla/5.0", "ip": "192.0.2.10", "url": "https://example.com/"})

EMAIL_STORIES: dict[str, tuple[Step, ...]] = {
    "bounce": (PROCESSED, BOUNCE),
    "block": (PROCESSED, BLOCKED),
    "defer": (PROCESSED, DEFERRED, replace(DELIVERED, after=2)),
    "dup": (PROCESSED, PROCESSED, DELIVERED, DELIVERED),
    "ooo": (replace(PROCESSED, arrives=2), DELIVERED),
    "complain": (PROCESSED, DELIVERED, Step("spamreport", 2)),
    "drop": (DROPPED,),
    "open": (PROCESSED, DELIVERED, OPEN),
    "click": (PROCESSED, DELIVERED, OPEN, CLICK),
    "machine": (PROCESSED, DELIVERED, MACHINE_OPEN),
    "late": (PROCESSED, DELIVERED, replace(BOUNCE, after=2)),
    "silent": (),
    "deliver": (PROCESSED, DELIVERED),
}
_WORDS = "|".join(word for word in EMAIL_STORIES if word != "bounce")
_EMAIL_WORD = re.compile(rf"(?:^|\+)(?:(bounce)|({_WORDS})(?![a-z]))", re.IGNORECASE)

SENT = Step("sent", 0)
SMS_DELIVERED = Step("delivered", 1)
SMS_STORIES: dict[str, tuple[Step, ...]] = {
    "0001": (SENT, Step("undelivered", 1, {"ErrorCode": 30005})),
    "0003": (SENT, Step("undelivered", 1, {"ErrorCode": 30003})),
    "0004": (replace(SENT, arrives=2), SMS_DELIVERED),
    "0005": (SENT, SENT, SMS_DELIVERED, SMS_DELIVERED),
    "0006": (SENT,),
    "deliver": (SENT, SMS_DELIVERED),
}
SMS_REFUSALS = {"0002": 21211, "0007": 21614}

IN_TRANSIT = Step("in_transit", 0)
CARD_STORIES: dict[str, tuple[Step, ...]] = {
    "00000": (IN_TRANSIT, Step("returned_to_sender", 1)),
    "00001": (Step("failed", 0),),
    "00002": (replace(IN_TRANSIT, arrives=2), Step("delivered", 1)),
    "00003": (IN_TRANSIT, IN_TRANSIT, Step("delivered", 1), Step("delivered", 1)),
    "00004": (IN_TRANSIT, Step("re-routed", 1), Step("delivered", 2)),
    "deliver": (IN_TRANSIT, Step("in_local_area", 1), Step("processed_for_delivery", 2), Step("delivered", 3)),
}


def email_story(address: str, shares: Mapping[str, float], seed: int) -> tuple[Step, ...]:
    """Return what happens to a mail for `address`; `shares` sends part of the unmarked ones down another story."""
    found = _EMAIL_WORD.search(address.rpartition("@")[0])
    word = (found.group(1) or found.group(2)).lower() if found else _share(address, shares, seed, EMAIL_STORIES)
    return EMAIL_STORIES[word]


def sms_refusal(number: str) -> int | None:
    """Return the error code with which this number is refused, if it is."""
    return SMS_REFUSALS.get(number[-4:])


def sms_story(number: str, shares: Mapping[str, float], seed: int) -> tuple[Step, ...]:
    """Return what happens to a text for `number`."""
    ending = number[-4:]
    return SMS_STORIES[ending if ending in SMS_STORIES else _share(number, shares, seed, SMS_STORIES)]


def card_story(postal_code: str, address: str, shares: Mapping[str, float], seed: int) -> tuple[Step, ...]:
    """Return what happens to a postcard once it is mailed."""
    code = postal_code[:5]
    return CARD_STORIES[code if code in CARD_STORIES else _share(address, shares, seed, CARD_STORIES)]


def _share(address: str, shares: Mapping[str, float], seed: int, stories: Mapping[str, Any]) -> str:
    """Pick a story by hashing the address, so that one address behaves the same in every run of one seed."""
    digest = hashlib.sha256(f"{seed}:{address.lower()}".encode()).digest()
    point = int.from_bytes(digest[:8], "big") / 2**64
    for word, share in shares.items():
        if point < share:
            return word if word in stories else "deliver"
        point -= share
    return "deliver"
