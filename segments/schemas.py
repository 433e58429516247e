"""What the routes of segments and scopes take and give."""

from datetime import datetime
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from outreach.vocabulary import Channel, Grade

Key = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]


class _In(BaseModel):
    model_config = ConfigDict(extra="forbid", str_strip_whitespace=True)


class _Out(BaseModel):
    model_config = ConfigDict(from_attributes=True)


class RuleIn(_In):
    """A definition: one bare rule, or a rule per grade (docs/segments.md)."""

    definition: dict[str, Any]


class PreviewIn(RuleIn):
    """A definition to try; `sample` customers are shown with their evidence.

    Requests of one person with the same `edit` replace each other: a newer one cancels the older.
    """

    sample: Annotated[int, Field(ge=0, le=50)] = 5
    edit: Annotated[str, Field(max_length=64)] | None = None


class SegmentIn(RuleIn):
    """A segment to put in force as its next version."""

    name: Annotated[str, Field(min_length=1, max_length=200)]


class ExplainIn(_In):
    """Which customer (by her number in your systems), and a definition unless the one in force is meant."""

    customer: Annotated[str, Field(min_length=1, max_length=200)]
    definition: dict[str, Any] | None = None


class SentenceOut(_Out):
    """A definition in words."""

    sentence: str
    definition: dict[str, Any]


class ReachOut(_Out):
    """How many one channel reaches, why not the others, and what telling them would cost by list prices."""

    channel: Channel
    reachable: int
    no_address: int
    invalid: int
    suppressed: int
    cost_cents: int


class WithoutCustomerOut(_Out):
    """Matching rows that belong to nobody we know."""

    related: str
    rows: int
    orders: int


class SampleOut(_Out):
    """One customer with the ids that put her in scope."""

    customer_id: int
    grade: Grade
    name: str | None
    evidence_items: list[int]
    evidence_orders: list[int]
    evidence_tickets: list[int]
    evidence_events: list[int]


class PreviewOut(_Out):
    """What a definition would do."""

    sentence: str
    total: int
    counts: dict[Grade, int]
    reach: list[ReachOut]
    unreachable: int
    without_customer: list[WithoutCustomerOut]
    sample: list[SampleOut]
    overlap: dict[str, int]


class SegmentOut(_Out):
    """A segment or scope with its rule in force; `building` while the ledger still stands on the version before."""

    key: str
    name: str
    version: int
    building: bool
    sentence: str
    definition: dict[str, Any]
    author: str
    refreshed_at: datetime | None
    counts: dict[Grade, int]
    drift: dict[str, Any] | None


class MemberOut(_Out):
    """One customer in an audience, with the ids that put her there."""

    customer_id: int
    grade: Grade
    version: int
    entered_at: datetime
    changed_at: datetime
    evidence_items: list[int]
    evidence_orders: list[int]
    evidence_tickets: list[int]
    evidence_events: list[int]


class PastMemberOut(_Out):
    """One customer in the audience of a past moment."""

    customer_id: int
    grade: Grade
    since: datetime
    version: int


class AudienceOut(_Out):
    """A page of an audience by customer id; ask on with `after` = `next`."""

    items: list[MemberOut]
    next: int | None


class PartOut(_Out):
    """One condition, whether it held, and the rows behind it."""

    path: str
    sentence: str
    held: bool
    parts: "list[PartOut]"
    rows: list[dict[str, Any]]
    matched: int | None
    examined: int | None


class ExplanationOut(_Out):
    """Why a customer is, or is not, in an audience."""

    customer_id: int
    grade: Grade | None
    rules: dict[Grade, PartOut]


class ContrastOut(_Out):
    """Cases inside a rule against those outside."""

    cases_inside: int
    inside: int
    cases_outside: int
    outside: int
    lift: float
    low: float
    high: float
    p_value: float
    rate_inside: float
    rate_outside: float


class RejectIn(_In):
    """A proposed rule to refuse."""

    rule: dict[str, Any]


class StepOut(_Out):
    """What one more condition leaves, in the searched sample."""

    sentence: str
    cases: int
    others: int


class ProposalOut(_Out):
    """A proposed scope; send `definition` to PUT …/scope to accept it, `rule` to POST …/scope/reject to refuse it."""

    sentence: str
    rule: dict[str, Any]
    definition: dict[str, Any]
    contrast: ContrastOut
    q_value: float
    steps: list[StepOut]


class CandidateOut(_Out):
    """A common cause found in fresh tickets before anybody opened a problem."""

    id: int
    sentence: str
    rule: dict[str, Any]
    numbers: dict[str, Any]
    ticket_ids: list[int]
    proposed_at: datetime
    settled_at: datetime | None
    settled_by: str | None


class SettleIn(_In):
    """The problem that a candidate became; none: it is dismissed."""

    problem: Annotated[str, Field(max_length=64)] | None = None
