"""The words of the house: every state, kind and reason that is stored or shown, each with one meaning.

Stored as text with a check constraint; `docs/words.md` is the glossary for people.
"""

from enum import StrEnum


class Channel(StrEnum):
    """A way to reach a customer."""

    EMAIL = "email"
    SMS = "sms"
    POSTCARD = "postcard"


class Grade(StrEnum):
    """How sure we are that a problem touches one customer."""

    AFFECTED = "affected"  # reported it, or certain evidence
    LIKELY = "likely"  # has the faulty thing
    INCOMING = "incoming"  # it is on its way to them
    CLEARED = "cleared"  # was in scope, is no longer


class ProblemState(StrEnum):
    """Where a problem stands; reopened goes back to known."""

    INVESTIGATING = "investigating"
    KNOWN = "known"
    MONITORING = "monitoring"
    RESOLVED = "resolved"
    CLOSED = "closed"


class Severity(StrEnum):
    """How much harm a problem does to one customer."""

    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"
    CRITICAL = "critical"


class CampaignKind(StrEnum):
    """What a campaign is for."""

    KNOWN = "known"
    UPDATE = "update"
    RESOLVED = "resolved"
    RECALL = "recall"
    CHECK_IN = "check-in"
    TIPS = "tips"
    REMINDER = "reminder"
    SURVEY = "survey"
    ANNOUNCEMENT = "announcement"


class NoticeClass(StrEnum):
    """Decides consent, caps, quiet hours, holdout and provider flags."""

    SAFETY = "safety"
    SERVICE = "service"
    SUCCESS = "success"
    SURVEY = "survey"
    PROMOTION = "promotion"


class CampaignState(StrEnum):
    """Where a campaign stands."""

    DRAFT = "draft"
    WAITING_APPROVAL = "waiting_approval"
    RUNNING = "running"
    PAUSED = "paused"
    CANCELLED = "cancelled"
    FINISHED = "finished"


class NoticeState(StrEnum):
    """What became of what we owe one recipient. `owed` is shown as "on the way"."""

    OWED = "owed"
    DELIVERED = "delivered"
    SKIPPED = "skipped"
    FAILED = "failed"
    HELD_OUT = "held_out"


class SendState(StrEnum):
    """Our half of a message: what we did with it (a compare-and-set with a fence)."""

    QUEUED = "queued"  # nobody is calling a provider with it; its chunk says who may claim it and when
    SENDING = "sending"  # the attempt is recorded, the call may have happened
    UNKNOWN = "unknown"  # the call may or may not have been accepted
    ACCEPTED = "accepted"  # the provider has it
    REJECTED = "rejected"  # the provider, or our rendering, refused it for good
    SUPPRESSED = "suppressed"  # the address is barred
    CANCELLED = "cancelled"
    EXPIRED = "expired"
    DEAD = "dead"  # gave up by policy


FINAL_SEND_STATES = frozenset(
    {
        SendState.ACCEPTED,
        SendState.REJECTED,
        SendState.SUPPRESSED,
        SendState.CANCELLED,
        SendState.EXPIRED,
        SendState.DEAD,
    }
)


class EventKind(StrEnum):
    """One parsed fact about a message, in our words whatever the provider calls it."""

    QUEUED = "queued"
    SENT = "sent"
    DEFERRED = "deferred"
    DELIVERED = "delivered"
    BOUNCED = "bounced"
    REJECTED = "rejected"
    FAILED = "failed"
    OPENED = "opened"
    CLICKED = "clicked"
    COMPLAINED = "complained"
    UNSUBSCRIBED = "unsubscribed"
    IN_TRANSIT = "in_transit"
    RETURNED = "returned"
    UNKNOWN = "unknown"


# The provider's half of a message is the highest rank among its events (order-free, duplicates harmless).
# `failed` words outrank `delivered` because delayed bounces and returned mail are real.
DELIVERY_RANK: dict[EventKind, int] = {
    EventKind.QUEUED: 10,
    EventKind.DEFERRED: 20,
    EventKind.SENT: 30,
    EventKind.IN_TRANSIT: 35,
    EventKind.DELIVERED: 50,
    EventKind.REJECTED: 60,
    EventKind.FAILED: 61,
    EventKind.BOUNCED: 62,
    EventKind.RETURNED: 63,
}
DELIVERED_RANK = 50
FAILED_RANK = 60

# Facts that are kept beside the ladder and never move it.
FLAG_EVENTS = frozenset(
    {EventKind.OPENED, EventKind.CLICKED, EventKind.COMPLAINED, EventKind.UNSUBSCRIBED, EventKind.UNKNOWN}
)


class ChunkState(StrEnum):
    """A chunk is the unit of claim, lease and release."""

    HELD = "held"  # of a wave that has not been released yet
    READY = "ready"
    CLAIMED = "claimed"
    DONE = "done"


