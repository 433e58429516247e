"""The account of a campaign: audience = delivered + on the way + skipped + failed + held out, proved row by row.

Nothing here is a stored counter. Every figure is counted from the raw rows, and every check names the rows that
do not add up, so that the proof holds after any crash.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from sqlalchemy import text
from sqlalchemy.orm import Session

from outreach.models import Campaign
from outreach.vocabulary import DELIVERY_RANK, CampaignKind, CampaignState, NoticeState

# The reasons of `SkipReason`, as a manager reads them.
REASONS: Mapping[str, str] = {
    "no_address": "no usable address on any channel of the plan",
    "suppressed": "every address is barred (opted out, bounced or complained)",
    "no_consent": "has not agreed to be written to on these channels",
    "cleared": "is no longer touched by the problem",
    "expired": "the notice would have come too late to help",
    "cancelled": "the campaign was cancelled",
    "template": "the text could not be made for this customer",
    "provider_rejected": "the provider refused the message for good",
    "not_delivered": "every channel of the plan was tried, none delivered",
    "unknown_outcome": "a crash left it open and no evidence came",
    "already_told": "has been told already",
    "answered": "answered before it was due",
    "superseded": "a later notice of the same problem says it better",
    "capped": "has heard from us often enough in these days",
    "shared_address": "shares the address with somebody whom the same campaign tells",
    "missed": "a later occurrence was due as well; only the newest is sent",
    "problem_open": "a problem was open for this customer; the check-in after it took the place",
    "asked_recently": "was asked by another survey in these days",
    "left_programme": "left the programme before it was due",
    "survey_closed": "the survey was closed",
    "everybody told": "the campaign had ended",
}

_TOTALS = text("SELECT state, reason, count(*) AS total FROM notices WHERE campaign_id = :id GROUP BY state, reason")

_RANKS = ", ".join(f"('{kind.value}', {rank})" for kind, rank in DELIVERY_RANK.items())

# Each check: what is wrong, in words, and the rows (as a text that names them).
_CHECKS: tuple[tuple[str, str], ...] = (
    (
        "a member of the audience has no notice",
        """SELECT 'customer ' || c.external_id FROM audience_members m JOIN customers c ON c.id = m.customer_id
           WHERE :planned AND m.segment_id = :segment_id AND m.left_at IS NULL AND m.grade = ANY(:grades)
             AND NOT EXISTS (SELECT 1 FROM notices n WHERE n.campaign_id = :id AND n.customer_id = m.customer_id)""",
    ),
    (
        "a check-in that was sent has no notice",
        """SELECT 'check-in ' || k.id FROM check_ins k WHERE k.campaign_id = :id AND k.state = 'sent'
             AND NOT EXISTS (SELECT 1 FROM notices n WHERE n.campaign_id = :id AND n.customer_id = k.customer_id
                             AND n.occurrence = k.occurrence)""",
    ),
    (
        "a notice is owed to somebody who never was in the audience",
        """SELECT 'notice ' || n.id FROM notices n WHERE n.campaign_id = :id AND NOT EXISTS (
             SELECT 1 FROM audience_changes a WHERE a.segment_id = :segment_id AND a.customer_id = n.customer_id)
             AND NOT EXISTS (SELECT 1 FROM programme_dues d WHERE d.id = n.occurrence
                             AND d.customer_id = n.customer_id)""",
    ),
    (
        "a notice is on the way, but nothing is under way for it",
        """SELECT 'notice ' || n.id FROM notices n WHERE n.campaign_id = :id AND n.state = 'owed' AND NOT EXISTS (
             SELECT 1 FROM messages m JOIN chunks k ON k.id = m.chunk_id WHERE m.notice_id = n.id AND (
               (m.send_state IN ('accepted', 'unknown', 'sending') AND m.delivery_rank < 50)
               OR (m.send_state = 'queued' AND k.state <> 'done')
               OR k.check_at IS NOT NULL))""",
    ),
    (
        "a notice counts as delivered without a delivered message",
        """SELECT 'notice ' || n.id FROM notices n WHERE n.campaign_id = :id AND n.state = 'delivered' AND NOT EXISTS (
             SELECT 1 FROM messages m WHERE m.notice_id = n.id AND m.delivery_rank = 50)""",
    ),
    (
        "a notice counts as failed or skipped although a message was delivered",
        """SELECT 'notice ' || n.id FROM notices n WHERE n.campaign_id = :id
             AND n.state IN ('failed', 'skipped') AND EXISTS (
             SELECT 1 FROM messages m WHERE m.notice_id = n.id AND m.delivery_rank = 50)""",
    ),
    (
        "a notice was skipped or failed without a reason",
        """SELECT 'notice ' || n.id FROM notices n WHERE n.campaign_id = :id
             AND n.state IN ('skipped', 'failed') AND n.reason IS NULL""",
    ),
    (
        "a notice was skipped for a shared address that no notice of this campaign reaches",
        """SELECT 'notice ' || n.id FROM notices n WHERE n.campaign_id = :id AND n.reason = 'shared_address'
             AND NOT EXISTS (SELECT 1 FROM notices reached JOIN messages m ON m.notice_id = reached.id
                             WHERE reached.id = n.shared_with AND reached.campaign_id = :id)""",
    ),
    (
        "a notice was held out although a message was made for it",
        """SELECT 'notice ' || n.id FROM notices n WHERE n.campaign_id = :id AND n.state = 'held_out'
             AND EXISTS (SELECT 1 FROM messages m WHERE m.notice_id = n.id)""",
    ),
    (
        "a message was handed over without a recorded attempt",
        """SELECT 'message ' || m.id FROM messages m WHERE m.campaign_id = :id
             AND m.send_state IN ('accepted', 'sending', 'unknown') AND NOT EXISTS (
             SELECT 1 FROM attempts a WHERE a.id = m.attempt_id AND m.id = ANY(a.message_ids))""",
    ),
    (
        "a message was accepted by more than one attempt",
        """SELECT 'message ' || called.message_id FROM (
             SELECT unnest(a.message_ids) AS message_id FROM attempts a JOIN chunks k ON k.id = a.chunk_id
             WHERE k.campaign_id = :id AND a.state = 'accepted') called
           GROUP BY called.message_id HAVING count(*) > 1""",
    ),
    (
        "the delivery state of a message is not what its events say",
        f"""SELECT 'message ' || m.id FROM messages m
            JOIN (SELECT e.message_id, max(r.rank) AS rank FROM delivery_events e
                  JOIN (VALUES {_RANKS}) AS r(kind, rank) ON r.kind = e.kind GROUP BY e.message_id) said
              ON said.message_id = m.id
            WHERE m.campaign_id = :id AND CASE WHEN said.rank >= 60 THEN m.delivery_rank < 60
                                               ELSE m.delivery_rank <> said.rank END""",
    ),
)

_DUPLICATES = text("""
SELECT n.id, count(*) AS times FROM notices n JOIN messages m ON m.notice_id = n.id
WHERE n.campaign_id = :id AND m.send_state = 'accepted' AND m.delivery_rank = 50
GROUP BY n.id, m.channel HAVING count(*) > 1
""")

NAMED_AT_MOST = 50


@dataclass(frozen=True, slots=True)
class Discrepancy:
    """One kind of row that does not add up: how many, and the first of them by name."""

    what: str
    count: int
    rows: list[str]


@dataclass(frozen=True, slots=True)
class Account:
    """The figures of one campaign; it adds up when `unaccounted` and `duplicates` are zero."""

    campaign: str
    audience: int
    delivered: int
    on_the_way: int
    held_out: int
    skipped: dict[str, int] = field(default_factory=dict)
    failed: dict[str, int] = field(default_factory=dict)
    unaccounted: int = 0
    duplicates: int = 0
    discrepancies: list[Discrepancy] = field(default_factory=list)

    @property
    def adds_up(self) -> bool:
        """True when every recipient is accounted for, once."""
        return not self.unaccounted and not self.duplicates


def verify(session: Session, *, campaign: Campaign) -> Account:
    """Count the campaign from its raw rows and check every row against the others."""
    parameters = {
        "id": campaign.id,
        "segment_id": campaign.segment_id,
        "grades": list(campaign.grades),
        # Before it has been planned, and after it has ended, not every member is owed something.
        "planned": campaign.state is CampaignState.RUNNING
        and campaign.kind is not CampaignKind.CHECK_IN
        and campaign.programme_id is None
        and campaign.planned_through > 0,
    }
    totals: dict[NoticeState, dict[str, int]] = {state: {} for state in NoticeState}
    for row in session.execute(_TOTALS, parameters):
        totals[NoticeState(row.state)][row.reason or ""] = row.total
    discrepancies = []
    for what, query in _CHECKS:
        rows = list(session.scalars(text(f"SELECT named FROM ({query}) AS found(named) ORDER BY 1"), parameters))
        if rows:
            discrepancies.append(Discrepancy(what, len(rows), rows[:NAMED_AT_MOST]))
    twice = session.execute(_DUPLICATES, parameters).all()
    if twice:
        names = [f"notice {row.id} ({row.times} times)" for row in twice]
        discrepancies.append(Discrepancy("a customer was told twice on one channel", len(twice), names[:NAMED_AT_MOST]))
    return Account(
        campaign=campaign.key,
        audience=sum(sum(reasons.values()) for reasons in totals.values()),
        delivered=sum(totals[NoticeState.DELIVERED].values()),
        on_the_way=sum(totals[NoticeState.OWED].values()),
        held_out=sum(totals[NoticeState.HELD_OUT].values()),
        skipped=totals[NoticeState.SKIPPED],
        failed=totals[NoticeState.FAILED],
        unaccounted=sum(d.count for d in discrepancies) - len(twice),
        duplicates=len(twice),
        discrepancies=discrepancies,
    )
