"""What is said: templates, the playbooks that open campaigns, and the campaigns themselves."""

from datetime import datetime
from typing import Any

from sqlalchemy import ForeignKey, Index, SmallInteger, UniqueConstraint, text
from sqlalchemy.dialects.postgresql import JSONB

from outreach.models.base import Base, Mapped, bigint_key, created, mapped_column, word
from outreach.vocabulary import CampaignKind, CampaignState, Channel, NoticeClass, ProblemState


class Template(Base):
    """One immutable version of the words for one channel and language (Liquid).

    `subject` is for email; `body` is Markdown for email, plain text for SMS, the front HTML of a
    postcard whose back is `back`.
    """

    __tablename__ = "templates"

    id: Mapped[int] = bigint_key()
    key: Mapped[str]
    version: Mapped[int]
    channel: Mapped[Channel] = word(Channel)
    language: Mapped[str] = mapped_column(server_default="en", default="en")
    subject: Mapped[str | None]
    body: Mapped[str]
    back: Mapped[str | None]
    author: Mapped[str]
    created_at: Mapped[datetime] = created()

    __table_args__ = (UniqueConstraint("key", "version", "channel", "language"),)


class Playbook(Base):
    """What happens when a problem becomes `trigger`: which words, which channels, with or without approval.

    `ladder` is a list of steps in order: {"channel": …, "after_hours": n}; a step is taken when the one
    before it failed, or was not delivered within `after_hours` of the next step.
    `check_in_days` after resolution says when the check-in is due (none: no check-in).
    `ticket_action` is what happens to the linked tickets at the desk with the words of `ticket_comment`: a `note`
    for the agents, a public `reply`, or `solve`; the last two wait until the campaign is approved.
    Changes of problems before `since` (none: ever) are left alone: nobody had asked for anything then.
    """

    __tablename__ = "playbooks"

    id: Mapped[int] = bigint_key()
    key: Mapped[str] = mapped_column(unique=True)
    name: Mapped[str]
    trigger: Mapped[ProblemState] = word(ProblemState)
    kind: Mapped[CampaignKind] = word(CampaignKind)
    notice_class: Mapped[NoticeClass] = word(NoticeClass)
    template_key: Mapped[str]
    ladder: Mapped[list[Any]] = mapped_column(JSONB)
    automatic: Mapped[bool] = mapped_column(server_default="false", default=False)
    check_in_days: Mapped[int | None]
    check_in_template_key: Mapped[str | None]
    active: Mapped[bool] = mapped_column(server_default="true", default=True)
    ticket_action: Mapped[str | None]
    ticket_comment: Mapped[str | None]
    since: Mapped[datetime | None]


class Campaign(Base):
    """One plan: audience, words, channels, time and class. `opened_by` is the problem update that caused it.

    `planned_through` is the newest entry of the membership ledger that planning has seen.
    `seed` draws who is held out (`holdout_share` of the audience) and the order of release. `waves` are the upper
    bounds of that draw, wave by wave; empty: everybody goes at once, none: not drawn yet. `wave` is the one being
    released. Only what was sent since `watched_from` counts against the thresholds.
    `programme_id` is there where a programme's due rows say who is told, instead of the audience.
    """

    __tablename__ = "campaigns"

    id: Mapped[int] = bigint_key()
    key: Mapped[str] = mapped_column(unique=True)
    name: Mapped[str]
    kind: Mapped[CampaignKind] = word(CampaignKind)
    notice_class: Mapped[NoticeClass] = word(NoticeClass)
    state: Mapped[CampaignState] = word(CampaignState, default=CampaignState.DRAFT, index=True)
    problem_id: Mapped[int | None] = mapped_column(ForeignKey("problems.id", ondelete="CASCADE"), index=True)
    segment_id: Mapped[int | None] = mapped_column(ForeignKey("segments.id"))
    playbook_id: Mapped[int | None] = mapped_column(ForeignKey("playbooks.id"))
    opened_by: Mapped[int | None] = mapped_column(ForeignKey("problem_updates.id"))
    template_key: Mapped[str]
    template_version: Mapped[int]
    ladder: Mapped[list[Any]] = mapped_column(JSONB)
    grades: Mapped[list[Any]] = mapped_column(JSONB)
    created_by: Mapped[str]
    created_at: Mapped[datetime] = created()
    approved_by: Mapped[str | None]
    approved_at: Mapped[datetime | None]
    not_before: Mapped[datetime | None]
    not_after: Mapped[datetime | None]
    planned_through: Mapped[int] = mapped_column(server_default="0", default=0)
    finished_at: Mapped[datetime | None]
    state_reason: Mapped[str | None]
    seed: Mapped[int] = mapped_column(server_default=text("(random() * 2147483647)::bigint"))
    holdout_share: Mapped[float] = mapped_column(server_default="0", default=0.0)
    first_wave: Mapped[int | None]
    waves: Mapped[list[Any] | None] = mapped_column(JSONB(none_as_null=True))
    wave: Mapped[int] = mapped_column(SmallInteger, server_default="0", default=0)
    watched_at: Mapped[datetime | None]
    watched_from: Mapped[datetime | None]
    programme_id: Mapped[int | None]

    __table_args__ = (UniqueConstraint("opened_by", "playbook_id"),)


class SendingStop(Base):
    """A kill switch that is on until it is lifted: for one channel, one campaign, or (neither named) everything."""

    __tablename__ = "sending_stops"

    id: Mapped[int] = bigint_key()
    channel: Mapped[Channel | None] = word(Channel, nullable=True)
    campaign_id: Mapped[int | None] = mapped_column(ForeignKey("campaigns.id", ondelete="CASCADE"), index=True)
    reason: Mapped[str] = mapped_column(server_default="", default="")
    stopped_by: Mapped[str]
    stopped_at: Mapped[datetime] = created()
    lifted_at: Mapped[datetime | None]
    lifted_by: Mapped[str | None]

    __table_args__ = (
        Index(
            "uq_sending_stops_scope",
            "channel",
            "campaign_id",
            unique=True,
            postgresql_where=text("lifted_at IS NULL"),
            postgresql_nulls_not_distinct=True,
        ),
    )


class CheckIn(Base):
    """One due "how is it going?", one row per customer, problem and occurrence."""

    __tablename__ = "check_ins"

    id: Mapped[int] = bigint_key()
    problem_id: Mapped[int] = mapped_column(ForeignKey("problems.id", ondelete="CASCADE"))
    campaign_id: Mapped[int] = mapped_column(ForeignKey("campaigns.id", ondelete="CASCADE"), index=True)
    customer_id: Mapped[int]
    occurrence: Mapped[int] = mapped_column(server_default="0", default=0)
    due_at: Mapped[datetime] = mapped_column(index=True)
    state: Mapped[str] = mapped_column(server_default="due", default="due")
    reason: Mapped[str | None]

    __table_args__ = (UniqueConstraint("problem_id", "customer_id", "occurrence"),)
