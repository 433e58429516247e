"""The tables, one file per aggregate: fields, constraints and status transitions; no queries, no I/O."""

from outreach.models.answers import OperatorAnswer
from outreach.models.base import Base
from outreach.models.campaigns import Campaign, CheckIn, Playbook, SendingStop, Template
from outreach.models.catalogue import Order, OrderItem, Product, UsageEvent
from outreach.models.connectors import Connector
from outreach.models.customers import Consent, Customer, Suppression
from outreach.models.health import AccountTask, CustomerNews, HealthRules, HealthScore, HealthTrend
from outreach.models.inbound import DeskAction, InboundEvent, Response
from outreach.models.messages import Attempt, Chunk, DeliveryEvent, Message, Notice, ProviderCircuit, SendingCount
from outreach.models.operators import ApiKey, AuditEntry, ClockOffset, Operator, OperatorSession
from outreach.models.outgoing import OutgoingDelivery, OutgoingEvent, Subscriber
from outreach.models.owner_letters import OwnerLetter
from outreach.models.periodic import PeriodicRun
from outreach.models.problems import PROBLEM_TRANSITIONS, DepartmentTask, Problem, ProblemUpdate, Ticket
from outreach.models.programmes import Enrolment, Programme, ProgrammeCampaign, ProgrammeDue, ProgrammeVersion
from outreach.models.segments import (
    AudienceChange,
    AudienceMember,
    CustomerChange,
    ProblemCandidate,
    ScopeRejection,
    Segment,
    SegmentVersion,
)
from outreach.models.surveys import Survey, SurveyAnswer, SurveyAsk

__all__ = [
    "PROBLEM_TRANSITIONS",
    "AccountTask",
    "ApiKey",
    "Attempt",
    "AudienceChange",
    "AudienceMember",
    "AuditEntry",
    "Base",
    "Campaign",
    "CheckIn",
    "Chunk",
    "ClockOffset",
    "Connector",
    "Consent",
    "Customer",
    "CustomerChange",
    "CustomerNews",
    "DeliveryEvent",
    "DepartmentTask",
    "DeskAction",
    "Enrolment",
    "HealthRules",
    "HealthScore",
    "HealthTrend",
    "InboundEvent",
    "Message",
    "Notice",
    "Operator",
    "OperatorAnswer",
    "OperatorSession",
    "Order",
    "OrderItem",
    "OutgoingDelivery",
    "OutgoingEvent",
    "OwnerLetter",
    "PeriodicRun",
    "Playbook",
    "Problem",
    "ProblemCandidate",
    "ProblemUpdate",
    "Product",
    "Programme",
    "ProgrammeCampaign",
    "ProgrammeDue",
    "ProgrammeVersion",
    "ProviderCircuit",
    "Response",
    "ScopeRejection",
    "Segment",
    "SegmentVersion",
    "SendingCount",
    "SendingStop",
    "Subscriber",
    "Suppression",
    "Survey",
    "SurveyAnswer",
    "SurveyAsk",
    "Template",
    "Ticket",
    "UsageEvent",
]