class AttemptState(StrEnum):
    """One provider call, recorded before it is made."""

    SENDING = "sending"
    ACCEPTED = "accepted"
    REFUSED = "refused"  # provably not accepted; may be tried again
    REJECTED = "rejected"  # refused for good
    UNKNOWN = "unknown"


class InboundState(StrEnum):
    """What became of one stored inbound event."""

    NEW = "new"
    WAITING = "waiting"  # names a message that we do not know yet
    APPLIED = "applied"
    ORPHAN = "orphan"
    DEAD = "dead"


class OutgoingState(StrEnum):
    """What became of one event owed to one subscriber."""

    WAITING = "waiting"
    DELIVERED = "delivered"
    FAILED = "failed"  # three days of tries, or the subscriber is gone


class Intent(StrEnum):
    """The meaning of a reply."""

    STOP = "stop"
    START = "start"
    HELP = "help"
    SOLVED = "solved"
    STILL_BROKEN = "still_broken"
    NOT_ME = "not_me"
    ALREADY_FIXED = "already_fixed"
    QUESTION = "question"
    OUT_OF_OFFICE = "out_of_office"
    GIBBERISH = "gibberish"
    ANSWER = "answer"  # of a survey's question


class SuppressionReason(StrEnum):
    """Why an address is barred."""

    STOP = "stop"
    UNSUBSCRIBED = "unsubscribed"
    HARD_BOUNCE = "hard_bounce"
    UNUSABLE_NUMBER = "unusable_number"  # no number, nobody's, or of a telephone that takes no texts
    SOFT_BOUNCES = "soft_bounces"  # so many in a row that the address is as good as dead
    COMPLAINT = "complaint"
    OPTED_OUT_AT_PROVIDER = "opted_out_at_provider"
    RETURNED_MAIL = "returned_mail"
    MANUAL = "manual"
    ERASED = "erased"


class SkipReason(StrEnum):
    """Why a recipient was not told, or a message was not sent; `docs/words.md` says it for managers."""

    NO_ADDRESS = "no_address"  # no usable address on any channel of the plan
    SUPPRESSED = "suppressed"  # every address is barred
    NO_CONSENT = "no_consent"
    CLEARED = "cleared"  # no longer in scope when the message was due
    EXPIRED = "expired"
    CANCELLED = "cancelled"  # the campaign was cancelled
    TEMPLATE = "template"  # the text could not be made for this recipient
    PROVIDER_REJECTED = "provider_rejected"
    NOT_DELIVERED = "not_delivered"  # every channel of the plan was tried
    UNKNOWN_OUTCOME = "unknown_outcome"  # a crash left it open and no evidence came
    ALREADY_TOLD = "already_told"
    ANSWERED = "answered"  # she answered before it was due
    SUPERSEDED = "superseded"  # a later notice of the same problem says it better
    CAPPED = "capped"  # she has heard from us often enough in these days
    SHARED_ADDRESS = "shared_address"  # the notice of somebody else of this campaign reaches the same address
    MISSED = "missed"  # a later occurrence was due as well; only the newest is sent
    PROBLEM_OPEN = "problem_open"  # a problem was open for her; the check-in after its resolution takes the place
    ASKED_RECENTLY = "asked_recently"  # a survey reached her within the last days
    LEFT_PROGRAMME = "left_programme"  # she left the programme before it was due
    SURVEY_CLOSED = "survey_closed"


class ProgrammeKind(StrEnum):
    """What a programme is for."""

    CHECK_IN = "check-in"
    GETTING_STARTED = "getting-started"
    TIPS = "tips"
    MAINTENANCE_REMINDER = "maintenance-reminder"
    AFTER_RESOLUTION = "after-resolution"


class ProgrammeState(StrEnum):
    """Where a programme stands."""

    DRAFT = "draft"
    ACTIVE = "active"
    PAUSED = "paused"
    ENDED = "ended"


class DueState(StrEnum):
    """What became of one due occurrence of a programme."""

    OPEN = "open"  # waits for its time, or is under way
    DONE = "done"
    SKIPPED = "skipped"


class SurveyKind(StrEnum):
    """What a survey measures: satisfaction 1-5, recommendation 0-10, effort 1-7, or questions of one's own."""

    CSAT = "csat"
    NPS = "nps"
    CES = "ces"
    CUSTOM = "custom"


class SurveyState(StrEnum):
    """Whether a survey takes answers."""

    OPEN = "open"
    CLOSED = "closed"


class HealthBand(StrEnum):
    """A score in one word."""

    GOOD = "good"
    FAIR = "fair"
    POOR = "poor"


class CheckInState(StrEnum):
    """What became of one due check-in."""

    DUE = "due"
    SENT = "sent"
    SKIPPED = "skipped"


class Role(StrEnum):
    """What an operator may do; each role includes the ones before it."""

    VIEWER = "viewer"
    AUTHOR = "author"
    APPROVER = "approver"
    ADMIN = "admin"


GRADE_STRENGTH: dict[Grade, int] = {Grade.AFFECTED: 3, Grade.LIKELY: 2, Grade.INCOMING: 1, Grade.CLEARED: 0}
